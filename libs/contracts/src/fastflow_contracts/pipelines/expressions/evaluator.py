"""Evaluates expressions in a process of their own, which starts when the first one is used. I/O; ``worker`` is it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import msgspec

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger
from fastflow_contracts.pipelines.expressions.frames import HEADER, Question, Reply

log = get_logger(__name__)

ANSWER_S: Final = 10.0
"""Longest wait for an answer. The kernel ends an evaluation much earlier; this is for a machine that stands still."""
AT_ONCE: Final = 64
"""Questions of ``evaluate_many`` that are sent together."""
SHOWN_CHARACTERS_MAX: Final = 80
TOO_SLOW: Final = "it took longer than 10 ms; shorten it, or start with a smaller event"
_REPLY = msgspec.json.Decoder(Reply)

Value: TypeAlias = bool | int | float | str


class ExpressionFailed(FastFlowError):
    """The expression has no value for this start. The message names the expression and says why."""

    def __init__(self, expression: str, reason: str) -> None:
        shown = expression if len(expression) <= SHOWN_CHARACTERS_MAX else f"{expression[:SHOWN_CHARACTERS_MAX]}…"
        super().__init__(f"the expression {shown!r} has no value here: {reason}.")
        self.reason = reason


class ExpressionAborted(ExpressionFailed):
    """The process gave no answer. ``used_its_time``: the kernel ended it, as the evaluation took too long."""

    def __init__(self, expression: str, *, used_its_time: bool) -> None:
        super().__init__(expression, TOO_SLOW)
        self.used_its_time = used_its_time


class ExpressionEvaluator:
    """One process at a time, one question at a time. Belongs to one event loop."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def evaluate(self, question: Question) -> Value:
        """Return the value of an expression.

        Raises:
            ExpressionFailed: It has none: a field is missing, a type does not fit, or it took too long.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(ANSWER_S):
                    reply = await self._ask(question)
            except (OSError, EOFError, TimeoutError) as error:
                raise await self._aborted(question.expression, error) from None
            except BaseException:
                await self._end()  # its answer would be taken for the next one's
                raise
        value = _value(question, reply)
        if isinstance(value, ExpressionFailed):
            raise value
        return value

    async def evaluate_many(self, questions: Sequence[Question]) -> list[Value | ExpressionFailed]:
        """Return the value of each, or why it has none. Asks many at once, so that one costs little.

        An ``evaluate`` of others has its turn between two groups of ``AT_ONCE``.
        """
        found: list[Value | ExpressionFailed] = []
        while len(found) < len(questions):
            group = questions[len(found) : len(found) + AT_ONCE]
            async with self._turn:
                found += await self._group(group)
        return found

    async def _group(self, group: Sequence[Question]) -> list[Value | ExpressionFailed]:
        """The answers of the first of *group*, at least one: the process ends at one that is too slow."""
        found: list[Value | ExpressionFailed] = []
        try:
            async with asyncio.timeout(ANSWER_S):
                process = await self._started()
                assert process.stdin is not None
                frames = map(msgspec.json.encode, group)
                with suppress(OSError):  # it may have ended at one of the first, whose answers are there
                    process.stdin.write(b"".join(HEADER.pack(len(frame)) + frame for frame in frames))
                    await process.stdin.drain()
                for question in group:
                    found.append(_value(question, await self._reply(process)))  # noqa: PERF401 - keeps the first
        except (OSError, EOFError, TimeoutError) as error:
            found.append(await self._aborted(group[len(found)].expression, error))
        except BaseException:
            await self._end()
            raise
        return found

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def _ask(self, question: Question) -> Reply:
        process = await self._started()
        assert process.stdin is not None
        frame = msgspec.json.encode(question)
        process.stdin.write(HEADER.pack(len(frame)) + frame)
        await process.stdin.drain()
        return await self._reply(process)

    async def _reply(self, process: Process) -> Reply:
        assert process.stdout is not None
        size = HEADER.unpack(await process.stdout.readexactly(HEADER.size))[0]
        return _REPLY.decode(await process.stdout.readexactly(size))

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            # It needs none of our secrets.
            env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "fastflow_contracts.pipelines.expressions.worker"),
                stdin=PIPE,
                stdout=PIPE,
                env=env,
            )
        return self._process

    async def _aborted(self, expression: str, error: Exception) -> ExpressionAborted:
        log.info("expression aborted", expression=expression, error=type(error).__name__)
        return ExpressionAborted(expression, used_its_time=await self._end() == -signal.SIGVTALRM)

    async def _end(self) -> int | None:
        """End the process. Returns its exit code; None: there is no process."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.stdout is None or not process.stdout.at_eof():  # else it has ended, and the loop collects it
            with suppress(ProcessLookupError):
                process.kill()
        if process.stdin is not None:
            process.stdin.close()
        return await process.wait()


def _value(question: Question, reply: Reply) -> Value | ExpressionFailed:
    if reply.value is None:
        return ExpressionFailed(question.expression, reply.error or "it gives nothing")
    return reply.value
