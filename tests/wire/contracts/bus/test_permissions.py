"""Permissions on a real server: every user tries everything that any user may do."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import nats.errors
import pytest

from fastflow.local.bus_users import config, users_in
from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow.local.nats_server import USERS, embedded_bus
from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.permissions import ADMIN_INBOX, Grant, User, grant, inbox

SYNCER, SCHEDULER, RUNNER, GATEWAY, OUTSIDE = User.SYNCER, User.SCHEDULER, User.RUNNER, User.GATEWAY, User.OUTSIDE
NOBODY: Final[set[User]] = set()
READERS: Final = {SYNCER, SCHEDULER, RUNNER, GATEWAY}
JS: Final = "$JS.API"
WHO: Final[dict[str, set[User]]] = {
    "ff.trigger.x": {GATEWAY, OUTSIDE},
    "ff.start.x": {GATEWAY},
    "ff.command.run.x.y": {GATEWAY},
    "ff.sync.request": {GATEWAY},
    "ff.work.script": {SCHEDULER},
    "ff.dead.trigger.x.y": {SCHEDULER, GATEWAY},
    "ff.skipped.x.y": {SCHEDULER, GATEWAY},
    "ff.log.x.y.1": {RUNNER},
    "ff.cell.x.y.1": {RUNNER},
    "ff.metric.x.y.1": {RUNNER},
    "ff.drain.x": {GATEWAY},
    "ff.event.run.x.y": NOBODY,
    "ff.unheard.of": NOBODY,
    "$SYS.REQ.SERVER.PING": NOBODY,
    # Records.
    "$KV.ff_runs.run.x.y": {SCHEDULER, RUNNER},
    "$KV.ff_runs.limit.running": {SCHEDULER, RUNNER},
    "$KV.ff_runs.input.x.y": {SCHEDULER},
    "$KV.ff_runs.x": NOBODY,
    "$KV.ff_pipelines.pipeline.x": {SYNCER},
    "$KV.ff_pipelines.sync.status": {SYNCER},
    "$KV.ff_pipelines.installation": NOBODY,
    "$KV.ff_runners.runner.x": {RUNNER},
    "$KV.ff_schedules.sched.x.y": {SCHEDULER},
    "$KV.ff_schedules.switch.x.y": {SCHEDULER, GATEWAY},
    "$KV.ff_links.links.x": {GATEWAY},
    "$KV.ff_sessions.spent.x": {GATEWAY},
    "$KV.other.key": NOBODY,
    "$O.ff_bundles.C.x": {SYNCER},
    "$O.ff_bundles.M.x": {SYNCER},
    "$O.ff_bundles.x": NOBODY,
    # Reading one of them.
    f"{JS}.DIRECT.GET.KV_ff_runs": NOBODY,
    f"{JS}.DIRECT.GET.KV_ff_runs.$KV.ff_runs.run.x.y": {SCHEDULER, RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_runs.$KV.ff_runs.input.x.y": {SCHEDULER, RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_runs.$KV.ff_runs.limit.running": {SCHEDULER, RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_pipelines.$KV.ff_pipelines.pipeline.x": {SYNCER, SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_pipelines.$KV.ff_pipelines.sync.status": {SYNCER},
    f"{JS}.DIRECT.GET.KV_ff_pipelines.$KV.ff_pipelines.installation": {RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_runners.$KV.ff_runners.runner.x": {RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_schedules.$KV.ff_schedules.sched.x.y": {SCHEDULER},
    f"{JS}.DIRECT.GET.KV_ff_schedules.$KV.ff_schedules.switch.x.y": NOBODY,
    f"{JS}.DIRECT.GET.KV_ff_links.$KV.ff_links.links.x": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_sessions.$KV.ff_sessions.spent.x": {GATEWAY},
    f"{JS}.DIRECT.GET.FF_LOGS.ff.log.x.y.1": NOBODY,
    f"{JS}.DIRECT.GET.FF_NOTICES.ff.skipped.x.y": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.FF_NOTICES.ff.dead.trigger.x.y": {SCHEDULER, GATEWAY},
    f"{JS}.STREAM.MSG.GET.KV_ff_runs": {SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.STREAM.MSG.GET.KV_ff_pipelines": NOBODY,
    f"{JS}.STREAM.MSG.GET.FF_TRIGGERS": NOBODY,
    f"{JS}.STREAM.MSG.GET.FF_LOGS": {RUNNER},
    f"{JS}.STREAM.MSG.GET.FF_CELLS": {RUNNER},
    f"{JS}.STREAM.MSG.GET.OBJ_ff_bundles": {SYNCER, RUNNER, GATEWAY},
    # Following many of them.
    f"{JS}.CONSUMER.CREATE.KV_ff_runs.x.$KV.ff_runs.run.>": READERS,
    f"{JS}.CONSUMER.CREATE.KV_ff_runs.x.$KV.ff_runs.limit.running": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.KV_ff_runs.x.$KV.ff_runs.input.>": NOBODY,
    f"{JS}.CONSUMER.CREATE.KV_ff_runs.x.$KV.ff_runs.>": NOBODY,
    f"{JS}.CONSUMER.CREATE.KV_ff_runs.x.>": NOBODY,
    f"{JS}.CONSUMER.CREATE.KV_ff_runs.x": NOBODY,
    f"{JS}.CONSUMER.CREATE.KV_ff_runs": NOBODY,
    f"{JS}.CONSUMER.CREATE.KV_ff_pipelines.x.$KV.ff_pipelines.pipeline.*": READERS,
    f"{JS}.CONSUMER.CREATE.KV_ff_pipelines.x.$KV.ff_pipelines.>": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.KV_ff_runners.x.$KV.ff_runners.runner.*": {SCHEDULER, GATEWAY},
    f"{JS}.CONSUMER.CREATE.KV_ff_schedules.x.$KV.ff_schedules.>": {SCHEDULER, GATEWAY},
    f"{JS}.CONSUMER.CREATE.KV_ff_links.x.$KV.ff_links.links.*": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.KV_ff_sessions.x.$KV.ff_sessions.spent.*": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.FF_LOGS.x.ff.log.x.y.*": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.FF_CELLS.x.ff.cell.x.y.*": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.FF_METRICS.x.ff.metric.x.y.*": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.FF_NOTICES.x.ff.skipped.>": {GATEWAY},
    f"{JS}.CONSUMER.CREATE.FF_NOTICES.x.ff.dead.>": NOBODY,
    f"{JS}.CONSUMER.CREATE.FF_TRIGGERS.x.ff.trigger.*": NOBODY,
    f"{JS}.CONSUMER.CREATE.FF_WORK.x.ff.work.*": NOBODY,
    f"{JS}.CONSUMER.CREATE.OBJ_ff_bundles": {SYNCER, RUNNER, GATEWAY},
    f"{JS}.CONSUMER.CREATE.OBJ_ff_bundles.x.$O.ff_bundles.M.>": {SYNCER},
    "$JS.FC.OBJ_ff_bundles.x.y": {SYNCER, RUNNER, GATEWAY},
    **{
        f"{JS}.CONSUMER.{verb}.{stream}.x": users
        for verb in ("MSG.NEXT", "DELETE")
        for stream, users in {
            "KV_ff_runs": READERS,
            "KV_ff_pipelines": READERS,
            "KV_ff_runners": {SCHEDULER, GATEWAY},
            "KV_ff_schedules": {SCHEDULER, GATEWAY},
            "KV_ff_links": {GATEWAY},
            "KV_ff_sessions": {GATEWAY},
            "FF_LOGS": {GATEWAY},
            "FF_CELLS": {GATEWAY},
            "FF_METRICS": {GATEWAY},
            "FF_NOTICES": {GATEWAY},
            "FF_TRIGGERS": NOBODY,
            "FF_COMMANDS": NOBODY,
            "FF_WORK": NOBODY,
        }.items()
    },
    f"{JS}.CONSUMER.DELETE.OBJ_ff_bundles.x": {SYNCER, RUNNER, GATEWAY},
    f"{JS}.CONSUMER.MSG.NEXT.OBJ_ff_bundles.x": {SYNCER},
    # Taking work.
    **{
        f"{prefix}.{stream}.{config.name}{rest}": {RUNNER} if stream == streams.WORK else {SCHEDULER}
        for stream, config in streams.CONSUMERS
        for prefix, rest in ((f"{JS}.CONSUMER.MSG.NEXT", ""), ("$JS.ACK", ".1.2.3.4.5"))
    },
    **{
        f"{JS}.CONSUMER.{verb}.{stream}.{config.name}{rest}": NOBODY
        for stream, config in streams.CONSUMERS
        for verb, rest in (
            *(("CREATE", f".{config.filter_subject}"), ("DURABLE.CREATE", "")),
            *(("DELETE", ""), ("PAUSE", ""), ("UNPIN", ""), ("LEADER.STEPDOWN", "")),
        )
    },
    # Reading about streams; no service changes one.
    f"{JS}.STREAM.INFO.KV_ff_runs": READERS,
    f"{JS}.CONSUMER.INFO.KV_ff_runs.x": READERS,
    f"{JS}.STREAM.NAMES": NOBODY,
    f"{JS}.STREAM.LIST": NOBODY,
    f"{JS}.CONSUMER.NAMES.KV_ff_runs": NOBODY,
    f"{JS}.INFO": NOBODY,
    f"{JS}.META.LEADER.STEPDOWN": NOBODY,
    **{
        f"{JS}.STREAM.{verb}.{stream.name}": NOBODY
        for stream in streams.STREAMS
        for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "PEER.REMOVE")
    },
    f"{JS}.STREAM.PURGE.OBJ_ff_bundles": {SYNCER},
    f"{JS}.STREAM.PURGE.KV_ff_runs": {SCHEDULER},
    # Responses of a scheduler or a syncer to those who may ask them.
    "_INBOX.x": {SCHEDULER},
    "_INBOX_gateway.x": {SYNCER, SCHEDULER},
    "_INBOX_fastflow.x": {SYNCER, SCHEDULER},
    "_INBOX_runner.x": NOBODY,
    "_INBOX_syncer.x": NOBODY,
    "_INBOX_scheduler.x": NOBODY,
}
"""An example of everything that may be sent on the bus, and who may send it. All others try it and are denied."""
HEARD: Final = {
    SYNCER: {"ff.sync.request", "_INBOX_syncer.>"},
    SCHEDULER: {"_INBOX_scheduler.>"},
    RUNNER: {"ff.event.run.*.*", "ff.drain.*", "_INBOX_runner.>"},
    GATEWAY: {"_INBOX_gateway.>"},
    OUTSIDE: {"ff.event.>", "_INBOX.>"},
}


LAST = "ff.last.word"


class Voice:
    """A user's connection, and what the server denied it."""

    def __init__(self, user: User, bus: Bus, log: pytest.LogCaptureFixture) -> None:
        self.user = user
        self.bus = bus
        self._log = log

    async def denied(self, said: Iterable[str]) -> set[str]:
        """Publish an empty message on each subject; return those that were denied."""
        self._log.clear()
        wanted = list(said)
        for subject in wanted:
            await self.bus.client.publish(subject, b"")
        await self._heard()
        return {subject for subject in wanted if self._complains("publish", subject)}

    async def is_deaf_to(self, subject: str) -> bool:
        """Return True if the user may not subscribe."""
        self._log.clear()

        async def ignore(_: object) -> None: ...

        await self.bus.client.subscribe(subject, cb=ignore)
        await self._heard()
        return self._complains("subscription", subject)

    async def _heard(self) -> None:
        """Return once the server has complained about everything so far. The last complaint is about a subject
        that no user may use.
        """
        await self.bus.client.publish(LAST, b"")
        async with asyncio.timeout(10):
            while not self._complains("publish", LAST):
                await self.bus.client.flush()

    def _complains(self, verb: str, subject: str) -> bool:
        wanted = f'permissions violation for {verb} to "{subject.lower()}"'
        return any(wanted in str(getattr(record, "error", "")).lower() for record in self._log.records)


