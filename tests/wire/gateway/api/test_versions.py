"""Versions of a pipeline through the API, on a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.pipelines.records import Rollback
from fastflow_contracts.pipelines.store import PipelineStore
from tests.support.gateway import Client, claim, finish, running_gateway, running_scheduler, store
from tests.support.records import T0, a_bundle, a_run, list_version, publish_pipeline

DEMO = PipelineName("demo")
OLD, NEW = a_bundle(main_py="print(1)"), a_bundle(main_py="print(2)")
OLD_ID, NEW_ID = OLD.sha256[:12], NEW.sha256[:12]
PATH, PIN = "/api/pipelines/demo/versions", "/api/pipelines/demo/pin"


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway and a scheduler, and a pipeline with two versions."""
    await list_version(bus, "demo", OLD, schedules=(ScheduleEntry(id="former"),))
    await list_version(bus, "demo", NEW, before=OLD.sha256, deployed=1)
    await publish_pipeline(bus, "demo", NEW)
    async with running_scheduler(bus), running_gateway(bus) as one:
        yield one


async def test_versions_are_listed_with_their_runs(client: Client, bus: Bus) -> None:
    """Newest first; runs count for the version that they ran."""
    for well in (True, True, False):
        run = await claim(bus, await store(bus, a_run("demo", bundle=OLD.sha256)))
        await finish(bus, run, exit_code=0 if well else 1)
    async with asyncio.timeout(30):
        while (found := (await client.get(PATH)).json)["versions"][1]["failed_runs"] != 1:
            await asyncio.sleep(0.05)
    assert (found["live"], found["newest"], found["pin"], found["why_not_newest"]) == (NEW_ID, NEW_ID, None, None)
    new, old = found["versions"]
    assert (new["id"], new["is_live"], new["is_newest"], new["before"]) == (NEW_ID, True, True, OLD_ID)
    assert (new["total_runs"], new["success_rate"]) == (0, None)
    assert (old["id"], old["is_live"], old["total_runs"], old["successful_runs"]) == (OLD_ID, False, 3, 2)
    assert old["success_rate"] == pytest.approx(2 / 3)
    assert (await client.get("/api/pipelines/nobody/versions")).status == 404
    assert (await client.get(PATH, anonymous=True)).status == 401


async def test_a_version_is_pinned_and_unpinned(client: Client) -> None:
    """One call makes it live; the pipeline says so at once, and runs start on it."""
    answer = await client.ask("PUT", PIN, json={"version": OLD_ID, "reason": "the new one doubles invoices"})
    assert answer.status == 200, answer.text
    assert (answer.json["live"], answer.json["newest"]) == (OLD_ID, NEW_ID)
    pin = answer.json["pin"]
    assert (pin["version"], pin["by"], pin["reason"]) == (OLD_ID, "api", "the new one doubles invoices")
    shown = (await client.get("/api/pipelines/demo")).json
    assert (shown["version"], shown["pin"]["version"]) == (OLD_ID, OLD_ID)
    assert shown["why_not_newest"] == f"Version {OLD_ID} is pinned, so the newer version {NEW_ID} is not live."
    assert (await client.post("/api/pipelines/demo/run")).json["version"] == OLD_ID
    again = await client.ask("PUT", PIN, json={"version": OLD.sha256})
    assert (again.status, again.json["live"]) == (200, OLD_ID)
    gone = await client.ask("DELETE", PIN)
    assert (gone.status, gone.json["live"], gone.json["pin"], gone.json["why_not_newest"]) == (200, NEW_ID, None, None)
    assert (await client.post("/api/pipelines/demo/run")).json["version"] == NEW_ID
    refused = await client.ask("DELETE", PIN)
    assert (refused.status, refused.json["detail"]) == (409, "demo is not pinned.")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"version": "0" * 12}, 404, "fastflow versions demo"),
        ({"version": ""}, 404, "fastflow versions demo"),
        ({"version": "../.>*"}, 404, "fastflow versions demo"),
        ({"version": "é" * 5000}, 404, "fastflow versions demo"),
        ({}, 422, "version"),
        ({"version": 3}, 422, "version"),
        ({"version": OLD_ID, "reason": "x" * 501}, 422, "reason"),
        ({"version": OLD_ID, "by": "me"}, 422, "by"),
    ],
)
async def test_a_bad_pin_is_refused(client: Client, body: dict[str, object], status: int, said: str) -> None:
    """With a sentence, and nothing changes."""
    answer = await client.ask("PUT", PIN, json=body)
    assert answer.status == status, answer.text
    assert said in answer.json["detail"]
    assert (await client.get(PATH)).json["pin"] is None


