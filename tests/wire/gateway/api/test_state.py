"""The state of a pipeline through the API and on its page, on a real bus."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import RunRecord, RunStatus
from fastflow_contracts.runs.state.archive import StateFile
from fastflow_contracts.runs.state.store import StateStore
from fastflow_contracts.runs.state_machine import AttemptOutcome, Claim, Finish, Prepare
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import Client, running_gateway, store
from tests.support.records import a_bundle, a_run, publish_pipeline

DEMO = PipelineName("demo")
PATH = "/api/pipelines/demo/state"


async def a_run_that_leaves(bus: Bus, text: str | None) -> RunRecord:
    """A run of demo that succeeded; None: without a file."""
    runs = RunStore(bus)
    run = await store(bus, a_run("demo", keeps_state=True))
    held = (await runs.change(run.ref, Claim(attempt=1, runner="r1"))).run
    number = (await runs.states.head(DEMO)).number
    held = (await runs.change(run.ref, Prepare(epoch=held.epoch, state_version=number))).run
    left = await runs.states.save([] if text is None else [StateFile("a/cursor", text.encode())])
    outcome = AttemptOutcome(finished_at=now(), exit_code=0, state=left)
    ended = (await runs.change(run.ref, Finish(epoch=held.epoch, outcome=outcome))).run
    assert ended.status is RunStatus.SUCCESS
    return ended


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway with a pipeline that keeps state, and one that does not."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), state=True)
    await publish_pipeline(bus, "plain", a_bundle(main_py="1"))
    async with running_gateway(bus) as one:
        yield one


async def downloaded(client: Client, path: str) -> dict[str, bytes]:
    """The files of one version, after a look at the headers."""
    async with client.http.get(client.url + path, headers={"Authorization": "Bearer a-token-for-tests-only"}) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "application/gzip"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="state-{path.rsplit("/", 1)[1]}.tar.gz"'
        data = await answer.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: file.read() for info in tar if (file := tar.extractfile(info))}


async def test_states_are_listed_newest_first(client: Client, bus: Bus) -> None:
    """With the run that left each one; a pipeline without any has an empty history."""
    assert (await client.get(PATH)).json == {"pipeline_name": "demo", "is_kept": True, "versions": []}
    first, second = await a_run_that_leaves(bus, "1"), await a_run_that_leaves(bus, None)
    now_current, before = (await client.get(PATH)).json["versions"]
    assert (now_current["number"], now_current["is_current"], now_current["run_id"]) == (2, True, second.id)
    assert (before["number"], before["is_current"], before["run_id"], before["attempt"]) == (1, False, first.id, 1)
    assert [(each["files"], each["size_bytes"]) for each in (now_current, before)] == [(0, 0), (1, 1)]
    shown = (await client.get(f"/api/runs/{second.id}")).json["attempts"][0]
    assert (shown["state_version"], shown["state_left"]) == (1, 2)


async def test_a_version_is_downloaded(client: Client, bus: Bus) -> None:
    """Byte for byte, also an older one."""
    for text in ("1", "two"):
        await a_run_that_leaves(bus, text)
    assert await downloaded(client, f"{PATH}/1") == {"a/cursor": b"1"}
    assert await downloaded(client, f"{PATH}/2") == {"a/cursor": b"two"}


@pytest.mark.parametrize("number", ["0", "3", "-1", "1.0", "x", "²", "9" * 5000, "%2e%2e", "1%00"])
async def test_a_version_that_is_not_kept_is_not_found(client: Client, bus: Bus, number: str) -> None:
    """Whatever is asked for."""
    await a_run_that_leaves(bus, "1")
    await a_run_that_leaves(bus, None)
    answer = await client.get(f"{PATH}/{number}")
    assert answer.status == 404, answer.text
    assert len(answer.json["detail"]) < 300
    empty = await client.get(f"{PATH}/2")
    assert (empty.status, empty.json["detail"]) == (404, "version 2 of the state of demo has no files.")


async def test_a_version_whose_files_are_lost_is_not_found(client: Client, bus: Bus) -> None:
    await a_run_that_leaves(bus, "1")
    states = StateStore(bus)
    (version,) = (await states.head(DEMO)).versions
    await states.discard([version.archive])
    answer = await client.get(f"{PATH}/1")
    assert (answer.status, answer.json["detail"]) == (404, "version 1 of the state of demo is gone or damaged.")


async def test_a_reset_empties_the_state_and_says_who_did_it(client: Client, bus: Bus) -> None:
    """The history stays. One without any state changes nothing."""
    assert (await client.ask("DELETE", PATH)).json["versions"] == []
    await a_run_that_leaves(bus, "1")
    (current, before) = (await client.ask("DELETE", PATH)).json["versions"]
    assert (current["number"], current["by"], current["run_id"], current["files"]) == (2, "api", None, 0)
    assert before["number"] == 1
    assert await downloaded(client, f"{PATH}/1") == {"a/cursor": b"1"}


async def test_a_pipeline_that_never_was_has_no_state(client: Client) -> None:
    for method, path in (("GET", "/state"), ("DELETE", "/state"), ("GET", "/state/1")):
        assert (await client.ask(method, f"/api/pipelines/nobody{path}")).status == 404, (method, path)
    assert (await client.get("/api/pipelines/..%2fdemo/state")).status == 404
    assert (await client.get("/api/pipelines/plain/state")).json["is_kept"] is False


async def test_the_state_stays_while_its_pipeline_is_away_or_keeps_none(client: Client, bus: Bus) -> None:
    """The folder was removed, or "state" was switched off: the files are there when either comes back."""
    await a_run_that_leaves(bus, "1")
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with asyncio.timeout(60):  # until the gateway has seen it
        while "Download version 1" in (await client.get("/pipelines/demo")).text:
            await asyncio.sleep(0.05)
    kept = (await client.get(PATH)).json
    assert [each["number"] for each in kept["versions"]] == [1]
    await bus.delete(subjects.PIPELINES, subjects.pipeline_key(DEMO))
    assert (await client.get(PATH)).json["versions"] == kept["versions"]
    await publish_pipeline(bus, "demo", a_bundle(main_py="2"), state=True)
    assert await downloaded(client, f"{PATH}/1") == {"a/cursor": b"1"}
    await a_run_that_leaves(bus, "2")
    assert [each["number"] for each in (await client.get(PATH)).json["versions"]] == [2, 1]


@pytest.mark.parametrize("data", [b"", b"{", b"null", b'{"versions": [{"number": 7}]}', b"\xff"], ids=range(5))
async def test_a_record_that_cannot_be_read_says_how_to_go_on(client: Client, bus: Bus, data: bytes) -> None:
    """On the page too; a reset mends it."""
    await a_run_that_leaves(bus, "1")
    await bus.put(subjects.RUNS, subjects.state_key(DEMO), data)
    for path in (PATH, f"{PATH}/1"):
        answer = await client.get(path)
        assert (answer.status, "reset the state" in answer.json["detail"]) == (409, True)
    page = await client.get("/pipelines/demo", headers={"Accept": "text/html"})
    assert page.status == 200
    assert "the record of the state of demo cannot be read; reset the state." in page.text
    assert (await client.ask("DELETE", PATH)).status == 200
    assert [each["files"] for each in (await client.get(PATH)).json["versions"]] == [0]
    await a_run_that_leaves(bus, "2")


async def test_the_routes_need_the_token(client: Client) -> None:
    for method, path in (("GET", PATH), ("GET", f"{PATH}/1"), ("DELETE", PATH)):
        assert (await client.ask(method, path, anonymous=True)).status == 401
