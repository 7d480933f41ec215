"""The days ahead over the API and on its page, on a real bus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.format.spec import DownstreamRule, ScheduleEntry
from fastflow_gateway.actions.simulations import WAITING_MAX, Simulator
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import ReadModel
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, Client, claim, finish, running_gateway, running_scheduler, store
from tests.support.records import a_bundle, a_run, publish_pipeline

CODE = a_bundle(main_py="")
SINCE = "2026-03-20T00:00:00Z"


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway and a scheduler, with a pipeline that starts another one every night."""
    entry = ScheduleEntry(id="nightly", schedule_cron="30 2 * * *", timezone="Europe/Berlin")
    rule = DownstreamRule(pipeline="report")
    await publish_pipeline(bus, "etl", CODE, schedules=(entry,), downstream_triggers=(rule,))
    await publish_pipeline(bus, "report", CODE)
    async with running_scheduler(bus), running_gateway(bus) as one:
        yield one


async def test_deployed_pipelines_are_simulated(client: Client, bus: Bus) -> None:
    """Chains and changes of the clock, with the measured duration and the slots of live runners."""
    run = await claim(bus, await store(bus, a_run("etl")))
    await finish(bus, run)
    async with asyncio.timeout(30):
        while True:
            found = (await client.get(f"/api/simulation?days=30&since={SINCE}&slots=7")).json
            by_name = {each["pipeline"]: each for each in found["pipelines"]}
            if by_name["etl"]["is_measured"]:
                break
            await asyncio.sleep(0.05)
    assert (found["since"], found["until"], found["slots"]) == (SINCE, "2026-04-19T00:00:00Z", 7)
    assert (by_name["etl"]["starts"], by_name["report"]["starts"]) == (30, 30)
    assert (by_name["report"]["is_measured"], by_name["report"]["duration_s"]) == (False, 60)
    assert by_name["etl"]["next_slots"][0] == "2026-03-20T01:30:00Z"
    (change,) = found["clock_changes"]
    assert (change["at"], change["slots"][0]["what"]) == ("2026-03-29T01:00:00Z", "moved")
    assert len(found["hours"]) == 720


async def test_other_pipelines_are_compared_with_the_deployed_ones(client: Client) -> None:
    """What a folder would change."""
    body = {"days": 2, "since": SINCE, "pipelines": {"report": {"schedule_cron": "*/30 * * * *"}, "new": {}}}
    answer = await client.ask("POST", "/api/simulation", json=body)
    assert answer.status == 200, answer.text
    changes = {each["pipeline"]: each for each in answer.json["differences"]}
    assert {name: each["change"] for name, each in changes.items()} == {
        "etl": "removed",
        "report": "changed",
        "new": "added",
    }
    assert (changes["report"]["starts_before"], changes["report"]["starts_after"]) == (2, 95)
    assert answer.json["deployed"]["starts"] == 4


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("days=0", "days"),
        ("days=10000", "days"),
        ("slots=0", "slots"),
        ("since=soon", "since must be an ISO 8601"),
        ("since=0001-01-01", "since"),
        ("assume=-1", "assume"),
        ("durations=mean", "median, p95"),
        ("weeks=1", "the parameters are days, since"),
    ],
)
async def test_a_bad_query_says_what_is_accepted(client: Client, query: str, said: str) -> None:
    answer = await client.get(f"/api/simulation?{query}")
    assert (answer.status, said in answer.text) == (422, True), answer.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"days": 0, "pipelines": {}}, "days must be from 1 to 92"),
        ({"pipelines": {"../x": {}}}, "../x"),
        ({"pipelines": {"a": {"schedule_cron": "61 * * * *"}}}, "not a valid minute"),
        ({"pipelines": {"a": {"schedule_cron": 5}}}, "schedule_cron"),
        ({"pipelines": {"a": {"schedules": [{"id": "x", "schedule_cron": "0 0 30 2 *"}]}}}, "no such day"),
        ({"pipelines": {"a": {"schedule_interval_seconds": -1}}}, "schedule_interval_seconds"),
        ({"pipelines": {"a": {"schedule_cron": "@daily", "timezone": "Mars"}}}, "Mars"),
        ({"since": "2026-01-01T00:00:00", "pipelines": {}}, "time zone"),
        ({"slots": 0, "pipelines": {}}, "slots"),
        ({"pipelines": {"a": {"schedules": [{"id": str(number)} for number in range(10_001)]}}}, "at most 10,000"),
        ({}, "pipelines"),
        ([], "the body must be like"),
    ],
)
async def test_a_bad_body_says_what_is_wrong(client: Client, body: object, said: str) -> None:
    answer = await client.ask("POST", "/api/simulation", json=body)
    assert (answer.status, said in answer.text) == (422, True), answer.text


