"""Calls on the bus: a request on ``ff.call.<pipeline>`` gets the end of its run as its reply.

The caller is a program outside, with its own account and none of our code.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nats
import nats.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client as Nats

from fastflow.local.bus_users import users_in
from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow.local.nats_server import USERS
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import ADMIN_INBOX, User, inbox
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway.actions import calls
from tests.support.gateway import ANSWER_S, Client, claim, finish, running_gateway, running_scheduler
from tests.support.new_runs import new_runs
from tests.support.records import a_bundle, publish_pipeline

FIELDS = {"run_id", "status", "result", "error_type", "error_message"}


class Reply(NamedTuple):
    json: dict[str, Any]
    headers: Mapping[str, str]


class There(NamedTuple):
    """A gateway with its own user on the bus, a scheduler, and a caller."""

    admin: Bus
    gateway: Client
    caller: Nats
    folder: Path
    url: str


async def call(caller: Nats, pipeline: str, body: bytes = b"", **headers: str) -> Reply:
    """Call, as any NATS client does: again if no gateway has a connection at that moment."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asyncio.timeout(ANSWER_S):
        while True:
            try:
                message = await caller.request(f"ff.call.{pipeline}", body, timeout=ANSWER_S, headers=named or None)
                break
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.1)
    reply = json.loads(message.data)
    assert set(reply) == FIELDS
    return Reply(reply, message.headers or {})


@pytest_asyncio.fixture
async def there(own_bus_url: str, tmp_path: Path) -> AsyncIterator[There]:
    folder = tmp_path / "bus"
    outside = await nats.connect((folder / OUTSIDE_URL_FILE).read_text().strip())
    async with (
        connect(own_bus_url, name="admin", inbox=ADMIN_INBOX) as admin,
        as_user(User.GATEWAY, own_bus_url, folder) as bus,
        as_user(User.SCHEDULER, own_bus_url, folder) as scheduling,
    ):
        await publish_pipeline(admin, "demo", a_bundle(main_py="1"), accepts_env=("A",))
        async with running_scheduler(scheduling), running_gateway(bus) as gateway:
            try:
                yield There(admin, gateway, outside, folder, own_bus_url)
            finally:
                await outside.close()


def as_user(user: User, url: str, folder: Path) -> Any:
    """A connection with the permissions of a service."""
    seed = users_in(folder / USERS).seeds[user]
    return connect(f"nats://{url.rpartition('@')[2]}", name=user.value, seed=seed, inbox=inbox(user))


async def test_a_request_gets_the_result_as_its_reply(there: There) -> None:
    """The message is the run's event."""
    async with new_runs(there.admin) as next_run, asyncio.TaskGroup() as group:
        asked = group.create_task(call(there.caller, "demo", b"four and three", Content_Type="text/plain"))
        run = await next_run()
        given = await RunStore(there.admin).input(run)
        await finish(there.admin, await claim(there.admin, run), result=b'{"total": 7}')
    reply = asked.result()
    assert (given.event, given.event_type, run.order.triggered_by) == (b"four and three", "text/plain", "bus")
    assert reply.json == {
        "run_id": run.id,
        "status": "SUCCESS",
        "result": {"total": 7},
        "error_type": None,
        "error_message": None,
    }
    assert not reply.headers


async def test_a_run_that_fails_is_a_reply_like_any_other(there: There) -> None:
    """The call worked; the reply says how the run ended."""
    async with new_runs(there.admin) as next_run, asyncio.TaskGroup() as group:
        asked = group.create_task(call(there.caller, "demo"))
        await finish(there.admin, await claim(there.admin, await next_run()), exit_code=3)
    reply = asked.result()
    assert (reply.json["status"], reply.json["error_type"]) == ("FAILED", "script_error")
    assert not reply.headers


