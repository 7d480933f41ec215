"""What the gateway shows, on a real bus."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from yarl import URL

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import ALL_RUNNING
from fastflow_contracts.clock import now
from fastflow_contracts.pipelines.format.manifest import Problem
from fastflow_contracts.pipelines.records import PIPELINE, SYNC_REPORT, SYNC_STATUS, SyncReportRecord, SyncStatusRecord
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.limits import LIMIT, LimitSet, Member
from fastflow_contracts.runs.messages import SkipRecord
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import RunRecord
from fastflow_contracts.service.storage_watch import StorageWatch
from fastflow_gateway.actions.trigger_client import open_trigger_client
from fastflow_gateway.api.openapi import OPENAPI
from fastflow_gateway.app import build_app
from fastflow_gateway.readmodel.model import ReadModel
from fastflow_gateway.settings import GatewaySettings
from fastflow_gateway.streaming.followers import Followers
from tests.support.gateway import TOKEN, claim, finish, running_gateway, store
from tests.support.records import T0, a_bundle, a_presence, a_run, at, publish_pipeline


async def test_pipelines_are_listed_by_name_with_their_totals(bus: Bus) -> None:
    """Every pipeline says what it is, whether it can run, and how its runs ended."""
    await publish_pipeline(bus, "b", a_bundle(main_py="1"), tags=("x", "y"), description="second")
    await publish_pipeline(bus, "a", a_bundle(main_py="1"), tags=("x",), enabled=False)
    await finish(bus, await claim(bus, await store(bus, a_run("b", created=1))))
    await finish(bus, await claim(bus, await store(bus, a_run("b", created=2))), exit_code=1)
    waiting = await store(bus, a_run("b", created=3))
    async with running_gateway(bus) as client:
        a, b = (await client.get("/api/pipelines")).json
        assert (a["name"], a["enabled"], a["runnable"], a["total_runs"]) == ("a", False, False, 0)
        assert (b["name"], b["valid"], b["runnable"], b["description"]) == ("b", True, True, "second")
        assert [b[f"{each}_runs"] for each in ("total", "successful", "failed", "active")] == [3, 1, 1, 1]
        assert [run["status"] for run in b["last_runs"]] == ["PENDING", "FAILED", "SUCCESS"]
        assert b["last_runs"][0]["id"] == waiting.id
        for filters, names in {
            "tags=x": "ab",
            "tags=x,y": "ab",
            "tags=y,z": "b",
            "tags=y,z&q=zz": "",
            "q=SECOND": "b",
            "q=zz": "",
        }.items():
            listed = (await client.get(f"/api/pipelines?{filters}")).json
            assert [each["name"] for each in listed] == list(names)


async def test_a_pipeline_shows_its_files_but_no_secret(bus: Bus) -> None:
    """Files come from the bundle; encrypted values are masked, and webhook keys too, except in the webhook's
    address.
    """
    metadata = '{"webhook_key": "hush-hush", "encrypted_env": {"TOKEN": "gAAAA-secret"}, "default_env": {"A": "1"}}'
    bundle = a_bundle(main_py="print('hi')", pipeline_json=metadata, requirements_txt="requests\n")
    await publish_pipeline(
        bus, "demo", bundle, webhook_key="hush-hush", encrypted_env={"TOKEN": "gAAAA-secret"}, default_env={"A": "1"}
    )
    async with running_gateway(bus) as client:
        answer = await client.get("/api/pipelines/demo")
    shown = answer.json
    assert shown["files"]["main.py"] == "print('hi')"
    assert shown["files"]["requirements.txt"] == "requests\n"
    assert '"TOKEN": "***"' in shown["files"]["pipeline.json"]
    assert shown["metadata"]["encrypted_env"] == {"TOKEN": "***"}
    assert shown["metadata"]["default_env"] == {"A": "1"}
    assert shown["webhooks"] == [{"run_config_id": None, "path": "/api/webhooks/demo/hush-hush"}]
    assert "gAAAA-secret" not in answer.text
    assert answer.text.count("hush-hush") == 1


async def test_a_broken_pipeline_says_what_is_wrong(bus: Bus) -> None:
    """A version with problems is listed with them and cannot be started."""
    problem = Problem(field="timeout", value='"x"', accepted="a number", line=3)
    record = await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    broken = replace(record, live=None, problems=(problem,))
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), PIPELINE.encode(broken))
    async with running_gateway(bus) as client:
        shown = (await client.get("/api/pipelines/demo")).json
        refused = await client.post("/api/pipelines/demo/run")
    assert (shown["valid"], shown["runnable"], shown["problems"][0]["field"]) == (False, False, "timeout")
    assert refused.status == 409
    assert "timeout" in refused.json["detail"]


async def test_runs_are_listed_newest_first_and_page_by_page(bus: Bus) -> None:
    """Following the cursor shows every run once, in order; filters narrow the list."""
    runs = [await store(bus, a_run("a" if n % 2 else "b", created=n)) for n in range(7)]
    done = await finish(bus, await claim(bus, runs[3]))
    async with running_gateway(bus) as client:
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await client.get(f"/api/runs?limit=3&cursor={cursor}")).json
            seen += [run["id"] for run in page["runs"]]
            cursor = page["next_cursor"]
        assert seen == [run.id for run in reversed(runs)]
        for filters, expected in {
            "pipeline_name=a": [runs[5], runs[3], runs[1]],
            "status=SUCCESS": [done],
            "triggered_by=webhook": [],
            "start_date=2026-01-01T00:00:05Z": [runs[6], runs[5]],
            "end_date=2026-01-01T00:00:00": [runs[0]],
            "end_date=2025-12-31": [],
            "start_date=2026-01-01&end_date=2026-01-01&limit=1": [runs[6]],
        }.items():
            page = (await client.get(f"/api/runs?{filters}")).json
            assert [run["id"] for run in page["runs"]] == [run.id for run in expected], filters
        for wrong in ("status=DONE", "limit=0", "limit=x", "start_date=tomorrow", "cursor=x", "pipeline=a"):
            refused = await client.get(f"/api/runs?{wrong}")
            assert refused.status == 422
            assert wrong.partition("=")[0] in refused.json["detail"]
        plus = URL(f"{client.url}/api/runs?start_date=2026-01-01T00:00:00+02:00", encoded=True)
        async with client.http.get(plus, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            assert "+ of an offset is written %2B" in (await response.json())["detail"]
        offset = URL(str(plus).replace("+", "%2B"), encoded=True)
        async with client.http.get(offset, headers={"Authorization": f"Bearer {TOKEN}"}) as response:
            assert response.status == 200
        detail = (await client.get("/api/runs?status=DONE")).json["detail"]
        assert detail.endswith("it is one of PENDING, RUNNING, SUCCESS, FAILED, INTERRUPTED")


async def test_the_runs_of_one_pipeline_are_listed_page_by_page(bus: Bus) -> None:
    """Its cursor works at the same address; a foreign one is refused."""
    runs = [await store(bus, a_run("a", created=n)) for n in range(3)]
    await store(bus, a_run("b", created=1))
    async with running_gateway(bus) as client:
        first = (await client.get("/api/pipelines/a/runs?limit=2")).json
        second = (await client.get(f"/api/pipelines/a/runs?limit=2&cursor={first['next_cursor']}")).json
        assert [run["id"] for run in first["runs"] + second["runs"]] == [run.id for run in reversed(runs)]
        assert second["next_cursor"] is None
        refused = [await client.get(f"{path}?cursor=x") for path in ("/api/pipelines/a/runs", "/api/runs", "/runs")]
        assert [each.status for each in refused] == [422, 422, 422]
        assert len({each.json["detail"] for each in refused}) == 1


async def test_a_run_explains_itself_at_every_step(bus: Bus) -> None:
    """Why it waits, which runner has it, how far it is, and how it ended."""
    async with running_gateway(bus) as client:

        async def shown(run: RunRecord) -> dict[str, object]:
            # The response comes from the read model as soon as the change has arrived there.
            async with asyncio.timeout(10):
                while True:
                    answer = (await client.get(f"/api/runs/{run.id}")).json
                    if (answer["status"], len(answer["attempts"])) == (run.status, len(run.attempts)):
                        return answer  # type: ignore[no-any-return]
                    await asyncio.sleep(0)

        run = await store(bus, a_run(env_names=("SECRET",), parameter_names=("n",), retry_attempts=1))
        answer = await shown(run)
        assert answer["waiting_on"] == "a runner: none is connected"
        assert (answer["env_vars"], answer["parameters"]) == ({"SECRET": "***"}, {"n": "***"})
        run = await claim(bus, run, prepared=False)
        answer = await shown(run)
        assert (answer["status"], answer["runner"], answer["started_at"]) == ("RUNNING", "r1", None)
        assert "environment" in str(answer["waiting_on"])
        run = await finish(bus, run, exit_code=3)
        answer = await shown(run)
        assert answer["status"] == "PENDING"
        assert "attempt 2 of 2, due in" in str(answer["waiting_on"])
        assert (answer["exit_code"], answer["error_type"]) == (3, "script_error")
        assert answer["next_attempt_at"] is not None


async def test_a_waiting_run_names_the_runners_it_waits_for(bus: Bus) -> None:
    """If runners are connected, it waits for a free slot or to be taken."""
    run = await store(bus, a_run())
    for busy, waits_for in ((2, "a free runner slot: 2 of 2 are busy"), (1, "a runner to take it")):
        presence = PRESENCE.encode(a_presence("r1", slots=2, busy=busy))
        await bus.put(subjects.RUNNERS, subjects.runner_key("r1"), presence)
        async with running_gateway(bus) as client:
            assert (await client.get(f"/api/runs/{run.id}")).json["waiting_on"] == waits_for


async def test_an_unreadable_record_hides_nothing_else(bus: Bus) -> None:
    """It is skipped; the gateway still catches up."""
    await bus.put(subjects.RUNS, subjects.run_key(a_run().ref), b"not json")
    good = await store(bus, a_run())
    async with running_gateway(bus) as client:
        assert [run["id"] for run in (await client.get("/api/runs")).json["runs"]] == [good.id]


async def test_figures_of_a_pipeline_add_up(bus: Bus) -> None:
    """Totals, rate, and a row for each day, empty days included."""
    today = now()
    for n, (code, days_ago) in enumerate(((0, 0), (0, 1), (1, 1))):
        run = replace(a_run("demo", created=n), created_at=today - timedelta(days=days_ago, microseconds=n))
        await finish(bus, await claim(bus, await store(bus, run)), exit_code=code)
    async with running_gateway(bus) as client:
        stats = (await client.get("/api/pipelines/demo/stats")).json
        assert (stats["total_runs"], stats["successful_runs"], stats["failed_runs"]) == (3, 2, 1)
        assert stats["success_rate"] == pytest.approx(2 / 3)
        days = (await client.get("/api/pipelines/demo/daily-stats?days=3")).json["days"]
        assert [day["total_runs"] for day in days] == [0, 2, 1]
        assert (await client.get("/api/pipelines/nobody/stats")).status == 404
        assert len((await client.get("/api/pipelines/demo/runs?limit=2")).json["runs"]) == 2


async def test_skips_are_shown_with_their_pipeline(bus: Bus) -> None:
    """Newest first."""
    record = await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    for n in range(3):
        skip = SkipRecord(at=at(n), pipeline="demo", reason=f"reason {n}", triggered_by="schedule")
        await bus.publish(f"ff.skipped.{record.name}", messages.SKIP.encode(skip))
    async with running_gateway(bus) as client:
        skipped = (await client.get("/api/pipelines/demo")).json["skipped"]
    assert [skip["reason"] for skip in skipped] == ["reason 2", "reason 1", "reason 0"]


async def test_syncs_are_shown(bus: Bus) -> None:
    """What is live, since when, and the history; nothing before the first sync."""
    async with running_gateway(bus) as client:
        assert (await client.get("/api/sync/status")).json == {"live_commit": None, "live_since": None, "last": None}
    report = SyncReportRecord(source="s", commit="c1", started_at=T0, finished_at=at(1), ok=True)
    status = SyncStatusRecord(last=report, live=report, history=(report,))
    await bus.put(subjects.PIPELINES, subjects.SYNC_STATUS_KEY, SYNC_STATUS.encode(status))
    async with running_gateway(bus) as client:
        assert (await client.get("/api/sync/status")).json["live_commit"] == "c1"
        assert len((await client.get("/api/sync/logs")).json["syncs"]) == 1


async def test_a_requested_sync_returns_its_report(bus: Bus) -> None:
    """Without a syncer, the response is an error that says so."""
    async with running_gateway(bus) as client:
        alone = await client.post("/api/sync")
        assert alone.status == 503
        assert "syncer" in alone.json["detail"]
        report = SyncReportRecord(source="s", started_at=T0, finished_at=at(1), ok=True)

        async def sync(message: object) -> None:
            await message.respond(SYNC_REPORT.encode(report))  # type: ignore[attr-defined]

        subscription = await bus.client.subscribe(subjects.SYNC, cb=sync)
        assert (await client.post("/api/sync")).json["source"] == "s"
        await subscription.unsubscribe()


async def test_health_names_each_dependency(bus: Bus) -> None:
    """Liveness, readiness and metrics need no token."""
    await store(bus, a_run("demo"))
    async with running_gateway(bus) as client:
        for path in ("/healthz", "/readyz", "/health", "/api/health", "/ready"):
            health = await client.get(path, anonymous=True)
            assert health.status == 200
            assert health.json["dependencies"].items() >= {"bus": "ok", "model": "ok"}.items()
        text = (await client.get("/metrics", anonymous=True)).text
        assert 'fastflow_runs{pipeline="demo",status="PENDING"} 1' in text
    async with running_gateway(bus, metrics=False) as client:
        assert (await client.get("/metrics", anonymous=True)).status == 404


async def test_every_route_of_the_api_is_in_its_description(bus: Bus) -> None:
    """The document lists exactly the routes of the application, and its references resolve."""
    model = ReadModel(bus)
    async with open_trigger_client(bus, model) as client, asyncio.TaskGroup() as group:
        settings = GatewaySettings(admin_token="x" * 16)
        app = build_app(
            settings,
            bus=bus,
            model=model,
            storage=StorageWatch(bus),
            trigger_client=client,
            followers=Followers(bus, group),
        )
    document = json.loads(app[OPENAPI])
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    routed = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    of_the_api = ("/api/", "/healthz", "/readyz", "/metrics")
    aliases = {"/api/health"}
    routed = {(method, path) for method, path in routed if path not in aliases and method != "HEAD"}
    assert listed == {(method, path) for method, path in routed if path.startswith(of_the_api)}

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(each) for each in value.values()))
        if isinstance(value, list):
            return set().union(*(references(each) for each in value))
        return set()

    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids)
    bodies = {name for name in document["components"]["schemas"] if name.endswith(("Body", "Switch"))}
    assert bodies == {
        *("RunBody", "RetryBody", "LinkBody", "JobSwitch", "SecretBody", "RedriveBody", "PauseBody", "PinBody"),
        *("BackfillBody", "BulkBody", "SimulationBody"),
    }
    for name in bodies:  # the document does not offer what the server refuses
        assert document["components"]["schemas"][name]["additionalProperties"] is False
    starts = [document["paths"][f"/api/{path}"]["post"] for path in ("pipelines/{name}/run", "runs/{id}/retry")]
    assert all({"413", "429"} <= operation["responses"].keys() for operation in starts)
    assert references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


async def test_a_waiting_run_names_the_limit_on_all_runs(bus: Bus) -> None:
    """If slots are free and as many runs are running as MAX_CONCURRENT_RUNS allows; otherwise it waits for a runner."""
    running, waiting = await claim(bus, await store(bus, a_run(created=1))), await store(bus, a_run(created=2))
    member = Member(pipeline=running.pipeline, run_id=running.id)
    await bus.put(subjects.RUNS, ALL_RUNNING, LIMIT.encode(LimitSet(most=1, members=(member,))))
    await bus.put(subjects.RUNNERS, subjects.runner_key("r1"), PRESENCE.encode(a_presence(slots=4, busy=1)))
    async with running_gateway(bus) as client:
        shown = (await client.get(f"/api/runs/{waiting.id}")).json
        assert shown["waiting_on"] == "the limit on all runs: 1 of 1 are running (MAX_CONCURRENT_RUNS)"
        await finish(bus, running)
        async with asyncio.timeout(30):
            while shown["waiting_on"] != "a runner to take it":
                shown = (await client.get(f"/api/runs/{waiting.id}")).json


async def test_a_crash_loop_is_shown_with_its_pipeline(bus: Bus) -> None:
    """How often, since when, and the last error."""
    await publish_pipeline(bus, "demo", a_bundle(main_py=""))
    runs: list[RunRecord] = []
    for _ in range(3):
        order = {"triggered_by": "daemon_restart", "parent_run_id": runs[-1].id} if runs else {}
        run = replace(a_run(**order), created_at=now())
        runs.append(await finish(bus, await claim(bus, await store(bus, run)), exit_code=1))
    async with running_gateway(bus) as client:
        loop = (await client.get("/api/pipelines/demo")).json["crash_loop"]
        assert (loop["crashes"], datetime.fromisoformat(loop["since"])) == (3, runs[0].created_at)
        assert (await client.get("/api/pipelines")).json[0]["crash_loop"] == loop
