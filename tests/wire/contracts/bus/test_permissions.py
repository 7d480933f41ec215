"""Permissions on a real server: every user tries everything that any user may do."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from fastflow.local.bus_users import config, users_in
from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow.local.nats_server import USERS, embedded_bus
from fastflow_contracts.bus import streams
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
    "ff.call.x": {OUTSIDE},
    "ff.command.run.x.y": {GATEWAY},
    "ff.sync.request": {GATEWAY},
    "ff.work.script": {SCHEDULER},
    "ff.dead.trigger.x.y": {SCHEDULER, GATEWAY},
    "ff.skipped.x.y": {SCHEDULER, GATEWAY},
    "ff.log.x.y.1": {RUNNER},
    "ff.cell.x.y.1": {RUNNER},
    "ff.metric.x.y.1": {RUNNER},
    "ff.drain.x": {GATEWAY},
    "ff.result.x.y": {RUNNER},
    "ff.scheduler.beat": {SCHEDULER},
    "ff.event.run.x.y": NOBODY,
    "ff.unheard.of": NOBODY,
    "$SYS.REQ.SERVER.PING": NOBODY,
    # Records.
    "$KV.ff_runs.run.x.y": {SCHEDULER, RUNNER},
    "$KV.ff_runs.limit.running": {SCHEDULER, RUNNER},
    "$KV.ff_runs.result.x.y": {RUNNER},
    "$KV.ff_runs.state.x": {RUNNER, GATEWAY},
    "$KV.ff_runs.input.x.y": NOBODY,
    **{f"$KV.{bucket}.probe": {GATEWAY} for bucket in ("ff_runs", "ff_inputs", "ff_runners")},
    "$KV.ff_inputs.input.x.y": {SCHEDULER},
    "$KV.ff_runs.x": NOBODY,
    "$KV.ff_pipelines.pipeline.x": {SYNCER, SCHEDULER, GATEWAY},
    "$KV.ff_pipelines.version.x.y": {SYNCER},
    "$KV.ff_pipelines.sync.status": {SYNCER},
    "$KV.ff_pipelines.installation": NOBODY,
    "$KV.ff_runners.runner.x": {RUNNER},
    "$KV.ff_runners.service.scheduler.x": {SCHEDULER},
    "$KV.ff_runners.service.syncer.x": {SYNCER},
    "$KV.ff_schedules.sched.x.y": {SCHEDULER},
    "$KV.ff_schedules.switch.x.y": {SCHEDULER, GATEWAY},
    "$KV.ff_schedules.pause": {GATEWAY},
    "$KV.ff_schedules.cursor.x.y": {SCHEDULER},
    "$KV.ff_links.links.x": {GATEWAY},
    "$KV.ff_sessions.spent.x": {GATEWAY},
    "$KV.ff_operations.operation.x": {SCHEDULER, GATEWAY},
    "$KV.ff_operations.items.x.0": {GATEWAY},
    "$KV.ff_runs.artifacts.x.y": {RUNNER},
    "$KV.other.key": NOBODY,
    "$O.ff_bundles.C.x": {SYNCER},
    "$O.ff_bundles.M.x": {SYNCER},
    "$O.ff_bundles.x": NOBODY,
    # Reading one of them.
    f"{JS}.DIRECT.GET.KV_ff_runs.$KV.ff_runs.run.x.y": {SCHEDULER, RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_runs.$KV.ff_runs.input.x.y": {SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_inputs.$KV.ff_inputs.input.x.y": {SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_runs.$KV.ff_runs.limit.running": {SCHEDULER, RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_pipelines.$KV.ff_pipelines.pipeline.x": {SYNCER, SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_pipelines.$KV.ff_pipelines.version.x.y": {SYNCER, SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_pipelines.$KV.ff_pipelines.sync.status": {SYNCER},
    f"{JS}.DIRECT.GET.KV_ff_pipelines.$KV.ff_pipelines.installation": {RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_runners.$KV.ff_runners.runner.x": {RUNNER},
    f"{JS}.DIRECT.GET.KV_ff_schedules.$KV.ff_schedules.sched.x.y": {SCHEDULER},
    f"{JS}.DIRECT.GET.KV_ff_schedules.$KV.ff_schedules.switch.x.y": NOBODY,
    f"{JS}.DIRECT.GET.KV_ff_schedules.$KV.ff_schedules.pause": {GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_schedules.$KV.ff_schedules.cursor.x.y": {SCHEDULER},
    f"{JS}.DIRECT.GET.KV_ff_links.$KV.ff_links.links.x": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_sessions.$KV.ff_sessions.spent.x": {GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_operations.$KV.ff_operations.operation.x": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_operations.$KV.ff_operations.items.x.0": {SCHEDULER},
    f"{JS}.DIRECT.GET.FF_LOGS.ff.log.x.y.1": NOBODY,
    f"{JS}.DIRECT.GET.FF_NOTICES.ff.skipped.x.y": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.FF_NOTICES.ff.dead.trigger.x.y": {SCHEDULER, GATEWAY},
    f"{JS}.STREAM.MSG.GET.KV_ff_runs": {SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.STREAM.MSG.GET.KV_ff_pipelines": {SCHEDULER},
    f"{JS}.STREAM.MSG.GET.KV_ff_schedules": {SCHEDULER, RUNNER},
    f"{JS}.STREAM.MSG.GET.FF_TRIGGERS": {SCHEDULER},
    f"{JS}.STREAM.MSG.GET.FF_LOGS": {SCHEDULER, RUNNER},
    f"{JS}.STREAM.MSG.GET.FF_CELLS": {SCHEDULER, RUNNER},
    f"{JS}.STREAM.MSG.GET.OBJ_ff_bundles": {SYNCER, SCHEDULER, RUNNER, GATEWAY},
    # Reading many of them. Triggers read any stream, also of other programs.
    f"{JS}.STREAM.MSG.GET.ORDERS": {SCHEDULER},
    f"{JS}.DIRECT.GET.ORDERS": {SCHEDULER},
    f"{JS}.DIRECT.GET.KV_ff_runs": READERS,
    f"{JS}.DIRECT.GET.KV_ff_inputs": {SCHEDULER},
    f"{JS}.DIRECT.GET.KV_ff_pipelines": READERS,
    f"{JS}.DIRECT.GET.KV_ff_runners": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_schedules": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_links": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_sessions": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.KV_ff_operations": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.FF_LOGS": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.FF_CELLS": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.FF_METRICS": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.FF_NOTICES": {SCHEDULER, GATEWAY},
    f"{JS}.DIRECT.GET.FF_TRIGGERS": {SCHEDULER},
    f"{JS}.DIRECT.GET.FF_WORK": {SCHEDULER, RUNNER},
    f"{JS}.DIRECT.GET.OBJ_ff_bundles": {SYNCER, SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.DIRECT.GET.OBJ_ff_artifacts": {SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.STREAM.MSG.GET.OBJ_ff_artifacts": {SCHEDULER, RUNNER, GATEWAY},
    "$O.ff_artifacts.M.x": {RUNNER},
    "$O.ff_artifacts.C.x": {SCHEDULER, RUNNER},
    f"{JS}.DIRECT.GET.OBJ_ff_states": {SCHEDULER, RUNNER, GATEWAY},
    "$O.ff_states.M.x": {RUNNER},
    "$O.ff_states.C.x": {SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.STREAM.MSG.GET.OBJ_ff_states": {SCHEDULER, RUNNER, GATEWAY},
    "$JS.FC.OBJ_ff_bundles.x.y": NOBODY,
    # Consumers: whoever creates one chooses where the server publishes.
    **{
        f"{JS}.CONSUMER.{verb}": NOBODY
        for stream in streams.STREAMS
        for verb in (
            f"CREATE.{stream.name}",
            f"CREATE.{stream.name}.x",
            f"CREATE.{stream.name}.x.{(stream.subjects or [''])[0]}",
            f"DURABLE.CREATE.{stream.name}.x",
            f"MSG.NEXT.{stream.name}.x",
            f"DELETE.{stream.name}.x",
            f"RESET.{stream.name}.x",
        )
    },
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
            *(("CREATE", f".{config.filter_subject}" if config.filter_subject else ""), ("DURABLE.CREATE", "")),
            *(("DELETE", ""), ("PAUSE", ""), ("UNPIN", ""), ("LEADER.STEPDOWN", "")),
        )
    },
    # Reading about streams; no service changes one.
    f"{JS}.STREAM.INFO.KV_ff_runs": READERS,
    f"{JS}.STREAM.INFO.ORDERS": READERS,
    f"{JS}.CONSUMER.INFO.KV_ff_runs.x": READERS,
    f"{JS}.STREAM.NAMES": {SCHEDULER},
    f"{JS}.STREAM.LIST": NOBODY,
    f"{JS}.CONSUMER.NAMES.KV_ff_runs": NOBODY,
    f"{JS}.INFO": NOBODY,
    f"{JS}.META.LEADER.STEPDOWN": NOBODY,
    **{
        f"{JS}.STREAM.{verb}.{stream.name}": NOBODY
        for stream in streams.STREAMS
        for verb in ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE", "SNAPSHOT", "RESTORE", "PEER.REMOVE")
    },
    f"{JS}.STREAM.MSG.DELETE.FF_WORK": {RUNNER},
    f"{JS}.STREAM.PURGE.OBJ_ff_bundles": {SYNCER},
    f"{JS}.STREAM.PURGE.OBJ_ff_artifacts": {SCHEDULER},
    f"{JS}.STREAM.PURGE.OBJ_ff_states": {SCHEDULER, RUNNER, GATEWAY},
    f"{JS}.STREAM.PURGE.KV_ff_runs": {SCHEDULER},
    f"{JS}.STREAM.PURGE.KV_ff_inputs": {SCHEDULER},
    f"{JS}.STREAM.PURGE.KV_ff_pipelines": {SYNCER},
    # Responses to those who may ask.
    "_INBOX.x": {SCHEDULER, GATEWAY},
    "_INBOX_gateway.x": {SYNCER, SCHEDULER},
    "_INBOX_fastflow.x": {SYNCER, SCHEDULER, GATEWAY},
    "_INBOX_runner.x": NOBODY,
    "_INBOX_syncer.x": NOBODY,
    "_INBOX_scheduler.x": NOBODY,
}
"""An example of everything that may be sent on the bus, and who may send it. All others try it and are denied."""
HEARD: Final = {
    SYNCER: {"ff.sync.request", "_INBOX_syncer.>"},
    SCHEDULER: {
        "ff.scheduler.beat",
        "ff.event.run.>",
        "ff_stored.$KV.ff_pipelines.pipeline.*",
        "ff_stored.$KV.ff_runners.runner.*",
        "ff_stored.$KV.ff_schedules.sched.>",
        "ff_stored.$KV.ff_schedules.switch.>",
        "ff_stored.$KV.ff_operations.operation.*",
        "ff_stored.$KV.ff_schedules.pause",
        "_INBOX_scheduler.>",
    },
    RUNNER: {
        "ff.event.run.*.*",
        "ff.drain.*",
        "ff_stored.ff.work.labelled.>",
        "ff_stored.$KV.ff_pipelines.pipeline.*",
        "_INBOX_runner.>",
    },
    GATEWAY: {
        "ff.call.*",
        "ff.event.run.>",
        "ff_stored.$KV.ff_runs.limit.running",
        "ff_stored.$KV.ff_pipelines.pipeline.*",
        "ff_stored.$KV.ff_pipelines.sync.status",
        "ff_stored.$KV.ff_runners.runner.*",
        "ff_stored.$KV.ff_runners.service.*.*",
        "ff_stored.$KV.ff_schedules.sched.>",
        "ff_stored.$KV.ff_schedules.switch.>",
        "ff_stored.$KV.ff_schedules.pause",
        "ff_stored.$KV.ff_schedules.cursor.*.*",
        "ff_stored.$KV.ff_links.links.*",
        "ff_stored.$KV.ff_sessions.spent.*",
        "ff_stored.$KV.ff_operations.operation.*",
        "ff_stored.ff.log.>",
        "ff_stored.ff.cell.>",
        "ff_stored.ff.metric.>",
        "ff_stored.ff.skipped.>",
        "_INBOX_gateway.>",
    },
    OUTSIDE: {"ff.event.>", "ff.result.>", "_INBOX.>"},
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
    return any(_matches(p, subject) for p in granted.publish)


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
    """Any other user's, and wide ones."""
    granted = grant(user)
    others = {pattern for other in User for pattern in grant(other).publish}
    wide = {">", "$KV.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$O.>", "ff.>", "$KV.ff_runs.>", "_INBOX.>", "_INBOX_x.>"}
    for pattern in others | wide:
        if any(_matches(mine, pattern) for mine in granted.publish):
            continue  # it has a wider one
        assert surprises(user, granted._replace(publish=(*granted.publish, pattern))), pattern
    assert surprises(user, granted._replace(subscribe=(*granted.subscribe, "ff.log.>")))


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
        for subject in (">", "ff.>", "ff_stored.>", "$KV.>", "$JS.>", "*.>", "ff.trigger.*", "ff.work.*", "ff.log.>"):
            assert await voice.is_deaf_to(subject), (user, subject)
        assert not await voice.is_deaf_to(f"{inbox(user)}.x")
    assert not await voices[User.OUTSIDE].is_deaf_to("ff.event.>")


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
