"""Every subject and key on the bus, built and parsed here and nowhere else. Pure.

Tokens: a pipeline's name is encoded by ``names.token``; run ids and attempt numbers are tokens as they are. Every
text that becomes a token has a bound, because a server closes the connection of a client that sends a longer line.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Literal, NamedTuple

from fastflow_contracts.ids import RunId, check_run_id
from fastflow_contracts.names import BadName, BadToken, PipelineName, check_name, name_of, text_of, token

Kind = Literal["script", "notebook"]

TRIGGERS = "ff.trigger.*"
"""Anyone starts a run: what such a message says of itself is not believed."""

STARTS = "ff.start.*"
"""Gateways start a run, and say who asked for it. No other user may publish here."""

CALLS = "ff.call.*"
"""Core requests: anyone starts a run, and a gateway replies when it is over."""

COMMANDS = "ff.command.run.>"
WORK = "ff.work.>"
LOGS = "ff.log.>"
CELLS = "ff.cell.>"
METRICS = "ff.metric.>"
SKIPS = "ff.skipped.>"
NOTICES = ("ff.dead.>", SKIPS)
RUN_EVENTS = "ff.event.run.*.*"
RESULTS = "ff.result.>"
"""Core messages: runners say which result a run has, once its record says so."""
SYNC = "ff.sync.request"
"""Core request: any syncer answers with its report."""

TOLD = "ff_stored"
"""Prefix of the subjects on which the server says what it has stored."""

BEATS = "ff.scheduler.beat"
"""Core messages between schedulers: each says that it fires slots."""

DRAINS = "ff.drain.*"
"""Core messages: the named runner finishes its runs and ends."""

INBOX = "_INBOX"
"""Prefix of the subjects for answers."""
INBOX_CHARACTERS_MAX = 255
_PLAIN = r"[!-)+-\-/-=?-~]+"  # printable ASCII without . * >
_INBOX = re.compile(rf"{INBOX}(_{_PLAIN})?(\.{_PLAIN})+")

TOKEN_CHARACTERS_MAX = 1536
"""Longest token: an id of 128 characters takes no more, whatever they are."""
SUBJECT_BYTES_MAX = 2048
"""Longest subject that a client of ours sends. With its inbox it fits well into a line of the server (4,096)."""
CHUNK_DIGITS_MAX = 6
ODD_CHARACTERS_MAX = 200
"""A skip's token that names no pipeline is kept as it is up to this length."""

RUNS = "ff_runs"
INPUTS = "ff_inputs"
PIPELINES = "ff_pipelines"
RUNNERS = "ff_runners"
SCHEDULES = "ff_schedules"
BUNDLES = "ff_bundles"
LINKS = "ff_links"
SESSIONS = "ff_sessions"
OPERATIONS = "ff_operations"

RUN_KEYS = "run.>"
INPUT_KEYS = "input.>"
"""In the bucket of the inputs; those of runs that older versions created are in the bucket of the runs."""
RESULT_KEYS = "result.*.*"
"""In the bucket of the runs, so that one batch writes a result and the end of its run."""
INSTANCES_KEYS = "limit.instances.*"
CHAIN_KEYS = "limit.chain.*"
LIMIT_KEYS = "limit.>"
PIPELINE_KEYS = "pipeline.*"
VERSION_KEYS = "version.*.*"
"""In the bucket of the pipelines. Syncers write them."""
RUNNER_KEYS = "runner.*"
RUNNER_ID_PATTERN = r"[A-Za-z0-9_=/-]{1,200}"
SERVICE_KEYS = "service.*.*"
"""In the bucket of the runners: what other services say of themselves."""
LINK_KEYS = "links.*"
SPENT_KEYS = "spent.*"
OPERATION_KEYS = "operation.*"
"""Gateways create them, schedulers carry them on."""
OPERATION_ITEM_KEYS = "items.*.*"
SCHEDULE_STATE_KEYS = "sched.>"
"""Schedulers write them."""
SCHEDULE_SWITCH_KEYS = "switch.>"
"""Gateways write them, for people."""
CURSOR_KEYS = "cursor.*.*"
"""How far the messages of each trigger are read."""
PAUSE_KEY = "pause"
"""In the bucket of the schedules: what people paused. Gateways write it."""
SYNC_STATUS_KEY = "sync.status"
PROBE_KEY = "probe"
"""Key in several buckets. Gateways write it to see whether its stream stores anything; nobody reads it."""
INSTALLATION_KEY = "installation"
"""Key in the pipelines' bucket. Its value is random, made once, and separates installations on one Docker daemon."""


