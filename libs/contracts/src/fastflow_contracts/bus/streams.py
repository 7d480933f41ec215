"""The topology of the bus: every stream, bucket and durable consumer, with its limits.

``ensure`` creates and updates it and is safe to repeat; the embedded bus and ``fastflow bus ensure`` call it. Services
only call ``verify``. Nothing exists on the bus that is not declared here.
"""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Final

from nats.errors import Error, NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, BadRequestError, NotFoundError, ServiceUnavailableError

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.subjects import told_on
from fastflow_contracts.errors import FastFlowError

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB
DAY_S: Final = 86_400.0

PAYLOAD_BYTES_MAX: Final = 4 * MIB
"""Size of the largest message. The embedded server is configured for it; an external server must allow it too."""
DEDUP_S: Final = 120.0
"""An optimisation only: the bus forgets message ids when it restarts, so no guarantee depends on this window."""
TRIGGER_DEDUP_S: Final = 0.1
"""The smallest window that a server accepts. A message id counts for the whole stream: within the window, the server
drops a message with the same id for another pipeline, or for the same pipeline after a skip. Repeats are recognised
without the window, because a run's id is derived from the key.
"""

TRIGGER_BYTES_MAX: Final = PAYLOAD_BYTES_MAX - 64 * 1024
"""Size of the largest trigger: if it is refused, the whole message must fit into a dead letter, which adds headers."""

HINT_S: Final = 3.0
"""Seconds until an unanswered hint goes to another runner, because the first may have died. If the first is alive,
the second claim changes nothing.
"""

TRIGGERS: Final = "FF_TRIGGERS"
COMMANDS: Final = "FF_COMMANDS"
WORK: Final = "FF_WORK"
LOGS: Final = "FF_LOGS"
CELLS: Final = "FF_CELLS"
METRICS: Final = "FF_METRICS"
NOTICES: Final = "FF_NOTICES"

SCHEDULER: Final = "scheduler"
"""The durable consumer of triggers, commands and run changes, shared by all schedulers."""
STARTS: Final = "starts"
"""The durable consumer of starts by services. It is not that of triggers: a scheduler that does not know the subject
must not take from it.
"""

_INSTALLATION: Final = re.compile("[a-z0-9]{8,64}")

RUN_HISTORY: Final = 16
RUN_AGE_S: Final = 90 * DAY_S
LOG_AGE_S: Final = 30 * DAY_S
OPERATION_AGE_S: Final = 30 * DAY_S
ARTIFACTS_BYTES: Final = 8 * GIB
"""Size of the store of artifacts. A full one takes no more: it never drops what a run refers to."""


_TELLING: Final = RePublish(src=">", dest=f"{subjects.TOLD}.>", headers_only=True)
"""Tells followers what is stored (``subjects.told_on``)."""


def bucket_stream(bucket: str) -> str:
    """Return the name of the stream behind a key-value bucket."""
    return f"KV_{bucket}"


def object_stream(bucket: str) -> str:
    """Return the name of the stream behind an object-store bucket."""
    return f"OBJ_{bucket}"


_STORE_FAILED: Final = (10049, 10077)
"""What the server answers if it cannot make the files of a stream."""
_NO_STORE: Final = (
    "; see whether the server's folder (store_dir) has room, also for more files (df -i), and is writable."
)
_NO_SPACE: Final = (10023, 10047)
"""What the server answers if the bounds of all streams are together more than it may store."""


class WrongTopology(FastFlowError):
    """A stream or consumer is missing on the bus, or has the wrong configuration."""


def _bucket(
    name: str, *, history: int, bytes_max: int, value_bytes_max: int, age_s: float = 0, allow_atomic: bool = False
) -> StreamConfig:
    return StreamConfig(
        name=bucket_stream(name),
        subjects=[f"$KV.{name}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_msgs_per_subject=history,
        max_bytes=bytes_max,
        max_msg_size=value_bytes_max,
        max_age=age_s,
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_direct=True,
        allow_msg_ttl=True,
        allow_atomic=allow_atomic or None,
        duplicate_window=DEDUP_S,
        republish=_TELLING,
    )


def _stream(
    name: str, subject_list: list[str], *, bytes_max: int, age_s: float, discard: DiscardPolicy
) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=subject_list,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=discard,
        max_bytes=bytes_max,
        max_age=age_s,
        max_msg_size=PAYLOAD_BYTES_MAX,
        allow_direct=True,
        duplicate_window=DEDUP_S,
        republish=_TELLING,
    )


