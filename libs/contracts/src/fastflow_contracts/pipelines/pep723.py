"""What a script says of itself in a comment: packages, interpreter, tools (PEP 723). Pure.

What is done about it is ``discovery``'s, and that of whoever prepares the script's environment.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

import msgspec

from fastflow_contracts.errors import FastFlowError

BLOCK_CHARACTERS_MAX: Final = 16 * 1024
"""It may not cost more than a moment: TOML can be written so that its reader takes the square of its length."""

_OPENING: Final = re.compile(r"(?m)^# /// script$")
# The reference expression of PEP 723, for the one type that it defines, and for blocks that are empty, which uv takes.
# Tried at an opening only: a search would try each line of a long comment that is never closed, to its end.
_BLOCK: Final = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)*)^# ///$")
_PACKAGE: Final = re.compile(r" *[A-Za-z0-9]")


class BadInline(FastFlowError):
    """The script's block cannot be understood; the message says why, as the end of a sentence."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line
        """Where the block begins, from 1."""


class Inline(msgspec.Struct, frozen=True, rename="kebab"):
    """What the block says; nothing, if there is none."""

    dependencies: tuple[str, ...] = ()
    """Requirements, one line each."""
    requires_python: str | None = None
    """Such as ``>=3.12``."""
    tool: dict[str, Any] = {}
    line: int = 0
    """Where it begins, from 1; 0: there is none."""


def read_inline(script: bytes) -> Inline:
    """Read the block of *script*, whatever that holds. Raises ``BadInline`` for what ``uv run`` refuses, too."""
    text = script.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    opening = _OPENING.search(text)
    if opening is None:
        return Inline()
    line = text.count("\n", 0, opening.start()) + 1
    block = _BLOCK.match(text, opening.start())
    if block is None:
        raise BadInline("nothing closes it; let it end with `# ///`, with a # before each line between", line)
    another = _OPENING.search(text, block.end())
    if another is not None and _BLOCK.match(text, another.start()):
        raise BadInline("it is not the only one; leave one of them", line)
    if len(block["content"]) > BLOCK_CHARACTERS_MAX:
        raise BadInline(f"it is longer than {BLOCK_CHARACTERS_MAX:,} characters", line)
    content = re.sub(r"(?m)^# ?", "", block["content"])
    try:
        inline = msgspec.convert({**tomllib.loads(content), "line": line}, Inline)
    except msgspec.ValidationError as error:
        raise BadInline(str(error), line) from error
    except (ValueError, RecursionError) as error:  # tomllib lets through what ``int`` and nesting raise
        raise BadInline(f"it is no TOML: {error}", line) from error
    for each in inline.dependencies:
        # They become lines of a requirements file, where they must not be options or paths.
        if not (_PACKAGE.match(each) and each.isprintable()):
            raise BadInline(f"{each[:80]!r} names no package; write it as in `requests>=2`", line)
    return inline
