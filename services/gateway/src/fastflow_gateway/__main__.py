"""``python -m fastflow_gateway``: one gateway, configured by its environment."""

from __future__ import annotations

import asyncio
import os
import sys

from fastflow_contracts.permissions import User
from fastflow_contracts.service import EXIT_USAGE, bus_ready, log_ready, run_service
from fastflow_contracts.settings import BadSettings, load
from fastflow_gateway.app import serve
from fastflow_gateway.settings import Settings, check


def main() -> None:
    """Never returns."""
    try:
        settings = load(Settings, os.environ)
        check(settings)
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet
        raise SystemExit(EXIT_USAGE) from None

    async def gateway(stop: asyncio.Event) -> None:
        async with bus_ready(settings.nats_url, user=User.GATEWAY, credentials=settings.nats_credentials) as bus:
            await serve(settings, bus, stop, ready=log_ready)

    run_service("gateway", gateway, log_json=settings.log_json, log_level=settings.log_level)


if __name__ == "__main__":
    main()
