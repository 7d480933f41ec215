"""Who may say and hear what, held by a real server: every user tries everything that anybody may."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import nats.errors
import pytest

from fastflow.bus import USERS, embedded_bus
from fastflow.bus_users import config, users_in
from fastflow.connection import OUTSIDE_URL_FILE
from fastflow_contracts import streams, subjects
from fastflow_contracts.permissions import ADMIN_INBOX, Grant, User, grant, inbox
from fastflow_contracts.wire import Bus, Unavailable, connect

FOREIGN = (
    *("$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.KV_ff_runs", "$JS.API.STREAM.DELETE.KV_ff_runs"),
    *("$JS.API.STREAM.PURGE.KV_ff_runs", "$JS.API.STREAM.SNAPSHOT.KV_ff_runs", "$JS.API.STREAM.RESTORE.X"),
    *("$JS.API.STREAM.MSG.DELETE.KV_ff_runs", "$JS.API.CONSUMER.DURABLE.CREATE.KV_ff_runs.scheduler"),
    *("$JS.API.CONSUMER.CREATE.KV_ff_runs", "$JS.API.CONSUMER.CREATE.KV_ff_runs.scheduler.$KV.ff_runs.x"),
    *("$JS.API.CONSUMER.DELETE.KV_ff_runs.scheduler", "$JS.API.CONSUMER.PAUSE.KV_ff_runs.scheduler"),
    *("$JS.API.CONSUMER.DELETE.FF_WORK.script", "$JS.API.META.LEADER.STEPDOWN", "$SYS.REQ.SERVER.PING"),
    *("ff.event.run.x.y", "ff.unheard.of", "$KV.other.key"),
)
"""What no user may."""


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
        """Whether it may not subscribe."""
        self._log.clear()

        async def ignore(_: object) -> None: ...

        await self.bus.client.subscribe(subject, cb=ignore)
        await self._heard()
        return self._complains("subscription", subject)

    async def _heard(self) -> None:
        """Return once the server has complained about everything so far: a last thing that nobody may comes last."""
        await self.bus.client.publish(LAST, b"")
        async with asyncio.timeout(10):
            while not self._complains("publish", LAST):
                await self.bus.client.flush()

    def _complains(self, verb: str, subject: str) -> bool:
        return f'permissions violation for {verb} to "{subject.lower()}"' in self._log.text.lower()


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


def _example(pattern: str) -> str:
    return ".".join({"*": "xxx", ">": "yyy.zzz"}.get(token, token) for token in pattern.split("."))


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


async def test_every_user_tries_everything_that_any_user_may(voices: dict[User, Voice]) -> None:
    """What is not its own is denied by the server, and nothing else is."""
    everything = sorted({_example(pattern) for user in User for pattern in grant(user).publish} | set(FOREIGN))
    for user, voice in voices.items():
        denied = await voice.denied(everything)
        assert denied == {subject for subject in everything if not _may(grant(user), subject)}, user
        assert denied >= set(FOREIGN), user


OWN = {
    User.SYNCER: ("$KV.ff_pipelines.pipeline.demo", "$O.ff_bundles.C.x"),
    User.SCHEDULER: ("$KV.ff_runs.input.demo.x", "$KV.ff_schedules.sched.x.y", "ff.dead.trigger.x"),
    User.RUNNER: ("ff.log.x.y.1", "ff.cell.x.y.1", "ff.metric.x.y.1", "$KV.ff_runners.runner.x"),
    User.GATEWAY: ("ff.command.run.x.y", "ff.sync.request", "$KV.ff_links.links.x", "$KV.ff_schedules.switch.x.y"),
}
"""What one service says and no other does."""


async def test_no_service_does_what_is_anothers(voices: dict[User, Voice]) -> None:
    """A runner that was broken into makes no pipeline; a gateway writes no run. ``switch`` keys go with their job."""
    for owner, said in OWN.items():
        assert await voices[owner].denied(said) == set()
        for user, voice in voices.items():
            if user is not owner:
                allowed = {s for s in said if user is User.SCHEDULER and s.startswith("$KV.ff_schedules")}
                assert await voice.denied(said) == set(said) - allowed, (user, owner)


async def test_no_user_hears_anothers_answers(voices: dict[User, Voice]) -> None:
    """Nor everything at once, nor the runs of all: only what is repeated for all."""
    for user, voice in voices.items():
        for other in (*(inbox(other) for other in User if other is not user), ADMIN_INBOX):
            assert await voice.is_deaf_to(f"{other}.>"), (user, other)
        for subject in (">", "ff.>", "$KV.>", "$JS.>", "*.>", "ff.trigger.*", "ff.work.*", "ff.log.>"):
            assert await voice.is_deaf_to(subject), (user, subject)
        assert not await voice.is_deaf_to(f"{inbox(user)}.x")
    assert not await voices[User.OUTSIDE].is_deaf_to("ff.event.>")


async def test_a_durable_consumer_cannot_be_changed_by_who_may_read_its_stream(voices: dict[User, Voice]) -> None:
    """The name in the subject is the one that counts, whatever the request's body says."""
    stream, subject = streams.bucket_stream(subjects.RUNS), f"$KV.{subjects.RUNS}.{subjects.RUN_KEYS}"
    body = {"stream_name": stream, "config": {"name": "scheduler", "ack_policy": "none", "filter_subject": subject}}
    client = voices[User.GATEWAY].bus.client
    answer = await client.request(f"$JS.API.CONSUMER.CREATE.{stream}.mine.{subject}", json.dumps(body).encode())
    assert json.loads(answer.data)["name"] == "mine"
    request = f"$JS.API.CONSUMER.CREATE.{stream}.scheduler.{subject}"
    with pytest.raises(nats.errors.TimeoutError):
        await client.request(request, json.dumps(body).encode(), timeout=0.2)
    await streams.verify(voices[User.SCHEDULER].bus.js)


async def test_any_client_from_outside_starts_a_run_and_hears_of_it(voices: dict[User, Voice]) -> None:
    """With a password and nothing of ours; its publish is acknowledged on the inbox that every client has."""
    client = voices[User.OUTSIDE].bus.client
    ack = await client.jetstream().publish("ff.trigger.demo", b"")
    assert (ack.stream, ack.seq) == (streams.TRIGGERS, 1)


async def test_a_wrong_seed_is_turned_away(tmp_path: Path) -> None:
    """As any wrong password is."""
    async with embedded_bus(tmp_path, sync="2m") as url:
        stranger = users_in(tmp_path / "elsewhere").seeds[User.RUNNER]
        bare = f"nats://{url.rpartition('@')[2]}"
        with pytest.raises(Unavailable, match="credentials"):
            async with connect(bare, name="stranger", seed=stranger, connect_s=1):
                raise AssertionError


def test_secrets_are_kept_and_private(tmp_path: Path) -> None:
    """Making users again changes none of them; nobody else reads them; the server learns no seed."""
    users = users_in(tmp_path / "users")
    assert users_in(tmp_path / "users") == users
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "users").iterdir()} == {0o600}
    assert not [seed for seed in users.seeds.values() if seed in config(users)]
