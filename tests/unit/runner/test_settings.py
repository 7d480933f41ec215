"""What the runner's settings accept."""

from __future__ import annotations

import pytest

from fastflow_contracts.service.settings import BadSettings, load
from fastflow_runner.settings import RunnerSettings


@pytest.mark.parametrize("url", ["https://flows.example.org", "http://[::1]:8000/", "https://example.org/at/home"])
def test_a_public_address_is_a_web_address(url: str) -> None:
    assert load(RunnerSettings, {"FASTFLOW_PUBLIC_URL": url}).public_url == url


@pytest.mark.parametrize("url", ["flows.example.org", "ftp://example.org", "https://", "https://a b", "https://x/?q=1"])
def test_anything_else_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(BadSettings, match=r"it must look like https://fastflow\.example\.com"):
        load(RunnerSettings, {"FASTFLOW_PUBLIC_URL": url})
