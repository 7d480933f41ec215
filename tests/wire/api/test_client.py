"""The typed client, against a real gateway on a real bus."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from msgspec.structs import replace
from nats.aio.msg import Msg

from fastflow_api import ApiError, BadRequest, Client, Conflict, NotFound, NotSignedIn, TooMany, Unreachable
from fastflow_api.shapes import BulkFilter, Run, Status
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs import run as records
from fastflow_contracts.runs.artifacts.store import ArtifactStore
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.state.archive import StateFile, unpack
from fastflow_contracts.runs.state.head import StateHead, committed
from fastflow_contracts.runs.state.store import StateStore
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway import app
from fastflow_gateway.api import routes
from fastflow_gateway.http.route import Route
from tests.support.gateway import TOKEN, claim, finish, running_gateway, running_scheduler, say, store
from tests.support.records import a_bundle, a_presence, a_run, list_version, publish_pipeline

KEY = "ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY="
CELL = {"cell_type": "code", "source": "1", "metadata": {}, "outputs": [], "execution_count": None}
NOTEBOOK = json.dumps({"cells": [CELL], "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


@asynccontextmanager
async def installation(bus: Bus) -> AsyncIterator[Client]:
    """A gateway and a scheduler with two pipelines, and a client."""
    await publish_pipeline(
        bus, "demo", a_bundle(main_py="1"), webhook_key="hook", schedule_cron="@daily", tags=("a",), max_instances=4
    )
    await list_version(bus, "demo", a_bundle(main_py="1"))
    await publish_pipeline(bus, "other", a_bundle(main_py="2"))
    async with (
        running_scheduler(bus),
        running_gateway(bus, encryption_key=KEY) as there,
        Client(there.url, TOKEN) as api,
    ):
        yield api


async def ended(bus: Bus, run: Run, *texts: str) -> records.RunRecord:
    """Carry out the run as a runner would."""
    claimed = await claim(bus, (await RunStore(bus).find(check_run_id(run.id))).run)
    last = 0
    for number, text in enumerate(texts):
        last = await say(bus, claimed, text, end=number)
    return await finish(bus, claimed, log_sequence=last)


@asynccontextmanager
async def polite_runner(bus: Bus) -> AsyncIterator[None]:
    """A live runner that leaves on request."""
    key, presence = subjects.runner_key("r1"), a_presence("r1", busy=1)

    async def leave(_: Msg) -> None:
        await bus.put(subjects.RUNNERS, key, PRESENCE.encode(replace(presence, leaving=True)))

    await bus.put(subjects.RUNNERS, key, PRESENCE.encode(presence))
    subscription = await bus.client.subscribe(subjects.drain("r1"), cb=leave)
    yield
    await subscription.unsubscribe()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return every requested route, as ``GET /path``."""
    found: set[str] = set()

    def noting(route: Route) -> Route:
        @functools.wraps(route.handler)
        async def handler(request: web.Request) -> web.StreamResponse:
            found.add(f"{route.method} {route.path}")
            return await route.handler(request)

        return route._replace(handler=handler)

    monkeypatch.setattr(app, "ROUTES", tuple(map(noting, app.ROUTES)))
    return found


async def test_there_is_a_method_for_every_route(bus: Bus, asked: set[str]) -> None:
    """Each method returns its shape; together they cover every route of the gateway."""
    book = a_bundle(main_ipynb=NOTEBOOK)
    await ObjectStore(bus).put(book.sha256, book.data)
    notebook = await store(bus, a_run("demo", kind="notebook", bundle=book.sha256))
    gathering = ArtifactStore(bus).gather()
    await gathering.put("out/a b.csv", _pieces(b"a,b\n"))
    left_files = gathering.manifest()
    await finish(bus, await claim(bus, notebook), result=b'{"rows": 3}', artifacts=left_files)
    states = StateStore(bus)
    left = await states.save([StateFile("cursor", b"7")])
    head = committed(StateHead(), left, run_id=notebook.id, attempt=1, at=datetime.now(UTC))
    await states.heads.put(PipelineName("demo"), head, expect=0)
    async with polite_runner(bus), installation(bus) as api:
        await _ask_about_pipelines(api)
        await _ask_about_schedules(api)
        run = await _ask_for_starts(bus, api)
        await _ask_about_runs(api, run)
        await _ask_for_output(api, run, notebook.id)
        await _ask_about_skips(bus, api)
        await _ask_about_operations(api)
        await _ask_about_the_installation(api)
    assert asked == {f"{route.method} {route.path}" for route in routes.ROUTES}


