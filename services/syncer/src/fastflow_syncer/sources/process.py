"""Runs one git command with limits on time and output, and kills it with all its children. I/O.

``remote`` and ``mirror`` define the commands, flags and environments.
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
# ulimit counts POSIX blocks of 512 bytes. exec gives git the process id that we kill.
_LIMITED: Final = ("sh", "-c", 'ulimit -f "$1" && shift && exec "$@"', "sh")


class CommandOutput(msgspec.Struct, frozen=True):
    """Exit code and output of a command."""

    code: int
    stdout: bytes
    stderr: str


class OutputTooLarge(SyncerError):
    """A command printed more than its limit."""


class CommandTimedOut(SyncerError):
    """A command exceeded its time limit and was killed."""


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    timeout_s: float,
    stdout_bytes_max: int,
    file_bytes_max: int | None = None,
) -> CommandOutput:
    """Run a command to its end and return its output, for any exit code.

    Args:
        argv: The command and its arguments.
        env: The complete environment.
        timeout_s: Time limit in seconds.
        stdout_bytes_max: Most bytes of standard output. Of standard error only the end is kept.
        file_bytes_max: Largest file that the command may write; None: no limit.

    Raises:
        CommandTimedOut: It took too long. The command and its children are dead.
        OutputTooLarge: It printed too much. The command and its children are dead.
    """
    async with command(argv, env=env, timeout_s=timeout_s, file_bytes_max=file_bytes_max) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        # The end of stderr has the cause. An incomplete stdout is useless.
        err = asyncio.create_task(read_tail(process.stderr), name="git-stderr")
        try:
            stdout = await read_all(process.stdout, stdout_bytes_max)
            stderr = await err
        finally:
            err.cancel()
        return CommandOutput(await process.wait(), stdout, stderr.decode(errors="replace"))


@contextlib.asynccontextmanager
async def command(
    argv: Sequence[str], *, env: Mapping[str, str], timeout_s: float, file_bytes_max: int | None = None
) -> AsyncIterator[Process]:
    """Run a command with pipes; on exit its whole session is killed and reaped."""
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
    # An ended leader may leave children, which keep its output open.
    if process.returncode is None or not process.stdout.at_eof():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.stdin.close()
    # asyncio closes the transport only after the pipes are read to their end.
    for reader in filter(None, (process.stdout, process.stderr)):
        while await reader.read(_READ_BYTES):
            pass
    await process.wait()


async def read_all(reader: asyncio.StreamReader, bytes_max: int) -> bytes:
    """Read to the end. Raises ``OutputTooLarge``."""
    got = bytearray()
    while block := await reader.read(_READ_BYTES):
        got += block
        if len(got) > bytes_max:
            raise OutputTooLarge(f"git printed more than {bytes_max} bytes.")
    return bytes(got)


async def read_tail(reader: asyncio.StreamReader) -> bytes:
    """Read to the end and return the last ``STDERR_BYTES_MAX``."""
    got = b""
    while block := await reader.read(_READ_BYTES):
        got = (got + block)[-STDERR_BYTES_MAX:]
    return got
