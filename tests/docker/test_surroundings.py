"""What scripts find around them in containers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiodocker import Docker

from fastflow_runner.sandbox import MIB, Channel, SandboxSpec
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from tests.sandbox_contract import Place
from tests.surroundings_contract import LIMIT_BYTES, SurroundingsContract

pytestmark = pytest.mark.docker

FILLS = """
from multiprocessing import shared_memory
shared = shared_memory.SharedMemory(create=True, size={size})
for at in range(0, {size}, 4096): shared.buf[at] = 1
print("filled", len(shared.buf)); shared.close(); shared.unlink()
"""


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


class TestDockerSurroundings(SurroundingsContract):
    async def processes(self, place: Place, channel: Channel) -> int:
        async with Docker() as docker:
            return len((await docker.containers.container(place.name(channel)).top())["Processes"])


@pytest.mark.parametrize("limit_bytes", [None, 200 * MIB])
async def test_shared_memory_has_room_up_to_the_memory_limit(place: Place, limit_bytes: int | None) -> None:
    """Docker's own bound of 64 MB does not count."""
    size = 100 * MIB
    transcript = await place.run(FILLS.format(size=size), channel=await place.open(memory_bytes=limit_bytes))
    assert (transcript.stdout, transcript.exited.exit_code) == (b"filled %d\n" % size, 0)


@pytest.mark.parametrize("folder", [".", "/tmp", "/dev/shm"])
async def test_memory_that_files_took_is_told(place: Place, folder: str) -> None:
    """Where files leave no room, the report says how much of the memory they hold."""
    transcript = await place.run(
        f"""
        with open("{folder}/big", "wb") as big:
            for _ in range(200): big.write(bytes(1 << 20))
        """,
        channel=await place.open(memory_bytes=LIMIT_BYTES),
    )
    assert (transcript.exited.exit_code, transcript.exited.oom) == (137, True)
    assert transcript.exited.files_bytes > LIMIT_BYTES / 2
