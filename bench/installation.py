"""A whole installation for a measurement: ``fastflow up`` as a process with its own pipelines, removed afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

TOKEN = "bench-token-of-no-secrecy"
KEY = "bench-webhook-key-0123456789"
READY_S = 600.0
"""Long, because the first time the worker image must be built."""


class Installation:
    """What a measurement uses of an installation, over HTTP."""

    def __init__(self, url: str, data: Path, http: aiohttp.ClientSession, pid: int) -> None:
        self.url = url
        self.data = data
        self.http = http
        self.pid = pid

    async def webhook(self, pipeline: str) -> dict[str, Any]:
        """Start a run and return the response."""
        async with self.http.post(f"{self.url}/api/webhooks/{pipeline}/{KEY}") as response:
            assert response.status in (200, 202), await response.text()
            return dict(await response.json())

    async def run(self, pipeline: str) -> str:
        """Start a run, follow it until it has succeeded, and return its id."""
        run = await self.webhook(pipeline)
        async for name, data in self.events(run["id"]):
            if name == "end":
                assert data["status"] == "SUCCESS", data
                return str(run["id"])
        raise AssertionError("the stream ended without an end")

    async def events(self, run_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield the name and data of each event of the run's log, as a follower gets them."""
        name = ""
        async with self.http.get(f"{self.url}/api/runs/{run_id}/logs/stream") as response:
            response.raise_for_status()
            async for raw in response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])


@asynccontextmanager
async def installation(
    pipelines: Mapping[str, Mapping[str, str]],
    *,
    sandbox: str = "docker",
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Installation]:
    """Run an installation.

    Args:
        pipelines: Files by pipeline. Each pipeline gets a webhook with ``KEY`` unless it has its own metadata.
        settings: More of its environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        root, data = Path(folder, "pipelines"), Path(folder, "data")
        for name, files in pipelines.items():
            (root / name).mkdir(parents=True)
            for path, text in ({"pipeline.json": json.dumps({"webhook_key": KEY})} | dict(files)).items():
                (root / name / path).write_text(text)
        port = free_port()
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "fastflow"),
            *("up", str(root), "--port", str(port), "--data-dir", str(data), "--sandbox", sandbox),
            env=os.environ
            | {"FASTFLOW_ADMIN_TOKEN": TOKEN, "FASTFLOW_WEBHOOK_CALLS_PER_MINUTE": "0"}
            | dict(settings or {}),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=(Path(folder) / "log").open("wb"),
        )
        headers = {"Authorization": f"Bearer {TOKEN}"}
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as http:
                made = Installation(f"http://127.0.0.1:{port}", data, http, process.pid)
                await _ready(made, process, Path(folder) / "log", len(pipelines))
                yield made
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            await process.wait()


async def _ready(made: Installation, process: asyncio.subprocess.Process, log: Path, pipelines: int) -> None:
    async with asyncio.timeout(READY_S):
        while True:
            if process.returncode is not None:
                raise SystemExit(f"fastflow up ended: {log.read_text()}")
            try:
                async with made.http.get(f"{made.url}/readyz") as response:
                    if response.status == 200:
                        async with made.http.get(f"{made.url}/api/pipelines") as listed:
                            if str(await listed.json()).count("'valid': True") >= pipelines:
                                return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
