"""A server that cannot make the store of a stream says so; the error tells what to look at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import GIB, STORE_BYTES_MAX, WrongTopology, ensure


async def test_a_store_that_cannot_be_made_names_what_to_look_at(tmp_path: Path) -> None:
    """A file is where the folder of a stream must be."""
    async with embedded_bus(tmp_path / "bus", sync="2m") as url, connect(url, name="test") as bus:
        await ensure(bus.js)
        (folder,) = tmp_path.glob("**/streams/KV_ff_sessions")
        await bus.js.delete_stream(folder.name)
        folder.touch()
        with pytest.raises(WrongTopology, match=r"refused stream KV_ff_sessions: .*\(store_dir\) has room, also"):
            await ensure(bus.js)


async def test_a_server_that_may_store_too_little_is_told_how_much_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade to a version with more streams. A smaller store of artifacts fits, too."""
    monkeypatch.setattr("fastflow.local.nats_server.STORE_BYTES_MAX", STORE_BYTES_MAX - 4 * GIB)
    async with embedded_bus(tmp_path / "bus", sync="2m") as url, connect(url, name="test") as bus:
        with pytest.raises(
            WrongTopology, match=rf"at least {STORE_BYTES_MAX / 1e9:.0f} GB \(max_file_store; STORE_BYTES"
        ):
            await ensure(bus.js)
        await ensure(bus.js, artifacts_bytes=GIB)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cluster.yaml"])
def test_the_servers_of_the_compose_files_have_room_for_all_streams(name: str) -> None:
    text = (Path(__file__).parents[4] / "deploy" / "compose" / name).read_text()
    sizes = re.findall(r"STORE_BYTES:-(\d+)GB", text)
    assert sizes
    assert all(int(size) * 10**9 >= STORE_BYTES_MAX for size in sizes)
