"""The networks of runs on one daemon: makes them, and knows their ids. I/O."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

import aiodocker
from aiodocker.exceptions import DockerError

from fastflow_runner.sandbox.docker.calls import NameTaken, answers
from fastflow_runner.sandbox.docker.config import LABEL_SCOPE, network_config

NETWORK_PAUSE_S: Final = 0.1


class Network(NamedTuple):
    """A network of the daemon."""

    id: str
    is_ours: bool
    """Whether Fast-Flow made it."""


class Networks:
    """Makes networks of one installation."""

    def __init__(self, docker: aiodocker.Docker, scope: str) -> None:
        self._docker = docker
        self._scope = scope
        self._known: set[str] = set()
        self._making = asyncio.Lock()
        self.on_new: Callable[[], Awaitable[None]] | None = None
        """Called when a network is there, before the first sandbox may use it."""

    async def ensure(self, name: str) -> None:
        """Make the network if it does not exist."""
        if name == "none" or name in self._known:
            return
        async with self._making:
            if name in self._known:
                return
            async with answers(f"the network {name}"):
                if not await self._called(name):
                    await self._create(name)
                while len(await self._called(name)) > 1:  # noqa: ASYNC110 - the daemon has no event for it
                    await asyncio.sleep(NETWORK_PAUSE_S)
            if self.on_new is not None:
                await self.on_new()
            self._known.add(name)

    def forget(self, name: str) -> None:
        """Look again at the next use: it may have been removed."""
        self._known.discard(name)

    async def find(self, name: str) -> Network | None:
        """Return the network *name*; None if there is none. Raises ``SandboxError``."""
        async with answers(f"the network {name}"):
            for each in await self._called(name):
                return Network(str(each["Id"]), LABEL_SCOPE in (each.get("Labels") or {}))
        return None

    async def _create(self, name: str) -> None:
        """Create the network. If two runners do so at once, Docker creates two of one name; remove the later one."""
        with suppress(NameTaken):
            made = await self._post(name)
            first, *_ = sorted((each["Created"], each["Id"]) for each in await self._called(name))
            if first[1] != made:
                await self._docker._query_json(f"networks/{made}", method="DELETE")

    async def _called(self, name: str) -> list[dict[str, Any]]:
        filters = json.dumps({"name": [name]})
        found: list[dict[str, Any]] = await self._docker._query_json("networks", params={"filters": filters})
        return [each for each in found if each["Name"] == name]

    async def _post(self, name: str) -> str:
        try:
            body = network_config(name, self._scope)
            answer = await self._docker._query_json("networks/create", method="POST", data=body)
        except DockerError as error:
            if error.status == 409:
                raise NameTaken from error
            raise
        return str(answer["Id"])
