"""A gateway as a process of its own, for what only a process has: descriptors and memory."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.support.gateway import TOKEN, Client
from tests.support.processes import Service


class GatewayProcess(Client):
    """A running gateway, and a client of it."""

    def __init__(self, service: Service, port: int, http: aiohttp.ClientSession) -> None:
        super().__init__(f"http://127.0.0.1:{port}", http)
        self.service = service
        self.port = port
        self.token = TOKEN

    @property
    def pid(self) -> int:
        return self.service.pid

    @property
    def is_running(self) -> bool:
        return self.service.is_running

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has had so far."""
        match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert match
        return int(match[1]) * 1024


@asynccontextmanager
async def running_gateway_process(bus_url: str, **environ: str) -> AsyncIterator[GatewayProcess]:
    """Start a gateway and wait until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    given = {"FASTFLOW_NATS_URL": bus_url, "FASTFLOW_ADMIN_TOKEN": TOKEN, "FASTFLOW_PORT": str(port)}
    service = Service("gateway", given | environ)
    async with aiohttp.ClientSession(read_bufsize=2**20) as http:
        await service.start()
        try:
            yield GatewayProcess(service, port, http)
        finally:
            await service.kill()
