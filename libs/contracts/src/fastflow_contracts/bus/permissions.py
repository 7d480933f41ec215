"""Who may publish and read what on the bus: one user for each service, one for programs outside. Pure.

Every user has its own inbox prefix, so only the requester reads an answer, and its own account (``access.accounts``),
so an answer reaches nobody else whatever subject the requester names. Only the administrator creates, changes and
removes streams and consumers: a consumer delivers to any subject that its creator names. Services read streams
directly, and take work from the consumers that are there.

Limits of this layer: a user that may write runs may write any run; a user that may read a stream may read all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple, assert_never

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.streams import bucket_stream, object_stream
from fastflow_contracts.bus.subjects import told_on


class User(Enum):
    """A user of the bus."""

    SYNCER = "syncer"
    SCHEDULER = "scheduler"
    RUNNER = "runner"
    GATEWAY = "gateway"
    OUTSIDE = "outside"
    """Programs that start runs, call them and follow them."""


PROBED: Final = (subjects.RUNS, subjects.INPUTS, subjects.RUNNERS)
"""Buckets to which a gateway writes to see whether they store anything."""
SERVICES: Final = tuple(user for user in User if user is not User.OUTSIDE)
ADMIN: Final = "fastflow"
"""The administrator is not a ``User``: it may do everything, creates streams, and is the user of the command."""
DEVICE: Final = "mqtt"
"""The user of devices on MQTT, if there are any. It is not a ``User``: it reaches nothing outside its account."""
ADMIN_INBOX: Final = f"{subjects.INBOX}_{ADMIN}"
"""The outside can read the common inboxes, so the administrator has its own."""


class Grant(NamedTuple):
    """Subjects, wildcards included."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def inbox(user: User) -> str:
    """Return the prefix of the subjects for responses to *user*. The outside's is the default of every client."""
    return subjects.INBOX if user is User.OUTSIDE else f"{subjects.INBOX}_{user.value}"


_INSIDE: Final = (f"{inbox(User.GATEWAY)}.>", f"{ADMIN_INBOX}.>")
"""Where a scheduler or a syncer sends its answers. (The server's own ``allow_responses`` would let it answer on any
subject that a request names, with its own rights.)
"""


_SCHEDULER_FOLLOWS: Final = (
    subjects.RUNS,
    subjects.PIPELINES,
    subjects.RUNNERS,
    subjects.SCHEDULES,
    subjects.OPERATIONS,
)
_GATEWAY_FOLLOWS: Final = (*_SCHEDULER_FOLLOWS, subjects.LINKS, subjects.SESSIONS)
_GATEWAY_READS: Final = (streams.LOGS, streams.CELLS, streams.METRICS, streams.NOTICES)


