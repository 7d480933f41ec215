"""Who may publish and read what on the bus: one user for each service, one for programs outside. Pure.

Every user has its own inbox prefix, so only the requester reads an answer. A service reads a stream through temporary
consumers; a durable consumer belongs to one service and is denied to all others. Only the administrator creates,
changes and removes streams.

Limits of this layer: a user that may write runs may write any run; a user that may ask a stream's leader for one
message may ask for any; a user that reads through a consumer may deliver its messages to any subject.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple, assert_never

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.streams import bucket_stream, object_stream
from fastflow_contracts.bus.subjects import ALL_RUNNING


class User(Enum):
    """A user of the bus."""

    SYNCER = "syncer"
    SCHEDULER = "scheduler"
    RUNNER = "runner"
    GATEWAY = "gateway"
    OUTSIDE = "outside"
    """Programs that start runs and follow them."""


SERVICES: Final = tuple(user for user in User if user is not User.OUTSIDE)
ADMIN: Final = "fastflow"
"""The administrator is not a ``User``: it may do everything, creates streams, and is the user of the command."""
ADMIN_INBOX: Final = f"{subjects.INBOX}_{ADMIN}"
"""The outside can read the common inboxes, so the administrator has its own."""


class Grant(NamedTuple):
    """Subjects, wildcards included. A denial wins over a permission."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    publish_denied: tuple[str, ...] = ()


def inbox(user: User) -> str:
    """Return the prefix of the subjects for responses to *user*. The outside's is the default of every client."""
    return subjects.INBOX if user is User.OUTSIDE else f"{subjects.INBOX}_{user.value}"


_INSIDE: Final = (f"{inbox(User.GATEWAY)}.>", f"{ADMIN_INBOX}.>")
"""Where a scheduler or a syncer sends its answers. (The server's own ``allow_responses`` would let it answer on any
subject that a request names, with its own rights.)
"""


