"""The edges of ``fastflow up``: where it listens, when it is ready, and what of a call reaches a script."""

from __future__ import annotations

import json
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.installation import HELLO, READY_S, Installation

SHOWS_HEADERS = """\
import json, os
headers = json.load(open(os.environ["FASTFLOW_EVENT_HEADERS_FILE"]))
print(json.dumps([headers, open(os.environ["FASTFLOW_EVENT_FILE"]).read()]))
"""
KEY = "a-webhook-key-of-some-length"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        made.add("hello", HELLO)
        yield made


def readiness(url: str) -> tuple[int, dict[str, str]]:
    """Ask for /readyz: status and dependencies; 0 while nothing answers."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            status, text = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read()
    except OSError:
        return 0, {}
    return status, json.loads(text)["dependencies"]


def until_ready(installation: Installation, *, ready: bool) -> dict[str, str]:
    """Wait until /readyz says so; return the dependencies."""
    file, deadline = installation.data_dir / "gateway.url", time.monotonic() + READY_S
    while time.monotonic() < deadline:
        status, found = readiness(file.read_text().strip()) if file.exists() else (0, {})
        if status == (200 if ready else 503):
            return found
        time.sleep(0.01)
    raise AssertionError("it never was")


def test_it_is_ready_when_a_run_can_start(installation: Installation) -> None:
    """The first 200 of /readyz is enough: it is not necessary to wait for what it prints. A drained runner ends it."""
    installation.launch()
    assert set(until_ready(installation, ready=True).values()) == {"ok"}
    installation.await_line("Ready")
    (runner,) = installation.api("/api/runners")["runners"]
    assert installation.command("run", "hello", "--follow").stdout == "Hello, world!\n"
    installation.api(f"/api/runners/{runner['id']}/drain", {})
    assert until_ready(installation, ready=False)["runner"] == "no runner takes work"
    status = installation.command("status")
    assert (status.returncode, "no runner takes work" in status.stdout) == (1, True)
    assert installation.stop() == 0


def test_all_addresses_are_those_of_ipv4_too(installation: Installation) -> None:
    """``--host ::`` listens on both, and a port that IPv4 has in use is reported."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    installation.start("--host", "::")
    port = urlsplit(installation.address).port
    for host in ("127.0.0.1", "[::1]", "localhost"):
        assert readiness(f"http://{host}:{port}")[0] == 200
    assert installation.stop() == 0
    with socket.create_server(("0.0.0.0", 0)) as taken:
        taken_port = str(taken.getsockname()[1])
        done = installation.command("up", str(installation.pipelines), "--host", "::", "--port", taken_port)
    assert (done.returncode, taken_port in done.stderr) == (2, True)


def test_which_event_it_was_reaches_the_script(installation: Installation) -> None:
    """In a file beside the event, without what is secret; a start without an event has no such file."""
    installation.add("shows", SHOWS_HEADERS, webhook_key=KEY)
    installation.start()
    base = installation.url
    told = {"X-GitHub-Event": "push", "X-GitHub-Delivery": "d1", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{base}/api/webhooks/shows/{KEY}",
        b'{"ref": "main"}',
        told | {"Authorization": "Basic hunter2", "X-Hub-Signature-256": "sha256=hunter2", "Cookie": "a=hunter2"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        run: dict[str, Any] = json.loads(answer.read())
    installation.await_log(run["id"], "ref")
    headers, event = json.loads(installation.command("logs", run["id"]).stdout)
    assert headers.pop("user-agent").startswith("Python-urllib")
    assert (headers, event) == ({name.lower(): value for name, value in told.items()}, '{"ref": "main"}')
    assert "KeyError: 'FASTFLOW_EVENT_HEADERS_FILE'" in installation.command("run", "shows", "--follow").stderr
    assert installation.stop() == 0


def test_a_retry_takes_the_current_code_if_it_is_asked_to(installation: Installation) -> None:
    """With the event that failed: what a delivery needs after its script was fixed."""
    installation.add("fixed", "raise SystemExit('broken')\n")
    installation.start()
    send = [sys.executable, "-m", "fastflow", "trigger", "fixed", '{"order": 7}', "--json"]
    assert installation.command(*send[3:]).returncode == 0
    while installation.api("/api/runs")["runs"][0]["status"] != "FAILED":
        time.sleep(0.01)
    (installation.pipelines / "fixed" / "main.py").write_text(
        "import os\nprint(open(os.environ['FASTFLOW_EVENT_FILE']).read())\n"
    )
    installation.api("/api/sync", {})
    assert installation.command("retry", "fixed", "--follow").returncode == 1
    assert installation.command("retry", "fixed", "--current", "--follow").stdout == '{"order": 7}\n'
    assert installation.stop() == 0