async def test_the_command_prints_the_difference_of_a_folder(client: Client, tmp_path: Path) -> None:
    """Against the installation; and what is deployed, without a folder."""
    secret = {"webhook_key": "w" * 32, "default_env": {"A": "hidden"}, "schedule_cron": "0 * * * *"}
    for name, fields in {"etl": {"schedule_cron": "0 3 * * *"}, "new": secret}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("")
        (tmp_path / name / "pipeline.json").write_text(json.dumps(fields))
    there = ("--url", client.url, "--token", TOKEN, "--days", "2", "--from", "2026-03-20")
    done = await asyncio.to_thread(fastflow, "simulate", ".", *there, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "  new: added; starts 0 → 47" in done.stdout
    assert "  not in the folder, so removed: report\n" in done.stdout
    assert "    schedules/nightly: cron 30 2 * * * in Europe/Berlin → none" in done.stdout
    deployed = await asyncio.to_thread(fastflow, "simulate", "--json", *there, cwd=tmp_path)
    assert json.loads(deployed.stdout)["starts"] == 4


async def test_a_folder_with_problems_stays_as_it_is_deployed(client: Client, tmp_path: Path) -> None:
    """It is named, the exit code tells, and what the folder does not have is one line."""
    folder = tmp_path / "flows"
    for name, metadata in (("etl", '{"schedule_cron": "nonsense"}'), ("new", '{"schedule_cron": "@hourly"}')):
        (folder / name).mkdir(parents=True)
        (folder / name / "main.py").write_text("")
        (folder / name / "pipeline.json").write_text(metadata)
    there = ("simulate", str(folder), "--url", client.url, "--token", TOKEN, "--days", "2", "--from", "2026-03-20")
    done = await asyncio.to_thread(fastflow, *there, cwd=tmp_path)
    assert (done.returncode, "Left out, with the problems above: etl." in done.stderr) == (1, True)
    assert "new: added" in done.stdout
    assert "  not in the folder, so removed: report\n" in done.stdout
    assert "etl:" not in done.stdout


async def test_the_difference_is_kept_as_a_page(client: Client, tmp_path: Path) -> None:
    """In one file: it loads nothing and leads nowhere. Without the token there is none."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "main.py").write_text("")
    (tmp_path / "new" / "pipeline.json").write_text('{"schedule_cron": "@hourly"}')
    there = ("simulate", str(tmp_path), "--url", client.url, "--days", "2", "--html", "ahead.html")
    done = await asyncio.to_thread(fastflow, *there, "--token", TOKEN, cwd=tmp_path)
    assert (done.returncode, done.stdout, "ahead.html" in done.stderr) == (0, "", True), done.stderr
    page = (tmp_path / "ahead.html").read_text()
    assert "<td>new</td><td>added</td>" in page
    assert "Deployed, and not in the proposal: etl, report." in page
    assert not any(text in page for text in ("href=", "<script", 'src="', "<form"))
    refused = await client.ask("POST", "/simulation", json={"pipelines": {}}, anonymous=True)
    assert refused.status == 401
    bad = await client.ask("POST", "/simulation", json={"pipelines": {"a": {"schedule_cron": 5}}})
    assert (bad.status, "schedule_cron" in bad.text) == (422, True)
    lost = await asyncio.to_thread(fastflow, *there[:-1], "no/such/folder.html", "--token", TOKEN, cwd=tmp_path)
    assert (lost.returncode, "cannot be written" in lost.stderr) == (2, True)


async def test_it_needs_the_token(client: Client) -> None:
    assert (await client.get("/api/simulation", anonymous=True)).status == 401


async def test_only_a_few_requests_wait_for_their_turn(bus: Bus) -> None:
    """Each holds what it asks for in memory."""
    simulator = Simulator(ReadModel(bus))

    def ask() -> Awaitable[object]:
        return simulator.compared(b'{"pipelines": {}}')

    answers = await asyncio.gather(*(ask() for _ in range(WAITING_MAX + 3)), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, RequestRefused)]
    assert [(each.status, each.headers) for each in refused] == [(429, {"Retry-After": "10"})] * 3
    await ask()  # there is room again
