"""What many tasks ask of one bucket at the same time goes in few requests. I/O only.

A request takes along everything that is asked for while earlier ones are under way. So a lone task waits for nothing,
and ten thousand cost about as many requests as a hundred.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from fastflow_contracts.bus.client import Bus, Entry, Put
from fastflow_contracts.bus.direct import stored_on
from fastflow_contracts.bus.errors import BusError, Rejected, RevisionConflict, Unavailable
from fastflow_contracts.bus.subjects import value_key, value_subject

A = TypeVar("A")
R = TypeVar("R")

GROUP_MAX: Final = 256
"""Most reads or writes in one request. The server accepts a thousand."""
GROUP_BYTES_MAX: Final = 1024 * 1024
"""Most bytes that one request writes, unless its first value is larger."""
REQUESTS_MAX: Final = 2
"""Requests under way: the server works on one while the answers to the other are handled."""
NOT_ATOMIC: Final = 10174
"""The server's code for a stream without atomic batches."""


class GroupCommit:
    """Writes values of one bucket, several in an atomic batch. Each succeeds or fails for itself."""

    def __init__(self, bus: Bus, bucket: str, *, reads: bool = True) -> None:
        """*reads*: this user may read many messages of the bucket at once, to see which write of a batch conflicts."""
        self._bus = bus
        self._bucket = bucket
        self._reads = reads
        self._is_atomic = True
        self._group = _Group(self._write, key=lambda put: put.key, size=lambda put: len(put.value))

    async def put(self, put: Put) -> int:
        """Write one value and return its revision. Raises as ``Bus.commit``."""
        return await self._group.ask(put)

    async def _write(self, puts: list[Put]) -> list[int | BusError]:
        if len(puts) > 1 and not self._is_atomic:
            return [each for one in await asyncio.gather(*(self._write([put]) for put in puts)) for each in one]
        try:
            return list(await self._bus.commit(self._bucket, puts))
        except (RevisionConflict, Rejected) as error:
            if len(puts) == 1:
                return [error]
            if isinstance(error, Rejected) and error.code == NOT_ATOMIC:  # `bus ensure` has not run since the upgrade
                self._is_atomic = False
                return await self._write(puts)
            return await self._write_apart(puts, await self._stale(puts, error))
        except BusError as error:
            return [error for _ in puts]

    async def _write_apart(self, puts: list[Put], stale: set[str]) -> list[int | BusError]:
        """Write a batch that was refused because of some of its writes: without those that are *stale*, if any."""
        fresh = [put for put in puts if put.key not in stale]
        if len(fresh) == len(puts):  # halves find the one, and a refused batch costs no disk access
            middle = len(puts) // 2
            return [*await self._write(puts[:middle]), *await self._write(puts[middle:])]
        written = iter(await self._write(fresh) if fresh else ())
        conflict = "another writer changed {} first."
        return [RevisionConflict(conflict.format(put.key)) if put.key in stale else next(written) for put in puts]

    async def _stale(self, puts: list[Put], error: BusError) -> set[str]:
        """The keys of the writes that expect another revision than the stored one, as far as that is known."""
        if not self._reads or not isinstance(error, RevisionConflict):
            return set()
        subjects = [value_subject(self._bucket, put.key) for put in puts]
        try:
            stored = {each.subject: each.sequence for each in await stored_on(self._bus, self._bucket, subjects)}
        except BusError:
            return set()
        return {
            put.key
            for put, subject in zip(puts, subjects, strict=True)
            if put.expect is not None and put.expect != stored.get(subject, 0)
        }


