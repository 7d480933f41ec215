"""Prepares environments, one preparation per key at a time, and remembers the ready ones. I/O.

This module orders a preparation's steps, shares preparations, and keeps the memory. ``prepare`` documents the three
steps; ``store`` has keys and paths; ``preparer`` has the sandboxes.

Several runners may share a store without knowing of each other's preparations. Two may make the same environment at
once; the first one is kept and the other thrown away.

Thanks to the memory, a ready environment costs nothing. The memory is valid while the store is the same. A store on
this host is checked each time; a volume is compared with the earlier one every ``CHECK_S`` and before each preparation.
If it was deleted, everything is forgotten and made again on demand. Our collector updates the memory; those of other
runners cannot. The sandbox of the next run notices that its environment is missing, and the runner calls ``forget``.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

import aiodocker
from aiodocker.exceptions import DockerError
from aiodocker.volumes import DockerVolume
from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.folder.bundle import pack
from fastflow_runner.environments.collector import Collector
from fastflow_runner.environments.preparation import Preparation, Say, Words, as_version
from fastflow_runner.environments.preparer import STEP_TIMEOUT_S, EnvironmentFailed, NoInterpreter, Preparers
from fastflow_runner.environments.store import (
    EnvironmentKey,
    EnvironmentRequest,
    Place,
    ReadyEnvironment,
    environment_key,
    fallback,
    interpreter,
)
from fastflow_runner.environments.supply import ANY_SUPPLY, Supply
from fastflow_runner.environments.variables import NO_ACCESS, Access
from fastflow_runner.guest.prepare.steps import NEEDS_BUILD_EXIT_CODE, NO_INTERPRETER_EXIT_CODE
from fastflow_runner.sandbox import DaemonUnreachable, Sandboxes

__all__ = ["EnvironmentFailed", "EnvironmentRequest", "Environments", "Identity", "ReadyEnvironment", "volume_identity"]

log = get_logger(__name__)

PREPARATIONS_MAX: Final = 2
"""At once on one runner."""
REFUSALS_MAX: Final = 10
"""In one message."""
CHECK_S: Final = 5.0
INTERPRETER_RETRY_S: Final = 3600.0
"""After uv could not get an interpreter, the sandbox's is used for this long."""

BUILDERS: Final = range(1 << 20, 1 << 31)
"""User ids for builds: above all ids used elsewhere, and too many for the same one to be drawn twice."""

Identity = Callable[[], Awaitable[str]]
"""Distinguishes a store from a later one of the same name; empty if there is none. Raises ``DaemonUnreachable``."""


