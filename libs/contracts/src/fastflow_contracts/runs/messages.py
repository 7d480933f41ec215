"""The messages of services besides the run record: stored records, hints, commands, responses. Data only.

Everything is versioned JSON. Times are aware UTC; sizes are bytes; durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from fastflow_contracts.base import Amount, Count, Fact, Instant, Ordinal, StoredName, StoredRunId
from fastflow_contracts.codec import Codec
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.run import ParentRun, RunRecord, TriggeredBy
from fastflow_contracts.runs.state_machine import Cancel

RetriedCode: TypeAlias = Literal["same", "current"]


class Trigger(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A request to start a run, as the gateway and the command put it on the bus (media type ``TRIGGER_TYPE``).

    Other publishers send a run body, a CloudEvent, or any data; ``triggers`` reads all of them into this.
    """

    v: Count = 1
    triggered_by: TriggeredBy = "bus"
    key: str | None = None
    """Idempotency key: the same key on the same pipeline is the same run."""
    env_vars: dict[str, str] = {}
    parameters: dict[str, str] = {}
    """As text: what a script finds in its environment."""
    json_parameters: tuple[str, ...] = ()
    """Names of the parameters that were no strings; their text is JSON. A notebook gets the values themselves."""
    run_config_id: str | None = None
    event: bytes | None = None
    """Becomes the file that FASTFLOW_EVENT_FILE names (base64 on the wire)."""
    event_type: str | None = None
    event_headers: dict[str, str] = {}
    """Headers that say which event it is, names in lower case; see ``event_headers``."""
    trigger_id: str | None = None
    """The one of the pipeline's ``triggers`` that the event came by."""
    event_subject: str | None = None
    """The subject of that event, or the filter of the trigger if there are many."""
    retry_of: RunId | None = None
    """Run the bundle, variables and parameters of this run again. Those given here replace that run's."""
    without: tuple[str, ...] = ()
    """Of a retry: names of variables and parameters of that run to leave out."""
    code: RetriedCode = "same"
    """Of a retry: ``current`` takes today's version of the pipeline in place of that run's."""
    version: str | None = None
    """Start this kept version of the pipeline, by its id. None: the live one."""
    redrive_of: RunId | None = None
    """Start the kept message of this skip. ``key`` then asks for one more run of it."""
    accepted: bool = False
    """The caller has the run's id already: a refusal must become a run record with that id."""
    by_operator: bool = False
    """An operator gave the variables: they may be ones that the pipeline does not declare."""

    @property
    def changes(self) -> frozenset[str]:
        """Of a retry: names of the variables and parameters that it does not take as they were."""
        return frozenset({*self.without, *self.env_vars, *self.parameters})


class Started(Fact, frozen=True, kw_only=True, tag="started"):
    """The trigger's run exists."""

    run_id: RunId


class Skipped(Fact, frozen=True, kw_only=True, tag="declined"):
    """The trigger starts no run. ``status`` is the HTTP status that fits best."""

    status: Annotated[int, msgspec.Meta(ge=0, le=599)]
    reason: str


Decision: TypeAlias = Started | Skipped
"""Sent to the trigger's reply header, if it has one. It may be lost: the record is the truth."""


_SkipToken: TypeAlias = Annotated[str, msgspec.Meta(max_length=1000)]
"""``subjects.skipped`` makes a subject of any text. A longer one would fill a page."""


class EventPlace(Fact, frozen=True, kw_only=True):
    """Where the message of a start is, in a stream of another program."""

    stream: str
    sequence: Count
    stored_at: Instant
    """Another message with its sequence, as after a restore, is another one."""
    trigger_id: str


class SkipRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A refused start. Its whole message is kept beside it (``skips``), unless ``event_at`` says where it is."""

    v: Count = 1
    id: StoredRunId | None = None
    """The run that it would have been; None in records of older versions, whose message is not kept."""
    at: Instant
    pipeline: _SkipToken
    """Its name, or the unchanged subject token if that is not a valid name."""
    reason: str
    triggered_by: TriggeredBy = "bus"
    run_config_id: str | None = None
    parent_run_id: StoredRunId | None = None
    parent: ParentRun | None = None
    """How that run ended."""
    root_run_id: StoredRunId | None = None
    hops: Count = 0
    schedule: str | None = None
    scheduled_for: Instant | None = None
    redriven_as: StoredRunId | None = None
    """The newest run that was started from it."""
    by_service: bool = False
    """A service wrote its message, so what that says of who started it is true."""
    event_at: EventPlace | None = None
    """Where its message came from. A large one is nowhere else."""
    payload: bytes | None = None
    """The trigger as it came, in dead letters of older versions (base64 on the wire)."""


class Hint(Fact, frozen=True, kw_only=True):
    """There may be work: run *run_id* was pending when this was published."""

    pipeline: StoredName
    run_id: StoredRunId
    attempt: Ordinal
    concurrent_max: Count = 0
    """MAX_CONCURRENT_RUNS as the scheduler knows it; 0 = no limit. The runner that claims enforces it."""
    run: RunRecord | None = None
    """The record at that time, which saves the reader of a fresh hint one read."""
    revision: Count = 0
    """Revision of that record, which a claim must expect."""


class AttemptSample(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The resource use of one attempt at one moment."""

    ts: Instant
    cpu_cores: Amount
    """Mean since the previous sample; not clamped."""
    memory_bytes: Count
    memory_limit_bytes: Count | None = None
    soft_limit_exceeded: bool = False


TRIGGER_TYPE = "application/vnd.fastflow.start+json"
"""Media type of a ``Trigger`` that a service sends. What it says of who started the run counts on ``subjects.STARTS``
only.
"""
RUN_BODY_TYPE = "application/vnd.fastflow.trigger+json"
"""Media type by which a client declares that its body is a run body, not an event."""
REPLY_HEADER = "Ff-Reply"
"""Header of a trigger: the core subject to which the ``Decision`` is sent."""


TRIGGER = Codec(Trigger)
DECISION: Codec[Decision] = Codec(Decision)  # type: ignore[arg-type]
SKIP = Codec(SkipRecord)
HINT = Codec(Hint)
SAMPLE = Codec(AttemptSample)
CANCEL = Codec(Cancel)
