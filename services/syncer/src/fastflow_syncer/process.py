"""Running one git command: killable with all its children, bounded in time and output. Edge.

Which commands, flags and environments is ``remote``'s and ``mirror``'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec

from fastflow_syncer.errors import SyncerError

STDERR_BYTES_MAX: Final = 16 * 1024
_READ_BYTES: Final = 64 * 1024
# ulimit counts blocks of 512 bytes, as POSIX has it; exec makes git the process we know and kill.
_LIMITED: Final = ("sh", "-c", 'ulimit -f "$1" && shift && exec "$@"', "sh")


class CommandOutput(msgspec.Struct, frozen=True):
    """What a command ended with."""

    code: int
    stdout: bytes
    stderr: str


class OutputTooLarge(SyncerError):
    """A command printed more than its caller can take."""


class CommandTimedOut(SyncerError):
    """A command was killed because its time was over."""


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout_s: float,
    stdout_bytes_max: int,
    file_bytes_max: int | None = None,
) -> CommandOutput:
    """Run to the end and return what it printed, whatever its exit code.

    Raises ``CommandTimedOut`` or ``OutputTooLarge``; the command and its children are dead by then.
    """
    async with command(argv, env=env, timeout_s=timeout_s, file_bytes_max=file_bytes_max) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        # The last words of stderr are the telling ones; of stdout everything is needed or nothing.
        err = asyncio.create_task(_read_tail(process.stderr), name="git-stderr")
        try:
            stdout = await _read_all(process.stdout, stdout_bytes_max)
            stderr = await err
        finally:
            err.cancel()
        return CommandOutput(await process.wait(), stdout, stderr.decode(errors="replace"))


@contextlib.asynccontextmanager
async def command(
    argv: Sequence[str], *, env: Mapping[str, str], timeout_s: float, file_bytes_max: int | None = None
) -> AsyncIterator[Process]:
    """A running command with pipes; on the way out it and its whole session are dead and reaped."""
    limited = (*_LIMITED, str(file_bytes_max // 512)) if file_bytes_max is not None else ()
    process = await asyncio.create_subprocess_exec(
        *limited, *argv, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        async with asyncio.timeout(timeout_s):
            yield process
    except TimeoutError as error:
        raise CommandTimedOut(f"git took longer than {timeout_s:g} s and was stopped.") from error
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    # A leader that is gone may have left children behind: they still hold its output open.
    if process.returncode is None or not process.stdout.at_eof():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.stdin.close()
    # Only a pipe that was read to its end lets asyncio close the transport.
    for reader in filter(None, (process.stdout, process.stderr)):
        while await reader.read(_READ_BYTES):
            pass
    await process.wait()


async def _read_all(reader: asyncio.StreamReader, bytes_max: int) -> bytes:
    got = bytearray()
    while block := await reader.read(_READ_BYTES):
        got += block
        if len(got) > bytes_max:
            raise OutputTooLarge(f"git printed more than {bytes_max} bytes.")
    return bytes(got)


async def _read_tail(reader: asyncio.StreamReader) -> bytes:
    got = b""
    while block := await reader.read(_READ_BYTES):
        got = (got + block)[-STDERR_BYTES_MAX:]
    return got
