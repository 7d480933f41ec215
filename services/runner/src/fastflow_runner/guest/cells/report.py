"""Reports what cells do: events to the runner, readable text to the log. Writes to descriptors only.

Both are bounded, and the report names everything it leaves out. A write waits while the pipe is full. Events are masked
here, where values are whole; the runner masks the log.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import struct
import termios
import time
from collections.abc import Mapping
from typing import Any

from .masking import Masker

WROTE_CHARACTERS_MAX = 1_000_000
"""Characters of stdout and stderr together, in one attempt of a cell."""
SHOWN_CHARACTERS_MAX = 8_000_000
"""Characters of one output, in all its media types."""
SHOWN_MAX = 500
"""Outputs of one attempt of a cell."""
EVENTS_BYTES_MAX = 48_000_000
"""Bytes of all that a run shows and writes; statuses and errors do not count."""
ERROR_CHARACTERS_MAX = 40_000
"""Characters of a traceback, and of an exception's message."""
MIMES_MAX = 50
"""Media types of one output."""
NAME_CHARACTERS_MAX = 200
PART_CHARACTERS = 64 * 1024
"""At most six bytes each: an event with one part fits into a frame."""
LOG_SHOWN_CHARACTERS_MAX = 100_000
TURN_S = 0.1
_WIDGET = "application/vnd.jupyter.widget-view+json"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STDOUT, STDERR = 1, 2


