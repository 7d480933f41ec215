"""The files that a script leaves for its runner, in plain processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.process import ProcessSandboxes
from tests.answers_contract import AnswersContract
from tests.sandbox_contract import Place


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


class TestAnswersOfProcesses(AnswersContract):
    """The contract."""
