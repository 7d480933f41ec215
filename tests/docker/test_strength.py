"""What a sandbox takes from a hostile script: system calls, files, another runtime. On the real daemon."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from aiodocker import Docker

from fastflow_runner.backend.backend import NoSandbox
from fastflow_runner.backend.choose import open_backend
from fastflow_runner.sandbox import Held, SandboxError, SandboxSpec
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE, LABEL_TOKEN, container_config
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from fastflow_runner.settings import RunnerSettings
from tests.sandbox_contract import Place
from tests.support.docker_host import DockerHost, missing
from tests.support.system_calls import HOSTILE, USUAL

pytestmark = pytest.mark.docker


@pytest_asyncio.fixture
async def place(docker: Docker) -> AsyncIterator[Place]:
    image = await ensure_worker_image(docker, progress=lambda line: None)
    place = Place(DockerSandboxes(scope=f"test-{uuid4()}"), SandboxSpec(name="", image=image))
    yield place
    await place.clear()
    await place.sandboxes.close()


@pytest.mark.promise("isolated")
async def test_calls_that_only_an_attacker_needs_are_refused(place: Place) -> None:
    """No io_uring, no name space of users, no keyring, no bpf, no socket to the hypervisor or the kernel's ciphers."""
    found = json.loads((await place.run(HOSTILE)).stdout)
    assert {found.pop(f"socket {each}") for each in (1, 2, 10, 16)} <= {"done", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT"}
    assert found.pop("clone3", "ENOSYS") == "ENOSYS"  # the C library then takes clone
    assert found == dict.fromkeys(found, "EPERM")


async def test_usual_programs_do_not_notice(place: Place) -> None:
    """Threads, processes of every kind, sockets, timers, databases."""
    transcript = await place.run(USUAL)
    assert (transcript.stdout, transcript.stderr) == (b"done\n", b"")


async def test_a_run_cannot_fill_the_kernel_with_empty_files(place: Place) -> None:
    """Each costs memory outside of the size of its file system."""
    source = """
        import itertools
        for folder in ("/tmp", "."):
            try:
                for number in itertools.count(): open(f"{folder}/{number}", "w").close()
            except OSError as error: print(error.strerror, number < 2000)
        """
    transcript = await place.run(source, channel=await place.open(files_max=2000))
    assert transcript.stdout == b"No space left on device True\n" * 2


async def test_a_run_without_a_limit_cannot_take_the_memory_of_its_host(docker: Docker, tmp_path: Path) -> None:
    """It gets a share, also where it takes a warm sandbox."""
    settings = RunnerSettings(
        sandbox="docker", data_dir=str(tmp_path), memory_share_max=0.25, network="none", pool_size_max=1
    )
    total = (await docker.system.info())["MemTotal"]
    opening = open_backend(settings, runner="one", installation=str(uuid4()), environ={}, say=lambda line: None)
    async with opening as backend:
        assert backend.memory_bytes_max == total // 4
        assert backend.pool is not None
        await backend.pool.prove()
        (warm,) = backend.pool.waiting
        assert warm.memory_bytes == total // 4


async def test_a_run_has_the_runtime_of_the_settings(docker: Docker) -> None:
    """The daemon knows the usual program under a second name."""
    runtime, program = "second", shutil.which("runc")
    if reason := missing("runc"):
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(reason)
    image = await ensure_worker_image(docker, progress=lambda line: None)
    host = DockerHost(runtimes={runtime: str(program)})
    try:
        host.start()
        host.load(image)
        sandboxes = DockerSandboxes(scope="test", url=host.url)
        place = Place(sandboxes, SandboxSpec(name="", image=image, runtime=runtime))
        assert (await place.run("print(6 * 7)")).stdout == b"42\n"
        (shown,) = json.loads(host.docker("inspect", *host.docker("ps", "--all", "--quiet").split()))
        assert shown["HostConfig"]["Runtime"] == runtime
        await place.clear()
        await sandboxes.close()
    finally:
        host.remove()


async def test_an_unknown_runtime_is_said_before_any_run(docker: Docker, tmp_path: Path) -> None:
    """Not as an error of each run."""
    settings = RunnerSettings(sandbox="docker", data_dir=str(tmp_path), container_runtime="kata")
    with pytest.raises(NoSandbox, match=r"has no container runtime kata \(it has .*runc.*FASTFLOW_CONTAINER_RUNTIME"):
        async with open_backend(settings, runner="one", installation=str(uuid4()), environ={}, say=lambda line: None):
            pass


async def test_a_conflict_at_attach_is_not_a_name_that_is_taken(place: Place, docker: Docker) -> None:
    """Docker answers 409 for a container that is paused, and the attempt must not remove and open it again."""
    spec = place.spec()
    config = container_config(spec, {LABEL_SCOPE: "test", LABEL_TOKEN: "00" * 16})
    container = await docker.containers.create(config, name=spec.name)
    await container.start()
    await container.pause()
    held = Held(name=spec.name, labels={LABEL_TOKEN: "00" * 16}, running=True)
    try:
        with pytest.raises(SandboxError, match="paused") as refused:
            await place.sandboxes.attach(held)
        assert type(refused.value) is SandboxError
    finally:
        await container.unpause()
        await container.delete(force=True)
