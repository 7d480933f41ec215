"""Folders whose names no pipeline can have: each is listed with the reason, and nothing else suffers."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.store import PipelineStore
from tests.support.gateway import running_gateway
from tests.support.syncer import folder_syncer, write

ODD = ("my pipeline", "*", "a>b", "new\nline", "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 100, "x" * 255)


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
async def test_a_folder_that_cannot_be_a_pipeline_is_listed_with_the_reason(
    bus: Bus, tmp_path: Path, name: str
) -> None:
    """Its record once counted as unreadable: it was not listed, and the installation was degraded for ever."""
    write(tmp_path, {"good/main.py": "", f"{name}/main.py": ""})
    report = await folder_syncer(bus, tmp_path).sync()
    assert report.ok, report.error
    async with running_gateway(bus) as client:
        listed = {each["name"]: each for each in (await client.get("/api/pipelines")).json}
        assert listed.keys() == {"good", name}
        assert (listed[name]["valid"], listed[name]["runnable"]) == (False, False)
        assert "rename its folder" in str(listed[name])
        assert listed["good"]["runnable"]
        for page in ("/", "/graph", "/runs", "/schedules"):
            assert (await client.get(page)).status == 200, page
        assert not (await client.get("/readyz", anonymous=True)).json.get("unreadable")
    assert {each.name for each in await PipelineStore(bus).listed()} == listed.keys()