def _objects(bucket: str, *, bytes_max: int) -> StreamConfig:
    return StreamConfig(
        name=object_stream(bucket),
        subjects=[f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=bytes_max,
        allow_rollup_hdrs=True,
        allow_direct=True,
        republish=_TELLING,
    )


def _work_queue(name: str, *subject_list: str, bytes_max: int) -> StreamConfig:
    config = _stream(name, list(subject_list), bytes_max=bytes_max, age_s=0, discard=DiscardPolicy.NEW)
    return replace(config, retention=RetentionPolicy.WORK_QUEUE, republish=None)


STREAMS: Final[tuple[StreamConfig, ...]] = (
    replace(
        _bucket(
            subjects.RUNS,
            history=RUN_HISTORY,
            bytes_max=4 * GIB,
            value_bytes_max=PAYLOAD_BYTES_MAX,
            age_s=RUN_AGE_S,
            allow_atomic=True,
        ),
        republish=RePublish(src=f"$KV.{subjects.RUNS}.run.*.*", dest="ff.event.run.{{wildcard(1)}}.{{wildcard(2)}}"),
    ),
    _bucket(
        subjects.INPUTS,
        history=1,
        bytes_max=2 * GIB,
        value_bytes_max=PAYLOAD_BYTES_MAX,
        age_s=RUN_AGE_S,
        allow_atomic=True,
    ),
    _bucket(subjects.PIPELINES, history=5, bytes_max=GIB // 2, value_bytes_max=MIB, allow_atomic=True),
    _bucket(subjects.RUNNERS, history=1, bytes_max=64 * MIB, value_bytes_max=MIB // 4, age_s=DAY_S),
    _bucket(subjects.SCHEDULES, history=1, bytes_max=32 * MIB, value_bytes_max=MIB // 64, allow_atomic=True),
    _bucket(subjects.LINKS, history=5, bytes_max=16 * MIB, value_bytes_max=MIB // 4),
    _bucket(subjects.SESSIONS, history=1, bytes_max=16 * MIB, value_bytes_max=MIB // 64, age_s=DAY_S),
    _bucket(subjects.OPERATIONS, history=1, bytes_max=64 * MIB, value_bytes_max=MIB // 4, age_s=OPERATION_AGE_S),
    _objects(subjects.BUNDLES, bytes_max=4 * GIB),
    _objects(subjects.ARTIFACTS, bytes_max=ARTIFACTS_BYTES),
    _objects(subjects.STATES, bytes_max=4 * GIB),
    replace(
        _work_queue(TRIGGERS, subjects.TRIGGERS, subjects.STARTS, bytes_max=GIB),
        duplicate_window=TRIGGER_DEDUP_S,
        max_msg_size=TRIGGER_BYTES_MAX,
    ),
    _work_queue(COMMANDS, subjects.COMMANDS, bytes_max=64 * MIB),
    # One hint for each attempt: the server refuses a second one until the first is acknowledged.
    replace(
        _work_queue(WORK, subjects.WORK, bytes_max=256 * MIB),
        max_msgs_per_subject=1,
        discard_new_per_subject=True,
        republish=RePublish(src=subjects.LABELLED_WORK, dest=told_on(subjects.LABELLED_WORK), headers_only=True),
    ),
    _stream(LOGS, [subjects.LOGS], bytes_max=4 * GIB, age_s=LOG_AGE_S, discard=DiscardPolicy.OLD),
    _stream(CELLS, [subjects.CELLS], bytes_max=4 * GIB, age_s=LOG_AGE_S, discard=DiscardPolicy.OLD),
    _stream(METRICS, [subjects.METRICS], bytes_max=GIB // 2, age_s=7 * DAY_S, discard=DiscardPolicy.OLD),
    _stream(NOTICES, list(subjects.NOTICES), bytes_max=GIB, age_s=30 * DAY_S, discard=DiscardPolicy.OLD),
)


def stream_of(subject: str) -> str | None:
    """Return the stream that stores messages on *subject*; None: none does."""
    tokens = subject.split(".")
    for stream in STREAMS:
        for stored in stream.subjects or ():
            *wanted, last = stored.split(".")
            rest = tokens[len(wanted) :]
            if tokens[: len(wanted)] == wanted and (rest if last == ">" else len(rest) == 1):
                return stream.name
    return None


STORE_BYTES_MAX: Final = sum(stream.max_bytes or 0 for stream in STREAMS) + GIB
"""Disk space that the server needs for all streams, with a margin for its own files."""


def _consumer(name: str, subject: str, *, ack_wait_s: float, pending_max: int) -> ConsumerConfig:
    return ConsumerConfig(
        name=name,
        durable_name=name,
        filter_subject=subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_ack_pending=pending_max,
        max_deliver=-1,  # the records count attempts: the bus must never stop redelivering a message
    )


def _hints_of(kind: subjects.Kind) -> ConsumerConfig:
    consumer = _consumer(kind, "", ack_wait_s=HINT_S, pending_max=10_000)
    return replace(consumer, filter_subject=None, filter_subjects=[subjects.work_of(kind), subjects.any_work_of(kind)])


CONSUMERS: Final[tuple[tuple[str, ConsumerConfig], ...]] = (
    (TRIGGERS, _consumer(SCHEDULER, subjects.TRIGGERS, ack_wait_s=10.0, pending_max=1000)),
    (TRIGGERS, _consumer(STARTS, subjects.STARTS, ack_wait_s=10.0, pending_max=1000)),
    (COMMANDS, _consumer(SCHEDULER, subjects.COMMANDS, ack_wait_s=10.0, pending_max=1000)),
    (
        bucket_stream(subjects.RUNS),
        _consumer(SCHEDULER, f"$KV.{subjects.RUNS}.{subjects.RUN_KEYS}", ack_wait_s=10.0, pending_max=1000),
    ),
    (WORK, _hints_of("script")),
    (WORK, _hints_of("notebook")),
)


async def ensure(
    js: JetStreamContext, *, replicas: int = 1, installation: str = "", artifacts_bytes: int | None = None
) -> None:
    """Create missing streams and consumers, and update existing ones.

    Args:
        js: The JetStream context of the bus.
        replicas: Copies of every stream: 1 on a single server, 3 in a cluster.
        artifacts_bytes: Size of the store of artifacts; None keeps the one that the bus has.
        installation: The name of the installation; empty keeps the name that the bus has, or sets a random one.

    Raises:
        WrongTopology: The server refuses a change, or the bus belongs to another installation.
    """
    if installation and not _INSTALLATION.fullmatch(installation):
        raise WrongTopology("an installation's name is 8 to 64 characters of a-z and 0-9.")
    for stream in STREAMS:
        wanted = replace(stream, num_replicas=replicas)
        try:
            is_artifacts = wanted.name == object_stream(subjects.ARTIFACTS)
            if is_artifacts and artifacts_bytes is not None:
                wanted = replace(wanted, max_bytes=artifacts_bytes)
            try:
                found = await js.stream_info(stream.name or "")
            except NotFoundError:
                await js.add_stream(wanted)
            else:
                if is_artifacts and artifacts_bytes is None:
                    wanted = replace(wanted, max_bytes=found.config.max_bytes)
                await js.update_stream(wanted)
        except APIError as error:
            raise WrongTopology(
                f"the bus refused stream {wanted.name}: {error.description}"
                f"{_NO_STORE if error.err_code in _STORE_FAILED else ''}"
                f"{_too_small() if error.err_code in _NO_SPACE else ''}"
            ) from error
    await _name_installation(js, installation)
    for stream_name, consumer in CONSUMERS:  # last: a service that finds these has all it waits for
        try:
            await js.add_consumer(stream_name, consumer)
        except APIError as error:
            raise WrongTopology(
                f"the bus refused consumer {consumer.name} of {stream_name}: {error.description}"
            ) from error


def _too_small() -> str:
    return (
        f"; let the server store at least {STORE_BYTES_MAX / 1e9:.0f} GB (max_file_store; STORE_BYTES of the compose "
        "files), or make the store of artifacts smaller: `fastflow bus ensure --artifacts-bytes`."
    )


async def _name_installation(js: JetStreamContext, wanted: str) -> None:
    key = f"$KV.{subjects.PIPELINES}.{subjects.INSTALLATION_KEY}"
    name = (wanted or uuid.uuid4().hex).encode()
    with suppress(BadRequestError):  # the bus already has a name
        await js.publish(key, name, headers={"Nats-Expected-Last-Subject-Sequence": "0"})
    stored = (await js.get_last_msg(bucket_stream(subjects.PIPELINES), key)).data or b""
    if wanted and stored.decode() != wanted:
        raise WrongTopology(f"this bus belongs to the installation {stored.decode()}, not to {wanted}.")


async def verify(js: JetStreamContext) -> None:
    """Check that every stream exists with its subjects, and every consumer.

    Raises:
        WrongTopology: Something is missing.
        Unavailable: The bus does not answer.
    """
    missing = []
    try:
        for stream in STREAMS:
            assert stream.name is not None
            try:
                found = (await js.stream_info(stream.name)).config.subjects or ()
                missing += [f"subject {subject}" for subject in stream.subjects or () if subject not in found]
            except NotFoundError:
                missing.append(f"stream {stream.name}")
        for stream_name, consumer in CONSUMERS:
            assert consumer.name is not None
            try:
                await js.consumer_info(stream_name, consumer.name)
            except NotFoundError:
                missing.append(f"consumer {consumer.name} of {stream_name}")
    except (NoRespondersError, ServiceUnavailableError) as error:
        raise WrongTopology("the NATS server has no JetStream; start it with jetstream enabled.") from error
    except (Error, TimeoutError) as error:
        raise Unavailable("the bus does not answer about its streams; a cluster may be electing a leader.") from error
    if missing:
        raise WrongTopology(f"the bus lacks {', '.join(missing)}; run `fastflow bus ensure` once.")
