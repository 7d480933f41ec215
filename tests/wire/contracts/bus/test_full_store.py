"""A server that cannot make the store of a stream says so; the error tells what to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.streams import WrongTopology, ensure


async def test_a_store_that_cannot_be_made_names_what_to_look_at(tmp_path: Path) -> None:
    """A file is where the folder of a stream must be."""
    async with embedded_bus(tmp_path / "bus", sync="2m") as url, connect(url, name="test") as bus:
        await ensure(bus.js)
        (folder,) = tmp_path.glob("**/streams/KV_ff_sessions")
        await bus.js.delete_stream(folder.name)
        folder.touch()
        with pytest.raises(WrongTopology, match=r"refused stream KV_ff_sessions: .*\(store_dir\) has room, also"):
            await ensure(bus.js)
