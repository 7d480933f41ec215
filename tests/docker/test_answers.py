"""The files that a script leaves for its runner, in containers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiodocker import Docker

from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.docker import DockerSandboxes
from fastflow_runner.sandbox.image import ensure_worker_image
from tests.answers_contract import AnswersContract
from tests.sandbox_contract import Place

pytestmark = pytest.mark.docker


@pytest.fixture
async def place(docker: Docker) -> AsyncIterator[Place]:
    image = await ensure_worker_image(docker, progress=lambda line: None)
    sandboxes = DockerSandboxes(scope=f"test-{uuid4()}")
    place = Place(sandboxes, SandboxSpec(name="", image=image))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


class TestAnswersOfContainers(AnswersContract):
    """The contract."""
