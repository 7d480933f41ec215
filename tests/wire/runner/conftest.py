"""A runner's context for the tests of attempts and of work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import fastflow_runner.app
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.runs.lease import Lease
from fastflow_runner.backend.choose import open_backend
from fastflow_runner.presence import PresenceWriter
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.dummy import DummyOutcome, DummySandboxes
from fastflow_runner.settings import RunnerSettings
from tests.support.records import a_presence
from tests.support.relay import Relay
from tests.support.runner_bench import Bench


@pytest_asyncio.fixture
async def bench(bus_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    jobs: list[dict[str, Any]] = []

    def play(spec: SandboxSpec, job: dict[str, Any]) -> DummyOutcome:
        jobs.append(job)
        return DummyOutcome()

    monkeypatch.setattr("fastflow_runner.backend.plain.DummySandboxes", lambda: DummySandboxes(play))
    settings = RunnerSettings(sandbox="dummy", data_dir=str(tmp_path))
    opening = open_backend(settings, runner="one", installation="test", environ={}, say=lambda line: None)
    async with opening as backend, Relay(bus_url) as relay, connect(relay.url, name="one") as bus:
        presence = PresenceWriter(bus, a_presence("one"), Lease(), look=lambda shown: shown)
        await presence.announce()
        yield Bench(fastflow_runner.app._context(settings, bus, "one", backend, presence), relay, jobs)
