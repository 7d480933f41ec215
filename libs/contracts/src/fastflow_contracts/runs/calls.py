"""A call: a start whose caller waits for the end of the run. Pure.

Over HTTP the answer is the run. On ``ff.call.<pipeline>`` it is a ``CallReply``. In both, the header ``Prefer`` may say
how long the caller waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from fastflow_contracts.codec import Codec
from fastflow_contracts.ids import RunId
from fastflow_contracts.runs.run import RunStatus

WAIT_S_MAX: Final = 60
"""Longest wait of a call."""
PREFER: Final = "Prefer"
"""Header with preferences (RFC 7240), such as ``wait=30``."""
PREFER_CHARACTERS_MAX: Final = 1_000
"""How much of such a header is read."""
ERROR_HEADER: Final = "Nats-Service-Error"
ERROR_CODE_HEADER: Final = "Nats-Service-Error-Code"
"""Headers of a reply without the end of a run, as services on NATS have them: its text, and the HTTP status for it."""

REFUSED: Final = "refused"
"""The call starts no run."""
NOT_OVER: Final = "not_over"
"""The run goes on; the caller waited long enough, or the gateway stops."""
UNAVAILABLE: Final = "unavailable"
"""Whether a run was started is not known, or none was because the gateway is too busy: the call may be repeated."""

_MEMBER = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_WAIT = re.compile(r'\s*wait\s*=\s*("?)([0-9]+)\1\s*(?:;|\Z)', re.IGNORECASE)
_IS_WAIT = re.compile(r"\s*wait\s*(?:[=;]|\Z)", re.IGNORECASE)


class CallReply(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to a call on the bus. All fields are always there."""

    run_id: RunId | None
    """null: there is no run, or it is not known whether there is one."""
    status: RunStatus | None
    result: Any
    error_type: str | None
    """Why the run failed, or one of ``REFUSED``, ``NOT_OVER`` and ``UNAVAILABLE``."""
    error_message: str | None


CALL_REPLY = Codec(CallReply)


def preferred_wait_s(preferences: Iterable[str]) -> int | None:
    """Return how long the caller prefers to wait.

    Args:
        preferences: The values of all ``Prefer`` headers. The first ``wait`` counts; one that cannot be read is
            ignored.

    Returns:
        Whole seconds, at most ``WAIT_S_MAX``; None: no preference.
    """
    for value in preferences:
        for member in _MEMBER.findall(value[:PREFER_CHARACTERS_MAX]):
            if _IS_WAIT.match(member):
                found = _WAIT.match(member)
                return min(int(found[2]), WAIT_S_MAX) if found else None
    return None
