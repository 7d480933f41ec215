"""Attacks with a stolen credential: making the server publish where its user may not.

A server answers on any subject that a request names, and a consumer delivers to any subject that its creator names,
whatever their permissions. Each test tries it with the credential of every user, on a real server.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from nats.aio.msg import Msg

from fastflow.local import nats_server
from fastflow.local.bus_users import Users, config, quoted, users_in
from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow.local.nats_server import USERS, embedded_bus
from fastflow_contracts.bus import streams
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.feed import once
from fastflow_contracts.bus.permissions import ADMIN, User, grant, inbox
from fastflow_contracts.bus.pull import Pull
from fastflow_contracts.bus.streams import STREAMS, bucket_stream, ensure
from tests.support.ports import free_port
from tests.wire.contracts.bus.test_permissions import WHO, _may

PREY: Final = (
    "ff.trigger.{}",
    "ff.command.run.{}.r",
    "ff.drain.{}",
    "ff.event.run.{}.r",
    "ff.log.{}.r.1",
    "ff.cell.{}.r.1",
    "ff.metric.{}.r.1",
    "ff.skipped.{}.r",
    "$KV.ff_runs.run.{}.r",
    "$KV.ff_runs.limit.{}",
    "$KV.ff_pipelines.pipeline.{}",
    "$KV.ff_runners.runner.{}",
    "$KV.ff_schedules.switch.{}.s",
    "$KV.ff_links.links.{}",
    "$O.ff_bundles.M.{}",
    "ff_stored.ff.log.{}.r.1",
    "_INBOX_fastflow.{}",
    "_INBOX_gateway.{}",
    "_INBOX_runner.{}",
)
"""Subjects that somebody believes; the part in braces tells an attack from everything else."""
BODIES: Final = (
    b"",
    b'{"batch": 5, "next_by_subj": ">"}',
    b'{"batch": 5, "multi_last": [">"]}',
    b'{"seq": 1}',
    b'{"last_by_subj": ">"}',
)
"""They make a request for stored messages succeed."""


class Attack(NamedTuple):
    """The server is asked to publish on ``target``, which the user may not."""

    user: User
    request: str
    target: str


class Street:
    """A bus, a connection of every user, and every message that anybody hears."""

    def __init__(self, admin: Bus, users: dict[User, Bus]) -> None:
        self.admin = admin
        self.users = users
        self._heard: dict[str, set[User | None]] = defaultdict(set)

    async def listen(self) -> None:
        """Hear all that may be heard, as the administrator and as each user."""
        await self._listen(None, self.admin, (">",))
        for user, bus in self.users.items():
            await self._listen(user, bus, (each for each in grant(user).subscribe if not each.startswith("_INBOX")))

    async def _listen(self, user: User | None, bus: Bus, heard: Iterable[str]) -> None:
        async def hear(message: Msg) -> None:
            self._heard[message.subject].add(user)

        for subject in heard:
            await bus.client.subscribe(subject, cb=hear)
        await bus.client.flush()

    def listeners(self, subject: str, *, but: User | None = None) -> set[User | None]:
        """Return who heard something on *subject*; None is the administrator."""
        return self._heard.get(subject, set()) - ({but} if but is not None else set())

    async def settle(self) -> None:
        """Return when the server has answered everything so far: it answers each kind of request in order."""
        for user, bus in self.users.items():
            await bus.client.flush()
            if user is not User.OUTSIDE:
                await streams.verify(bus.js)
        await self.admin.js.publish("ff.trigger.settled", b"")
        await self.admin.client.flush()


@asynccontextmanager
async def _street(folder: Path) -> AsyncIterator[Street]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(embedded_bus(folder, sync="2m"))
        admin = await stack.enter_async_context(connect(url, name="admin", inbox=f"_INBOX_{ADMIN}"))
        await ensure(admin.js)
        users = {}
        for user in User:
            address, seed = (folder / OUTSIDE_URL_FILE).read_text().strip(), ""
            if user is not User.OUTSIDE:
                address, seed = f"nats://{url.rpartition('@')[2]}", users_in(folder / USERS).seeds[user]
            connection = connect(address, name=user.value, seed=seed, inbox=inbox(user))
            users[user] = await stack.enter_async_context(connection)
        yield Street(admin, users)


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[Street]:
    """With a stored message on every stream, which an answer could carry."""
    async with _street(tmp_path) as street:
        for subject in WHO:
            if subject.startswith(("ff.", "$KV.", "$O.")) and not subject.startswith(("ff.drain", "ff.sync")):
                await street.admin.client.publish(subject, b'{"forged": true}')
        await street.admin.client.flush()
        yield street


def _attacks() -> Iterator[Attack]:
    for user in User:
        may = grant(user)
        number = 0
        for request in (subject for subject, users in WHO.items() if user in users):
            for prey in PREY:
                number += 1
                target = prey.format(f"attack{user.value}{number}")
                if not _may(may, target) and not target.startswith(inbox(user) + "."):
                    yield Attack(user, request, target)


async def test_no_user_speaks_on_anothers_subject_through_the_answer_to_a_request(street: Street) -> None:
    """Not through an acknowledgement, a JetStream answer, a message that is read, or work that is taken."""
    await street.listen()
    attacks = list(_attacks())
    assert len({attack.user for attack in attacks}) == len(User)
    for user, request, target in attacks:
        for body in BODIES if request.startswith("$JS.API.") else BODIES[:1]:
            await street.users[user].client.publish(request, body, reply=target)
    await street.settle()
    # Processes of one kind share a user, and can tell each other anything.
    reached = {attack for attack in attacks if street.listeners(attack.target, but=attack.user)}
    assert reached == set()
    assert street.listeners("ff.trigger.settled") == {None}
    for stream in STREAMS:
        info = await street.admin.js.stream_info(stream.name or "", subjects_filter=">")
        assert not [subject for subject in info.state.subjects or {} if "attack" in subject], stream.name


@pytest.mark.parametrize(
    "wish", ["STREAM.DELETE.KV_ff_links", "STREAM.PURGE.KV_ff_links", "CONSUMER.DELETE.FF_WORK.script"]
)
async def test_an_answer_is_no_request(street: Street, wish: str) -> None:
    """Whoever may ask for anything asks the server to answer on the subject of a request that only others may make."""
    for attack in _attacks():
        await street.users[attack.user].client.publish(attack.request, b"", reply=f"$JS.API.{wish}")
    await street.settle()
    await streams.verify(street.admin.js)
    assert (await street.admin.stream("KV_ff_links")).state.messages


async def test_no_user_creates_a_consumer_that_delivers_to_another(street: Street) -> None:
    """Not a lasting one, not one for a while, on no stream, with no filter, under no name."""
    await street.listen()
    before = {stream.name: (await street.admin.stream(stream.name or "")).state.consumer_count for stream in STREAMS}
    for user, bus in street.users.items():
        for stream in STREAMS:
            for config_, path in _consumers(
                stream.name or "", (stream.subjects or [""])[0], f"ff.drain.attack{user.value}"
            ):
                body = json.dumps({"stream_name": stream.name, "config": config_}).encode()
                await bus.client.publish(f"$JS.API.CONSUMER.{path}", body, reply=bus.client.new_inbox())
    await street.settle()
    assert before == {
        stream.name: (await street.admin.stream(stream.name or "")).state.consumer_count for stream in STREAMS
    }
    assert not [user for user in User if street.listeners(f"ff.drain.attack{user.value}")]


def _consumers(stream: str, subject: str, target: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield configurations and the ends of the subjects on which they are asked for."""
    for delivery in ({"deliver_subject": target}, {}):
        plain = {"ack_policy": "none", "deliver_policy": "all", **delivery}
        yield {**plain}, f"CREATE.{stream}"
        yield {**plain, "name": "mine"}, f"CREATE.{stream}.mine"
        yield {**plain, "name": "mine", "filter_subject": subject}, f"CREATE.{stream}.mine.{subject}"
        yield {**plain, "durable_name": "mine"}, f"DURABLE.CREATE.{stream}.mine"
        yield {**plain, "name": "scheduler", "durable_name": "scheduler"}, f"CREATE.{stream}.scheduler.{subject}"


