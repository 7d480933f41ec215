"""The gateway's sealer: it holds the encryption keys."""

from __future__ import annotations

from aiohttp import web

from fastflow_contracts.secrets.sealing import Sealer

SEALER = web.AppKey("SEALER", Sealer)