async def _pieces(*data: bytes) -> AsyncIterator[bytes]:
    for each in data:
        yield each


async def _ask_about_pipelines(api: Client) -> None:
    assert [each.name for each in await api.pipelines(tags=["a"], q="dem")] == ["demo"]
    assert (await api.pipeline("demo")).files == {"main.py": "1"}
    made = await api.make_downstream_trigger("demo", "other", on_failure=True)
    assert await api.downstream_triggers("demo") == [made]
    assert [(edge.upstream, edge.downstream) for edge in (await api.graph()).edges] == [("demo", "other")]
    assert await api.remove_downstream_trigger("demo", made.id) == []
    (version,) = (await api.versions("demo")).versions
    assert (await api.pin("demo", version.id, reason="why")).pin is not None
    assert (await api.unpin("demo")).pin is None
    assert [each.path for each in unpack(await api.download_state("demo", 1))] == ["cursor"]
    assert len((await api.state("demo")).versions) == 1
    assert (await api.reset_state("demo")).versions[0].number == 2


async def _ask_about_operations(api: Client) -> None:
    asked = await api.backfill("demo", datetime.now(UTC) - timedelta(days=2))
    assert asked.operation is not None
    assert asked.operation.total == asked.slots - asked.existing > 0
    assert [each.id for each in (await api.operations()).operations] == [asked.operation.id]
    assert (await api.operation(asked.operation.id)).kind == "backfill"
    assert (await api.cancel_operation(asked.operation.id)).state in ("stopping", "cancelled")
    assert (await api.wait_for_operation(asked.operation.id, timeout_s=60)).state == "cancelled"
    counted = await api.bulk("retry", BulkFilter(pipeline_name="none"), dry_run=True)
    assert (counted.matched, counted.operation) == (0, None)


async def _ask_about_schedules(api: Client) -> None:
    assert (await api.simulation(days=2, slots=3, durations="p95")).slots == 3
    compared = await api.compare_simulation({"demo": {"schedule_cron": "@hourly"}}, days=2, assume=5)
    assert [each.change for each in compared.differences] == ["changed", "removed"]
    (job,) = await api.jobs()
    assert not (await api.switch_job(job.id, enabled=False)).enabled
    assert (await api.switch_job(job.id, enabled=True)).enabled
    assert len(await api.next_runs(job.id, count=3)) == 3


async def _ask_for_starts(bus: Bus, api: Client) -> Run:
    started = await api.start("demo", env_vars={"A": "1"}, parameters={"B": "2"}, key="k", allow_undeclared=True)
    assert isinstance(started, Run)
    assert (started.triggered_by, started.env_vars, started.status) == ("api", {"A": "***"}, Status.PENDING)
    assert await api.start("demo", key="k") == started
    by_hook = await api.start_by_webhook("demo", "hook", b'{"x": 1}', media_type="application/json")
    by_event = await api.publish("demo", b"anything")
    assert isinstance(by_hook, Run)
    assert isinstance(by_event, Run)
    assert (by_hook.triggered_by, by_event.triggered_by) == ("webhook", "bus")
    await ended(bus, started, "one\n", "two\n")
    assert (await api.wait(started.id, timeout_s=10)).status is Status.SUCCESS
    again = await api.retry(started.id)
    assert isinstance(again, Run)
    assert again.triggered_by == "api"
    cancelled = await api.cancel(again.id)
    assert cancelled.id == again.id
    assert (await api.wait(again.id, timeout_s=10)).status is Status.INTERRUPTED
    return started