@pytest.fixture
async def voices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[dict[User, Voice]]:
    """Every user on a bus with all streams."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(embedded_bus(tmp_path, sync="2m"))
        admin = await stack.enter_async_context(connect(url, name="admin"))
        await streams.ensure(admin.js)
        yield {user: Voice(user, await stack.enter_async_context(_as(user, url, tmp_path)), caplog) for user in User}


@asynccontextmanager
async def _as(user: User, url: str, folder: Path) -> AsyncIterator[Bus]:
    if user is User.OUTSIDE:
        async with connect((folder / OUTSIDE_URL_FILE).read_text().strip(), name="outside") as bus:
            yield bus
    else:
        seed = users_in(folder / USERS).seeds[user]
        bare = f"nats://{url.rpartition('@')[2]}"
        async with connect(bare, name=user.value, seed=seed, inbox=inbox(user)) as bus:
            yield bus


def _matches(pattern: str, subject: str) -> bool:
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted, given = wanted[:-1], given[: len(wanted) - 1] if len(given) >= len(wanted) else []
        return bool(given) and _matches(".".join(wanted), ".".join(given))
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


def _may(granted: Grant, subject: str) -> bool:
    return any(_matches(p, subject) for p in granted.publish) and not any(
        _matches(p, subject) for p in granted.publish_denied
    )


def surprises(user: User, granted: Grant) -> set[str]:
    """Return the subjects on which *granted* and the table above differ, and permissions of which the table has no
    example.
    """
    may = {subject for subject in WHO if _may(granted, subject)}
    told = {subject for subject, users in WHO.items() if user in users}
    untold = {pattern for pattern in granted.publish if not any(_matches(pattern, subject) for subject in told)}
    return may ^ told | untold | set(granted.subscribe) ^ HEARD[user]


@pytest.mark.parametrize("user", User)
def test_a_user_has_exactly_the_permissions_of_the_table(user: User) -> None:
    """A permission that is added, widened or forgotten must be in the table, or is a mistake."""
    assert surprises(user, grant(user)) == set()


@pytest.mark.parametrize("user", User)
def test_an_added_permission_is_noticed(user: User) -> None:
    """Any other user's, and wide ones; also an empty list of denials."""
    granted = grant(user)
    others = {pattern for other in User for pattern in grant(other).publish}
    wide = {">", "$KV.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$O.>", "ff.>", "$KV.ff_runs.>", "_INBOX.>", "_INBOX_x.>"}
    for pattern in others | wide:
        if any(_matches(mine, pattern) for mine in granted.publish):
            continue  # it has a wider one
        assert surprises(user, granted._replace(publish=(*granted.publish, pattern))), pattern
    assert surprises(user, granted._replace(subscribe=(*granted.subscribe, "ff.log.>")))
    assert not granted.publish_denied or surprises(user, granted._replace(publish_denied=()))


