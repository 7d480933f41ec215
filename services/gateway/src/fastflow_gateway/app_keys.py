"""Application keys of classes from other packages. Every other key is next to its class."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.bus.client import Bus

BUS = web.AppKey("BUS", Bus)
