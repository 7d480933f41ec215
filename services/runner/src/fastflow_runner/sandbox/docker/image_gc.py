"""Removes worker images of older versions of this installation once nothing uses them. I/O; ``unneeded`` is pure.

Only images with our label are removed. The daemon itself refuses to remove an image that a container uses, running or
not, so warm sandboxes protect the image of every live runner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiodocker import Docker
from aiodocker.exceptions import DockerError

from fastflow_contracts.log import get_logger
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE
from fastflow_runner.sandbox.docker.image import WORKER_REPOSITORY

log = get_logger(__name__)

OLD_KEPT: Final = 1
"""How many of the newest old images stay, so that a rollback needs no build."""
FIRST_LOOK_S: Final = 120.0
"""Delay after the start: by then, the warm sandboxes of our previous process are removed."""
LOOK_S: Final = 3600.0
CALL_S: Final = 60.0


def unneeded(created: Mapping[str, int], current: str) -> list[str]:
    """Return the images that can be removed, oldest first.

    Args:
        created: worker image reference -> Unix time of its build.
        current: the reference that this version uses.
    """
    former = sorted((reference for reference in created if reference != current), key=lambda each: created[each])
    return former[:-OLD_KEPT]


class ImageGc:
    """Collects the old worker images of one installation on one daemon."""

    def __init__(self, docker: Docker, *, installation: str, current: str) -> None:
        self._docker = docker
        self._installation = installation
        self._current = current

    async def keep(self) -> None:
        """Collect periodically until cancelled."""
        await asyncio.sleep(FIRST_LOOK_S)
        while True:
            await self.collect()
            await asyncio.sleep(LOOK_S)

    async def collect(self) -> None:
        """Remove unneeded images. What fails is tried again later."""
        filters = {"label": [f"{LABEL_SCOPE}={self._installation}"], "reference": [WORKER_REPOSITORY]}
        try:
            async with asyncio.timeout(CALL_S):
                images = await self._docker.images.list(filters=filters)
                created = {reference: image["Created"] for image in images for reference in image["RepoTags"] or ()}
                for reference in unneeded(created, self._current):
                    await self._remove(reference)
        except (DockerError, aiohttp.ClientError, OSError) as error:
            log.warning("old images not removed", error=str(error))

    async def _remove(self, reference: str) -> None:
        try:
            await self._docker.images.delete(reference)
        except DockerError as error:
            if error.status not in (404, 409):  # removed already, or in use
                raise
        else:
            log.info("old image removed", image=reference)
