"""What every backend with real sandboxes must keep, as tests to inherit. pytest collects nothing here by itself."""

from __future__ import annotations

from tests.sandbox_contract.answers import AnswersContract
from tests.sandbox_contract.end import EndContract
from tests.sandbox_contract.folders import FoldersContract
from tests.sandbox_contract.listing import ListingContract
from tests.sandbox_contract.output import OutputContract
from tests.sandbox_contract.place import NOTHING, Place, listen
from tests.sandbox_contract.runner_change import RunnerChangeContract
from tests.sandbox_contract.start import StartContract
from tests.sandbox_contract.usage import UsageContract

__all__ = ["NOTHING", "Place", "SandboxContract", "listen"]


class SandboxContract(
    OutputContract,
    StartContract,
    EndContract,
    AnswersContract,
    FoldersContract,
    RunnerChangeContract,
    UsageContract,
    ListingContract,
):
    """Tests of any backend. A subclass provides the fixture ``place``, and the methods ``processes`` and ``kill``."""
