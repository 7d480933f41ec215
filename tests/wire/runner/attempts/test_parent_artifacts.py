"""The artifacts that a run needs: there before its script starts, or a sentence. A real bus."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.clock import now
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.artifacts.manifest import MANIFEST, ArtifactManifest, StoredArtifact
from fastflow_contracts.runs.run import ArtifactsOf, ParentRun, RunErrorType, RunInput, RunRecord, RunStatus
from fastflow_contracts.runs.state_machine import AttemptOutcome, Finish
from fastflow_runner.attempts.artifacts import ArtifactsMissing, parent_artifacts
from tests.support.ids import fresh_run_id
from tests.support.runner_bench import Bench

DATA = bytes(range(256)) * 2_000


async def pieces() -> AsyncIterator[bytes]:
    yield DATA


async def parent(bench: Bench) -> RunRecord:
    """A run that is over and left one file."""
    run = await bench.held(await bench.pending())
    gathering = bench.context.artifacts.gather()
    await gathering.put("a/b.bin", pieces())
    outcome = AttemptOutcome(finished_at=now(), exit_code=0, artifacts=gathering.manifest())
    return (await bench.runs.change(run.ref, Finish(epoch=run.epoch, outcome=outcome))).run


def needing(run: RunRecord) -> RunInput:
    of = ArtifactsOf(pipeline=run.pipeline, run_id=run.id)
    return RunInput(parent=ParentRun(run_id=run.id, pipeline=run.pipeline, status=RunStatus.SUCCESS, artifacts_of=of))


async def test_a_run_without_the_artifacts_it_needs_fails_before_its_script_starts(bench: Bench) -> None:
    """With a sentence that names them."""
    gone = ArtifactsOf(pipeline=PipelineName("first"), run_id=fresh_run_id())
    given = RunInput(
        parent=ParentRun(run_id=gone.run_id, pipeline=gone.pipeline, status=RunStatus.SUCCESS, artifacts_of=gone)
    )
    run = await bench.pending(given)
    await (await bench.claim(run)).carry_out()
    ended = await bench.record(run)
    assert ended.status is RunStatus.FAILED
    assert ended.attempts[-1].error_type is RunErrorType.ARTIFACTS_ERROR
    assert f"the artifacts of run {gone.run_id} of first" in (ended.attempts[-1].error_message or "")
    assert bench.jobs == []


async def test_a_job_lists_the_artifacts_of_the_parent(bench: Bench) -> None:
    """Read-only, beside the folder for its own."""
    run = await bench.pending(needing(await parent(bench)))
    await (await bench.claim(run)).carry_out()
    (job,) = bench.jobs
    own, brought = job["folders"]
    assert (own["env"], own["files"], own["is_writable"]) == ("FASTFLOW_ARTIFACTS_DIR", [], True)
    assert (brought["env"], brought["is_writable"], brought["back"]) == ("FASTFLOW_PARENT_ARTIFACTS_DIR", False, None)
    assert [(file["path"], file["size_bytes"]) for file in brought["files"]] == [("a/b.bin", len(DATA))]


async def test_a_list_that_is_gone_is_missed(bench: Bench) -> None:
    """The record says that there was one."""
    run = await parent(bench)
    of = ArtifactsOf(pipeline=run.pipeline, run_id=run.id)
    await bench.context.bus.purge(subjects.RUNS, subjects.artifacts_key(run.ref), until=10**9)
    with pytest.raises(ArtifactsMissing):
        await parent_artifacts(bench.runs, bench.context.artifacts, of)


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["../../etc/cron.d/x"], "without . and .."),
        (["/etc/passwd"], "is no relative path"),
        (["a\nb"], "has control characters"),
        (["x" * 256], "more than 255 bytes"),
        (["a", "a/b"], "'a' is both a file and a folder"),
        (["a", "a"], "names a file twice"),
        ([str(number) for number in range(10_000)], "names 10,000 files, and a run has at most 1,000"),
    ],
    ids=["up", "absolute", "newline", "long", "both", "twice", "many"],
)
async def test_a_list_that_no_runner_stores_starts_nothing(bench: Bench, paths: list[str], reason: str) -> None:
    """As damage, or a stolen credential, may leave it. The run says what is wrong, and with which other run."""
    run = await parent(bench)
    files = tuple(StoredArtifact(path=path, size_bytes=1, sha256="0" * 64) for path in paths)
    forged = MANIFEST.encode(ArtifactManifest(artifacts=files))
    await bench.context.bus.put(subjects.RUNS, subjects.artifacts_key(run.ref), forged)
    needy = await bench.pending(needing(run))
    await (await bench.claim(needy)).carry_out()
    last = (await bench.record(needy)).attempts[-1]
    assert last.error_type is RunErrorType.ARTIFACTS_ERROR
    assert f"of run {run.id} of {run.pipeline}, which this run needs, is damaged: " in (last.error_message or "")
    assert reason in (last.error_message or "")
    assert bench.jobs == []


async def test_an_artifact_is_read_on_when_the_bus_is_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the byte where it stopped; a damaged one is missed."""
    run = await parent(bench)
    of = ArtifactsOf(pipeline=run.pipeline, run_id=run.id)
    store = bench.context.artifacts
    opened = store.open
    breaks = [100_000, 300_000]

    async def broken(artifact: StoredArtifact) -> AsyncGenerator[bytes, None]:
        left = breaks.pop(0) if breaks else len(DATA)
        async with aclosing(opened(artifact)) as whole:
            async for piece in whole:
                yield piece[:left]
                left -= len(piece)
                if left < 0:
                    raise Unavailable("the bus is away.")

    monkeypatch.setattr(store, "open", broken)
    monkeypatch.setattr("fastflow_runner.attempts.artifacts.pause", _no_pause)
    found = await parent_artifacts(bench.runs, store, of)
    read = b"".join([piece async for piece in found.read(found.folder.files[0])])
    assert read == DATA
    assert breaks == []
    other = await parent_artifacts(bench.runs, store, of)
    monkeypatch.setattr(store, "open", lambda artifact: opened(replace(artifact, sha256="0" * 64)))
    with pytest.raises(ArtifactsMissing, match=r"a/b\.bin"):
        [piece async for piece in other.read(other.folder.files[0])]


async def _no_pause() -> None:
    return None