def grant(user: User, *, published: Iterable[str] = ()) -> Grant:
    """Return all permissions of *user*. It needs every one.

    *published*: subjects of other programs, for triggers, on which programs outside may publish, too.
    """
    mine = (f"{inbox(user)}.>",)
    match user:
        case User.OUTSIDE:
            return Grant(
                publish=(subjects.TRIGGERS, subjects.CALLS, *published),
                subscribe=("ff.event.>", subjects.RESULTS, *mine),
            )
        case User.SYNCER:
            return Grant(
                publish=(
                    *_verifying(),
                    *_keys(subjects.PIPELINES, subjects.PIPELINE_KEYS, subjects.VERSION_KEYS, subjects.SYNC_STATUS_KEY),
                    *_getting(
                        subjects.PIPELINES, subjects.PIPELINE_KEYS, subjects.VERSION_KEYS, subjects.SYNC_STATUS_KEY
                    ),
                    *_removing(subjects.PIPELINES),
                    *_keys(subjects.RUNNERS, subjects.service_keys(user.value)),
                    *_reading(bucket_stream(subjects.PIPELINES), bucket_stream(subjects.RUNS)),
                    *_objects(subjects.BUNDLES),
                    *_object_writes(subjects.BUNDLES),
                    *_INSIDE,
                ),
                subscribe=(subjects.SYNC, *mine),
            )
        case User.SCHEDULER:
            return Grant(
                publish=(
                    *_verifying(),
                    *_keys(subjects.RUNS, subjects.RUN_KEYS, subjects.LIMIT_KEYS),
                    *_keys(subjects.INPUTS, subjects.INPUT_KEYS),
                    *_keys(
                        subjects.SCHEDULES,
                        subjects.SCHEDULE_STATE_KEYS,
                        subjects.SCHEDULE_SWITCH_KEYS,
                        subjects.CURSOR_KEYS,
                    ),
                    *_keys(subjects.RUNNERS, subjects.service_keys(user.value)),
                    *_keys(subjects.OPERATIONS, subjects.OPERATION_KEYS),
                    subjects.WORK,
                    subjects.BEATS,
                    *subjects.NOTICES,
                    *_getting(subjects.RUNS, subjects.RUN_KEYS, subjects.INPUT_KEYS, subjects.LIMIT_KEYS),
                    *_getting(subjects.INPUTS, subjects.INPUT_KEYS),
                    *_keys(subjects.PIPELINES, subjects.PIPELINE_KEYS),  # a rollback
                    *_getting(subjects.PIPELINES, subjects.PIPELINE_KEYS, subjects.VERSION_KEYS),
                    *_getting(subjects.SCHEDULES, subjects.SCHEDULE_STATE_KEYS, subjects.CURSOR_KEYS),
                    *_getting(subjects.LINKS, subjects.LINK_KEYS),
                    *_getting(subjects.OPERATIONS, subjects.OPERATION_KEYS, subjects.OPERATION_ITEM_KEYS),
                    *_newest(streams.NOTICES, *subjects.NOTICES),
                    # Triggers read any stream. A narrower subject beside these would be asked twice.
                    "$JS.API.STREAM.NAMES",
                    *_finding("*"),
                    *_reading("*"),
                    *_working(streams.SCHEDULER, streams.STARTS),
                    *_removing(subjects.RUNS),
                    *_removing(subjects.INPUTS),
                    *_objects(subjects.ARTIFACTS),
                    *_object_removals(subjects.ARTIFACTS),
                    *_objects(subjects.STATES),
                    *_object_removals(subjects.STATES),
                    *_INSIDE,
                    f"{inbox(User.OUTSIDE)}.>",
                ),
                subscribe=(
                    subjects.BEATS,
                    *_told(subjects.RUNS, subjects.RUN_KEYS),
                    *_told(subjects.PIPELINES, subjects.PIPELINE_KEYS),
                    *_told(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    *_told(
                        subjects.SCHEDULES,
                        subjects.SCHEDULE_STATE_KEYS,
                        subjects.SCHEDULE_SWITCH_KEYS,
                        subjects.PAUSE_KEY,
                    ),
                    *_told(subjects.OPERATIONS, subjects.OPERATION_KEYS),
                    *mine,
                ),
            )
        case User.RUNNER:
            return Grant(
                publish=(
                    *_verifying(),
                    *_keys(
                        subjects.RUNS,
                        subjects.RUN_KEYS,
                        subjects.LIMIT_KEYS,
                        subjects.RESULT_KEYS,
                        subjects.ARTIFACTS_KEYS,
                        subjects.STATE_KEYS,
                    ),
                    subjects.RESULTS,
                    *_keys(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    subjects.LOGS,
                    subjects.CELLS,
                    subjects.METRICS,
                    *_getting(subjects.RUNS, subjects.RUN_KEYS, subjects.INPUT_KEYS, subjects.LIMIT_KEYS),
                    *_getting(subjects.INPUTS, subjects.INPUT_KEYS),
                    *_getting(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    *_getting(subjects.PIPELINES, subjects.INSTALLATION_KEY),
                    *_finding(bucket_stream(subjects.RUNS), streams.LOGS, streams.CELLS),
                    *_finding(bucket_stream(subjects.SCHEDULES)),
                    *_reading(bucket_stream(subjects.RUNS), bucket_stream(subjects.PIPELINES)),
                    *_objects(subjects.BUNDLES),
                    *_objects(subjects.ARTIFACTS),
                    f"$O.{subjects.ARTIFACTS}.C.>",  # the scheduler removes
                    f"$O.{subjects.ARTIFACTS}.M.>",
                    *_objects(subjects.STATES),
                    *_object_writes(subjects.STATES),
                    *_working("script", "notebook"),
                    *_reading(streams.WORK),
                    *_taking(streams.WORK),
                ),
                subscribe=(
                    subjects.RUN_EVENTS,
                    told_on(subjects.LABELLED_WORK),
                    subjects.DRAINS,
                    *_told(subjects.PIPELINES, subjects.PIPELINE_KEYS),
                    *mine,
                ),
            )
        case User.GATEWAY:
            return Grant(
                publish=(
                    *_verifying(),
                    subjects.STARTS,
                    subjects.TRIGGERS,  # of an older gateway, until it is replaced
                    subjects.COMMANDS,
                    subjects.SYNC,
                    subjects.DRAINS,
                    *subjects.NOTICES,
                    *_keys(subjects.SCHEDULES, subjects.SCHEDULE_SWITCH_KEYS, subjects.PAUSE_KEY),
                    *_getting(subjects.SCHEDULES, subjects.PAUSE_KEY),
                    *_keys(subjects.LINKS, subjects.LINK_KEYS),
                    *(key for bucket in PROBED for key in _keys(bucket, subjects.PROBE_KEY)),
                    *_keys(subjects.SESSIONS, subjects.SPENT_KEYS),
                    *_keys(subjects.OPERATIONS, subjects.OPERATION_KEYS, subjects.OPERATION_ITEM_KEYS),
                    *_getting(subjects.OPERATIONS, subjects.OPERATION_KEYS),
                    *_keys(subjects.PIPELINES, subjects.PIPELINE_KEYS),  # a pin
                    *_getting(subjects.PIPELINES, subjects.PIPELINE_KEYS, subjects.VERSION_KEYS),
                    *_getting(subjects.LINKS, subjects.LINK_KEYS),
                    *_getting(subjects.SESSIONS, subjects.SPENT_KEYS),
                    *_getting(subjects.RUNS, subjects.INPUT_KEYS),
                    *_getting(subjects.INPUTS, subjects.INPUT_KEYS),  # the event of a run; one at a time, never all
                    *_finding(bucket_stream(subjects.RUNS)),
                    *_reading(*map(bucket_stream, _GATEWAY_FOLLOWS), *_GATEWAY_READS),
                    *_newest(streams.NOTICES, *subjects.NOTICES),
                    *_objects(subjects.BUNDLES),
                    *_objects(subjects.ARTIFACTS),
                    *_keys(subjects.RUNS, subjects.STATE_KEYS),  # a reset
                    *_objects(subjects.STATES),
                    *_object_removals(subjects.STATES),
                    f"{inbox(User.OUTSIDE)}.>",
                    f"{ADMIN_INBOX}.>",
                ),
                subscribe=(
                    subjects.CALLS,
                    *_told(subjects.RUNS, subjects.RUN_KEYS, subjects.ALL_RUNNING),
                    *_told(subjects.PIPELINES, subjects.PIPELINE_KEYS, subjects.SYNC_STATUS_KEY),
                    *_told(subjects.RUNNERS, subjects.RUNNER_KEYS, subjects.SERVICE_KEYS),
                    *_told(
                        subjects.SCHEDULES,
                        subjects.SCHEDULE_STATE_KEYS,
                        subjects.SCHEDULE_SWITCH_KEYS,
                        subjects.CURSOR_KEYS,
                        subjects.PAUSE_KEY,
                    ),
                    *_told(subjects.LINKS, subjects.LINK_KEYS),
                    *_told(subjects.SESSIONS, subjects.SPENT_KEYS),
                    *_told(subjects.OPERATIONS, subjects.OPERATION_KEYS),
                    *map(told_on, (subjects.LOGS, subjects.CELLS, subjects.METRICS, subjects.SKIPS)),
                    *mine,
                ),
            )
        case _:
            assert_never(user)


def _verifying() -> Iterable[str]:
    """Check that streams and durable consumers exist, and their configuration."""
    yield "$JS.API.STREAM.INFO.*"
    yield "$JS.API.CONSUMER.INFO.*.*"


def _keys(bucket: str, *keys: str) -> Iterable[str]:
    """Write *keys*."""
    for each in keys:
        yield f"$KV.{bucket}.{each}"


def _getting(bucket: str, *keys: str) -> Iterable[str]:
    """Read the newest value of one of *keys*. The key is part of the request's subject."""
    yield from _newest(bucket_stream(bucket), *_keys(bucket, *keys))


def _newest(stream: str, *read: str) -> Iterable[str]:
    """Read the newest message on one of these subjects of *stream*."""
    for subject in read:
        yield f"$JS.API.DIRECT.GET.{stream}.{subject}"


def _finding(*names: str) -> Iterable[str]:
    """Ask a stream's leader for its newest message on a subject. The subject is in the request's body."""
    for name in names:
        yield f"$JS.API.STREAM.MSG.GET.{name}"


def _removing(bucket: str) -> Iterable[str]:
    """Remove old values permanently. The key is in the request's body."""
    yield f"$JS.API.STREAM.PURGE.{bucket_stream(bucket)}"


def _reading(*names: str) -> Iterable[str]:
    """Read any messages of a stream, many at once. What is wanted is in the request's body."""
    for name in names:
        yield f"$JS.API.DIRECT.GET.{name}"


def _told(bucket: str, *keys: str) -> Iterable[str]:
    """Hear what is stored under *keys*."""
    for subject in _keys(bucket, *keys):
        yield told_on(subject)


def _working(*consumers: str) -> Iterable[str]:
    """Take work from durable consumers and acknowledge it."""
    for stream, config in streams.CONSUMERS:
        if config.name in consumers:
            yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{config.name}"
            yield f"$JS.ACK.{stream}.{config.name}.>"


def _taking(*names: str) -> Iterable[str]:
    """Remove one message, by which a reader takes it. Its sequence is in the request's body."""
    for name in names:
        yield f"$JS.API.STREAM.MSG.DELETE.{name}"


def _objects(bucket: str) -> Iterable[str]:
    """Read objects."""
    yield from _finding(object_stream(bucket))
    yield from _reading(object_stream(bucket))


def _object_removals(bucket: str) -> Iterable[str]:
    """Remove objects."""
    yield f"$O.{bucket}.C.>"  # before a purge, see ``ObjectStore``
    yield f"$JS.API.STREAM.PURGE.{object_stream(bucket)}"


def _object_writes(bucket: str) -> Iterable[str]:
    """Write and remove objects."""
    yield f"$O.{bucket}.C.>"
    yield f"$O.{bucket}.M.>"
    yield f"$JS.API.STREAM.PURGE.{object_stream(bucket)}"
