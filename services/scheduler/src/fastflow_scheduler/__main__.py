"""``python -m fastflow_scheduler``: one scheduler, configured by its environment."""

from __future__ import annotations

import asyncio
import os
import sys

from fastflow_contracts.permissions import User
from fastflow_contracts.service import EXIT_USAGE, bus_ready, log_ready, run_service
from fastflow_contracts.settings import BadSettings, load
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import Settings


def main() -> None:
    """Never returns."""
    try:
        settings = load(Settings, os.environ)
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201 - there is no log yet
        raise SystemExit(EXIT_USAGE) from None

    async def scheduler(stop: asyncio.Event) -> None:
        async with bus_ready(settings.nats_url, user=User.SCHEDULER, credentials=settings.nats_credentials) as bus:
            await serve(settings, bus, stop, ready=log_ready)

    run_service("scheduler", scheduler, log_json=settings.log_json, log_level=settings.log_level)


if __name__ == "__main__":
    main()
