"""Keys of the application whose classes are not the gateway's own. Every other key stands beside its class."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.bus.client import Bus

BUS = web.AppKey("BUS", Bus)