async def test_a_cancelled_run_is_a_reply(there: There) -> None:
    """With why it ended."""
    async with new_runs(there.admin) as next_run, asyncio.TaskGroup() as group:
        asked = group.create_task(call(there.caller, "demo"))
        run = await next_run()
        await RunStore(there.admin).change(run.ref, Cancel(reason="replaced"))
    assert (asked.result().json["status"], asked.result().json["error_message"]) == ("INTERRUPTED", "replaced")


async def test_a_repeated_request_is_one_run(there: There) -> None:
    """At once, and when the run is over, also at another gateway; another id is another run."""
    async with new_runs(there.admin) as next_run, asyncio.TaskGroup() as group:
        asked = [group.create_task(call(there.caller, "demo", Nats_Msg_Id="order-7")) for _ in range(5)]
        run = await next_run()
        await finish(there.admin, await claim(there.admin, run), result=b"[1]")
    for reply in [each.result() for each in asked] + [await call(there.caller, "demo", Nats_Msg_Id="order-7")]:
        assert (reply.json["run_id"], reply.json["result"]) == (run.id, [1])
    other = await call(there.caller, "demo", Nats_Msg_Id="order-8", Prefer="wait=0")
    assert other.json["run_id"] != run.id
    assert len((await there.gateway.get("/api/runs")).json["runs"]) == 2


async def test_each_request_reaches_one_of_many_gateways(there: There) -> None:
    """They form a queue group, also across accounts: more gateways answer more calls, each one once."""
    async with as_user(User.GATEWAY, there.url, there.folder) as bus, running_gateway(bus):
        replies = await asyncio.gather(*(call(there.caller, "demo", Prefer="wait=0") for _ in range(40)))
        ids = {reply.json["run_id"] for reply in replies}
        assert len(ids) == 40
        listed = (await there.gateway.get("/api/runs?limit=500")).json["runs"]
        assert {run["id"] for run in listed} == ids


async def test_the_reply_after_the_wait_names_the_run(there: There) -> None:
    """The run goes on; the same id waits for it again."""
    first = await call(there.caller, "demo", Nats_Msg_Id="7", Prefer="wait=1")
    assert (first.json["status"], first.json["error_type"], first.json["result"]) == ("PENDING", "not_over", None)
    assert first.json["run_id"] in first.json["error_message"]
    assert (first.headers["Nats-Service-Error"], first.headers["Nats-Service-Error-Code"]) == ("not_over", "504")
    run = (await RunStore(there.admin).find(first.json["run_id"])).run
    async with asyncio.TaskGroup() as group:
        again = group.create_task(call(there.caller, "demo", Nats_Msg_Id="7"))
        await finish(there.admin, await claim(there.admin, run), result=b"7")
    assert (again.result().json["run_id"], again.result().json["result"]) == (run.id, 7)


@pytest.mark.parametrize(
    ("pipeline", "body", "headers", "code", "says"),
    [
        ("other", b"", {}, "404", "no pipeline 'other'"),
        ("a=zz", b"", {}, "404", "not a token"),
        ("=2Fetc", b"", {}, "404", "cannot be a pipeline's name"),
        ("demo", b'{"env_vars": {"X": "1"}}', {}, "422", "accepts_env"),
        ("demo", b'{"env_vars": 7}', {}, "422", "env_vars"),
        ("demo", b'{"run_config_id": "nightly"}', {}, "422", "nightly"),
        ("demo", b"x", {"Content_Type": "application/cloudevents+json"}, "422", "JSON object"),
        ("demo", b'{"retry_of": "x"}', {"Content_Type": "application/vnd.fastflow.start+json"}, "422", "retry"),
        ("demo", b"x" * (1024 * 1024 + 1), {}, "422", "1,048,576"),
        ("one", b"", {}, "429", "max_instances"),
    ],
)
async def test_a_refused_start_is_a_reply_that_says_why(
    there: There, pipeline: str, body: bytes, headers: dict[str, str], code: str, says: str
) -> None:
    """It does not wait, and starts nothing."""
    await publish_pipeline(there.admin, "one", a_bundle(main_py="1"), max_instances=1)
    assert (await call(there.caller, "one", Prefer="wait=0")).json["status"] == "PENDING"
    reply = await call(there.caller, pipeline, body, **headers)
    assert (reply.json["run_id"], reply.json["status"], reply.json["error_type"]) == (None, None, "refused")
    assert says in reply.json["error_message"]
    assert reply.headers["Nats-Service-Error-Code"] == code
    assert len((await there.gateway.get("/api/runs")).json["runs"]) == 1