def grant(user: User) -> Grant:
    """Return all permissions of *user*. It needs every one."""
    mine = (f"{inbox(user)}.>",)
    match user:
        case User.OUTSIDE:
            return Grant(publish=(subjects.TRIGGERS,), subscribe=("ff.event.>", *mine))
        case User.SYNCER:
            return Grant(
                publish=(
                    *_verifying(),
                    *_keys(subjects.PIPELINES, subjects.PIPELINE_KEYS, subjects.SYNC_STATUS_KEY),
                    *_getting(subjects.PIPELINES, subjects.PIPELINE_KEYS, subjects.SYNC_STATUS_KEY),
                    *_following_keys(subjects.PIPELINES, subjects.PIPELINE_KEYS),
                    *_following_keys(subjects.RUNS, subjects.RUN_KEYS),
                    *_objects(subjects.BUNDLES),
                    *_object_writes(subjects.BUNDLES),
                    *_INSIDE,
                ),
                subscribe=(subjects.SYNC, *mine),
                publish_denied=_durables(),
            )
        case User.SCHEDULER:
            return Grant(
                publish=(
                    *_verifying(),
                    *_keys(subjects.RUNS, subjects.RUN_KEYS, subjects.INPUT_KEYS, subjects.LIMIT_KEYS),
                    *_keys(subjects.SCHEDULES, subjects.SCHEDULE_STATE_KEYS, subjects.SCHEDULE_SWITCH_KEYS),
                    subjects.WORK,
                    *subjects.NOTICES,
                    *_getting(subjects.RUNS, subjects.RUN_KEYS, subjects.INPUT_KEYS, subjects.LIMIT_KEYS),
                    *_getting(subjects.PIPELINES, subjects.PIPELINE_KEYS),
                    *_getting(subjects.SCHEDULES, subjects.SCHEDULE_STATE_KEYS),
                    *_getting(subjects.LINKS, subjects.LINK_KEYS),
                    *_newest(streams.NOTICES, *subjects.NOTICES),
                    *_finding(bucket_stream(subjects.RUNS)),
                    *_following_keys(subjects.RUNS, subjects.RUN_KEYS),
                    *_following_keys(subjects.PIPELINES, subjects.PIPELINE_KEYS),
                    *_following_keys(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    *_following_keys(subjects.SCHEDULES, ">"),
                    *_working(streams.SCHEDULER, streams.STARTS),
                    *_removing(subjects.RUNS),
                    *_INSIDE,
                    f"{inbox(User.OUTSIDE)}.>",
                ),
                subscribe=mine,
                publish_denied=_durables(streams.SCHEDULER, streams.STARTS),
            )
        case User.RUNNER:
            return Grant(
                publish=(
                    *_verifying(),
                    *_keys(subjects.RUNS, subjects.RUN_KEYS, subjects.LIMIT_KEYS),
                    *_keys(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    subjects.LOGS,
                    subjects.CELLS,
                    subjects.METRICS,
                    *_getting(subjects.RUNS, subjects.RUN_KEYS, subjects.INPUT_KEYS, subjects.LIMIT_KEYS),
                    *_getting(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    *_getting(subjects.PIPELINES, subjects.INSTALLATION_KEY),
                    *_finding(bucket_stream(subjects.RUNS), streams.LOGS, streams.CELLS),
                    *_following_keys(subjects.RUNS, subjects.RUN_KEYS),
                    *_following_keys(subjects.PIPELINES, subjects.PIPELINE_KEYS),
                    *_objects(subjects.BUNDLES),
                    *_working("script", "notebook"),
                ),
                subscribe=(subjects.RUN_EVENTS, subjects.DRAINS, *mine),
                publish_denied=_durables("script", "notebook"),
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
                    *_keys(subjects.SCHEDULES, subjects.SCHEDULE_SWITCH_KEYS),
                    *_keys(subjects.LINKS, subjects.LINK_KEYS),
                    *_keys(subjects.SESSIONS, subjects.SPENT_KEYS),
                    *_getting(subjects.PIPELINES, subjects.PIPELINE_KEYS),
                    *_getting(subjects.LINKS, subjects.LINK_KEYS),
                    *_getting(subjects.SESSIONS, subjects.SPENT_KEYS),
                    *_finding(bucket_stream(subjects.RUNS)),
                    *_following_keys(subjects.RUNS, subjects.RUN_KEYS, ALL_RUNNING),
                    *_following_keys(subjects.PIPELINES, ">"),
                    *_following_keys(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    *_following_keys(subjects.SCHEDULES, ">"),
                    *_following_keys(subjects.LINKS, subjects.LINK_KEYS),
                    *_following_keys(subjects.SESSIONS, subjects.SPENT_KEYS),
                    *_following(streams.LOGS, subjects.LOGS),
                    *_following(streams.CELLS, subjects.CELLS),
                    *_following(streams.METRICS, subjects.METRICS),
                    *_following(streams.NOTICES, subjects.SKIPS),
                    *_newest(streams.NOTICES, *subjects.NOTICES),
                    *_objects(subjects.BUNDLES),
                ),
                subscribe=mine,
                publish_denied=_durables(),
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


def _following_keys(bucket: str, *keys: str) -> Iterable[str]:
    return _following(bucket_stream(bucket), *_keys(bucket, *keys))


def _following(stream: str, *followed: str) -> Iterable[str]:
    """Follow subjects with own consumers. Their name and filter are part of the request's subject."""
    for subject in followed:
        yield f"$JS.API.CONSUMER.CREATE.{stream}.*.{subject}"
    yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*"
    yield f"$JS.API.CONSUMER.DELETE.{stream}.*"


def _working(*consumers: str) -> Iterable[str]:
    """Take work from durable consumers and acknowledge it."""
    for stream, config in streams.CONSUMERS:
        if config.name in consumers:
            yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{config.name}"
            yield f"$JS.ACK.{stream}.{config.name}.>"


def _durables(*but: str) -> tuple[str, ...]:
    """Take others' work, and change or remove any durable consumer, including its own."""
    denied = []
    for stream, config in streams.CONSUMERS:
        if config.name not in but:
            denied.append(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{config.name}")
        denied.append(f"$JS.API.CONSUMER.CREATE.{stream}.{config.name}.>")
        denied.append(f"$JS.API.CONSUMER.DELETE.{stream}.{config.name}")
    return tuple(denied)


def _objects(bucket: str) -> Iterable[str]:
    """Read objects, with a consumer without a name; the stream has no durable one that could be harmed."""
    stream = object_stream(bucket)
    yield f"$JS.API.CONSUMER.CREATE.{stream}"
    yield f"$JS.API.CONSUMER.DELETE.{stream}.*"
    yield f"$JS.FC.{stream}.>"
    yield from _finding(stream)


def _object_writes(bucket: str) -> Iterable[str]:
    """Write, remove and list objects."""
    yield f"$O.{bucket}.C.>"
    yield f"$O.{bucket}.M.>"
    yield f"$JS.API.STREAM.PURGE.{object_stream(bucket)}"
    yield from _following(object_stream(bucket), f"$O.{bucket}.M.>")
