"""Records as the services would write them."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.bus.subjects import Kind, VersionRef
from fastflow_contracts.names import PipelineName, check_name
from fastflow_contracts.pipelines.folder.bundle import Bundle, File, pack
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord, Version, VersionRecord
from fastflow_contracts.pipelines.store import PipelineStore
from fastflow_contracts.pipelines.versions import version_id
from fastflow_contracts.runs.presence import Presence
from fastflow_contracts.runs.run import AttemptRecord, Order, Pending, RunErrorType, RunRecord
from tests.support.ids import fresh_run_id

OWN_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""A version that every test may use without preparing an interpreter."""
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return the tests' zero plus that many seconds."""
    return T0 + timedelta(seconds=seconds)


def a_run(pipeline: str = "demo", *, created: float = 0, **order: Any) -> RunRecord:
    """A pending run, created *created* seconds after zero."""
    wanted = {"kind": "script", "bundle": "b" * 64, "python_version": OWN_PYTHON, "triggered_by": "api"} | order
    return RunRecord(
        id=fresh_run_id(),
        pipeline=PipelineName(pipeline),
        created_at=at(created),
        order=Order(**wanted),
        state=Pending(attempt=1, not_before=at(created)),
    )


def an_attempt(number: int, *, error: RunErrorType | None = None) -> AttemptRecord:
    """An attempt that is over, claimed *number* times 100 seconds after zero."""
    begin = number * 100
    return AttemptRecord(
        number=number,
        runner=f"r{number}",
        claimed_at=at(begin),
        prepared_at=at(begin + 1),
        started_at=at(begin + 2),
        finished_at=at(begin + 50),
        exit_code=1 if error else 0,
        error_type=error,
        memory_bytes_peak=number * 1000,
        warnings=("soft limit",),
    )


def a_presence(
    runner: str = "r1", *, slots: int = 10, busy: int = 0, kinds: tuple[Kind, ...] = ("script",)
) -> Presence:
    """A runner whose heartbeat has just arrived."""
    return Presence(
        runner=runner,
        instance="i",
        host="h",
        version="0",
        sandbox="dummy",
        slots=slots,
        busy=busy,
        kinds=kinds,
        started_at=T0,
        seen_at=T0,
    )


def a_bundle(**files: str) -> Bundle:
    """Code made of *files*: ``main_py="print(1)"`` is main.py."""
    return pack({_file_name(name): File(text.encode()) for name, text in files.items()})


async def publish_pipeline(
    bus: Bus, name: str, bundle: Bundle, *, live_since: datetime = T0, **spec: Any
) -> PipelineRecord:
    """Put a live pipeline on the bus, as a syncer would."""
    await ObjectStore(bus).put(bundle.sha256, bundle.data)
    live = Version(bundle=bundle.sha256, spec=PipelineSpec(**spec), live_since=live_since)
    record = PipelineRecord(name=check_name(name), live=live, seen_at=T0)
    await bus.put(subjects.PIPELINES, subjects.pipeline_key(record.name), PIPELINE.encode(record))
    return record


async def list_version(
    bus: Bus, name: str, bundle: Bundle, *, before: str = "", deployed: float = 0, **spec: Any
) -> None:
    """List a version that is not live, as a syncer would."""
    await ObjectStore(bus).put(bundle.sha256, bundle.data)
    version = Version(
        bundle=bundle.sha256, spec=PipelineSpec(**spec), live_since=at(deployed), commit_subject="subject"
    )
    listed = VersionRecord(pipeline=check_name(name), version=version, deployed_at=at(deployed), before=before)
    ref = VersionRef(listed.pipeline, version_id(bundle.sha256))
    await PipelineStore(bus).versions.put(ref, listed, expect=None)


def _file_name(keyword: str) -> str:
    stem, _, ending = keyword.rpartition("_")
    return f"{stem}.{ending}"
