"""The page of a pipeline shows the limits that its runs have, and where they come from."""

from __future__ import annotations

import re

from fastflow_contracts.bus.client import Bus
from tests.support.gateway import Client, running_gateway
from tests.support.records import a_bundle, publish_pipeline


async def _facts(client: Client, pipeline: str) -> str:
    page = (await client.get(f"/pipelines/{pipeline}", headers={"Accept": "text/html"})).text
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def test_limits_of_the_installation_are_shown_with_the_pipelines_own(bus: Bus) -> None:
    """Its own value as it is; a default, and a maximum that cuts its value, are named as the installation's."""
    code = a_bundle(main_py="1")
    await publish_pipeline(bus, "own", code, cpu_hard_limit=1.5, mem_hard_limit=512 * 1024**2, timeout=60.0)
    await publish_pipeline(bus, "silent", code)
    limits = {"cpu_default": 1.0, "memory_default": "256m", "timeout_max_s": 30.0}
    async with running_gateway(bus, **limits) as client:
        own, silent = await _facts(client, "own"), await _facts(client, "silent")
    assert "CPU limit 1.5 cores Memory limit 512 MiB" in own
    assert "Time limit 30 s (this installation's)" in own.replace("&#39;", "'")
    assert "CPU limit 1 core (this installation's) Memory limit 256 MiB (this" in silent.replace("&#39;", "'")
    async with running_gateway(bus) as client:
        assert "installation" not in await _facts(client, "silent")
