"""A runner works through the proxy to Docker's socket, and a compromised runner can do no harm there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import aiodocker
import pytest
from aiodocker import Docker
from aiodocker.exceptions import DockerError
from msgspec.structs import replace

from fastflow_runner.proxy.request import Ours
from fastflow_runner.proxy.server import DockerProxy
from fastflow_runner.sandbox import Held, Missing, SandboxError, SandboxSpec
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE, LABEL_TOKEN
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from tests.sandbox_contract import Place, listen

pytestmark = pytest.mark.docker


@pytest.fixture
def scope() -> str:
    return f"test-{uuid4()}"


@pytest.fixture
async def url(docker: Docker, scope: str, tmp_path: Path) -> AsyncIterator[str]:
    """A proxy of one installation that knows the worker image and no network."""
    image = await ensure_worker_image(docker, progress=lambda line: None)
    proxy = DockerProxy(Ours(scope, frozenset({image}), "none", "fastflow-store"), "/var/run/docker.sock")
    async with proxy.open(str(tmp_path / "proxy")):
        yield f"unix://{tmp_path / 'proxy'}"


@pytest.fixture
async def place(docker: Docker, scope: str, url: str) -> AsyncIterator[Place]:
    sandboxes = DockerSandboxes(scope=scope, url=url)
    image = await ensure_worker_image(docker, progress=lambda line: None)
    place = Place(sandboxes, SandboxSpec(name="", image=image))
    yield place
    await place.clear()
    await sandboxes.close()


@pytest.mark.promise("live")
async def test_a_script_runs_and_every_line_comes(place: Place) -> None:
    """Create, attach, start, end and remove a sandbox, with a megabyte of output."""
    transcript = await place.run("for n in range(100_000): print(n)")
    assert transcript.stdout.split() == [b"%d" % n for n in range(100_000)]
    assert transcript.exited.exit_code == 0


async def test_limits_names_and_lists_work(place: Place) -> None:
    """A pool can limit and rename a warm sandbox, and a runner can list sandboxes after its start."""
    sandboxes = place.sandboxes
    assert isinstance(sandboxes, DockerSandboxes)
    spec = place.spec()
    channel = await sandboxes.open(spec)
    try:
        await sandboxes.limit(channel, replace(spec, memory_bytes=64 * 1024**2, cpu_cores=0.5))
        await sandboxes.rename(channel, f"{spec.name}-2")
        assert [held.name for held in await sandboxes.held()] == [f"{spec.name}-2"]
    finally:
        await channel.close()
        await sandboxes.remove(f"{spec.name}-2")
    assert await sandboxes.held() == ()


@pytest.mark.promise("nothing shared")
async def test_another_runner_attaches(place: Place) -> None:
    """The old attachment ends, the new one continues."""
    session, channel = await place.start("import time; print('on', flush=True); time.sleep(60)")
    await listen(session, until=lambda t: t.stdout == b"on\n")
    await channel.close()
    (held,) = await place.sandboxes.held()
    again = await place.sandboxes.attach(held)
    assert again.token == channel.token
    await again.close()


async def test_a_foreign_container_does_not_exist(place: Place, docker: Docker) -> None:
    """Inspecting, attaching and removing fail as if its name did not exist."""
    config = {"Image": place.spec().image, "HostConfig": {"NetworkMode": "none"}}
    stranger = await docker.containers.create(config, name=f"stranger-{uuid4()}")
    try:
        shown = await stranger.show()
        held = Held(name=stranger.id, labels={LABEL_TOKEN: "00"}, running=True)
        with pytest.raises(Missing):
            await place.sandboxes.attach(held)
        await place.sandboxes.remove(stranger.id)
        assert (await stranger.show())["Id"] == shown["Id"]
    finally:
        await stranger.delete(force=True)


async def test_a_sandbox_of_another_installation_does_not_exist(place: Place, url: str) -> None:
    """Its label is not secret, but the proxy serves only one installation."""
    theirs = DockerSandboxes(scope=f"test-{uuid4()}")
    spec = place.spec()
    channel = await theirs.open(spec)
    try:
        (held,) = await theirs.held()
        with pytest.raises(Missing):
            await place.sandboxes.attach(held)
        await place.sandboxes.remove(spec.name)
        assert await theirs.held() == (held,)
        pretender = DockerSandboxes(scope=held.labels[LABEL_SCOPE], url=url)
        with pytest.raises(SandboxError, match=r"fastflow\.scope=test-"):
            await pretender.held()
        with pytest.raises(SandboxError, match=r"fastflow\.scope=test-"):
            await pretender.open(place.spec())
        await pretender.close()
    finally:
        await channel.close()
        await theirs.remove(spec.name)
        await theirs.close()


async def test_requests_of_a_hostile_runner_are_denied(place: Place, url: str) -> None:
    """They never reach the daemon."""
    async with aiodocker.Docker(url=url) as docker:
        config = {"Image": place.spec().image, "HostConfig": {"Binds": ["/:/host"], "Privileged": True}}
        with pytest.raises(DockerError) as denied:
            await docker.containers.create(config, name="ff-evil")
        assert denied.value.status == 403
        with pytest.raises(DockerError):
            await docker.images.pull("evil")
    with pytest.raises(SandboxError, match="looks only for the network"):
        await place.sandboxes.open(place.spec(network="bridge"))


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /version HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n",
        b"POST /build HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"GET /version HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /version HTTP/2\r\n\r\n",
        b"POST /build HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /containers/json HTTP/1.1\r\n\r\n",
    ],
)
async def test_an_ambiguous_request_is_denied(url: str, raw: bytes) -> None:
    """Request smuggling needs two readers that disagree about the end of a request."""
    reader, writer = await asyncio.open_unix_connection(url.removeprefix("unix://"))
    writer.write(raw)
    assert (await reader.readline()).split()[1] == b"403"
    writer.close()


async def test_bytes_after_a_request_are_dropped(url: str) -> None:
    """The proxy does not pass on a second request on the same connection, allowed or not."""
    reader, writer = await asyncio.open_unix_connection(url.removeprefix("unix://"))
    writer.write(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\nGET /containers/json HTTP/1.1\r\nHost: a\r\n\r\n")
    answers = await reader.read()
    assert answers.count(b"HTTP/1.1 ") == 1
    writer.close()


async def test_runners_that_create_the_network_at_once_end_with_one(docker: Docker) -> None:
    """Docker would create one for each, and then reject the name as ambiguous."""
    image = await ensure_worker_image(docker, progress=lambda line: None)
    name = f"ff-test-{uuid4()}"
    places = [Place(DockerSandboxes(scope=f"test-{uuid4()}"), SandboxSpec(name="", image=image)) for _ in range(4)]
    try:
        channels = await asyncio.gather(*(place.open(network=name) for place in places))
        await asyncio.gather(*(channel.close() for channel in channels))
        found = [each["Name"] for each in await docker.networks.list() if each["Name"] == name]
        assert found == [name]
    finally:
        for place in places:
            await place.clear()
            assert isinstance(place.sandboxes, DockerSandboxes)
            await place.sandboxes.close()
        await (await docker.networks.get(name)).delete()


async def test_the_firewall_is_set_through_the_proxy_as_the_proxy_was_told(docker: Docker, tmp_path: Path) -> None:
    """A compromised runner cannot open more than the operator set: its firewall is denied, and it says so."""
    image = await ensure_worker_image(docker, progress=lambda line: None)
    scope, network = f"test-{uuid4()}", f"ff-test-{uuid4()}"
    ours = Ours(scope, frozenset({image}), network, "fastflow-store", opened=("192.0.2.7:80",))
    url = f"unix://{tmp_path / 'proxy'}"
    async with DockerProxy(ours, "/var/run/docker.sock").open(str(tmp_path / "proxy")):
        try:
            for opened, is_set in (((), False), (("192.0.2.7:80",), True)):
                sandboxes = DockerSandboxes(scope=scope, url=url)
                sandboxes.guard(image, runner="one", network=network, opened=opened)
                place = Place(sandboxes, SandboxSpec(name="", image=image, network=network))
                assert (await place.run("print(1)")).stdout == b"1\n"
                assert (sandboxes.unenforced == ()) is is_set
                if is_set:
                    listed = await place.open(network=f"{network}-listed", reach=("192.0.2.7:80",))
                    assert (await place.run("print(2)", channel=listed)).stdout == b"2\n"
                else:
                    assert "give both the same" in sandboxes.unenforced[0]
                await place.clear()
                await sandboxes.close()
        finally:
            for each in (network, f"{network}-listed"):
                await (await docker.networks.get(each)).delete()
