"""Application keys of classes from other packages. Every other key is next to its class."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.room import Room
from fastflow_contracts.service.storage_watch import StorageWatch

BUS = web.AppKey("BUS", Bus)
STORAGE = web.AppKey("STORAGE", StorageWatch)
ROOM = web.AppKey("ROOM", Room)
