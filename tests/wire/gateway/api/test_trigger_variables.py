"""Attack: whoever may start a run makes it execute code, by variables that Python and its libraries read as they load.

A start from outside may set only variables that the pipeline declares. The same rule holds on every way to a run.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PIPELINE
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import DECISION, REPLY_HEADER, RUN_BODY_TYPE, TRIGGER_TYPE, Skipped, Trigger
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.skips import SkipStore, letter_of
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import Answer, Client, running_gateway, running_scheduler
from tests.support.ids import fresh_run_id
from tests.support.records import T0, a_bundle, a_run, publish_pipeline

KEY = "a-webhook-key-of-some-length"
DEMO = PipelineName("demo")
ATTACK = {"PYTHONWARNINGS": "all:0:antigravity.x:0:0", "BROWSER": "/bin/sh -c 'echo $SECRET' #%s"}
"""Python imports `antigravity` for the warning's category, which opens the browser: this shell command."""
SECRET = "gAAAA-no-token-but-a-name"
DECLARED = {"default_env": {"MODE": "dry"}, "accepts_env": ("CUSTOMER_*",), "encrypted_env": {"API_KEY": SECRET}}


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway and a scheduler; ``demo`` declares variables, ``report`` is a notebook."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), webhook_key=KEY, **DECLARED)
    await publish_pipeline(bus, "report", a_bundle(main_py="1"), webhook_key=KEY, type="notebook", **DECLARED)
    async with running_scheduler(bus), running_gateway(bus) as client:
        yield client


async def by_webhook(_: Bus, client: Client, body: dict[str, Any]) -> tuple[int, str]:
    return _said(await client.post(f"/api/webhooks/demo/{KEY}", json=body, anonymous=True))


async def by_api(_: Bus, client: Client, body: dict[str, Any]) -> tuple[int, str]:
    return _said(await client.post("/api/pipelines/demo/run", json=body))


async def by_event(_: Bus, client: Client, body: dict[str, Any]) -> tuple[int, str]:
    headers = {"Content-Type": RUN_BODY_TYPE}
    return _said(await client.post("/api/pipelines/demo/events", data=json.dumps(body), headers=headers))


async def by_bus(bus: Bus, _: Client, body: dict[str, Any]) -> tuple[int, str]:
    return await publish(bus, json.dumps(body).encode(), {})


async def as_a_service(bus: Bus, _: Client, body: dict[str, Any]) -> tuple[int, str]:
    """An outside program claims to be the gateway, and a person's start."""
    claims = {"v": 1, "triggered_by": "manual", "by_operator": True, **body}
    return await publish(bus, json.dumps(claims).encode(), {"Content-Type": TRIGGER_TYPE})


async def publish(bus: Bus, payload: bytes, headers: dict[str, str]) -> tuple[int, str]:
    inbox = bus.client.new_inbox()
    answers = await bus.client.subscribe(inbox)
    await bus.publish("ff.trigger.demo", payload, headers={REPLY_HEADER: inbox} | headers)
    decision = DECISION.decode((await answers.next_msg(timeout=30)).data)
    return (decision.status, decision.reason) if isinstance(decision, Skipped) else (200, decision.run_id)