async def test_without_a_gateway_the_caller_knows_at_once(own_bus_url: str, tmp_path: Path) -> None:
    """The server itself says that nobody listens."""
    caller = await nats.connect((tmp_path / "bus" / OUTSIDE_URL_FILE).read_text().strip())
    with pytest.raises(nats.errors.NoRespondersError):
        await caller.request("ff.call.demo", b"", timeout=ANSWER_S)
    await caller.close()


async def test_a_gateway_that_stops_replies_to_those_who_wait(there: There) -> None:
    """With the run, which goes on: a caller with an id asks again."""
    async with asyncio.TaskGroup() as group:
        async with as_user(User.GATEWAY, there.url, there.folder) as bus, running_gateway(bus) as other:
            asked = [group.create_task(call(there.caller, "demo"))]
            async with asyncio.timeout(ANSWER_S):
                while not await waiting(other) or not await waiting(
                    there.gateway
                ):  # the bus shares calls out at random
                    asked.append(group.create_task(call(there.caller, "demo")))
                    await asyncio.sleep(0.05)
                while await waiting(other) + await waiting(there.gateway) < len(asked):
                    await asyncio.sleep(0.01)
            here = await waiting(other)
        while len([each for each in asked if each.done()]) < here:
            await asyncio.sleep(0.01)
        stopped = [each.result().json for each in asked if each.done()]
        for run in (await there.gateway.get("/api/runs")).json["runs"]:
            record = (await RunStore(there.admin).find(run["id"])).run
            await finish(there.admin, await claim(there.admin, record))
    assert here > 0
    assert {(reply["status"], reply["error_type"]) for reply in stopped} == {("PENDING", "not_over")}
    assert {each.result().json["status"] for each in asked} == {"PENDING", "SUCCESS"}


async def test_a_gateway_with_too_many_calls_says_so(there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts nothing then."""
    monkeypatch.setattr(calls, "CALLS_MAX", 0)
    reply = await call(there.caller, "demo")
    assert (reply.json["error_type"], reply.headers["Nats-Service-Error-Code"]) == ("unavailable", "503")
    assert (await there.gateway.get("/api/runs")).json["runs"] == []


async def test_a_call_without_an_inbox_is_ignored(there: There) -> None:
    """Nobody could hear its end; nor is anything published where a caller may not."""
    for subject in ("", "ff.trigger.demo", "$KV.ff_runs.run.x.y"):
        await there.caller.publish("ff.call.demo", b"", reply=subject)
    assert (await call(there.caller, "demo", Prefer="wait=0")).json["status"] == "PENDING"
    assert len((await there.gateway.get("/api/runs")).json["runs"]) == 1


async def test_the_administrator_may_call(there: There) -> None:
    """Its inbox is its own."""
    reply = await call(there.admin.client, "demo", Prefer="wait=0")
    assert reply.json["status"] == "PENDING"


async def waiting(client: Client) -> int:
    """How many callers wait at this gateway."""
    metrics = (await client.get("/metrics")).text
    return int(float(metrics.split("\nfastflow_gateway_waits ")[1].split("\n")[0]))


async def test_a_call_during_a_pause_is_told_who_paused_and_why(there: There) -> None:
    """Its run is kept, and has not begun."""
    assert (await there.gateway.ask("PUT", "/api/pause", json={"reason": "the move", "by": "Ada"})).status == 200
    reply = await call(there.caller, "demo", Prefer="wait=1")
    assert (reply.json["status"], reply.json["error_type"]) == ("PENDING", "not_over")
    assert "by Ada: the move" in reply.json["error_message"]