class RunRef(NamedTuple):
    """The address of a run: its pipeline and its id."""

    pipeline: PipelineName
    run_id: RunId


class JobRef(NamedTuple):
    """One schedule of one pipeline: what people call a scheduler's job."""

    pipeline: PipelineName
    schedule: str
    """``Schedule.id``."""


class TriggerRef(NamedTuple):
    """One of the ``triggers`` of one pipeline."""

    pipeline: PipelineName
    trigger: str
    """Its id."""


class ItemsRef(NamedTuple):
    """Some of the items of one operation."""

    operation: RunId
    chunk: int


class VersionRef(NamedTuple):
    """One version of one pipeline."""

    pipeline: PipelineName
    version: str
    """``versions.version_id``."""


class ServiceRef(NamedTuple):
    """One process of a service."""

    service: str
    """``scheduler`` or ``syncer``."""
    id: str


def value_subject(bucket: str, key: str) -> str:
    """Return the subject of the values of *key*; *key* may have wildcards."""
    return f"$KV.{bucket}.{key}"


def value_key(bucket: str, subject: str) -> str:
    """Return the key whose values are stored on *subject*."""
    return subject.removeprefix(f"$KV.{bucket}.")


def told_on(subject: str) -> str:
    """Return the filter of what the server says when it has stored a message on *subject*, a filter.

    A stream repeats its messages only once. So for the records of runs that is what everybody may follow, and nothing
    is said about other keys of their bucket.
    """
    runs = value_subject(RUNS, "run.")
    return f"ff.event.run.{subject.removeprefix(runs)}" if subject.startswith(runs) else f"{TOLD}.{subject}"


def object_note(store: str, name: str) -> str:
    """Return the subject of the metadata of the object *name*."""
    return f"$O.{store}.M.{_bounded(base64.urlsafe_b64encode(name.encode()).decode())}"


def object_notes(store: str) -> str:
    """Return the filter of all objects' metadata."""
    return f"$O.{store}.M.>"


def object_chunks(store: str, upload: str) -> str:
    """Return the subject of the chunks of one upload."""
    return f"$O.{store}.C.{_bounded(upload)}"


def trigger(pipeline: PipelineName) -> str:
    return f"ff.trigger.{_token(pipeline)}"


def start(pipeline: PipelineName) -> str:
    return f"ff.start.{_token(pipeline)}"


def is_start(subject: str) -> bool:
    """Whether only a service can have published there."""
    return subject.startswith("ff.start.")


def parse_call(subject: str) -> PipelineName:
    """Return the pipeline of a call's subject. Raises ``BadToken`` or ``BadName``."""
    return name_of(subject.removeprefix("ff.call."))


def trigger_token(subject: str) -> str:
    """Return the last token of a trigger or start: a pipeline's, if it is valid (``names.name_of`` decides)."""
    return subject.removeprefix("ff.trigger.").removeprefix("ff.start.")


def command(run: RunRef) -> str:
    return f"ff.command.run.{_token(run.pipeline)}.{run.run_id}"


def parse_command(subject: str) -> RunRef:
    return _ref(subject, "ff.command.run.")


def work(kind: Kind, run: RunRef, attempt: int) -> str:
    """Return the subject of the hint for an attempt: the bus keeps at most one message on each."""
    return f"ff.work.{kind}.{_token(run.pipeline)}.{run.run_id}.{attempt}"


def work_of(kind: Kind) -> str:
    """Return the filter of all hints of *kind*."""
    return f"ff.work.{kind}.>"


def any_work_of(kind: Kind) -> str:
    """Return the subject on which older versions put all hints of *kind*."""
    return f"ff.work.{kind}"


def parse_work(subject: str) -> tuple[RunId, int]:
    """Return the run and the attempt of a hint's subject. Raises ``BadRunId`` for one that is none."""
    _, run_id, attempt = f"..{subject}".rsplit(".", 2)
    return check_run_id(run_id), int(attempt) if attempt.isascii() and attempt.isdecimal() else 0


def log(run: RunRef, attempt: int) -> str:
    return f"ff.log.{_token(run.pipeline)}.{run.run_id}.{attempt}"


def logs_of(run: RunRef) -> str:
    """Return the filter of the logs of all attempts of *run*."""
    return f"ff.log.{_token(run.pipeline)}.{run.run_id}.*"


def attempt_of_log(subject: str) -> int:
    return int(subject.rsplit(".", 1)[1])


def cell(run: RunRef, attempt: int) -> str:
    return f"ff.cell.{_token(run.pipeline)}.{run.run_id}.{attempt}"


def cells_of(run: RunRef) -> str:
    """Return the filter of the cell events of all attempts of *run*."""
    return f"ff.cell.{_token(run.pipeline)}.{run.run_id}.*"