async def test_a_pipeline_that_is_not_there_cannot_be_pinned(client: Client, bus: Bus) -> None:
    """Nor one that was removed meanwhile, whose versions are still there for a moment."""
    assert (await client.ask("PUT", "/api/pipelines/nobody/pin", json={"version": OLD_ID})).status == 404
    store = PipelineStore(bus)
    record = await store.records.get(DEMO)
    assert record is not None
    await store.records.put(DEMO, replace(record.value, live=None, removed_at=T0), expect=record.revision)
    assert (await client.ask("PUT", PIN, json={"version": OLD_ID})).status == 404
    assert (await client.ask("DELETE", PIN)).status == 404


async def test_pins_of_many_people_at_once_leave_one_of_them(client: Client) -> None:
    """The record says one version, and it is the live one."""
    answers = await asyncio.gather(*(client.ask("PUT", PIN, json={"version": each}) for each in (OLD_ID, NEW_ID) * 5))
    assert {answer.status for answer in answers} <= {200, 503}
    assert 200 in {answer.status for answer in answers}
    found = (await client.get(PATH)).json
    assert found["pin"]["version"] == found["live"]


async def test_a_run_is_started_on_a_chosen_version(client: Client) -> None:
    """It has that version's configurations; one that is not kept is refused, and the refusal keeps its message."""
    old = await client.post("/api/pipelines/demo/run", json={"version": OLD_ID, "run_config_id": "former"})
    assert (old.status, old.json["version"], old.json["run_config_id"]) == (200, OLD_ID, "former")
    assert (await client.post("/api/pipelines/demo/run", json={"run_config_id": "former"})).status == 422
    gone = await client.post("/api/pipelines/demo/run", json={"version": "0" * 12})
    assert gone.status == 404
    assert "fastflow versions demo" in gone.json["detail"]
    for bad in ("latest", 7, "0" * 11, ["x"]):
        answer = await client.post("/api/pipelines/demo/run", json={"version": bad})
        assert (answer.status, "fastflow versions" in answer.json["detail"]) == (422, True)
    assert (await client.post("/api/pipelines/demo/run", json={"version": None})).json["version"] == NEW_ID


async def test_a_caller_from_outside_chooses_no_version(client: Client) -> None:
    """An object with a field ``version`` is an event, as it always was."""
    answer = await client.post("/api/pipelines/demo/events", json={"version": OLD_ID})
    assert (answer.status, answer.json["version"]) == (200, NEW_ID)
    headers = {"Content-Type": "application/vnd.fastflow.trigger+json"}
    declared = await client.post("/api/pipelines/demo/events", data=f'{{"version": "{OLD_ID}"}}', headers=headers)
    assert (declared.status, "unknown field 'version'" in declared.text) == (422, True)


async def test_a_rollback_is_shown(client: Client, bus: Bus) -> None:
    """With what to do."""
    store = PipelineStore(bus)
    record = await store.records.get(DEMO)
    kept = await store.version(DEMO, OLD_ID)
    assert record is not None
    assert kept is not None
    bad = Rollback(bundle=NEW.sha256, to=OLD.sha256, at=T0, failures=3)
    value = replace(record.value, live=kept.version, held_back=NEW.sha256, rolled_back=bad)
    await store.records.put(DEMO, value, expect=record.revision)
    async with asyncio.timeout(30):
        while (found := (await client.get("/api/pipelines")).json[0])["rolled_back"] is None:
            await asyncio.sleep(0.05)
    assert (found["version"], found["rolled_back"]["version"], found["rolled_back"]["failures"]) == (OLD_ID, NEW_ID, 3)
    assert found["why_not_newest"] == (
        f"Version {NEW_ID} was rolled back to {OLD_ID}, because all of its first 3 runs failed. It is not taken again "
        "until another version is pushed; pin it to use it all the same."
    )
    new, _ = (await client.get(PATH)).json["versions"]
    assert (new["was_rolled_back"], new["is_newest"], new["is_live"]) == (True, True, False)