async def test_the_server_denies_every_user_what_is_not_its_own(voices: dict[User, Voice]) -> None:
    """A compromised runner creates no pipeline; a gateway writes no run. Nothing else is denied."""
    for user, voice in voices.items():
        denied = await voice.denied(WHO)
        assert denied == {subject for subject, users in WHO.items() if user not in users}, user


async def test_no_user_can_read_anothers_responses(voices: dict[User, Voice]) -> None:
    """Nor everything at once, nor all runs; only what is repeated for all."""
    for user, voice in voices.items():
        for other in (*(inbox(other) for other in User if other is not user), ADMIN_INBOX):
            assert await voice.is_deaf_to(f"{other}.>"), (user, other)
        for subject in (">", "ff.>", "$KV.>", "$JS.>", "*.>", "ff.trigger.*", "ff.work.*", "ff.log.>"):
            assert await voice.is_deaf_to(subject), (user, subject)
        assert not await voice.is_deaf_to(f"{inbox(user)}.x")
    assert not await voices[User.OUTSIDE].is_deaf_to("ff.event.>")


async def test_reading_a_stream_is_not_a_permission_to_change_its_consumer(voices: dict[User, Voice]) -> None:
    """The name in the subject counts, not the one in the request's body."""
    stream, subject = streams.bucket_stream(subjects.RUNS), f"$KV.{subjects.RUNS}.{subjects.RUN_KEYS}"
    body = {"stream_name": stream, "config": {"name": "scheduler", "ack_policy": "none", "filter_subject": subject}}
    client = voices[User.GATEWAY].bus.client
    answer = await client.request(
        f"$JS.API.CONSUMER.CREATE.{stream}.mine.{subject}", json.dumps(body).encode(), timeout=30
    )
    assert json.loads(answer.data)["name"] == "mine"
    request = f"$JS.API.CONSUMER.CREATE.{stream}.scheduler.{subject}"
    with pytest.raises(nats.errors.TimeoutError):
        await client.request(request, json.dumps(body).encode(), timeout=0.2)
    await streams.verify(voices[User.SCHEDULER].bus.js)