def metric(run: RunRef, attempt: int) -> str:
    return f"ff.metric.{_token(run.pipeline)}.{run.run_id}.{attempt}"


def metrics_of(run: RunRef) -> str:
    """Return the filter of the samples of all attempts of *run*."""
    return f"ff.metric.{_token(run.pipeline)}.{run.run_id}.*"


def dead_trigger(pipeline: str, run_id: RunId) -> str:
    """Where the whole message of a refused start is kept. *pipeline*: as in its skip."""
    return f"ff.dead.trigger.{_skip_token(pipeline)}.{run_id}"


def skipped(pipeline: str, run_id: RunId) -> str:
    """Where the skip of a refused start is kept. *pipeline*: as in the skip."""
    return f"ff.skipped.{_skip_token(pipeline)}.{run_id}"


def _skip_token(pipeline: str) -> str:
    """The token of *pipeline*. What came in a subject and is no pipeline's stays as it is if it is short and plain."""
    try:
        return _token(check_name(pipeline))
    except BadName:
        is_plain = len(pipeline) <= ODD_CHARACTERS_MAX and re.fullmatch(_PLAIN, pipeline)
    return pipeline if is_plain else f"={hashlib.sha256(pipeline.encode('utf-8', 'surrogatepass')).hexdigest()}"


def run_event(run: RunRef) -> str:
    """Return the subject on which the bus repeats every change of the run's record."""
    return f"ff.event.run.{_token(run.pipeline)}.{run.run_id}"


def result(run: RunRef) -> str:
    """Return the subject on which the result of *run* is told."""
    return f"ff.result.{_token(run.pipeline)}.{run.run_id}"


def result_key(run: RunRef) -> str:
    return f"result.{_token(run.pipeline)}.{run.run_id}"


def version_key(version: VersionRef) -> str:
    return f"version.{_token(version.pipeline)}.{_token(version.version)}"


def version_keys_of(pipeline: PipelineName) -> str:
    """Return the filter of the keys of all versions of *pipeline*."""
    return f"version.{_token(pipeline)}.*"


def parse_version_key(key: str) -> VersionRef:
    """Return the version in a key. Raises ``BadToken`` or ``BadName``."""
    pipeline, _, version = key.removeprefix("version.").partition(".")
    return VersionRef(name_of(pipeline), text_of(version))


def run_key(run: RunRef) -> str:
    return f"run.{_token(run.pipeline)}.{run.run_id}"


def parse_run_key(key: str) -> RunRef:
    return _ref(key, "run.")


def input_key(run: RunRef) -> str:
    return f"input.{_token(run.pipeline)}.{run.run_id}"


def parse_input_key(key: str) -> RunRef:
    return _ref(key, "input.")


def run_keys_of(pipeline: PipelineName) -> str:
    """Return the filter of the records of all runs of *pipeline*."""
    return f"run.{_token(pipeline)}.*"


def run_key_of_any_pipeline(run_id: RunId) -> str:
    """Return the filter that matches only the record with this id."""
    return f"run.*.{run_id}"


def pipeline_key(pipeline: PipelineName) -> str:
    return f"pipeline.{_token(pipeline)}"


def parse_pipeline_key(key: str) -> PipelineName:
    return name_of(key.removeprefix("pipeline."))


def any_name_in_pipeline_key(key: str) -> PipelineName:
    """Return the name in a key, even an invalid one: the record of a folder says why. Raises ``BadToken``."""
    return PipelineName(text_of(key.removeprefix("pipeline.")))


def links_key(pipeline: PipelineName) -> str:
    """Return the key of the links of *pipeline* that were made through the API."""
    return f"links.{_token(pipeline)}"


def parse_links_key(key: str) -> PipelineName:
    return name_of(key.removeprefix("links."))


def spent_key(spent_id: str) -> str:
    """Return the key of a signed text that counts no more."""
    return f"spent.{_bounded(spent_id)}"


def parse_spent_key(key: str) -> str:
    return key.removeprefix("spent.")


def operation_key(operation: RunId) -> str:
    return f"operation.{operation}"


def parse_operation_key(key: str) -> RunId:
    """Return the operation in a key. Raises ``BadRunId``."""
    return check_run_id(key.removeprefix("operation."))


def operation_items_key(items: ItemsRef) -> str:
    return f"items.{items.operation}.{items.chunk}"


