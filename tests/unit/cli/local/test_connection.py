"""Which bus a command uses. Pure."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow.errors import NothingAnswers
from fastflow.local.connection import find_url


def test_the_bus_is_found_by_option_then_environment_then_the_nearest_folder(tmp_path: Path) -> None:
    """The first one that names a bus wins. With --data-dir no other folder is searched."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / ".fastflow").mkdir()
    (tmp_path / ".fastflow" / "bus.url").write_text("nats://near:1\n")
    environ = {"FASTFLOW_NATS_URL": "nats://env:1"}
    assert find_url("nats://option:1", None, environ=environ, here=deep) == "nats://option:1"
    assert find_url(None, None, environ=environ, here=deep) == "nats://env:1"
    assert find_url(None, None, environ={}, here=deep) == "nats://near:1"
    assert find_url(None, tmp_path / ".fastflow", environ=environ, here=deep) == "nats://near:1"
    with pytest.raises(NothingAnswers, match="fastflow up"):
        find_url(None, tmp_path / "a", environ=environ, here=deep)
    with pytest.raises(NothingAnswers, match="here or above"):
        find_url(None, None, environ={}, here=Path("/nowhere/at/all"))