def _said(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.json["id"] if answer.status == 200 else answer.json["detail"]


WAYS = [by_webhook, by_api, by_event, by_bus, as_a_service]


async def runs(bus: Bus, name: str = "demo") -> list[RunRecord]:
    return list(await RunStore(bus).all_of(PipelineName(name)))


async def run_of(bus: Bus, run_id: str) -> tuple[RunRecord, RunInput]:
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return run, await RunStore(bus).input(run)


@pytest.mark.parametrize("field", ["env_vars", "parameters"])
@pytest.mark.parametrize("way", WAYS)
async def test_variables_that_change_how_python_loads_start_nothing(
    bus: Bus, client: Client, way: Any, field: str
) -> None:
    """PYTHONWARNINGS with BROWSER ran a shell. The answer names the variable and says what to do; a skip is kept."""
    status, reason = await way(bus, client, {field: ATTACK})
    assert (status, "BROWSER" in reason, "default_env" in reason) == (422, True, True), reason
    assert await runs(bus) == []
    (skip,) = (await client.get("/api/skipped")).json["skips"]
    assert skip["reason"] == reason
    again = await client.post(f"/api/skipped/{skip['id']}/redrive")
    assert (again.status, again.json["detail"]) == (422, reason)
    assert await runs(bus) == []


@pytest.mark.parametrize(
    ("name", "advice"), [("DATABASE_URL", "accepts_env"), ("API_KEY", "encrypted_env"), ("CUSTOMER", "accepts_env")]
)
@pytest.mark.parametrize("way", WAYS)
async def test_a_start_from_outside_sets_only_what_the_pipeline_declares(
    bus: Bus, client: Client, way: Any, name: str, advice: str
) -> None:
    status, reason = await way(bus, client, {"env_vars": {name: "x"}})
    assert (status, name in reason, advice in reason) == (422, True, True), reason
    status, run_id = await way(bus, client, {"env_vars": {"MODE": "real"}, "parameters": {"CUSTOMER_ID": "7"}})
    assert status == 200, run_id
    _, given = await run_of(bus, run_id)
    assert given.overrides == {"MODE": "real", "CUSTOMER_ID": "7"}


async def test_an_outside_program_cannot_say_who_started_a_run(bus: Bus, client: Client) -> None:
    _, run_id = await as_a_service(bus, client, {})
    run, _ = await run_of(bus, run_id)
    assert (run.order.triggered_by, run.order.by_operator) == ("bus", False)
    headers = {"Fastflow-Triggered-By": "manual"}
    answer = await client.post("/api/pipelines/demo/run", json={}, headers=headers)
    assert (answer.status, answer.json["triggered_by"]) == (200, "api")


@pytest.mark.parametrize("field", ["retry_of", "redrive_of"])
async def test_an_outside_program_can_neither_retry_nor_redrive(bus: Bus, client: Client, field: str) -> None:
    """Else it would start runs with variables that an operator chose."""
    status, reason = await as_a_service(bus, client, {field: fresh_run_id()})
    assert (status, field in reason) == (422, True), reason


async def test_an_operator_may_set_other_variables_but_none_that_changes_how_programs_load(
    bus: Bus, client: Client
) -> None:
    """`fastflow run -e` asks for it; the retry of such a run is an operator's, too."""
    path = "/api/pipelines/demo/run?allow_undeclared=true"
    answer = await client.post(path, json={"env_vars": {"DEBUG": "1"}, "parameters": {"day": "monday"}})
    assert (answer.status, answer.json["triggered_by"]) == (200, "api")
    run, given = await run_of(bus, answer.json["id"])
    assert given.overrides == {"DEBUG": "1", "day": "monday"}
    for name in (*ATTACK, "API_KEY"):
        assert (await client.post(path, json={"env_vars": {name: "x"}})).status == 422
    await RunStore(bus).change(run.ref, Cancel())
    for code in ("same", "current"):
        again = await client.post(f"/api/runs/{run.id}/retry", json={"code": code})
        assert again.status == 200, again.text
        assert (await run_of(bus, again.json["id"]))[1].overrides == given.overrides


@pytest.mark.parametrize("code", ["same", "current"])
@pytest.mark.parametrize("name", ["PYTHONWARNINGS", "DATABASE_URL", "API_KEY"])
async def test_a_run_that_was_stored_with_such_a_variable_is_not_retried(
    bus: Bus, client: Client, name: str, code: str
) -> None:
    """An older version, or a pipeline that declared more, may have let it in."""
    run = a_run("demo", env_names=(name,), has_input=True)
    assert await RunStore(bus).create(run, RunInput(overrides={name: "x"}))
    await RunStore(bus).change(run.ref, Cancel())
    answer = await client.post(f"/api/runs/{run.id}/retry", json={"code": code})
    assert (answer.status, name in answer.json["detail"]) == (422, True), answer.text


@pytest.mark.parametrize("triggered_by", ["downstream", "daemon_restart", "schedule", "bus"])
async def test_the_redrive_of_a_stored_start_passes_the_same_rule(bus: Bus, client: Client, triggered_by: Any) -> None:
    """A chain, a restart or an older version may have left it."""
    trigger = Trigger(triggered_by=triggered_by, env_vars=ATTACK)
    skip = messages.SkipRecord(id=fresh_run_id(), at=T0, pipeline="demo", reason="full", triggered_by=triggered_by)
    await SkipStore(bus).keep(skip, letter_of(trigger))
    async with asyncio.timeout(30):
        while not (await client.get("/api/skipped")).json["skips"]:
            await asyncio.sleep(0.02)
    answer = await client.post(f"/api/skipped/{skip.id}/redrive")
    assert (answer.status, "BROWSER" in answer.json["detail"], await runs(bus)) == (422, True, [])


async def test_a_notebook_gets_undeclared_parameters_as_values_and_not_as_variables(bus: Bus, client: Client) -> None:
    body = {"parameters": {"alpha": 0.5, "MODE": "real"}}
    answer = await client.post(f"/api/webhooks/report/{KEY}", json=body, anonymous=True)
    assert answer.status == 200, answer.text
    run, given = await run_of(bus, answer.json["id"])
    assert (given.overrides, given.not_variables) == ({"alpha": "0.5", "MODE": "real"}, ("alpha",))
    refused = await client.post(f"/api/webhooks/report/{KEY}", json={"parameters": ATTACK}, anonymous=True)
    assert (refused.status, "BROWSER" in refused.json["detail"]) == (422, True)
    assert [one.id for one in await runs(bus, "report")] == [run.id]


@pytest.mark.parametrize("by", ["webhook", "api", "operator"])
async def test_a_text_that_the_cell_of_a_notebook_cannot_take_is_refused(bus: Bus, client: Client, by: str) -> None:
    """With its name, and no run: it could only fail. A number of another type starts one."""
    shown = {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}}
    record = await publish_pipeline(bus, "typed", a_bundle(main_py="1"), webhook_key=KEY, type="notebook")
    assert record.live is not None
    record = replace(record, live=replace(record.live, inferred_parameters=shown))
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), PIPELINE.encode(record))
    paths = {"webhook": f"/api/webhooks/typed/{KEY}", "api": "/api/pipelines/typed/run"}
    path = paths.get(by, f"{paths['api']}?allow_undeclared=true")
    refused = await client.post(path, json={"parameters": {"n": "hello"}}, anonymous=by == "webhook")
    assert (refused.status, refused.json["detail"]) == (
        422,
        "parameters: /n: must be a number, as its default in the cell tagged parameters.",
    )
    for value in (0.5, "7"):
        started = await client.post(path, json={"parameters": {"n": value}}, anonymous=by == "webhook")
        assert started.status == 200, started.text
    assert len(await runs(bus, "typed")) == 2


async def test_services_start_runs_on_a_subject_of_their_own(bus: Bus, client: Client) -> None:
    """What is stored there says who asked; the outside may not publish there."""
    assert (await client.post("/api/pipelines/demo/run", json={})).status == 200
    (stream,) = (each for each in streams.STREAMS if each.name == streams.TRIGGERS)
    assert stream.subjects == [subjects.TRIGGERS, subjects.STARTS]
