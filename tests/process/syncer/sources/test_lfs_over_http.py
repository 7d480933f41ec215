"""Files of Git LFS from a server that asks for the token, over HTTP."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from fastflow_syncer.sources.git import GitSource
from fastflow_syncer.sources.mirror import Mirror
from fastflow_syncer.sources.remote import Credentials, remote
from tests.git_repository import Repository
from tests.process.syncer.sources.test_git_over_http import TOKEN, Host

pytestmark = pytest.mark.git_lfs

DATA = b"1,2\n" * 1000
OID = hashlib.sha256(DATA).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(DATA)}\n"


class LfsHost(Host):
    """The repositories of ``Host``, and one file by the batch API of LFS."""

    answered: bytes | None = b""
    """What the store of files gives; None: it never answers."""
    asked = 0

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.closed = threading.Event()

    def answer(self, request: BaseHTTPRequestHandler, root: Path, body: bytes) -> None:
        if request.path == f"/store/{OID}":
            self.asked += 1
            if self.answered is None:
                self.closed.wait()
            self._send(request, self.answered or b"", "application/octet-stream")
        elif request.path.endswith("/info/lfs/objects/batch") and "Authorization" in request.headers:
            self.authorizations.add(request.headers["Authorization"])
            href = f"http://127.0.0.1:{self.server.server_port}/store/{OID}"
            found = {"oid": OID, "size": len(DATA), "actions": {"download": {"href": href}}}
            answer = {"transfer": "basic", "objects": [found]}
            self._send(request, json.dumps(answer).encode(), "application/vnd.git-lfs+json")
        else:
            super().answer(request, root, body)

    def _send(self, request: BaseHTTPRequestHandler, content: bytes, kind: str) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LfsHost]:
    config = "[lfs]\n\turl = http://127.0.0.1:1/elsewhere\n"
    files = {"etl/main.py": "", "etl/data.csv": POINTER, "etl/copy.csv": POINTER, ".lfsconfig": config}
    Repository(tmp_path / "served" / "repo").commit("one", files)
    serving = LfsHost(tmp_path / "served")
    thread = threading.Thread(target=serving.server.serve_forever, args=(0.05,), name="lfs-host")
    thread.start()
    yield serving
    serving.closed.set()
    serving.server.shutdown()
    thread.join()
    serving.server.server_close()


def _source(host: LfsHost, home: Path, **bounds: float) -> GitSource:
    home.mkdir()
    mirror = Mirror(remote(host.url, "main"), Credentials(token=TOKEN), home, **bounds)  # type: ignore[arg-type]
    return GitSource(mirror, "host", subdir="", interval_s=60)


async def test_the_token_opens_the_store_of_files_too(host: LfsHost, tmp_path: Path) -> None:
    """It is on no command line and in no file; an address in the repository does not matter."""
    host.answered = DATA
    source = _source(host, tmp_path / "home")
    folder = await source.read(await source.snapshot(), "etl")
    assert folder.refusals == ()
    assert folder.files["data.csv"].data == folder.files["copy.csv"].data == DATA
    assert not any(TOKEN in line for line in host.command_lines)
    kept = [file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert not any(TOKEN.encode() in content for content in kept)


async def test_other_content_than_the_pointer_says_is_refused(host: LfsHost, tmp_path: Path) -> None:
    """What arrives is compared with its hash; the message has no token."""
    host.answered = DATA[:-1] + b"x"
    source = _source(host, tmp_path / "home")
    folder = await source.read(await source.snapshot(), "etl")
    assert "Git LFS" in str(folder.refusals[0])
    assert TOKEN not in str(folder.refusals)


async def test_a_store_that_hangs_is_waited_for_once_a_sync(host: LfsHost, tmp_path: Path) -> None:
    """Other pipelines do not wait for it as well; the next sync asks again."""
    host.answered = None
    source = _source(host, tmp_path / "home", smudge_timeout_s=2.0)
    snapshot = await source.snapshot()
    for _ in range(3):
        assert "Git LFS" in str((await source.read(snapshot, "etl")).refusals[0])
    assert host.asked == 1
    host.answered = DATA
    folder = await source.read(await source.snapshot(), "etl")
    assert folder.files["data.csv"].data == DATA
