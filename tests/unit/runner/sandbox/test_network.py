"""Which network a run gets: what its pipeline asks for, within what the operator allows."""

from __future__ import annotations

import pytest

from fastflow_runner.sandbox import SandboxError
from fastflow_runner.sandbox.network import BadOpening, NetworkMax, RunNetwork, openings, package_hosts, run_network

LIST = ("db.example.com:5432",)


@pytest.mark.parametrize(
    ("asked", "most", "network"),
    [
        (None, "internet", RunNetwork("runs", None)),
        ("internet", "internet", RunNetwork("runs", None)),
        ("none", "internet", RunNetwork("none", ())),
        (LIST, "internet", RunNetwork("runs-listed", LIST)),
        (None, "list", RunNetwork("none", None)),
        (LIST, "list", RunNetwork("runs-listed", LIST)),
        ("none", "list", RunNetwork("none", ())),
        (None, "none", RunNetwork("none", None)),
        ("none", "none", RunNetwork("none", ())),
    ],
)
def test_a_run_gets_what_its_pipeline_asks_for(
    asked: str | tuple[str, ...] | None, most: NetworkMax, network: RunNetwork
) -> None:
    assert run_network(asked, most, usual="runs") == network


@pytest.mark.parametrize(
    ("asked", "most", "usual"),
    [("internet", "list", "runs"), ("internet", "none", "runs"), (LIST, "none", "runs"), (LIST, "internet", "none")],
)
def test_more_than_the_operator_allows_is_refused(asked: str | tuple[str, ...], most: NetworkMax, usual: str) -> None:
    with pytest.raises(SandboxError, match="its pipeline"):
        run_network(asked, most, usual=usual)


def test_openings_are_separated_by_commas() -> None:
    assert openings(" 10.0.0.0/8, host:80,,x ") == ("10.0.0.0/8", "host:80", "x")
    with pytest.raises(BadOpening, match="is no destination"):
        openings("10.0.0.0/8 host:80")


def test_the_indexes_and_proxies_of_the_runner_are_open_to_builds() -> None:
    """At their host and port only; an invalid address opens nothing."""
    environ = {
        "UV_DEFAULT_INDEX": "https://user:secret@index.corp/simple",
        "UV_INDEX": "corp=http://10.0.0.5:8080/simple http://[fd00::1]/simple",
        "HTTPS_PROXY": "proxy.corp:3128",
        "UV_FIND_LINKS": "/wheels ./more",
        "UV_INDEX_URL": "http://[",
        "UV_INDEX_CORP_PASSWORD": "http://10.9.9.9/",
    }
    assert package_hosts(environ) == ("10.0.0.5:8080", "[fd00::1]:80", "index.corp:443", "proxy.corp:3128")
