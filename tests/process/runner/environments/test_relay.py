"""The relay of a preparer, asked as foreign code may ask it. Real HTTP servers."""

from __future__ import annotations

import http.client
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastflow_runner.guest.prepare.access import write_credentials
from fastflow_runner.guest.prepare.relay import Login, Relay
from tests.packages import make_wheel
from tests.support.login_proxy import LoginProxy
from tests.support.package_index import PackageIndex

LOGIN = Login("", "reader", "hunter2")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    index = PackageIndex(tmp_path, login="reader:hunter2")
    make_wheel(tmp_path, "mine", "1.0", "")
    yield index
    index.close()


@pytest.fixture
def proxy() -> Iterator[LoginProxy]:
    proxy = LoginProxy("passer:by")
    yield proxy
    proxy.close()


def ask(relay: Relay, method: str, path: str) -> tuple[int, bytes, str]:
    """Return status, body, and the address of a redirect."""
    connection = http.client.HTTPConnection(relay.address.removeprefix("http://"), timeout=60)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("Location", "")
    finally:
        connection.close()


def test_pages_lead_back_to_the_relay_and_files_come_whole(index: PackageIndex) -> None:
    """An index names its files by its own address; from there they would need the login."""
    relay = Relay([LOGIN._replace(address=index.address)], [], {})
    status, page, _ = ask(relay, "GET", "/0/simple/mine/")
    assert status == 200
    assert f"{relay.address}/0/files/mine-1.0".encode() in page
    assert index.address.encode() not in page
    status, wheel, _ = ask(relay, "GET", "/0/files/mine-1.0-py3-none-any.whl")
    assert wheel == (index.directory / "mine-1.0-py3-none-any.whl").read_bytes()
    assert relay.here(f"-i {index.address}/simple\n# {index.address}9/x") == (
        f"-i {relay.address}/0/simple\n# {index.address}9/x"
    )


@pytest.mark.parametrize("path", ["/", "/1/simple/", "/00000/x", "/x", "//127.0.0.1/x", "/0@127.0.0.1/x", "http://h/x"])
def test_nothing_else_is_asked(index: PackageIndex, path: str) -> None:
    """Neither another host, nor one behind a trick with the address."""
    relay = Relay([LOGIN._replace(address=index.address)], [], {})
    assert ask(relay, "GET", path)[0] in (404, 502)
    assert index.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "CONNECT"])
def test_nothing_is_changed_with_the_login(index: PackageIndex, method: str) -> None:
    """Uploads and the like are refused."""
    relay = Relay([LOGIN._replace(address=index.address)], [], {})
    assert ask(relay, method, "/0/simple/mine/")[0] in (501, 502)
    assert index.asked == []


def test_a_login_for_a_path_is_not_used_beside_it(index: PackageIndex) -> None:
    """Where no login is for the whole host."""
    relay = Relay([LOGIN._replace(address=f"{index.address}/team")], [], {})
    assert ask(relay, "GET", "/0/teams/simple/mine/")[0] == 401
    assert ask(relay, "GET", "/0/team/mine")[0] == 404
    assert [each.login for each in index.asked] == ["", "reader:hunter2"]


def test_a_redirect_is_passed_on_and_not_followed(index: PackageIndex) -> None:
    """Whoever asked follows it, without the login."""
    index.elsewhere = "http://127.0.0.1:1"
    relay = Relay([LOGIN._replace(address=index.address)], [], {})
    status, _, address = ask(relay, "GET", "/0/files/mine-1.0-py3-none-any.whl")
    assert (status, address) == (302, "http://127.0.0.1:1/files/mine-1.0-py3-none-any.whl")


def test_an_index_that_is_down_is_an_error_of_the_gateway() -> None:
    """The relay itself goes on."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    relay = Relay([LOGIN._replace(address=address)], [], {})
    assert ask(relay, "GET", "/0/simple/")[0] == 502
    assert ask(relay, "GET", "/0/simple/")[0] == 502


def test_a_tunnel_goes_through_the_proxy_with_its_login(index: PackageIndex, proxy: LoginProxy) -> None:
    """As for an index with TLS: the asker has no login of the proxy."""
    upstream = f"http://127.0.0.1:{proxy.port}"
    relay = Relay([], [Login(upstream, "passer", "by")], {"https_proxy": upstream})
    assert relay.environment({"https_proxy": upstream})["https_proxy"] == relay.address
    connection = http.client.HTTPConnection(relay.address.removeprefix("http://"), timeout=60)
    connection.set_tunnel(index.address.removeprefix("http://"))
    connection.request("GET", "/simple/mine/")
    assert connection.getresponse().status == 401
    connection.close()
    assert proxy.refused == 0
    assert proxy.passed == [index.address.removeprefix("http://")]


def test_a_password_may_hold_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv's file of credentials is TOML."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    words = 'p"w\\d\n]é𝄞\x1f\x7f'
    folder = write_credentials([Login("https://h", "", words), Login("https://i", "u", "w")])
    with open(f"{folder}/credentials.toml", "rb") as file:
        content = tomllib.load(file)
    assert [each["password"] for each in content["credential"]] == [words, "w"]
    assert Path(folder).stat().st_mode & 0o077 == 0