class GroupGet:
    """Reads values of one bucket, as ``Bus.get`` does without *is_exact*."""

    def __init__(self, bus: Bus, bucket: str) -> None:
        self._bus = bus
        self._bucket = bucket
        self._group: _Group[str, Entry | None] = _Group(self._read, key=lambda key: key, size=len)

    async def get(self, key: str) -> Entry | None:
        """Return the newest value under *key*, which has no wildcards, or None. Raises as ``Bus.get``."""
        return await self._group.ask(key)

    async def _read(self, keys: list[str]) -> list[Entry | BusError | None]:
        if len(keys) == 1:
            return [await self._read_one(keys[0])]
        wanted = [value_subject(self._bucket, key) for key in keys]
        try:
            found = {message.subject: message for message in await stored_on(self._bus, self._bucket, wanted)}
        except BusError as error:
            return [error for _ in keys]
        read: list[Entry | BusError | None] = []
        for subject in wanted:
            message = found.get(subject)
            if message is None:  # perhaps only the answer is full
                read.append(await self._read_one(value_key(self._bucket, subject)))
            elif message.header("KV-Operation") is not None:
                read.append(None)
            else:
                key = value_key(self._bucket, subject)
                read.append(Entry(key, message.data, message.sequence, message.stored_at))
        return read

    async def _read_one(self, key: str) -> Entry | BusError | None:
        try:
            return await self._bus.get(self._bucket, key)
        except BusError as error:
            return error


class _Asked(Generic[A, R]):
    """What one task asks. ``answer`` is None when the task is to ask for all that wait."""

    __slots__ = ("answer", "what")

    def __init__(self, what: A) -> None:
        self.what = what
        self.answer: asyncio.Future[tuple[R] | None] = asyncio.get_running_loop().create_future()


class _Group(Generic[A, R]):
    """The task that gets its turn asks for all that wait. Most tasks only wait for their answers."""

    def __init__(
        self,
        do: Callable[[list[A]], Awaitable[list[R | BusError]]],
        *,
        key: Callable[[A], str],
        size: Callable[[A], int],
    ) -> None:
        """*do*: one request, with an answer for each. *key*: no request has two of the same."""
        self._do = do
        self._key = key
        self._size = size
        self._waiting: deque[_Asked[A, R]] = deque()
        self._turns = REQUESTS_MAX

    async def ask(self, what: A) -> R:
        if self._turns:
            self._turns -= 1
            try:
                (answer,) = await self._do([what])
            finally:
                self._pass_on()
            if isinstance(answer, BusError):
                raise answer
            return answer
        asked: _Asked[A, R] = _Asked(what)
        self._waiting.append(asked)
        try:
            answered = await asked.answer
        except asyncio.CancelledError:
            if _is_turn(asked):
                self._pass_on()
            raise
        return answered[0] if answered is not None else await self._serve(asked)

    def _pass_on(self) -> None:
        """End a turn: the next task that waits gets it."""
        while self._waiting:
            asked = self._waiting.popleft()
            if not asked.answer.done():
                asked.answer.set_result(None)
                return
        self._turns += 1

    def _take(self, first: _Asked[A, R]) -> list[_Asked[A, R]]:
        taken = {self._key(first.what): first}
        left: list[_Asked[A, R]] = []
        room = GROUP_BYTES_MAX - self._size(first.what)
        while self._waiting and len(taken) < GROUP_MAX and room > 0:
            asked = self._waiting.popleft()
            if asked.answer.done():
                continue
            if (key := self._key(asked.what)) in taken:
                left.append(asked)
                continue
            taken[key] = asked
            room -= self._size(asked.what)
        self._waiting.extendleft(reversed(left))
        return list(taken.values())

    async def _serve(self, own: _Asked[A, R]) -> R:
        """Ask for *own* and for those that wait, in one request. Returns the answer to *own*."""
        taken = self._take(own)
        answers: list[R | BusError] = [Unavailable("the request was interrupted; its outcome is unknown.")] * len(taken)
        try:
            answers = await self._do([asked.what for asked in taken])
        finally:
            self._pass_on()
            for asked, answer in zip(taken[1:], answers[1:], strict=True):
                if asked.answer.done():  # its task was cancelled
                    continue
                if isinstance(answer, BusError):
                    asked.answer.set_exception(answer)
                else:
                    asked.answer.set_result((answer,))
        if isinstance(answers[0], BusError):
            raise answers[0]
        return answers[0]


def _is_turn(asked: _Asked[A, R]) -> bool:
    """Whether the task got its turn in the moment in which it was cancelled."""
    answer = asked.answer
    return answer.done() and not answer.cancelled() and answer.exception() is None and answer.result() is None
