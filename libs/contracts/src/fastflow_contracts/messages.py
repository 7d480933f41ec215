"""What services say to each other besides the run record: stored records, hints, commands, answers. Data only.

Everything is versioned JSON. Times are aware UTC; sizes are bytes; durations are seconds.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

from fastflow_contracts.codec import Codec
from fastflow_contracts.findings import Notice, Problem
from fastflow_contracts.ids import RunId
from fastflow_contracts.machine import Cancel
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipeline import PipelineSpec
from fastflow_contracts.run import Fact, Run, RunInput, TriggeredBy


class Version(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One good version of a pipeline: what a trigger starts."""

    bundle: str
    """Hash of its code in the object store."""
    commit: str | None = None
    commit_subject: str | None = None
    spec: PipelineSpec
    has_requirements: bool = False
    live_since: datetime


class PipelineRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one pipeline. Stored under ``pipeline.<name>``; written by syncers only."""

    v: int = 1
    name: PipelineName
    live: Version | None = None
    """The last good version. None: it never had one."""
    commit: str | None = None
    """Of the newest version seen, good or bad."""
    problems: tuple[Problem, ...] = ()
    """Why the newest version is not live; empty if it is."""
    notices: tuple[Notice, ...] = ()
    removed_at: datetime | None = None
    """Its folder is gone: it is no longer listed, its runs stay."""
    seen_at: datetime
    write_id: str = ""


class Trigger(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A request to start a run, as the gateway and the command put it on the bus (media type ``TRIGGER_TYPE``).

    Other publishers send a run body, a CloudEvent, or anything at all; ``triggers`` reads all of them into this.
    """

    v: int = 1
    triggered_by: TriggeredBy = "bus"
    key: str | None = None
    """Idempotency key: the same key on the same pipeline is the same run."""
    env_vars: dict[str, str] = {}
    parameters: dict[str, str] = {}
    run_config_id: str | None = None
    event: bytes | None = None
    """Becomes the file that FASTFLOW_EVENT_FILE names (base64 on the wire)."""
    event_type: str | None = None
    retry_of: RunId | None = None
    """Start the same bundle, env and parameters as this run once more."""


class Started(Fact, frozen=True, kw_only=True, tag="started"):
    """The trigger's run exists."""

    run_id: RunId


class Declined(Fact, frozen=True, kw_only=True, tag="declined"):
    """The trigger starts nothing. ``status`` is the HTTP status that says it best."""

    status: int
    reason: str


Decision: TypeAlias = Started | Declined
"""Sent to the trigger's reply header, if it has one. It is a courtesy: the record is the truth."""


class Skip(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A start that was refused, kept so that people see it; also what a dead letter says about its trigger."""

    v: int = 1
    at: datetime
    pipeline: str
    """Its name, or the subject token as it came when that is no name."""
    reason: str
    triggered_by: TriggeredBy = "bus"
    run_config_id: str | None = None
    parent_run_id: RunId | None = None
    schedule: str | None = None
    scheduled_for: datetime | None = None
    payload: bytes | None = None
    """The trigger as it came, for a dead letter (base64 on the wire)."""


class Hint(Fact, frozen=True, kw_only=True):
    """There may be work: run *run_id* was pending when this was published."""

    pipeline: PipelineName
    run_id: RunId
    attempt: int
    concurrent_max: int = 0
    """MAX_CONCURRENT_RUNS as the scheduler knows it; 0 = no limit. Held by whoever claims."""
    run: Run | None = None
    """The record as it was then, which spares a fresh hint's reader one look at the bus."""
    revision: int = 0
    """Of that record: what claims by it must expect."""


class Presence(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A runner is alive. Stored under ``runner.<id>`` and renewed by compare-and-set every ``PRESENCE_S``."""

    v: int = 1
    runner: str
    instance: str
    """Random per process: a second process with the same runner id takes over, the first one notices and ends."""
    host: str
    version: str
    sandbox: str
    """``docker`` or ``process``."""
    sandbox_reason: str = ""
    """Why it is not Docker, where its settings leave the choice: one clause, for people."""
    daemon: str | None = None
    """What the Docker daemon calls itself, for people: clones of a machine say the same, so nothing follows from it."""
    slots: int
    busy: int = 0
    load: float = 0.0
    """Of its host: processes that ran or wanted to, mean of the last minute, for each core."""
    environments: int = 0
    """That stand ready in its store, as far as it knows."""
    kinds: tuple[str, ...] = ("script",)
    unenforced: tuple[str, ...] = ()
    """What this runner's sandbox cannot enforce, one sentence each."""
    started_at: datetime
    seen_at: datetime
    """Its own clock; readers judge age by the bus's timestamp of the record."""
    leaving: bool = False
    """It takes no more work."""
    paused: bool = False
    """It takes no work for now: its Docker daemon does not answer."""
    gone: bool = False
    """Its last words: it has ended, and whatever sandboxes it left are for others on that daemon."""


class Sample(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """Use of one attempt at one moment."""

    ts: datetime
    cpu_cores: float
    """Mean since the previous sample; not clamped."""
    memory_bytes: int
    memory_limit_bytes: int | None = None
    soft_limit_exceeded: bool = False


class PipelineChange(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What one sync did to one pipeline."""

    pipeline: str
    action: str
    """``added``, ``updated``, ``removed``, ``unchanged``, ``refused``."""
    detail: str = ""


class SyncReport(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What one sync found and did."""

    v: int = 1
    source: str
    """The folder or repository, without credentials."""
    commit: str | None = None
    started_at: datetime
    finished_at: datetime
    ok: bool
    error: str | None = None
    changes: tuple[PipelineChange, ...] = ()
    pipelines: int = 0
    """How many are listed now."""


class SyncStatus(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """Stored under ``sync.status``: the newest report, the newest good one, and the last ones, newest first."""

    v: int = 1
    last: SyncReport
    live: SyncReport | None = None
    history: tuple[SyncReport, ...] = ()
    write_id: str = ""


TRIGGER_TYPE = "application/vnd.fastflow.trigger+json"
REPLY_HEADER = "Ff-Reply"
"""Header of a trigger: a core subject that wants the ``Decision``."""

PRESENCE_S = 5.0
"""How often a runner renews its presence."""

RUN = Codec(Run)
RUN_INPUT = Codec(RunInput)
PIPELINE = Codec(PipelineRecord)
TRIGGER = Codec(Trigger)
DECISION: Codec[Decision] = Codec(Decision)  # type: ignore[arg-type]
SKIP = Codec(Skip)
HINT = Codec(Hint)
PRESENCE = Codec(Presence)
SAMPLE = Codec(Sample)
SYNC_REPORT = Codec(SyncReport)
SYNC_STATUS = Codec(SyncStatus)
CANCEL = Codec(Cancel)
