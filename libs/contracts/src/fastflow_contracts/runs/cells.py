"""The events of notebook cells on the wire. Data only.

The cell runner in the sandbox writes one event per line. The runner stores them in order on
``ff.cell.<pipeline>.<run>.<attempt>``, several in a message. The executed notebook is built from these events and the
notebook in the run's bundle; it is not stored. Secrets are masked before an event leaves the sandbox.

A cell is identified by its index among the code cells, from 0, as in ``cells`` of the pipeline's metadata; ``INJECTED``
is the cell that sets parameters. Events between a cell's ``began`` and ``ended`` belong to that attempt. Large values
arrive in ``part`` events before the event they belong to. The cell runner enforces the size limits and reports what it
leaves out.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from fastflow_contracts.base import Count, Duration, Ordinal, UnixTime
from fastflow_contracts.codec import Codec

INJECTED: Final = -1
EVENTS_BYTES_MAX: Final = 768 * 1024
"""The most bytes of events in one message; a single event is always smaller."""

CellIndex: TypeAlias = Annotated[int, msgspec.Meta(ge=INJECTED, le=2**53)]
CellStatus: TypeAlias = Literal["RUNNING", "RETRYING", "SUCCESS", "FAILED"]
Data: TypeAlias = dict[str, str]
"""Text by media type: base64 for images, JSON for JSON types."""


class CellFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """The base of all events."""

    at: UnixTime


class Opened(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="opened"):
    """The kernel has started; the first cell comes next."""

    kernel: str
    cells: Count
    """Number of code cells in the notebook."""


class Injected(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="injected"):
    """A cell that sets the run's parameters was inserted after code cell ``after``."""

    after: Count
    source: str


class Began(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="began"):
    """An attempt of a cell began; attempts count from 1. Earlier outputs belong to the previous attempt."""

    cell: CellIndex
    attempt: Ordinal


class Wrote(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="wrote"):
    """The cell wrote to stdout or stderr. The text is appended to what it wrote before."""

    cell: CellIndex
    stream: Literal["stdout", "stderr"]
    text: str


class Part(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="part"):
    """A piece of a large value. The joined parts of a media type belong to ``data`` of the next event with data."""

    mime: str
    text: str


class Showed(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="showed"):
    """The cell displayed an output, or returned the value of its last expression (``is_result``)."""

    cell: CellIndex
    data: Data
    is_result: bool = False
    display: str | None = None
    """The name by which ``redrew`` refers to this output."""


class Redrew(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="redrew"):
    """All outputs with this display name now show this data."""

    display: str
    data: Data


class Cleared(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="cleared"):
    """The cell cleared its outputs."""

    cell: CellIndex


class Raised(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="raised"):
    """This attempt of the cell failed, by an exception or for another reason."""

    cell: CellIndex
    name: str
    """The name of the exception, or ``CellTimeout``, ``KernelDied`` or ``Stopped``."""
    value: str
    traceback: tuple[str, ...] = ()
    """Lines with terminal colours, as the kernel sends them."""


class Noted(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="noted"):
    """A note of the cell runner, for example that outputs were left out or that the kernel lost its state."""

    cell: CellIndex
    text: str


class EndedCell(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="ended"):
    """This attempt of the cell is over. RETRYING: the next one starts after ``delay_s`` seconds."""

    cell: CellIndex
    status: Literal["RETRYING", "SUCCESS", "FAILED"]
    count: Count | None = None
    """The kernel's execution count: the number in ``In [n]``."""
    delay_s: Duration = 0.0
    is_no_result: bool = False
    """It failed only because its value cannot be the result of the run."""


CellEvent: TypeAlias = Opened | Injected | Began | Wrote | Part | Showed | Redrew | Cleared | Raised | Noted | EndedCell


class CellChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive events of one attempt, without a gap."""

    v: Count = 1
    end: Count
    """How many events of the attempt this chunk and all earlier ones cover."""
    events: tuple[CellEvent, ...]


EVENT: Final[Codec[CellEvent]] = Codec(CellEvent)  # type: ignore[arg-type]
CHUNK: Final = Codec(CellChunk)
