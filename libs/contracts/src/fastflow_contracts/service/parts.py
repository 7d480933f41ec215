"""Keeps the parts of a service going: one that fails starts again after a pause, and the others do not notice. I/O.

A part is a loop such as a consumer, a feed or a clock. An error in it, also one that nobody expects, is logged, and
the part is *degraded* until it has lasted for ``STEADY_S``. Only a ``Fatal`` error leaves ``keep``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final, NamedTuple

from fastflow_contracts.clock import now
from fastflow_contracts.errors import FastFlowError, Fatal
from fastflow_contracts.log import get_logger

log = get_logger(__name__)

PAUSES_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before a failed part starts again. The last one applies to all further failures."""
STEADY_S: Final = 60.0
"""A part that lasts this long is well again."""


class Degraded(NamedTuple):
    """A part that failed and is not yet well again."""

    part: str
    since: datetime
    """Its first failure."""
    failures: int
    error: str
    """Its last failure, by the type of the error: the log has the rest."""

    def __str__(self) -> str:
        times = "once" if self.failures == 1 else f"{self.failures} times"
        return f"{self.part} failed {times} since {self.since:%Y-%m-%d %H:%M:%S} UTC ({self.error}); the log says why"


_degraded: Final[dict[str, Degraded]] = {}


def degraded() -> tuple[Degraded, ...]:
    """Return the parts of this process that are degraded, by name."""
    return tuple(_degraded[name] for name in sorted(_degraded))


def is_fatal(error: BaseException) -> bool:
    """Return whether *error* is ``Fatal``, or a group with such an error."""
    return any(isinstance(each, Fatal) for each in leaves(error))


async def keep(
    name: str, work: Callable[[], Coroutine[Any, Any, None]], *, ends: Callable[[Exception], bool] = is_fatal
) -> None:
    """Run *work* until it returns or this is cancelled. Start it again, after growing pauses, whenever it fails.

    Args:
        name: Name of the part, such as ``scheduler/clock``.
        work: Makes a new coroutine for each start: nothing is left of a failed one.
        ends: Whether an error cannot be mended; it is raised.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    try:
        while True:
            begun = loop.time()
            steady = loop.call_later(STEADY_S, _degraded.pop, name, None)
            try:
                await work()
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                error: Exception = RuntimeError("it was cancelled from inside")
            except Exception as failure:
                if ends(failure):
                    raise
                error = failure
            else:
                return
            finally:
                steady.cancel()
            failures = 1 if loop.time() - begun >= STEADY_S else failures + 1
            pause_s = PAUSES_S[min(failures, len(PAUSES_S)) - 1]
            _note(name, error, failures, pause_s)
            await asyncio.sleep(pause_s)
    finally:
        _degraded.pop(name, None)


def leaves(error: BaseException) -> list[BaseException]:
    """Return the plain exceptions in a group, nested ones included; of a plain exception, itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in leaves(each)]


def _note(name: str, error: Exception, failures: int, pause_s: float) -> None:
    """Log one failure and count the part as degraded. An error of ours explains itself; others need their traceback."""
    known = _degraded.get(name)
    kind = ", ".join(dict.fromkeys(type(leaf).__name__ for leaf in leaves(error)))
    _degraded[name] = Degraded(name, known.since if known else now(), failures, kind)
    reasons = "; ".join(str(leaf) or type(leaf).__name__ for leaf in leaves(error))
    is_ours = all(isinstance(leaf, FastFlowError) for leaf in leaves(error))
    log.error(
        "part failed",
        part=name,
        failures=failures,
        retry_s=pause_s,
        error=reasons,
        exc_info=None if is_ours else error,
    )


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
