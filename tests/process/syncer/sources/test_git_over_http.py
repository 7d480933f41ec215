"""A token-protected repository behind git's own HTTP backend, on this machine."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fastflow_syncer.errors import SourceFailed
from fastflow_syncer.sources.git import GitSource
from fastflow_syncer.sources.mirror import Mirror
from fastflow_syncer.sources.remote import Credentials, remote
from tests.git_repository import Repository

TOKEN = "tok en%+/canary".replace(" ", "-")


class Host:
    """Serves every repository below a directory to clients that have the token, and remembers what it saw."""

    def __init__(self, root: Path) -> None:
        host = self
        self.authorizations: set[str] = set()
        self.command_lines: set[str] = set()
        self.redirect_to: str | None = None

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self, root, b"")

            def do_POST(self) -> None:
                host.answer(self, root, self.rfile.read(int(self.headers.get("Content-Length", "0"))))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/repo/.git"

    def answer(self, request: BaseHTTPRequestHandler, root: Path, body: bytes) -> None:
        """Do one CGI call, and note all command lines of this machine meanwhile."""
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.command_lines.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        given = request.headers.get("Authorization", "")
        self.authorizations.add(given)
        if self.redirect_to is not None:
            request.send_response(301)
            request.send_header("Location", self.redirect_to + request.path)
            request.end_headers()
            return
        if given != "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode():
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="git"')
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        path, _, query = request.path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
                "REQUEST_METHOD": request.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
                "REMOTE_USER": "x-access-token",
            },
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        request.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    Repository(tmp_path / "served" / "repo").commit("one", {"etl/main.py": "print(1)\n"})
    serving = Host(tmp_path / "served")
    thread = threading.Thread(target=serving.server.serve_forever, args=(0.05,), name="git-host")
    thread.start()
    yield serving
    serving.server.shutdown()
    thread.join()
    serving.server.server_close()


def _source(url: str, home: Path, token: str) -> GitSource:
    home.mkdir()
    where = remote(url, "main")
    return GitSource(Mirror(where, Credentials(token=token), home), where.label, subdir="", interval_s=60)


async def test_a_token_opens_the_repository_and_appears_nowhere(host: Host, tmp_path: Path) -> None:
    """The host gets it; no command line and no file of the mirror has it."""
    source = _source(host.url, tmp_path / "home", TOKEN)
    snapshot = await source.snapshot()
    folder = await source.read(snapshot, "etl")
    assert folder.files["main.py"].data == b"print(1)\n"
    assert any("git-remote-http" in line or "remote-http" in line for line in host.command_lines)
    assert not any(TOKEN in line for line in host.command_lines)
    kept = [file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert kept
    assert not any(TOKEN.encode() in content for content in kept)


@pytest.mark.parametrize("token", ["", "wrong-canary"])
async def test_a_refused_token_is_an_error_without_the_token(host: Host, tmp_path: Path, token: str) -> None:
    """The message names the setting to check."""
    with pytest.raises(SourceFailed, match="GIT_TOKEN") as caught:
        await _source(host.url, tmp_path / "home", token).snapshot()
    assert "canary" not in str(caught.value)


async def test_a_redirect_is_not_followed(host: Host, tmp_path: Path) -> None:
    """The token goes only to the address in the settings."""
    elsewhere = Host(tmp_path)
    thread = threading.Thread(target=elsewhere.server.serve_forever, args=(0.05,), name="elsewhere")
    thread.start()
    try:
        host.redirect_to = f"http://127.0.0.1:{elsewhere.server.server_port}"
        with pytest.raises(SourceFailed):
            await _source(host.url, tmp_path / "home", TOKEN).snapshot()
    finally:
        elsewhere.server.shutdown()
        thread.join()
        elsewhere.server.server_close()
    assert not any("Basic" in given for given in elsewhere.authorizations)
