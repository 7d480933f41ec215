"""What every simulation needs."""

import pytest

from fastflow_contracts.bus import together


@pytest.fixture(autouse=True)
def _every_request_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no event loop on which tasks could wait for a common request."""
    monkeypatch.setattr(together, "REQUESTS_MAX", 1_000_000)
