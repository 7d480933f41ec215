"""Finds names and texts in an expression that compiles. Pure: the library shows no tree of what it parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TEXT: Final = (
    r"[bB]?[rR][bB]?(?:\"\"\"[\s\S]*?\"\"\"|'''[\s\S]*?'''|\"[^\"\n]*\"|'[^'\n]*')"
    r"|[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
)
_TOKEN: Final = re.compile(rf"(?P<text>{_TEXT})|//[^\n]*|(?P<name>[A-Za-z_]\w*)|\s+|(?P<sign>.)", re.ASCII | re.DOTALL)
_PATTERN: Final = re.compile(rf"{_TEXT}|//[^\n]*|\bmatches\s*\(\s*(?P<pattern>{_TEXT})\s*\)", re.ASCII | re.DOTALL)
_READ: Final = re.compile(
    rf"(?<![\w.])env\s*(?:\.\s*(?P<member>[A-Za-z_]\w*)|\[\s*(?P<index>{_TEXT})\s*\])|{_TEXT}|//[^\n]*",
    re.ASCII | re.DOTALL,
)
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})


def with_blank_bound(text: str) -> str:
    """Return *text* with underscores in place of each variable that a macro declares, where it is known.

    In ``event.all(x, x > 0) ? x : 1`` the last ``x`` stays. Every character keeps its place.
    """
    characters = list(text)
    open_brackets: list[str | None] = []
    """Of each, the variable that its macro declares."""
    before: list[str] = ["", ""]
    """The two tokens before this one, without spaces."""
    tokens = [found for found in _TOKEN.finditer(text) if found["text"] or found["name"] or found["sign"]]
    for index, token in enumerate(tokens):
        word = token[0]
        if word in ("(", "[", "{"):
            is_macro = word == "(" and before[0] == "." and before[1] in _MACROS
            open_brackets.append(_declared(tokens, index) if is_macro else None)
        elif word in (")", "]", "}") and open_brackets:
            open_brackets.pop()
        elif token["name"] and before[1] != "." and word in open_brackets and not _is_called(tokens, index):
            characters[token.start() : token.end()] = "_" * len(word)
        before = [before[1], word]
    return "".join(characters)


def place_of(name: str, text: str, *, is_variable: bool) -> int:
    """Return the character where *name* first stands in *text*, from 1; a variable's is not a field's."""
    before = ""
    for token in _TOKEN.finditer(text):
        if token["name"] == name and not (is_variable and before == "."):
            return token.start() + 1
        if token["text"] or token["name"] or token["sign"]:
            before = token[0]
    return 1


def constant_patterns(text: str) -> Iterator[tuple[str, int]]:
    """Yield each pattern of ``matches`` that stands in *text* itself, as written, and its character, from 1."""
    for found in _PATTERN.finditer(text):
        if found["pattern"]:
            yield found["pattern"], found.start("pattern") + 1


def variables_read(text: str) -> frozenset[str]:
    """Return the names of the variables of the run, ``env``, that *text* reads by a constant name."""
    found = ((each["member"], each["index"]) for each in _READ.finditer(with_blank_bound(text)))
    return frozenset(member or index.strip("rRbB").strip("\"'") for member, index in found if member or index)


def _is_called(tokens: list[re.Match[str]], index: int) -> bool:
    return index + 1 < len(tokens) and tokens[index + 1][0] == "("


def _declared(tokens: list[re.Match[str]], bracket: int) -> str | None:
    following = tokens[bracket + 1 : bracket + 3]
    is_declaration = len(following) == 2 and following[0]["name"] and following[1][0] == ","
    return following[0][0] if is_declaration else None