class Report:
    """Reports one attempt of one cell after another; ``began`` starts each."""

    def __init__(self, events: int, masker: Masker) -> None:
        self._events = events
        self._masker = masker
        self._sent_bytes = 0
        self._last = STDOUT
        self._unended: set[int] = set()
        self._cell = 0
        self._fresh()

    def _fresh(self) -> None:
        self._held = {"stdout": b"", "stderr": b""}
        self._wrote_characters = 0
        self._shown = 0
        self._said: set[str] = set()

    # The run.

    def opened(self, kernel: str, cells: int) -> None:
        self._send("opened", kernel=kernel, cells=cells)

    def injected(self, after: int, source: str) -> None:
        shown = source if len(source) <= PART_CHARACTERS else source[:PART_CHARACTERS] + "\n# …"
        self._send("injected", after=after, source=self._masked(shown))

    def log(self, text: str, stream: int = STDOUT) -> None:
        """Write whole lines of our own after the text written so far."""
        before = "\n" if stream in self._unended else ""
        self._print(stream, f"{before}{text}\n")

    # An attempt of a cell.

    def began(self, cell: int, attempt: int) -> None:
        self._cell = cell
        self._fresh()
        self._send("began", cell=cell, attempt=attempt)

    def wrote(self, stream: str, text: str) -> None:
        """Report text as it comes. Hold back what may be the start of a secret."""
        self._print(STDERR if stream == "stderr" else STDOUT, text)
        held = self._held.setdefault(stream, b"") + text.encode("utf-8", "replace")
        settled = self._masker.settled(held)
        self._held[stream] = held[settled:]
        self._write(stream, held[:settled])

    def showed(self, data: Mapping[str, Any], *, is_result: bool = False, display: str | None = None) -> None:
        self._release()
        texts = _texts(data)
        display = display and display[:NAME_CHARACTERS_MAX]
        self._print_shown(texts)
        if not texts:
            return
        self._shown += 1
        if self._shown > SHOWN_MAX:
            self._say_once(f"Outputs after the first {SHOWN_MAX} are left out.")
            return
        if (rest := self._with_parts(texts)) is not None:
            self._send("showed", cell=self._cell, data=rest, is_result=is_result or None, display=display)

    def redrew(self, data: Mapping[str, Any], display: str) -> None:
        if (rest := self._with_parts(_texts(data))) is not None:
            self._send("redrew", display=display[:NAME_CHARACTERS_MAX], data=rest)

    def cleared(self) -> None:
        self._held = {"stdout": b"", "stderr": b""}
        self._wrote_characters = self._shown = 0
        self._send("cleared", cell=self._cell)

    def raised(self, name: str, value: str, traceback: list[str]) -> None:
        self._release()
        lines, room = [], ERROR_CHARACTERS_MAX
        for line in map(str, traceback):
            if len(line) > room:
                lines.append("… the rest of the traceback is left out")
                break
            room -= len(line)
            lines.append(self._masked(line))
        value = self._masked(str(value)[:ERROR_CHARACTERS_MAX])
        self._send("raised", cell=self._cell, name=str(name)[:NAME_CHARACTERS_MAX], value=value, traceback=lines)
        if traceback:
            self.log(_COLOUR.sub("", "\n".join(map(str, traceback)))[:ERROR_CHARACTERS_MAX], STDERR)

    def noted(self, text: str) -> None:
        """Add a sentence about the cell to the page and to the log."""
        self._send("noted", cell=self._cell, text=text)
        self.log(f"[fastflow] {text}", STDERR)

    def ended(self, status: str, *, count: int | None, delay_s: float = 0.0, is_no_result: bool = False) -> None:
        self._release()
        fields = {"count": count, "delay_s": delay_s or None, "is_no_result": is_no_result or None}
        self._send("ended", cell=self._cell, status=status, **fields)

    # Outputs.

    def _release(self) -> None:
        """Release the held text: no more of it will come."""
        for stream in self._held:
            data, self._held[stream] = self._held[stream], b""
            self._write(stream, data)

    def _write(self, stream: str, data: bytes) -> None:
        text = self._masker.mask(data).decode("utf-8", "replace")
        if not text:
            return
        room = WROTE_CHARACTERS_MAX - self._wrote_characters
        if len(text) > room:
            text = text[:room]
        for at in range(0, len(text), PART_CHARACTERS):
            part = text[at : at + PART_CHARACTERS]
            if not self._has_room(part):
                return
            self._send("wrote", cell=self._cell, stream=stream, text=part)
        self._wrote_characters += len(text)
        if self._wrote_characters >= WROTE_CHARACTERS_MAX:
            self._say_once(f"Text after the first {WROTE_CHARACTERS_MAX:,} characters is left out here; see the log.")

    def _with_parts(self, texts: dict[str, str]) -> dict[str, str] | None:
        """Send large values ahead in parts and return the small ones, or None if there is no room for any of it."""
        small: dict[str, str] = {}
        large: dict[str, str] = {}
        room, small_room = SHOWN_CHARACTERS_MAX, PART_CHARACTERS
        for mime, text in sorted(texts.items(), key=lambda item: len(item[1])):
            if len(text) > room:
                self._say_once(f"An output of type {mime[:100]} with {len(text):,} characters is left out: too large.")
            elif self._has_room(text):
                room -= len(text)
                is_encoded = mime.startswith("image/") and mime != "image/svg+xml"
                masked = text if is_encoded else self._masked(text)
                is_small = len(masked) <= small_room
                small_room -= len(masked) if is_small else 0
                (small if is_small else large)[mime] = masked
        for mime, text in large.items():
            for at in range(0, len(text), PART_CHARACTERS):
                self._send("part", mime=mime, text=text[at : at + PART_CHARACTERS])
        return small if small or large else None

    def _has_room(self, text: str) -> bool:
        if self._sent_bytes + len(text) <= EVENTS_BYTES_MAX:
            return True
        self._say_once(f"Further outputs are left out: the notebook has shown {EVENTS_BYTES_MAX:,} bytes.")
        return False

    def _say_once(self, text: str) -> None:
        if text not in self._said and len(self._said) < 10:
            self._said.add(text)
            self.noted(text)

    def _masked(self, text: str) -> str:
        return self._masker.mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def _send(self, event: str, **fields: Any) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        line = json.dumps({"event": event, "at": round(time.time(), 3), **given}, ensure_ascii=False)
        data = line.encode("utf-8", "replace") + b"\n"
        self._sent_bytes += len(data)
        _write_all(self._events, data)

    # The log.

    def _print_shown(self, texts: Mapping[str, str]) -> None:
        text = texts.get("text/plain")
        if text is None and texts:
            text = f"<{', '.join(sorted(texts))}>"
        if text:
            self.log(text[:LOG_SHOWN_CHARACTERS_MAX])

    def _print(self, stream: int, text: str) -> None:
        """Write to one pipe after the other is read: two pipes have no order between them."""
        if stream != self._last:
            _await_drained(self._last)
            self._last = stream
        if text:
            (self._unended.discard if text.endswith("\n") else self._unended.add)(stream)
        _write_all(stream, text.encode("utf-8", "replace"))


def _texts(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the media types with their values as text, as in a notebook."""
    texts = {}
    for mime, value in list(data.items())[:MIMES_MAX]:
        if mime == _WIDGET:
            continue
        if isinstance(value, list) and all(isinstance(line, str) for line in value):
            value = "".join(value)
        texts[str(mime)[:NAME_CHARACTERS_MAX]] = value if isinstance(value, str) else json.dumps(value)
    return texts


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except OSError as error:
            if error.errno == errno.EPIPE:  # no reader will ever come
                return
            raise


def _await_drained(descriptor: int) -> None:
    """Wait until the pipe is empty, at most ``TURN_S`` seconds."""
    give_up_at = time.monotonic() + TURN_S
    while time.monotonic() < give_up_at:
        try:
            waiting = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0]
        except OSError:  # not a pipe
            return
        if not waiting:
            return
        time.sleep(0.0005)
