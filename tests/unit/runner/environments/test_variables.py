"""Which variables of the runner's environment a preparer gets, and whom each login is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow_runner.environments.store import docker_place, process_place
from fastflow_runner.environments.variables import Access, Credential, access

DOCKER = docker_place(
    image="fastflow-worker:1", base_image="debian", volume="store", network="none", architecture="x86_64"
)


def given(**environ: str) -> Access:
    return access(environ, DOCKER)


def test_index_settings_are_passed_on_and_nothing_else() -> None:
    """Preparers get indexes and proxies, not the runner's secrets; host paths stay on the host."""
    environ = {
        "UV_INDEX_URL": "https://index",
        "UV_INDEX_OURS_PASSWORD": "p",
        "HTTPS_PROXY": "http://proxy",
        "SSL_CERT_FILE": "/here.pem",
        "UV_CACHE_DIR": "/elsewhere",
        "ENCRYPTION_KEY": "k",
        "HOME": "/root",
    }
    assert sorted(access(environ, DOCKER).env) == ["HTTPS_PROXY", "UV_INDEX_URL"]
    assert "SSL_CERT_FILE" in access(environ, process_place(Path("/x"))).env


@pytest.mark.parametrize(
    ("environ", "env", "credentials"),
    [
        (
            {"UV_INDEX": "corp=https://a.example/simple", "UV_INDEX_CORP_USERNAME": "u", "UV_INDEX_CORP_PASSWORD": "p"},
            {"UV_INDEX": "corp=https://a.example/simple"},
            [Credential("https://a.example", "u", "p")],
        ),
        (
            {"UV_DEFAULT_INDEX": "https://u:p%40@a.example:8443/team/pypi/simple/"},
            {"UV_DEFAULT_INDEX": "https://a.example:8443/team/pypi/simple/"},
            [
                Credential("https://a.example:8443/team/pypi", "u", "p@"),
                Credential("https://a.example:8443", "u", "p@"),
            ],
        ),
        (
            {"UV_EXTRA_INDEX_URL": "https://token@a.example/simple https://b.example/simple"},
            {"UV_EXTRA_INDEX_URL": "https://a.example/simple https://b.example/simple"},
            [Credential("https://a.example", "token", "")],
        ),
        ({"UV_FIND_LINKS": "https://u:p@a.example/l,/b"}, {"UV_FIND_LINKS": "https://a.example/l,/b"}, None),
        (
            {"UV_PYTHON_INSTALL_MIRROR": "https://u:p@a.example"},
            {"UV_PYTHON_INSTALL_MIRROR": "https://a.example"},
            None,
        ),
    ],
)
def test_a_login_belongs_to_an_address(
    environ: dict[str, str], env: dict[str, str], credentials: list[Credential] | None
) -> None:
    """It is in no variable. Besides its index it serves the rest of that host, where the files may be."""
    found = given(**environ)
    assert found.env == env
    assert b"p@" not in repr(found.env).encode()
    if credentials is not None:
        assert list(found.credentials) == credentials
    assert len(found.credentials) > 0


def test_two_logins_for_one_host_keep_their_paths() -> None:
    """The more particular address comes first."""
    found = given(UV_INDEX="https://u:1@a.example/x/simple https://u:2@a.example/y/simple")
    assert {each.address: each.password for each in found.credentials} == {
        "https://a.example/x": "1",
        "https://a.example/y": "2",
        "https://a.example": "1",
    }


def test_a_login_for_an_index_that_only_pipelines_name_goes_to_nobody() -> None:
    """A pipeline could give that name to any address. The runner says so at its start."""
    found = given(UV_INDEX_CORP_USERNAME="u", UV_INDEX_CORP_PASSWORD="p", UV_INDEX="other=https://b.example/simple")
    assert found.credentials == ()
    assert found.unbound == ("UV_INDEX_CORP_PASSWORD", "UV_INDEX_CORP_USERNAME")


def test_a_proxy_keeps_its_login_apart() -> None:
    """It is no index."""
    found = given(HTTPS_PROXY="http://u:p@proxy.example:3128", NO_PROXY="localhost")
    assert found.env == {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "localhost"}
    assert found.proxies == (Credential("http://proxy.example:3128", "u", "p"),)
    assert found.credentials == ()


def test_a_login_of_the_setting_needs_no_index_in_the_runners_variables() -> None:
    """It names the address itself."""
    found = access({}, DOCKER, "https://u:p@a.example/simple\nhttps://v:q@b.example")
    assert {each.address: each.username for each in found.credentials} == {
        "https://a.example": "u",
        "https://b.example": "v",
    }
