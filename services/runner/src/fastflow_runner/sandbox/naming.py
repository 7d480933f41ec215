"""Names of sandboxes: how to build and read them. Pure.

A container's labels are fixed at creation, and a warm container is created before its run is known. Its name can
change, so the name holds the run and the attempt; the run's record holds the rest.
"""

from __future__ import annotations

import re
import secrets
from typing import Final, NamedTuple

from fastflow_contracts.ids import RunId

PREFIX: Final = "ff-"
LABEL_KEEPER: Final = "fastflow.keeper"
"""Label of a warm sandbox: the runner that keeps it."""
LABEL_PREPARER: Final = "fastflow.preparer"
"""Label of a preparer: the runner that opened it."""

_SCOPE_CHARACTERS: Final = 8
_ATTEMPT: Final = re.compile(
    rf"{PREFIX}[^-]+-(?P<run>[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})-(?P<number>\d+)"
)
_WARM: Final = re.compile(rf"{PREFIX}[^-]+-warm-[0-9a-f]{{16}}")


class AttemptId(NamedTuple):
    """One attempt of one run."""

    run_id: RunId
    number: int


def attempt_name(installation: str, attempt: AttemptId) -> str:
    """Return the only sandbox name of *attempt*, so the daemon itself refuses a second sandbox."""
    return f"{PREFIX}{installation[:_SCOPE_CHARACTERS]}-{attempt.run_id}-{attempt.number}"


def warm_name(installation: str) -> str:
    """Return a new name for a warm sandbox."""
    return f"{PREFIX}{installation[:_SCOPE_CHARACTERS]}-warm-{secrets.token_hex(8)}"


def attempt_of(name: str) -> AttemptId | None:
    """Return the attempt that a sandbox name belongs to, or None."""
    found = _ATTEMPT.fullmatch(name)
    return AttemptId(RunId(found["run"]), int(found["number"])) if found else None


def is_warm(name: str) -> bool:
    """Return whether *name* is that of a warm sandbox that no run has taken."""
    return _WARM.fullmatch(name) is not None
