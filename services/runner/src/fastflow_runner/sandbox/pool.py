"""Sandboxes opened ahead of time, ready for the next run. I/O; ``demand`` decides how many.

A warm sandbox is an ordinary sandbox of runs, created and started, with its supervisor blocked on an empty channel. It
never ran user code, and it serves one run only. When a run takes it, the pool first sets its limits (unless they are
equal already), then gives it the attempt's name. The name comes last, so a sandbox of that name is always as strict as
a cold one. Only then may the runner send a job.

Everything except ``open`` goes to the backend, which is a ``WarmSandboxes``. The pool opens a cold sandbox when no warm
one fits: another kind of sandbox, a limit that cannot be lifted, an empty pool, or a warm sandbox that has died.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from msgspec.structs import replace

from fastflow_contracts.log import get_logger
from fastflow_runner.guest.supervisor.frames import BEAT, mark, message
from fastflow_runner.sandbox import (
    Channel,
    DaemonUnreachable,
    Detached,
    Held,
    Missing,
    SandboxError,
    Sandboxes,
    SandboxSpec,
)
from fastflow_runner.sandbox.demand import NO_LIMITS, Demand, Open, Remove, WarmLimits, plan
from fastflow_runner.sandbox.naming import warm_name

log = get_logger(__name__)

LOOK_S: Final = 60.0
"""Between two checks for fallen demand, and two heartbeats to warm sandboxes; far below ``IDLE_S``."""
REFILL_PAUSE_S: Final = 0.15
"""Pause before a refill, which would otherwise take processor time from the run that has just begun."""
YIELD_S: Final = 10.0
"""How long a refill waits while runs open cold sandboxes: both need the same processors."""
AGAIN_S: Final = 5.0
"""Pause after an error of the daemon."""


class WarmChannel(Channel, Protocol):
    """A channel to a sandbox that may have ended, or got another name, while nobody used it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent or received."""

    @property
    def removable_as(self) -> str:
        """What ``remove`` takes for this sandbox, whatever its name is by now."""


C = TypeVar("C", bound=WarmChannel)


class WarmSandboxes(Sandboxes, Protocol[C]):
    """A backend whose sandboxes can be opened before their run is known."""

    async def open(self, spec: SandboxSpec) -> C:
        """See ``Sandboxes``."""

    async def limit(self, channel: C, spec: SandboxSpec) -> None:
        """Set the limits of *spec* on a running sandbox. It need not be able to lift one.

        Raises ``Missing``, ``DaemonUnreachable``, ``SandboxError``.
        """

    async def is_current(self, channel: C, spec: SandboxSpec) -> bool:
        """Return whether a sandbox that waited is still what ``open`` would make of *spec* now, but for its limits."""

    async def rename(self, channel: C, name: str) -> None:
        """Rename a sandbox. Raises ``AlreadyExists``, ``Missing``, ``DaemonUnreachable``, ``SandboxError``."""


class _Warm(NamedTuple, Generic[C]):
    name: str
    channel: C
    limits: WarmLimits


class Pool(Generic[C]):
    """Sandboxes, some of them kept warm for the next runs. A ``Sandboxes``."""

    def __init__(
        self,
        sandboxes: WarmSandboxes[C],
        blank: SandboxSpec,
        *,
        installation: str,
        keeper: dict[str, str],
        size_max: int,
        usual: WarmLimits = NO_LIMITS,
    ) -> None:
        """
        Args:
            blank: the sandbox of any run, without name and limits.
            keeper: the label of warm sandboxes.
            size_max: the maximum number of warm sandboxes; 0 = none.
            usual: the limits of a run whose pipeline sets none.
        """
        self._sandboxes = sandboxes
        self._blank = blank
        self._installation = installation
        self._keeper = keeper
        self._size_max = size_max
        self._waiting: list[_Warm[C]] = []
        self._ours: set[str] = set()
        """Names of all warm sandboxes, including those being opened or taken."""
        self._usual = usual
        self._demand = Demand(max(1, size_max), usual)
        self._news = asyncio.Event()
        self._news.set()
        self._cold = 0
        """Cold sandboxes being opened for runs."""

    @property
    def unenforced(self) -> tuple[str, ...]:
        return self._sandboxes.unenforced

    @property
    def waiting(self) -> tuple[WarmLimits, ...]:
        """The limits of each warm sandbox."""
        return tuple(warm.limits for warm in self._waiting)

    async def open(self, spec: SandboxSpec) -> Channel:
        limits = WarmLimits(spec.memory_bytes, spec.cpu_cores)
        if self._size_max == 0 or _blank(spec) != self._blank:
            return await self._open_cold(spec)
        self._demand.note(asyncio.get_running_loop().time(), limits)
        self._news.set()
        try:
            while (warm := self._take(limits)) is not None:
                try:
                    if await self._assign(warm, spec):
                        return warm.channel
                finally:
                    self._ours.discard(warm.name)
            return await self._open_cold(spec)
        except DaemonUnreachable:
            raise
        except SandboxError:
            self._demand.forget(limits)  # the backend may refuse these limits, which must not block refills with others
            raise

    async def held(self) -> tuple[Held, ...]:
        return tuple(held for held in await self._sandboxes.held() if held.name not in self._ours)

    async def attach(self, held: Held) -> Channel:
        return await self._sandboxes.attach(held)

    async def remove(self, name: str) -> None:
        await self._sandboxes.remove(name)

    async def prove(self) -> None:
        """Open one sandbox to test the backend. Keep it warm unless the size is 0. Raises ``SandboxError``."""
        await self.held()
        await self._open_warm(self._usual)
        if self._size_max == 0:
            warm = self._waiting.pop()
            self._ours.discard(warm.name)
            await self._discard(warm)

    async def keep(self) -> None:
        """Refill the pool, and shrink it when demand falls, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()
            self._news.clear()
            await asyncio.sleep(REFILL_PAUSE_S)
            try:
                await self._refresh()
                await self.fill(yield_s=YIELD_S)
            except SandboxError as error:
                log.warning("warm sandbox not opened", error=str(error))
                await asyncio.sleep(AGAIN_S)
                self._news.set()

    async def fill(self, *, yield_s: float = 0.0) -> None:
        """Open and remove sandboxes, one at a time, until the pool fits the demand.

        Args:
            yield_s: how long each step waits at most while runs open cold sandboxes.
        """
        while self._size_max and plan(self.waiting, self._likely()) is not None:
            await self._until_no_cold(yield_s)
            if (step := plan(self.waiting, self._likely())) is None:
                break
            match step:
                case Open(limits=limits):
                    await self._open_warm(limits)
                case Remove(index=index):
                    warm = self._waiting.pop(index)
                    await self._discard(warm)

    async def close(self) -> None:
        """Remove warm sandboxes. Those that a run has taken remain."""
        removals = [self._sandboxes.remove(name) for name in self._ours]
        for outcome in await asyncio.gather(*removals, return_exceptions=True):
            if isinstance(outcome, SandboxError):
                log.warning("warm sandbox not removed", error=str(outcome))
        for warm in self._waiting:
            await warm.channel.close()
        await self._sandboxes.close()

    def _take(self, wanted: WarmLimits) -> _Warm[C] | None:
        """Take the best fitting warm sandbox from the pool, or return None."""
        fitting = [warm for warm in self._waiting if warm.limits.can_become(wanted)]
        if not fitting:
            return None
        best = next((warm for warm in fitting if warm.limits == wanted), fitting[0])
        self._waiting.remove(best)
        return best

    async def _assign(self, warm: _Warm[C], spec: SandboxSpec) -> bool:
        """Turn *warm* into the sandbox of *spec*. Return False if it has died, or is of no use any more."""
        try:
            if not await self._sandboxes.is_current(warm.channel, spec):
                log.info("warm sandbox discarded", sandbox=warm.name, reason="its network is out of date")
                await self._discard(warm)
                return False
            if not warm.channel.is_over:
                if warm.limits != WarmLimits(spec.memory_bytes, spec.cpu_cores):
                    await self._sandboxes.limit(warm.channel, spec)
                await self._sandboxes.rename(warm.channel, spec.name)
                # If it died before the rename, its channel is closed by now.
                if not warm.channel.is_over:
                    return True
        except Missing:
            pass
        except SandboxError:
            await self._discard(warm)
            raise
        except asyncio.CancelledError:
            await warm.channel.close()  # the next sweep finds it under its old or new name
            raise
        log.warning("warm sandbox died", sandbox=warm.name)
        await self._discard(warm)
        return False

    async def _open_cold(self, spec: SandboxSpec) -> Channel:
        self._cold += 1
        try:
            return await self._sandboxes.open(spec)
        finally:
            self._cold -= 1

    async def _until_no_cold(self, yield_s: float) -> None:
        until = asyncio.get_running_loop().time() + yield_s
        while self._cold and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - bounded by time too
            await asyncio.sleep(REFILL_PAUSE_S)

    async def _open_warm(self, limits: WarmLimits) -> None:
        name = warm_name(self._installation)
        self._ours.add(name)
        spec = replace(
            self._blank,
            name=name,
            labels=self._keeper,
            memory_bytes=limits.memory_bytes,
            cpu_cores=limits.cpu_cores,
        )
        try:
            channel = await self._sandboxes.open(spec)
        except SandboxError:
            self._ours.discard(name)
            raise
        self._waiting.append(_Warm(name, channel, limits))

    async def _refresh(self) -> None:
        """Send warm sandboxes a heartbeat. Without it they end, as they must once this runner is gone."""
        beat = message(BEAT)
        for warm in list(self._waiting):
            with suppress(Detached):  # ``_assign`` handles a dead one
                await warm.channel.send(mark(warm.channel.token) + beat)

    async def _discard(self, warm: _Warm[C]) -> None:
        await warm.channel.close()
        await self._sandboxes.remove(warm.channel.removable_as)
        self._ours.discard(warm.name)

    def _likely(self) -> list[WarmLimits]:
        return self._demand.likely(asyncio.get_running_loop().time())


def _blank(spec: SandboxSpec) -> SandboxSpec:
    return replace(spec, name="", memory_bytes=None, cpu_cores=None)
