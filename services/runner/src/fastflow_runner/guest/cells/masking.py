"""Replaces secrets in text. Pure, standard library only.

The cell runner masks outputs inside the sandbox, where values are still whole; the runner masks logs.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = b"***"
SECRET_CHARACTERS_MIN = 4
"""A shorter value is not masked: it would tear ordinary text apart."""
SECRET_BYTES_MAX = 16 * 1024


def is_maskable(secret: str) -> bool:
    """Whether the value is long enough to mask."""
    return len(secret) >= SECRET_CHARACTERS_MIN


class Masker:
    """Replaces every occurrence of a secret with ``MASK``; overlapping occurrences become one.

    Best effort: a script that wants to leak a secret can always write it another way.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        # Longest first: at each place the longest occurrence counts.
        self._forms = sorted({form for secret in secrets for form in _forms(secret)}, key=lambda f: (-len(f), f))
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))

    def mask(self, text: bytes) -> bytes:
        """Return *text* with every occurrence masked."""
        if not any(form in text for form in self._forms):
            return text
        parts, kept = [], 0
        for start, stop in self._occurrences(text):
            parts += [text[kept:start], MASK]
            kept = stop
        return b"".join([*parts, text[kept:]])

    def cut(self, line: bytes, place: int) -> int:
        """Return where to cut *line*, the start of a longer line: near *place*, after 1 to all of its bytes.

        ``SECRET_BYTES_MAX`` bytes follow after *place*.
        """
        for back in range(1, 4):
            if line[place] & 0xC0 == 0x80 and line[place - back] >= 0xC0:
                place -= back  # not inside a character
                break
        if any(form in line for form in self._forms):
            for start, stop in self._occurrences(line):
                if start < place < stop:
                    # An occurrence that fills the whole piece is masked as a whole, and cut at its end.
                    return start or stop
        return place

    def settled(self, text: bytes) -> int:
        """Return how much of the start of *text* can be masked and shown while more text is still to come.

        Whatever follows, no occurrence reaches into that part from beyond it.
        """
        end = len(text) - max((_overlap(text, form) for form in self._forms), default=0)
        return next((start for start, stop in self._occurrences(text) if start < end < stop), end)

    def _occurrences(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield the spans of masked text, in order, apart from each other or touching."""
        if not self._forms:
            return
        start, stop, search = 0, 0, self._pattern.search
        found = search(text)
        while found:
            if found.start() >= stop:
                if stop:
                    yield start, stop
                start = found.start()
            stop = max(stop, found.end())
            found = search(text, found.start() + 1)
        if stop:
            yield start, stop


def _overlap(text: bytes, form: bytes) -> int:
    """Return the length of the longest end of *text* that is a beginning of *form*, but not all of it."""
    longest = min(len(text), len(form) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(form[:size])), 0)


def _forms(secret: str) -> Iterator[bytes]:
    """Return the likely written forms of a value, all within the bounds and without a line end."""
    if not is_maskable(secret):
        return
    encoded = secret.encode("utf-8", "surrogatepass")
    forms = {
        *secret.split("\n"),
        *(json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)),
        repr(secret)[1:-1],
        quote(encoded, safe=""),
        quote(encoded),
        quote_plus(encoded),
        base64.b64encode(encoded).decode().rstrip("="),
        base64.urlsafe_b64encode(encoded).decode().rstrip("="),
    }
    for form in {form.strip() for form in forms}:
        if len(form) >= SECRET_CHARACTERS_MIN:
            data = form.encode("utf-8", "surrogatepass")
            parts = (data[at : at + SECRET_BYTES_MAX] for at in range(0, len(data), SECRET_BYTES_MAX))
            yield from (part for part in parts if len(part) >= SECRET_CHARACTERS_MIN)
