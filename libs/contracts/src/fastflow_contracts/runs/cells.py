"""What the cells of a notebook did, on the wire. Data only.

The cell runner in the sandbox writes one event a line; the runner stores them in order on
``ff.cell.<pipeline>.<run>.<attempt>``, several to a message. Together with the notebook in the run's bundle they are
the executed notebook, so that is stored nowhere else. Secrets are masked before an event leaves the sandbox.

A cell is named by its index among the code cells, from 0, as in ``cells`` of the pipeline's metadata; ``INJECTED`` is
the one that sets parameters. What is said between a cell's ``began`` and ``ended`` is of that attempt. Large values
come in ``part`` events before the event they belong to. Bounds are the cell runner's; whatever it leaves out, it says.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from fastflow_contracts.codec import Codec

INJECTED: Final = -1
EVENTS_BYTES_MAX: Final = 768 * 1024
"""Of the events of one message; a single event is smaller."""

CellStatus: TypeAlias = Literal["RUNNING", "RETRYING", "SUCCESS", "FAILED"]
Data: TypeAlias = dict[str, str]
"""Media type to text: base64 for images, JSON for JSON types."""


class CellFact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    """Base of all events. ``at``: unix time, seconds."""

    at: float


class Opened(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="opened"):
    """A kernel is there; the first cell comes next."""

    kernel: str
    cells: int
    """Code cells of the notebook."""


class Injected(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="injected"):
    """A cell was put after code cell ``after``: it sets the parameters of the run."""

    after: int
    source: str


class Began(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="began"):
    """An attempt of a cell, from 1. Its outputs so far are those of the attempt before."""

    cell: int
    attempt: int


class Wrote(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="wrote"):
    """Text on stdout or stderr, to be appended to what was written before."""

    cell: int
    stream: Literal["stdout", "stderr"]
    text: str


class Part(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="part"):
    """A piece of a large value: the parts of one media type, joined, belong into ``data`` of the next event that has
    any.
    """

    mime: str
    text: str


class Showed(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="showed"):
    """Something is displayed, or is the value of the cell's last expression (``is_result``)."""

    cell: int
    data: Data
    is_result: bool = False
    display: str | None = None
    """Names it for ``redrew``."""


class Redrew(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="redrew"):
    """Everything displayed under this name now shows this instead."""

    display: str
    data: Data


class Cleared(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="cleared"):
    """The outputs of the cell are gone."""

    cell: int


class Raised(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="raised"):
    """Why this attempt of the cell failed: an exception, or what else ended it."""

    cell: int
    name: str
    """The exception's, or ``CellTimeout``, ``KernelDied``, ``Stopped``."""
    value: str
    traceback: tuple[str, ...] = ()
    """Lines with terminal colours, as kernels send them."""


class Noted(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="noted"):
    """A sentence of ours about the cell, such as that outputs were left out or that the kernel's state is gone."""

    cell: int
    text: str


class EndedCell(CellFact, frozen=True, kw_only=True, omit_defaults=True, tag="ended"):
    """This attempt of the cell is over. RETRYING: there is another one ``delay_s`` later."""

    cell: int
    status: Literal["RETRYING", "SUCCESS", "FAILED"]
    count: int | None = None
    """The kernel's execution count: the number in ``In [n]``."""
    delay_s: float = 0.0


CellEvent: TypeAlias = Opened | Injected | Began | Wrote | Part | Showed | Redrew | Cleared | Raised | Noted | EndedCell


class CellChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one attempt that follow each other without a gap."""

    v: int = 1
    end: int
    """How many events of the attempt this chunk and all before it account for."""
    events: tuple[CellEvent, ...]


EVENT: Final[Codec[CellEvent]] = Codec(CellEvent)  # type: ignore[arg-type]
CHUNK: Final = Codec(CellChunk)