async def _ask_about_runs(api: Client, run: Run) -> None:
    assert (await api.run(run.id)).status is Status.SUCCESS
    page = await api.runs(pipeline_name="demo", status=Status.SUCCESS, triggered_by="api", start_date="2026-01-02")
    assert [each.id for each in page.runs] == [run.id]
    assert (await api.pipeline_runs("demo", limit=1)).next_cursor is not None
    assert len([each async for each in api.all_runs(most=3)]) == 3
    assert (await api.run_ids(run.id[:8])).ids == (run.id,)
    assert (await api.stats("demo")).successful_runs == 2
    assert len((await api.daily_stats("demo", days=7)).days) == 7


async def _ask_for_output(api: Client, run: Run, notebook: str) -> None:
    assert await api.log(run.id) == "one\ntwo\n"
    assert await api.log(run.id, tail=1) == "two\n"
    assert [line.line async for line in api.log_lines(run.id)] == ["one", "two"]
    assert [line.line async for line in api.follow_log(run.id)] == ["one", "two"]
    assert await api.samples(run.id) == ()
    assert [sample async for sample in api.follow_samples(run.id)] == []
    assert [cell.source for cell in (await api.cells(notebook)).cells] == ["1"]
    assert [event async for event in api.follow_cells(notebook)] == []
    assert json.loads(await api.notebook(notebook))["nbformat"] == 4
    assert await api.result(notebook) == {"rows": 3}
    (file,) = (await api.artifacts(notebook)).artifacts
    assert (file.path, file.media_type) == ("out/a b.csv", "text/csv")
    assert b"".join([piece async for piece in api.artifact(notebook, file.path)]) == b"a,b\n"


async def _ask_about_skips(bus: Bus, api: Client) -> None:
    await publish_pipeline(bus, "resting", a_bundle(main_py="1"), enabled=False)
    with pytest.raises(NotFound, match="is disabled"):
        await api.start("resting", key="k")
    async with asyncio.timeout(60):
        while not (found := (await api.skips(pipeline="resting", is_open=True)).skips):
            await asyncio.sleep(0.05)
    assert [skip.id async for skip in api.all_skips(pipeline="resting")] == [found[0].id]
    assert found[0].id
    assert (await api.skip(found[0].id)).reason == found[0].reason
    assert (await api.redrive_all(pipeline="resting", dry_run=True)).matched == 1
    await publish_pipeline(bus, "resting", a_bundle(main_py="1"))
    assert (await api.redrive(found[0].id)).id == found[0].id


async def _ask_about_the_installation(api: Client) -> None:
    assert (await api.health()).status == (await api.readiness()).status == "ok"
    assert "fastflow_runs" in await api.metrics()
    assert (await api.login_code()).code
    assert (await api.openapi())["openapi"] == "3.1.0"
    assert "properties" in await api.schema()
    assert (await api.encrypt("secret", pipeline="demo", name="A")).startswith("gAAAA")
    assert [runner.id for runner in await api.runners()] == ["r1"]
    assert (await api.pause("maintenance", pipeline="demo", by="Ada")).by == "Ada"
    assert (await api.pause("maintenance")).via == "api"
    assert set((await api.pauses()).pipelines) == {"demo"}
    assert (await api.resume("demo")).installation is not None
    assert (await api.resume()).installation is None
    with pytest.raises(NotFound, match="FASTFLOW_GIT_HOOK_SECRET"):
        await api.report_push(b"{}", {"X-Gitlab-Event": "Push Hook"})
    left = await api.drain_runner("r1")
    assert (left.leaving, left.busy) == (True, 1)
    assert (await api.sync_status()).last is None
    assert await api.sync_logs() == ()
    with pytest.raises(Unreachable, match="no syncer is connected"):
        await api.sync()