async def test_only_a_gateway_and_the_administrator_drain_a_runner(street: Street) -> None:
    """A forged request of any other user reaches no runner."""
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: Msg) -> None:
        asked.put_nowait(message.subject)

    await street.users[User.RUNNER].client.subscribe("ff.drain.*", cb=hear)
    await street.users[User.RUNNER].client.flush()
    for user in (User.OUTSIDE, User.SYNCER, User.SCHEDULER, User.RUNNER, User.GATEWAY):
        await street.users[user].client.publish(f"ff.drain.{user.value}", b"")
        await street.users[user].client.flush()
    await street.admin.client.publish("ff.drain.admin", b"")
    async with asyncio.timeout(30):
        assert {await asked.get(), await asked.get()} == {"ff.drain.gateway", "ff.drain.admin"}
    await street.settle()
    assert asked.empty()


async def test_requests_leave_nothing_on_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server remembers where each answer between accounts goes. It forgets that with the answer, or the inbox."""
    port = free_port()
    monkeypatch.setattr(nats_server, "_CONFIG", f'{nats_server._CONFIG}http: "127.0.0.1:{port}"\n')
    async with _street(tmp_path) as street:
        scheduler, outside = street.users[User.SCHEDULER], street.users[User.OUTSIDE]
        async with Pull(scheduler, streams.TRIGGERS, streams.SCHEDULER) as pull:
            for _ in range(100):
                await outside.publish("ff.trigger.x", b"")
                (message,) = await pull.take(1)
                await message.ack()
                await scheduler.get("ff_pipelines", "pipeline.x")
                async for _ in once(scheduler, bucket_stream("ff_pipelines"), "$KV.ff_pipelines.>"):
                    pass
        await scheduler.client.flush()
        async with asyncio.timeout(30):
            while await asyncio.to_thread(_remembered, port) > 5:
                await asyncio.sleep(0.1)


def _remembered(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/accountz?acc=FASTFLOW", timeout=10) as answer:
        return len(json.load(answer)["account_detail"].get("responses", ()))


async def test_a_bus_without_accounts_keeps_its_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As older versions left it: every user in one account."""

    def former(users: Users) -> str:
        return f"authorization {{ user: {ADMIN}, password: {quoted(users.admin_password)} }}"

    monkeypatch.setattr(nats_server, "config_of", former)
    async with embedded_bus(tmp_path, sync="2m") as url, connect(url, name="former") as bus:
        await ensure(bus.js)
        revision = await bus.put("ff_links", "links.x", b"kept")
        await bus.publish("ff.trigger.x", b"kept")
    monkeypatch.setattr(nats_server, "config_of", config)
    async with _street(tmp_path) as street:
        entry = await street.users[User.GATEWAY].get("ff_links", "links.x")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"kept", revision)
        async with Pull(street.users[User.SCHEDULER], streams.TRIGGERS, streams.SCHEDULER) as pull:
            assert [message.data for message in await pull.take(1)] == [b"kept"]
