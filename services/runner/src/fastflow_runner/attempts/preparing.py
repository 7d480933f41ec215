"""Step 2 of an attempt: prepares its environments and checks its secrets. I/O through ``environments``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from fastflow_runner.attempts.code import Code
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.holding import Holding
from fastflow_runner.attempts.side_task import side_task
from fastflow_runner.environments.environments import EnvironmentFailed
from fastflow_runner.environments.preparation import Say
from fastflow_runner.environments.store import ReadyEnvironment
from fastflow_runner.guest.cells.masking import SECRET_CHARACTERS_MIN, is_maskable
from fastflow_runner.sandbox import DaemonUnreachable
from fastflow_runner.secrets import SecretBox


async def prepare(context: AttemptContext, holding: Holding, code: Code, say: Say) -> tuple[ReadyEnvironment, ...]:
    """Prepare the environments of *code*, unless the run must stop first. *say* gets the preparer's output.

    Raises:
        StoppedEarly, NotOurs: the run must stop.
        EnvironmentFailed: an environment cannot be made.
        DaemonUnreachable: the daemon is away.
    """
    async with (
        side_task(_prepare_each(context, code, say), f"prepare-{holding.run.id}") as preparing,
        side_task(holding.stopping.wait(), f"stop-{holding.run.id}") as stopping,
    ):
        await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await holding.stop_here()
    return preparing.result()


async def _prepare_each(context: AttemptContext, code: Code, say: Say) -> tuple[ReadyEnvironment, ...]:
    """One after the other, so that their output does not mix."""
    try:
        return tuple([await context.environments.prepare(request, say=say) for request in code.requests])
    except EnvironmentFailed as error:
        if isinstance(error.__cause__, DaemonUnreachable):
            raise DaemonUnreachable(str(error)) from error
        raise


def secret_notes(box: SecretBox, tokens: Mapping[str, str], secrets: Mapping[str, str]) -> Iterator[str]:
    """Warnings about secrets that work but could be safer: unbound tokens, and values too short to mask.

    Args:
        tokens: variable -> token, from the run's input.
        secrets: variable -> value, decrypted by *box*.
    """
    if names := box.unbound(tokens):
        yield (
            f"The token of {', '.join(names)} opens in any pipeline; bind it to this one with "
            f"`fastflow keys rotate --bind`."
        )
    if short := [name for name, value in secrets.items() if value and not is_maskable(value)]:
        yield (
            f"The value of {', '.join(short)} is too short to be masked: this log shows it if "
            f"the script prints it. Use one of {SECRET_CHARACTERS_MIN} characters or more."
        )