async def test_errors_are_one_tree_with_the_servers_sentences(bus: Bus) -> None:
    """Each error has the server's sentence and its status."""
    async with installation(bus) as api:
        with pytest.raises(NotFound, match="there is no pipeline 'nosuch'; GET /api/pipelines lists"):
            await api.pipeline("nosuch")
        with pytest.raises(NotFound, match="nothing called"):
            await api.pipeline("..")
        with pytest.raises(BadRequest, match=r"env_vars\.A must be a string") as bad:
            await api.start("demo", env_vars={"A": 1})  # type: ignore[dict-item]
        runs = [await api.start("demo") for _ in range(4)]
        with pytest.raises(TooMany, match="max_instances") as many:
            await api.start("demo")
        with pytest.raises(Conflict, match="not over yet"):
            await api.retry(runs[0].id)
        async with Client(api.url, "wrong") as stranger:
            with pytest.raises(NotSignedIn, match="not this installation's") as unknown:
                await stranger.runs()
    assert (bad.value.status, unknown.value.status, many.value.status, many.value.retry_after) == (422, 401, 429, 5)
    with pytest.raises(Unreachable, match="cannot be reached") as away:
        await api.runs()
    assert away.value.status is None
    assert {type(error.value).__base__ for error in (bad, unknown, many, away)} == {ApiError}
    await api.close()


async def test_followers_see_a_run_from_its_start_to_its_end(bus: Bus) -> None:
    """Its states, and every log line once, in order; a late follower sees the same."""
    async with installation(bus) as api, asyncio.timeout(20):
        run = await api.start("demo")
        states: list[Status] = []
        lines: list[str] = []
        wrote = asyncio.Event()

        async def follow_states() -> None:
            states.extend([state.status async for state in api.follow_run(run.id)])

        async def follow_lines() -> None:
            async for line in api.follow_log(run.id):
                lines.append(line.line)
                wrote.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(follow_states())
            group.create_task(follow_lines())
            claimed = await claim(bus, (await RunStore(bus).find(check_run_id(run.id))).run)
            await say(bus, claimed, "one\ntw")
            await wrote.wait()
            last = await say(bus, claimed, "o\nthree", end=3)
            await finish(bus, claimed, log_sequence=last)
        assert lines == ["one", "two", "three"]
        assert states[-1] is Status.SUCCESS
        assert [line.line async for line in api.follow_log(run.id)] == lines


async def test_a_follower_resumes_where_its_connection_broke(bus: Bus) -> None:
    """Across a restart of the gateway no line is lost or repeated."""
    run = await claim(bus, await store(bus, a_run()))
    await say(bus, run, "one\ntwo\n")
    heard: list[str] = []
    two = asyncio.Event()
    async with asyncio.timeout(30):
        async with running_gateway(bus) as there:
            port = int(there.url.rpartition(":")[2])
            api = Client(there.url, TOKEN)

            async def follow() -> None:
                async with aclosing(api.follow_log(run.id)) as lines:
                    async for line in lines:
                        heard.append(line.line)
                        if line.line == "two":
                            two.set()

            following = asyncio.create_task(follow())
            await two.wait()
        last = await say(bus, run, "three\n", end=2)
        await finish(bus, run, log_sequence=last)
        async with running_gateway(bus, port=port):
            await following
    await api.close()
    assert heard == ["one", "two", "three"]


async def test_many_tasks_share_one_client_and_it_can_be_closed_twice(bus: Bus) -> None:
    """As in a notebook, where one cell makes it and others use it."""
    async with running_gateway(bus) as there:
        api = Client(there.url + "/", TOKEN)
        pages = await asyncio.gather(*(api.runs() for _ in range(20)))
        await api.close()
        assert (await api.runs()).runs == pages[0].runs == ()
        await api.close()
        await api.close()
    assert api.url == there.url


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host", "http://"])
def test_an_invalid_address_is_refused_at_once(url: str) -> None:
    """Before any request."""
    with pytest.raises(ValueError, match="http://host:port"):
        Client(url)
