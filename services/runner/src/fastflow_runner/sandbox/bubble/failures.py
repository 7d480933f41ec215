"""Why a sandbox cannot be made: each kind is a class, so that nobody has to guess it from words. No I/O."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

from fastflow_runner.sandbox import SandboxError

NetworkPart: TypeAlias = Literal["rules", "nft", "helper", "namespaces", "keeper", "sandbox"]
"""What failed: the kernel refused the rules; ``nft`` or the helper did; the namespaces could not be entered; the keeper
was killed or silent; the sandbox ended first.
"""
NETWORK_PARTS: Final[tuple[NetworkPart, ...]] = get_args(NetworkPart)


class BubblewrapFailed(SandboxError):
    """Bubblewrap ended without a sandbox."""

    def __init__(self, said: str) -> None:
        """*said*: its complaints; empty: it was killed."""
        super().__init__(f"bubblewrap cannot make the sandbox: {said or 'it was killed'}.")
        self.said = said


class NetworkFailed(SandboxError):
    """A sandbox could not be connected."""

    def __init__(self, part: NetworkPart, why: str) -> None:
        super().__init__(f"the sandbox gets no network: {why}.")
        self.part = part
        self.why = why


class FolderFailed(SandboxError):
    """What is stored of a sandbox could not be. The cause is an ``OSError``."""


class NotReached(SandboxError):
    """The user of sandboxes cannot reach what they need. *found* and *hint* are a clause each."""

    def __init__(self, found: str, hint: str) -> None:
        super().__init__(f"{found}; {hint}.")
        self.found = found
        self.hint = hint
