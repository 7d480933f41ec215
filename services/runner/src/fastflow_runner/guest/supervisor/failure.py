"""What keeps user code from starting: said to the owner of the run.

Standard library only.
"""

from __future__ import annotations


class SetupFailed(Exception):
    """User code could not start; the message is for the run's owner."""

    def __init__(self, message: str, exit_code: int = 126) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def safe_name(name: str) -> str:
    """Return *name* if it is a single, visible part of a path. Raises ``SetupFailed``."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise SetupFailed(f"{name!r} is not a file name.")
    return name
