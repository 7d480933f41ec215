"""Starts that wait for the end of their run: ``?wait=`` and ``Prefer: wait=``."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_gateway.actions import waits
from tests.support.gateway import TOKEN, WEBHOOK_KEY, Answer, Client, claim, finish, running_gateway
from tests.support.new_runs import new_runs
from tests.support.records import a_bundle, publish_pipeline

START = "/api/pipelines/demo/run"
WEBHOOK = f"/api/webhooks/demo/{WEBHOOK_KEY}"


async def called(
    bus: Bus, client: Client, path: str, *, exit_code: int = 0, result: bytes | None = None, **request: Any
) -> Answer:
    """Call while a runner does the work."""
    async with new_runs(bus) as next_run, asyncio.TaskGroup() as group:
        call = group.create_task(client.post(path, **request))
        await finish(bus, await claim(bus, await next_run()), exit_code=exit_code, result=result)
    return call.result()


@pytest.mark.parametrize("path", [START, "/api/pipelines/demo/events", WEBHOOK])
async def test_a_start_that_waits_answers_with_the_run_that_is_over(bus: Bus, client: Client, path: str) -> None:
    """With its result; by the parameter, and by the header, which is confirmed."""
    answer = await called(bus, client, f"{path}?wait=60", result=b'{"total": 7}')
    assert (answer.status, answer.json["status"], answer.json["result"]) == (200, "SUCCESS", {"total": 7})
    assert "Preference-Applied" not in answer.headers
    answer = await called(bus, client, path, headers={"Prefer": "respond-async, wait=60"})
    assert (answer.status, answer.json["status"]) == (200, "SUCCESS")
    assert answer.headers["Preference-Applied"] == "wait=60"


async def test_a_retry_can_wait(bus: Bus, client: Client) -> None:
    """Its answer is the new run."""
    first = await called(bus, client, f"{START}?wait=60", exit_code=1)
    again = await called(bus, client, f"/api/runs/{first.json['id']}/retry?wait=60")
    assert (again.status, again.json["status"]) == (200, "SUCCESS")
    assert again.json["id"] != first.json["id"]


async def test_a_run_that_fails_is_an_answer_like_any_other(bus: Bus, client: Client) -> None:
    """The call worked: its run is over, and says how."""
    answer = await called(bus, client, f"{START}?wait=60", exit_code=3)
    assert answer.status == 200
    assert [answer.json[name] for name in ("status", "exit_code", "error_type")] == ["FAILED", 3, "script_error"]


@pytest.mark.parametrize("path", [START, "/api/pipelines/demo/events", WEBHOOK])
async def test_after_the_wait_the_answer_is_the_id(bus: Bus, client: Client, path: str) -> None:
    """202, where the run can be found, and that it goes on."""
    answer = await client.post(path, headers={"Prefer": "wait=1"})
    assert (answer.status, answer.headers["Preference-Applied"]) == (202, "wait=1")
    assert answer.headers["Location"] == f"/api/runs/{answer.json['id']}"
    assert "not over yet" in answer.json["detail"]
    assert (await client.get(answer.headers["Location"])).json["status"] == "PENDING"


async def test_a_repeated_call_waits_for_the_same_run(bus: Bus, client: Client) -> None:
    """Also one that comes when the run is over: it is answered at once."""
    path, headers = f"{START}?wait=60", {"Idempotency-Key": "order-7"}
    async with new_runs(bus) as next_run, asyncio.TaskGroup() as group:
        calls = [group.create_task(client.post(path, headers=headers)) for _ in range(3)]
        await finish(bus, await claim(bus, await next_run()))
    answers = [call.result() for call in calls] + [await client.post(path, headers=headers)]
    assert {(each.status, each.json["status"]) for each in answers} == {(200, "SUCCESS")}
    assert len({each.json["id"] for each in answers}) == 1


@pytest.mark.parametrize("given", ["wait=-1", "wait=61", "wait=soon", "wait=1.5", "wait=1&wait=2"])
@pytest.mark.parametrize("path", [START, "/api/pipelines/demo/events", WEBHOOK])
async def test_a_wait_that_is_none_is_refused(bus: Bus, client: Client, path: str, given: str) -> None:
    """Before anything starts; the answer names it."""
    answer = await client.post(f"{path}?{given}")
    assert answer.status in (400, 422)
    assert "wait" in answer.json["detail"]
    assert (await client.get("/api/runs")).json["runs"] == []


@pytest.mark.parametrize("given", ["wait=0", "wait=soon", "wait", "respond-async", "return=minimal", ""])
async def test_a_preference_that_asks_for_no_wait_changes_nothing(bus: Bus, client: Client, given: str) -> None:
    """As RFC 7240 says: what a server does not understand, it passes over."""
    answer = await client.post(START, headers={"Prefer": given})
    assert (answer.status, answer.json["status"]) == (200, "PENDING")
    assert "Preference-Applied" not in answer.headers


async def test_a_refused_start_does_not_wait(bus: Bus, client: Client) -> None:
    """It answers as without."""
    assert (await client.post("/api/pipelines/other/run?wait=60")).status == 404
    assert (await client.post(f"{START}?wait=60", json={"env_vars": {"X": "1"}})).status == 422
    await publish_pipeline(bus, "one", a_bundle(main_py="1"), max_instances=1)
    assert (await client.post("/api/pipelines/one/run")).status == 200
    assert (await client.post("/api/pipelines/one/run?wait=60")).status == 429


async def test_a_caller_that_hangs_up_is_forgotten_and_its_run_goes_on(bus: Bus, client: Client) -> None:
    """The gateway keeps nothing of it, long before the wait is over."""
    host, port = client.url.removeprefix("http://").split(":")
    async with new_runs(bus) as next_run:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {START}?wait=60 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Length: 0\r\n\r\n".encode()
        )
        run = await next_run()
        await waiting(client, 1)
        writer.close()
        await waiting(client, 0)
    assert (await finish(bus, await claim(bus, run))).is_over


async def test_a_gateway_that_stops_answers_those_who_wait(bus: Bus, client: Client) -> None:
    """With the id: they ask another gateway."""
    async with asyncio.TaskGroup() as group, running_gateway(bus) as other:
        asking = Client(other.url, client.http)  # a session that outlives the gateway
        call = group.create_task(asking.post(f"{START}?wait=60"))
        await waiting(other, 1)
    assert call.result().status == 202
    assert (await client.get(call.result().headers["Location"])).json["status"] == "PENDING"


async def test_too_many_callers_are_answered_at_once(bus: Bus, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the id of their run, which goes on."""
    monkeypatch.setattr(waits, "WAITS_MAX", 0)
    answer = await client.post(f"{START}?wait=60")
    assert answer.status == 202
    assert (await client.get(f"/api/runs/{answer.json['id']}")).status == 200


