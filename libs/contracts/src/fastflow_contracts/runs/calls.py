"""A call: a start whose caller waits for the end of the run. Pure.

Over HTTP the answer is the run, on ``ff.call.<pipeline>`` what ``result.told`` says of it. In both, a header may say
how long the caller waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

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

_MEMBER = re.compile(r'((?:[^,"]|"(?:[^"\\]|\\.)*")*)(?:,|\Z)')
_WAIT = re.compile(r'\s*wait\s*=\s*("?)([0-9]+)\1\s*(?:;|\Z)', re.IGNORECASE)
_IS_WAIT = re.compile(r"\s*wait\s*(?:[=;]|\Z)", re.IGNORECASE)


def without_end(
    error_type: str, error_message: str, *, run_id: RunId | None = None, status: RunStatus | None = None
) -> bytes:
    """Return the reply to a call that does not get the end of a run; it has the fields of ``result.told``.

    Args:
        error_type: ``REFUSED``, ``NOT_OVER`` or ``UNAVAILABLE``.
        error_message: What the caller should know and do.
        run_id: The run, if there is one.
        status: The run's, as far as it is known.
    """
    return msgspec.json.encode(
        {
            "run_id": run_id,
            "status": status,
            "result": None,
            "error_type": error_type,
            "error_message": error_message,
        }
    )


def preferred_wait_s(preferences: Iterable[str]) -> int | None:
    """Return how long the caller prefers to wait.

    Args:
        preferences: The values of all ``Prefer`` headers. The first ``wait`` counts; one that cannot be read is
            ignored.

    Returns:
        Whole seconds, at most ``WAIT_S_MAX``; None: no preference.
    """
    for value in preferences:
        position, text = 0, value[:PREFER_CHARACTERS_MAX]
        while position < len(text) and (member := _MEMBER.match(text, position)):
            if _IS_WAIT.match(member[1]):
                found = _WAIT.match(member[1])
                return min(int(found[2]), WAIT_S_MAX) if found else None
            position = member.end()
    return None
