"""Who may say and hear what on the bus: one user for each service, one for programs outside. Pure.

Every user has its own inbox prefix, so that no answer is read by anybody but who asked. A service reads a stream by
consumers that it makes for the moment; the durable ones belong to whoever works on them and are denied to all others.
Streams themselves are made, changed and removed by the administrator alone.

What this layer cannot do: whoever may write runs may write any run; whoever may read a stream reads all of it, and may
have what it reads delivered to any subject.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple, assert_never

from fastflow_contracts import streams, subjects
from fastflow_contracts.streams import bucket_stream, object_stream


class User(Enum):
    """A user of the bus."""

    SYNCER = "syncer"
    SCHEDULER = "scheduler"
    RUNNER = "runner"
    GATEWAY = "gateway"
    OUTSIDE = "outside"
    """Programs that start runs and listen to what becomes of them."""


SERVICES: Final = tuple(user for user in User if user is not User.OUTSIDE)
ADMIN: Final = "fastflow"
"""Not among them: the administrator may do everything. It makes streams, and is who the command is."""
ADMIN_INBOX: Final = f"{subjects.INBOX}_{ADMIN}"
"""The outside hears the common inboxes, so an administrator who reads has its own."""


class Grant(NamedTuple):
    """Subjects, wildcards included. What is denied is denied though it be allowed."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    publish_denied: tuple[str, ...] = ()


def inbox(user: User) -> str:
    """The prefix of the subjects on which *user* gets answers. The outside's is what every client has by itself."""
    return subjects.INBOX if user is User.OUTSIDE else f"{subjects.INBOX}_{user.value}"


_ASKING: Final = (f"{inbox(User.GATEWAY)}.>", f"{inbox(User.OUTSIDE)}.>", f"{ADMIN_INBOX}.>")
"""Where those are answered who ask a scheduler or a syncer something."""


def grant(user: User) -> Grant:
    """All that *user* may, and it needs all of it."""
    mine = (f"{inbox(user)}.>",)
    match user:
        case User.OUTSIDE:
            return Grant(publish=(subjects.TRIGGERS,), subscribe=("ff.event.>", *mine))
        case User.SYNCER:
            return Grant(
                publish=(
                    *_verifying(),
                    _keys(subjects.PIPELINES, ">"),
                    *_object_writes(subjects.BUNDLES),
                    *_reading(*_buckets(subjects.PIPELINES)),
                    *_following(bucket_stream(subjects.RUNS), _keys(subjects.RUNS, subjects.RUN_KEYS)),
                    *_objects(subjects.BUNDLES),
                    *_ASKING,
                ),
                subscribe=(subjects.SYNC, *mine),
                publish_denied=_durables(),
            )
        case User.SCHEDULER:
            return Grant(
                publish=(
                    *_verifying(),
                    _keys(subjects.RUNS, ">"),
                    _keys(subjects.SCHEDULES, ">"),
                    subjects.WORK,
                    *subjects.NOTICES,
                    *_reading(*_buckets(subjects.RUNS, subjects.PIPELINES, subjects.RUNNERS)),
                    *_reading(*_buckets(subjects.SCHEDULES, subjects.LINKS)),
                    *_working(streams.SCHEDULER),
                    *_ASKING,
                ),
                subscribe=mine,
                publish_denied=_durables(streams.SCHEDULER),
            )
        case User.RUNNER:
            return Grant(
                publish=(
                    *_verifying(),
                    _keys(subjects.RUNS, subjects.RUN_KEYS),
                    _keys(subjects.RUNS, subjects.LIMIT_KEYS),
                    _keys(subjects.RUNNERS, subjects.RUNNER_KEYS),
                    subjects.WORK,
                    subjects.LOGS,
                    subjects.CELLS,
                    subjects.METRICS,
                    *_reading(*_buckets(subjects.RUNS, subjects.RUNNERS, subjects.PIPELINES)),
                    *_objects(subjects.BUNDLES),
                    *_reading(streams.LOGS, streams.CELLS),
                    *_working("script", "notebook"),
                ),
                subscribe=(subjects.RUN_EVENTS, subjects.DRAINS, *mine),
                publish_denied=_durables("script", "notebook"),
            )
        case User.GATEWAY:
            return Grant(
                publish=(
                    *_verifying(),
                    subjects.TRIGGERS,
                    subjects.COMMANDS,
                    subjects.SYNC,
                    _keys(subjects.SCHEDULES, f"{subjects.SCHEDULE_SWITCHES}>"),
                    _keys(subjects.LINKS, ">"),
                    *_reading(*_buckets(subjects.RUNS, subjects.PIPELINES, subjects.RUNNERS)),
                    *_reading(*_buckets(subjects.SCHEDULES, subjects.LINKS)),
                    *_objects(subjects.BUNDLES),
                    *_reading(streams.LOGS, streams.CELLS, streams.METRICS, streams.NOTICES),
                ),
                subscribe=mine,
                publish_denied=_durables(),
            )
        case _:
            assert_never(user)


def _verifying() -> Iterable[str]:
    """To see that streams and durable consumers are there, and how they are."""
    yield "$JS.API.STREAM.INFO.*"
    yield "$JS.API.CONSUMER.INFO.*.*"


def _reading(*names: str) -> Iterable[str]:
    """To read the newest of a subject, and to follow subjects."""
    for name in names:
        yield f"$JS.API.DIRECT.GET.{name}"
        yield f"$JS.API.DIRECT.GET.{name}.>"
        yield f"$JS.API.STREAM.MSG.GET.{name}"
        yield from _following(name, ">")


def _following(stream: str, subject: str) -> Iterable[str]:
    """To follow *subject* by a consumer of one's own; its name and filter are part of the request's subject."""
    yield f"$JS.API.CONSUMER.CREATE.{stream}.*.{subject}"
    yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*"
    yield f"$JS.API.CONSUMER.DELETE.{stream}.*"


def _working(*consumers: str) -> Iterable[str]:
    """To take work of durable consumers, and to acknowledge it."""
    for stream, config in streams.CONSUMERS:
        if config.name in consumers:
            yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{config.name}"
            yield f"$JS.ACK.{stream}.{config.name}.>"


def _durables(*but: str) -> tuple[str, ...]:
    """Taking others' work, and changing or removing any durable consumer, one's own included."""
    denied = []
    for stream, config in streams.CONSUMERS:
        if config.name not in but:
            denied.append(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{config.name}")
        denied.append(f"$JS.API.CONSUMER.CREATE.{stream}.{config.name}.>")
        denied.append(f"$JS.API.CONSUMER.DELETE.{stream}.{config.name}")
    return tuple(denied)


def _objects(bucket: str) -> Iterable[str]:
    """To read objects. The client looks for the stream by its subject and makes a consumer without a name; the stream
    has no durable one to harm.
    """
    yield "$JS.API.STREAM.NAMES"
    yield f"$JS.API.CONSUMER.CREATE.{object_stream(bucket)}"
    yield f"$JS.FC.{object_stream(bucket)}.>"
    yield from _reading(object_stream(bucket))


def _object_writes(bucket: str) -> Iterable[str]:
    yield f"$O.{bucket}.>"
    yield f"$JS.API.STREAM.PURGE.{object_stream(bucket)}"


def _keys(bucket: str, keys: str) -> str:
    return f"$KV.{bucket}.{keys}"


def _buckets(*names: str) -> Iterable[str]:
    return map(bucket_stream, names)
