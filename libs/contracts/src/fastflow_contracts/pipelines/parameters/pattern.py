"""Matches regular expressions in linear time, with RE2. Pure.

Python's ``re`` tries alternatives one after the other: a pattern such as ``(a+)+$`` takes years for a short text, and
nothing can stop it. RE2 follows all alternatives at once, so the time is bounded by the pattern's size times the text's
length. The syntax is RE2's, with ``\\u00e9`` of ECMAScript. It is imported when the first pattern is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

PATTERN_CHARACTERS_MAX: Final = 1_000
MEMORY_BYTES_MAX: Final = 256 * 1024
"""Most memory of one pattern, with what it remembers of texts; ``re2`` keeps the 128 that were used last."""
STEPS_OF_WORK: Final = 500
"""Steps for one unit of work: about 2 µs for the worst pattern, nothing for most."""
STEPS_TO_COMPILE: Final = 50
"""Steps that each instruction of a pattern takes to compile."""


class BadPattern(ValueError):
    """The pattern cannot be used; the message says why."""


class Pattern:
    """A compiled pattern. Create it with ``compiled``."""

    def __init__(self, regexp: Any) -> None:
        self._regexp = regexp
        self._instructions: int = regexp.programsize

    @property
    def work(self) -> int:
        """How much work it is to compile."""
        return self._work(STEPS_TO_COMPILE)

    def found_in(self, text: str, spend: Callable[[int], None]) -> bool:
        """Return whether the pattern matches anywhere in *text*.

        Args:
            text: Any text.
            spend: Is told how much work this is at most, before it is done; it may raise to stop it.
        """
        encoded = text.encode(errors="surrogatepass")  # JSON may hold a half of a character, such as \ud800
        spend(self._work(len(encoded)))
        return self._regexp.search(encoded) is not None

    def _work(self, steps: int) -> int:
        return 1 + self._instructions * steps // STEPS_OF_WORK


def compiled(source: str) -> Pattern:
    """Compile a pattern. Raises ``BadPattern``."""
    import re2  # type: ignore[import-untyped]

    if len(source) > PATTERN_CHARACTERS_MAX:
        raise BadPattern(f"it has more than {PATTERN_CHARACTERS_MAX:,} characters")
    try:
        return Pattern(re2.compile(_ECMASCRIPT.sub(_of_re2, source), _options()))
    except UnicodeEncodeError:
        raise BadPattern("it has a half of a character, such as \\ud800") from None
    except re2.error as error:
        raise BadPattern(_reason(error.args[0].decode(errors="replace"), source)) from None


@cache
def _options() -> Any:
    import re2

    options = re2.Options()
    options.max_mem = MEMORY_BYTES_MAX
    options.never_capture = True
    options.log_errors = False
    return options


_ECMASCRIPT: Final = re.compile(r"\\(?:u(?![Dd][89A-Fa-f])([0-9A-Fa-f]{4})|.)", re.DOTALL)


def _of_re2(escape: re.Match[str]) -> str:
    return f"\\x{{{escape[1]}}}" if escape[1] else escape[0]


def _reason(said: str, source: str) -> str:
    """Return why a pattern is refused, in other words than RE2's where these do not help."""
    kind, _, part = said.partition(": ")
    unbounded = "is not accepted: it cannot be matched in bounded time"
    if kind == "invalid perl operator" and part in ("(?=", "(?!", "(?<=", "(?<!"):
        return f"{part}…) {unbounded}"
    if re.fullmatch(r"\\[1-9k]", part) or (part == "(?P" and "(?P=" in source):
        return f"a reference to a group {unbounded}"
    if kind == "invalid repetition size":
        return f"{part} is not accepted: the smaller number comes first, and nested ones multiply to 1,000 at most"
    if kind.startswith("pattern too large"):
        return "it is too large: use smaller numbers in { }"
    return f"it is not a regular expression: {said[:100]}"
