"""Strangers who open connections and say nothing."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.installation import HELLO, Installation

DESCRIPTORS = 1_024
SILENT = 1_100


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        made.add("hello", HELLO)
        yield made


def test_eleven_hundred_silent_connections_stop_nobody(installation: Installation) -> None:
    """With 1,024 descriptors in all: requests are answered, a run starts and ends, and nothing ends."""
    installation.launch()
    assert installation.process is not None
    resource.prlimit(installation.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    installation.await_line("Ready")
    place = urlsplit(installation.url)
    assert place.hostname is not None
    with ExitStack() as silent:
        for _ in range(SILENT):
            silent.enter_context(socket.create_connection((place.hostname, place.port or 0), timeout=60))
        for _ in range(20):
            assert len(installation.api("/api/pipelines")) == 1
        assert installation.command("run", "hello", "--follow").stdout == "Hello, world!\n"
        assert installation.process.poll() is None
    assert installation.stop() == 0
    assert "Too many open files" not in "".join(installation.printed)
