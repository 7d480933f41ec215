"""What a request to the bus comes to: a sequence, a refusal, or no answer; and how it is repeated."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import nats.errors

from fastflow_contracts.bus.errors import Rejected, RevisionConflict, TooLarge, Unavailable

PAUSE_S = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Pauses between repeats, in seconds. The last one applies to all further repeats."""
_WRONG_LAST_SEQUENCE = {10071, 10164}
_TOO_LARGE = 10054


class Unanswered(Exception):
    """A request had no usable answer. Whether it took effect is unknown."""


def translated(error: BaseException, subject: str) -> Exception:
    """Return our error for one of the client library; ``Unanswered`` unless it is a refusal."""
    if isinstance(error, nats.errors.MaxPayloadError):
        return TooLarge(f"the message on {subject} is larger than the bus allows.")
    if isinstance(error, nats.errors.BadSubjectError | nats.errors.BadHeaderError):
        return Rejected(f"{subject} or its headers cannot be sent: {error}.")
    return Unanswered(subject)


async def attempts(
    patience_s: float, what: str, *, explain: Callable[[Unavailable], Awaitable[Unavailable]] | None = None
) -> AsyncIterator[int]:
    """Yield attempt numbers with growing pauses between them.

    Raises ``Unavailable`` after *patience_s* seconds, or what *explain* makes of it.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    number = 0
    while True:
        yield number
        pause = PAUSE_S[min(number, len(PAUSE_S) - 1)]
        if loop.time() + pause > deadline:
            silence = Unavailable(f"the bus did not answer for {patience_s:g} s while {what}.")
            raise silence if explain is None else await explain(silence)
        await asyncio.sleep(pause)
        number += 1


def stored_sequence(answer: bytes, subject: str) -> int:
    """Return the sequence in JetStream's answer to a write on *subject*.

    Raises:
        Unanswered: The stream had no leader.
        RevisionConflict: Another writer was first.
        TooLarge: The message is larger than its stream allows.
        Rejected: The bus refuses the message.
    """
    ack = json.loads(answer)
    if "error" in ack:
        problem = ack["error"]
        code = int(problem.get("err_code", 0))
        if code in _WRONG_LAST_SEQUENCE:
            raise RevisionConflict(f"another writer changed {subject} first.")
        if problem.get("code") == 503 and code != 10077:  # 10077: the stream is full
            raise Unanswered(subject)
        if code == _TOO_LARGE:
            raise TooLarge(f"the message on {subject} is larger than its stream allows.", code=code)
        raise Rejected(f"the bus refused {subject}: {problem.get('description')}.", code=code)
    return int(ack["seq"])