class Environments:
    """The ready environments, and the preparation of others."""

    def __init__(
        self,
        sandboxes: Sandboxes,
        place: Place,
        *,
        runner: str,
        identity: Identity | None = None,
        access: Access = NO_ACCESS,
        supply: Supply = ANY_SUPPLY,
        timeout_s: float = STEP_TIMEOUT_S,
        builders: range = BUILDERS,
        budget_bytes: int = 0,
    ) -> None:
        """
        Args:
            identity: of a store that is not a directory of this host.
            access: the way to packages.
            supply: what the operator demands of packages. Environments made under other rules are not used.
            budget_bytes: what the store may take on the disk; 0 = any amount.
        """
        place = replace(place, platform=f"{place.platform}{supply.mark}")
        self._place = place
        self._supply = supply
        self._identity = identity
        self._builders = builders
        self._preparers = Preparers(sandboxes, place, runner=runner, access=access, timeout_s=timeout_s)
        self._concurrency = asyncio.Semaphore(PREPARATIONS_MAX)
        self._under_way: dict[EnvironmentKey, Preparation] = {}
        self._known: dict[EnvironmentKey, str] = {}
        self._no_interpreter_until = 0.0
        self._known_store = ""
        self._collector = Collector(self._preparers, budget_bytes, builders=builders, gone=self._forget)

    @property
    def known(self) -> int:
        """How many environments are known to be ready."""
        return len(self._known)

    def ready(self, request: EnvironmentRequest) -> ReadyEnvironment | None:
        """The environment if it is known to be ready; counts as a use of it."""
        prepared = self._ready(request)
        if prepared is None and (second := self._second(request)) and (prepared := self._ready(second)):
            version = prepared.python_version or self._place.own_version
            return replace(prepared, python_version=f"{version} (the sandbox's own)")
        return prepared

    def forget(self, request: EnvironmentRequest) -> None:
        """Forget an environment that a sandbox has found missing."""
        for each in filter(None, (request, fallback(request, self._place))):
            if (key := environment_key(each, self._place)) is not None:
                self._forget(key)

    async def prepare(self, request: EnvironmentRequest, *, say: Say) -> ReadyEnvironment:
        """Prepare the environment, or join its preparation under way. *say* gets the preparer's output either way.

        Cancelling one caller does not disturb the others; when the last one leaves, the preparation is cancelled.
        Raises ``EnvironmentFailed``.
        """
        started_s = monotonic()
        if refusals := await asyncio.to_thread(self._supply.refusals, request):
            raise EnvironmentFailed("\n".join(refusals[:REFUSALS_MAX]))
        await self._check_store()
        if self.ready(request) is None:
            try:
                await self._prepare(self._second(request) or request, say)
            except NoInterpreter as error:
                if (second := fallback(request, self._place)) is None:
                    raise
                log.warning("interpreter not fetched", error=str(error), next_try_s=INTERPRETER_RETRY_S)
                self._no_interpreter_until = monotonic() + INTERPRETER_RETRY_S
                if self._ready(second) is None:
                    await self._prepare(second, say)
        prepared = self.ready(request)
        if prepared is None:
            raise EnvironmentFailed("the environment was removed immediately; start the run again.")
        return replace(prepared, seconds=monotonic() - started_s)

    async def keep(self) -> None:
        """Learn what the store holds, then watch that it stays the same one and within its budget, until cancelled."""
        await self._preparers.sweep()
        await self._discover()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._collector.keep(), name="collector")
            while True:
                await asyncio.sleep(CHECK_S)
                await self._check_store()

    async def collect(self) -> None:
        """Remove unused environments now."""
        await self._collector.collect()

    async def close(self) -> None:
        """Cancel preparations under way."""
        while self._under_way:
            await self._under_way.popitem()[1].give_up()

    def _ready(self, request: EnvironmentRequest) -> ReadyEnvironment | None:
        key = environment_key(request, self._place)
        if key is None:
            return ReadyEnvironment(None, python_version=self._place.own_version)
        if key not in self._known or (self._place.on_host and not os.path.exists(self._place.python(key))):
            return None
        self._collector.note_use(key)
        return self._place.prepared(key, self._known[key] or request.python_version or self._place.own_version)

    def _second(self, request: EnvironmentRequest) -> EnvironmentRequest | None:
        """The request to fulfil while uv has no interpreter for this one."""
        return fallback(request, self._place) if monotonic() < self._no_interpreter_until else None

    def _forget(self, key: EnvironmentKey) -> None:
        self._known.pop(key, None)

    async def _prepare(self, request: EnvironmentRequest, say: Say) -> None:
        key = environment_key(request, self._place)
        assert key is not None
        if (preparation := self._under_way.get(key)) is None:
            preparation = Preparation(lambda words: self._make(key, request, words), name=f"prepare-{key}")
            self._under_way[key] = preparation
        try:
            await preparation.follow(say)
        finally:
            # The last one to leave ends it; a later one starts over.
            if preparation.is_needless:
                if self._under_way.get(key) is preparation:
                    del self._under_way[key]
                await preparation.give_up()

    async def _make(self, key: EnvironmentKey, request: EnvironmentRequest, words: Words) -> None:
        """Wheels if that is enough; else a build by a separate user, and the link to what it has built."""
        python = interpreter(request, self._place)
        common = ["--key", key, "--python", python]
        if self._place.manages and python != self._place.own_python:
            common.append("--managed")
        given = "".join(f"{extra}\n" for extra in request.extras).encode()
        wanted = [*common, *_wanted(request), *self._supply.arguments]
        folder = pack(request.folder) if request.folder else None
        step = self._preparers.step
        async with self._concurrency:
            tree, build_tree = secrets.token_hex(16), secrets.token_hex(16)
            names = ["--tree", tree, *(["--build-tree", build_tree] if self._place.trees is not None else [])]
            code = await step(words, "wheels", *wanted, *names, given=given, folder=folder)
            if code == NEEDS_BUILD_EXIT_CODE:
                builder = secrets.choice(self._builders) if self._place.builder is None else self._place.builder
                code = await self._preparers.build(words, build_tree, *wanted, given=given, folder=folder, user=builder)
                if code == 0:
                    code = await step(words, "link", *common, "--tree", build_tree, "--owner", str(builder))
        if code == NO_INTERPRETER_EXIT_CODE:
            if fallback(request, self._place) is None:
                for line in words.without_interpreter:
                    words.add(line)
            raise NoInterpreter(_in_short("\n".join(words.without_interpreter)))
        if code:
            raise EnvironmentFailed(words.last() or f"The preparer ended with exit code {code} and without output.")
        self._known[key] = words.python_version
        self._collector.note_growth()

    async def _discover(self) -> None:
        """List the store once, instead of starting a preparer for each existing environment."""
        await self._check_store()
        words = Words()
        try:
            if await self._preparers.step(words, "list") == 0:
                for line in words.lines:
                    key, _, version = line.partition(" ")
                    self._known[EnvironmentKey(key)] = as_version(version)
        except EnvironmentFailed as error:
            log.warning("store not listed", error=str(error))

    async def _check_store(self) -> None:
        if self._identity is None:
            return
        try:
            identity = await self._identity()
        except DaemonUnreachable as error:
            log.warning("store not checked", error=str(error))
            return
        if self._known_store and identity != self._known_store:
            log.warning("store replaced", environments_forgotten=len(self._known))
            self._known.clear()
        self._known_store = identity


def _in_short(reason: str) -> str:
    """The first and the last line of uv's words: what failed, and why."""
    lines = [re.sub(r"^\s*(error|cause|hint): ", "", line) for line in reason.splitlines() if line.strip()]
    return ": ".join(dict.fromkeys((lines[0], lines[-1]))) if lines else "no reason was given"


def _wanted(request: EnvironmentRequest) -> list[str]:
    """What to install, as arguments of a preparer."""
    words = [f"--requirements={request.requirements_name}"] if request.requirements else []
    words += ["--project"] if request.is_project else []
    return words + (["--apart"] if request.is_apart else [])


def volume_identity(docker: aiodocker.Docker, volume: str) -> Identity:
    """The identity of a named volume: when it was created."""

    async def identity() -> str:
        try:
            shown = await DockerVolume(docker, volume).show()  # type: ignore[no-untyped-call]
        except DockerError as error:
            if error.status == 404:
                return ""
            raise DaemonUnreachable(f"Docker cannot inspect the volume {volume}: {error}") from error
        return str(shown["CreatedAt"])

    return identity