def parse_operation_items_key(key: str) -> ItemsRef:
    """Return the items in a key. Raises ``BadRunId`` or ``BadToken``."""
    operation, _, chunk = key.removeprefix("items.").partition(".")
    if not (chunk.isascii() and chunk.isdecimal()) or len(chunk) > CHUNK_DIGITS_MAX:
        raise BadToken(f"{key[:200]!r} names no items of an operation.")
    return ItemsRef(check_run_id(operation), int(chunk))


def runner_key(runner_id: str) -> str:
    return f"runner.{_bounded(runner_id)}"


def parse_runner_key(key: str) -> str:
    """Return the runner in a key. Raises ``BadToken``."""
    runner = key.removeprefix("runner.")
    if not is_runner_id(runner):
        raise BadToken(f"{runner[:200]!r} is no runner's name.")
    return runner


def is_runner_id(text: str) -> bool:
    """Return whether *text* can be a runner's name. Any other text in a record names nobody."""
    return re.fullmatch(RUNNER_ID_PATTERN, text) is not None


def service_key(process: ServiceRef) -> str:
    return f"service.{process.service}.{_bounded(process.id)}"


def service_keys(service: str) -> str:
    """Return the filter of the keys of all processes of *service*."""
    return f"service.{_bounded(service)}.*"


def parse_service_key(key: str) -> ServiceRef:
    """Return the process in a key. Raises ``BadToken``."""
    if (found := re.fullmatch(r"service\.(scheduler|syncer)\.([0-9a-f]{32})", key)) is None:
        raise BadToken(f"{key[:200]!r} names no process of a service.")
    return ServiceRef(*found.groups())


def drain(runner_id: str) -> str:
    return f"ff.drain.{_bounded(runner_id)}"


def is_inbox(subject: str) -> bool:
    """Return whether an answer may be sent to *subject*.

    The requester chooses it, and our permissions may be wider than theirs. A server also closes the connection after
    an invalid subject or a very long line.
    """
    return len(subject) <= INBOX_CHARACTERS_MAX and _INBOX.fullmatch(subject) is not None


def job_id(job: JobRef) -> str:
    """Return the job as one segment of a URL or two tokens of a key."""
    return f"{_token(job.pipeline)}.{_token(job.schedule)}"


def parse_job_id(text: str) -> JobRef:
    """Return the job with this id. Raises ``BadToken`` or ``BadName``."""
    pipeline, _, schedule = text.partition(".")
    return JobRef(name_of(pipeline), text_of(schedule))


def schedule_state_key(job: JobRef) -> str:
    return f"sched.{job_id(job)}"


def schedule_switch_key(job: JobRef) -> str:
    return f"switch.{job_id(job)}"


def cursor_key(ref: TriggerRef) -> str:
    return f"cursor.{job_id(JobRef(*ref))}"


def parse_cursor_key(key: str) -> TriggerRef:
    """Return the trigger with this key. Raises ``BadToken`` or ``BadName``."""
    return TriggerRef(*parse_job_id(key.removeprefix("cursor.")))


def parse_schedule_state_key(key: str) -> JobRef:
    return parse_job_id(key.removeprefix("sched."))


def parse_schedule_switch_key(key: str) -> JobRef:
    return parse_job_id(key.removeprefix("switch."))


def _token(text: str) -> str:
    """Return ``names.token`` of *text*. Raises ``BadToken`` if it is too long for a subject."""
    return _bounded(token(text))


def _bounded(text: str) -> str:
    """Return *text*. Raises ``BadToken`` if it is too long to be a token."""
    if len(text) > TOKEN_CHARACTERS_MAX:
        raise BadToken(f"{text[:80]!r}… has {len(text):,} characters on the bus; use a shorter name.")
    return text


def _ref(text: str, prefix: str) -> RunRef:
    pipeline, _, run_id = text.removeprefix(prefix).rpartition(".")
    return RunRef(name_of(pipeline), check_run_id(run_id))


ALL_RUNNING = "limit.running"
"""Key of the set of all running runs, kept while MAX_CONCURRENT_RUNS is set."""


def instances_key(pipeline: PipelineName) -> str:
    """Key of the set of a pipeline's pending and running runs, kept while it has ``max_instances``."""
    return f"limit.instances.{_token(pipeline)}"


def turns_key(pipeline: PipelineName, token: str) -> str:
    """Key of the set of running runs that share a limit of ``concurrency``."""
    return f"limit.turns.{_token(pipeline)}.{token}"


def starts_key(pipeline: PipelineName, token: str) -> str:
    """Key of the set of pending and running runs that share a limit that rejects."""
    return f"limit.starts.{_token(pipeline)}.{token}"


def chain_key(root: RunId) -> str:
    """Key of the count of the runs in the chain that began with *root*."""
    return f"limit.chain.{root}"