@pytest.mark.parametrize("filtered", [{"filter_subject": "$KV.ff_runs.>"}, {"filter_subjects": ["$KV.ff_runs.>"]}, {}])
async def test_following_runs_is_not_a_permission_to_read_their_inputs(
    voices: dict[User, Voice], filtered: dict[str, Any]
) -> None:
    """The filter in the subject counts too."""
    request = f"$JS.API.CONSUMER.CREATE.KV_ff_runs.mine.$KV.ff_runs.{subjects.RUN_KEYS}"
    body = {"stream_name": "KV_ff_runs", "config": {"name": "mine", "ack_policy": "none", **filtered}}
    answer = await voices[User.SYNCER].bus.client.request(request, json.dumps(body).encode(), timeout=30)
    assert "filter" in json.loads(answer.data)["error"]["description"]


async def test_any_nats_client_can_start_a_run_and_follow_it(voices: dict[User, Voice]) -> None:
    """With a password and without our code; its publish is acknowledged on the inbox of its library."""
    client = voices[User.OUTSIDE].bus.client
    ack = await client.jetstream(timeout=30).publish("ff.trigger.demo", b"")
    assert (ack.stream, ack.seq) == (streams.TRIGGERS, 1)


async def test_a_wrong_seed_is_refused(tmp_path: Path) -> None:
    """Like a wrong password."""
    async with embedded_bus(tmp_path, sync="2m") as url:
        stranger = users_in(tmp_path / "elsewhere").seeds[User.RUNNER]
        bare = f"nats://{url.rpartition('@')[2]}"
        with pytest.raises(Unavailable, match="credentials"):
            async with connect(bare, name="stranger", seed=stranger, connect_s=1):
                raise AssertionError


def test_secrets_are_kept_and_private(tmp_path: Path) -> None:
    """Creating the users again changes no secret; other users of the host cannot read them; the server gets no seed."""
    users = users_in(tmp_path / "users")
    assert users_in(tmp_path / "users") == users
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "users").iterdir()} == {0o600}
    assert not [seed for seed in users.seeds.values() if seed in config(users)]