async def test_200_callers_wait_at_once(bus: Bus, client: Client) -> None:
    """Each gets its own run, and meanwhile others are answered."""
    everyone = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    async with everyone as http, new_runs(bus) as next_run, asyncio.TaskGroup() as group:
        calls = [group.create_task(Client(client.url, http).post(f"{START}?wait=60")) for _ in range(200)]
        runs = [await next_run() for _ in calls]
        await waiting(client, 200)
        assert (await client.get("/api/pipelines")).status == 200
        for run in runs:
            await finish(bus, await claim(bus, run))
    answers = [call.result() for call in calls]
    assert {each.status for each in answers} == {200}
    assert {each.json["id"] for each in answers} == {run.id for run in runs}


async def waiting(client: Client, number: int) -> None:
    """Return when *number* callers wait at the gateway."""
    while f"fastflow_gateway_waits {number:.1f}" not in (await client.get("/metrics")).text:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "path",
    [
        "/api/pipelines/{name}/run",
        "/api/pipelines/{name}/events",
        "/api/webhooks/{name}/{key}",
        "/api/runs/{id}/retry",
    ],
)
async def test_the_document_says_what_waits(client: Client, path: str) -> None:
    """The parameter with its bounds, the header, and the run with its result among the answers."""
    operation = (await client.get("/api/openapi.json")).json["paths"][path]["post"]
    named = {each["name"]: each["schema"] for each in operation["parameters"]}
    assert "Prefer" in named
    assert any((kind.get("minimum"), kind.get("maximum")) == (0, 60) for kind in named["wait"]["anyOf"])
    answers = operation["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"]
    assert [each["$ref"].rpartition("/")[2] for each in answers] == ["Run", "RunWithResult"]


async def test_a_wait_during_a_pause_ends_with_who_paused_and_why(client: Client) -> None:
    assert (await client.ask("PUT", "/api/pause", json={"reason": "the move", "by": "Ada"})).status == 200
    answer = await client.post(f"{START}?wait=1")
    assert (answer.status, "is kept, and waits for" in answer.json["detail"]) == (202, True)
    assert "by Ada: the move" in answer.json["detail"]
