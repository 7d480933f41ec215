"""Removing old worker images on a real daemon, directly and through the proxy."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from fastflow_runner.proxy.request import Ours
from fastflow_runner.proxy.server import DockerProxy
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE
from fastflow_runner.sandbox.docker.image import WORKER_REPOSITORY, context_tar, ensure_worker_image
from fastflow_runner.sandbox.docker.image_gc import ImageGc

pytestmark = pytest.mark.docker


class Images:
    """Images that contain only a label, named like worker images."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self.installation = f"test-{uuid4()}"
        self._made: list[str] = []

    async def make(self, installation: str | None = None) -> str:
        """Create an image, newer than those before."""
        await asyncio.sleep(1)  # Docker reports an image's age in whole seconds
        reference = f"{WORKER_REPOSITORY}:{uuid4().hex[:12]}"
        base = await ensure_worker_image(self._docker, progress=lambda line: None)
        content = context_tar({"Dockerfile": f"FROM {base}\nENV NUMBER={len(self._made)}\n".encode()})
        labels = {LABEL_SCOPE: installation or self.installation}
        await self._docker.images.build(
            fileobj=io.BytesIO(content), encoding="identity", tag=reference, labels=labels, nocache=True
        )
        self._made.append(reference)
        return reference

    async def left(self) -> list[str]:
        """Return the images that still exist."""
        found = []
        for reference in self._made:
            try:
                await self._docker.images.inspect(reference)
            except DockerError:
                continue
            found.append(reference)
        return found

    async def clear(self) -> None:
        for reference in await self.left():
            await self._docker.images.delete(reference, force=True)


@pytest.fixture
async def images(docker: Docker) -> AsyncIterator[Images]:
    images = Images(docker)
    yield images
    await images.clear()


async def test_old_images_are_removed_when_nothing_uses_them(docker: Docker, images: Images) -> None:
    """The current image remains, the newest before it, one that a container uses, and images of others."""
    used, old, older_current = [await images.make() for _ in range(3)]
    theirs = await images.make("somebody-else")
    newest, current = [await images.make() for _ in range(2)]
    container = await docker.containers.create({"Image": used})
    try:
        await ImageGc(docker, installation=images.installation, current=current).collect()
        assert await images.left() == [used, theirs, newest, current]
    finally:
        await container.delete()
    await ImageGc(docker, installation=images.installation, current=current).collect()
    assert await images.left() == [theirs, newest, current]
    assert {old, older_current}.isdisjoint(await images.left())


async def test_the_proxy_allows_removing_old_images(docker: Docker, images: Images, tmp_path: Path) -> None:
    """It allows removing only our images."""
    old, newest, current = [await images.make() for _ in range(3)]
    theirs = await images.make("somebody-else")
    proxy = DockerProxy(Ours(images.installation, frozenset({current}), "none", "store"), "/var/run/docker.sock")
    async with proxy.open(str(tmp_path / "proxy")), Docker(url=f"unix://{tmp_path / 'proxy'}") as guarded:
        await ImageGc(guarded, installation=images.installation, current=current).collect()
        assert await images.left() == [newest, current, theirs]
        with pytest.raises(DockerError, match="No such image"):
            await guarded.images.delete(theirs)
        with pytest.raises(DockerError, match="a runner does not send"):
            await guarded.images.delete(current)
    assert await images.left() == [newest, current, theirs]
    assert old not in await images.left()
