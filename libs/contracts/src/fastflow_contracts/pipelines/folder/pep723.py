"""Reads inline script metadata (PEP 723): packages, interpreter and tools of a script. Pure.

``discovery`` and the code that prepares the script's environment use it.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

import msgspec

from fastflow_contracts.errors import FastFlowError

BLOCK_CHARACTERS_MAX: Final = 16 * 1024
"""Bounds the time to parse: some TOML takes time quadratic in its length."""

_OPENING: Final = re.compile(r"(?m)^# /// script$")
# The reference expression of PEP 723, limited to the type `script`, and extended to empty blocks, which uv accepts.
# Match it only at an opening: a search would rescan a long unclosed comment from each of its lines.
_BLOCK: Final = re.compile(r"(?m)^# /// script$\s(?P<content>(^#(| .*)$\s)*)^# ///$")
_PACKAGE: Final = re.compile(r" *[A-Za-z0-9]")


class BadInline(FastFlowError):
    """The script's block is invalid; the message completes a sentence that says so."""

    def __init__(self, why: str, line: int) -> None:
        super().__init__(why)
        self.line = line
        """First line of the block, from 1."""


class Inline(msgspec.Struct, frozen=True, rename="kebab"):
    """The content of the block; empty without a block."""

    dependencies: tuple[str, ...] = ()
    """Requirements, each of one line."""
    requires_python: str | None = None
    """Such as ``>=3.12``."""
    tool: dict[str, Any] = {}
    line: int = 0
    """First line of the block, from 1; 0 without a block."""


def read_inline(script: bytes) -> Inline:
    """Read the block of *script*, which may hold any bytes.

    Raises:
        BadInline: The block is invalid, also for ``uv run``.
    """
    text = script.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")
    opening = _OPENING.search(text)
    if opening is None:
        return Inline()
    line = text.count("\n", 0, opening.start()) + 1
    block = _BLOCK.match(text, opening.start())
    if block is None:
        raise BadInline("it has no end; close it with `# ///`, and begin each line between with #", line)
    another = _OPENING.search(text, block.end())
    if another is not None and _BLOCK.match(text, another.start()):
        raise BadInline("there is another one; keep only one", line)
    if len(block["content"]) > BLOCK_CHARACTERS_MAX:
        raise BadInline(f"it is longer than {BLOCK_CHARACTERS_MAX:,} characters", line)
    content = re.sub(r"(?m)^# ?", "", block["content"])
    try:
        inline = msgspec.convert({**tomllib.loads(content), "line": line}, Inline)
    except msgspec.ValidationError as error:
        raise BadInline(str(error), line) from error
    except (ValueError, RecursionError) as error:  # tomllib does not catch the errors of ``int`` and of deep nesting
        raise BadInline(f"it is not TOML: {error}", line) from error
    for each in inline.dependencies:
        # They become lines of a requirements file and must not act as options or paths.
        if not (_PACKAGE.match(each) and each.isprintable()):
            raise BadInline(f"{each[:80]!r} does not name a package; write it as in `requests>=2`", line)
    return inline
