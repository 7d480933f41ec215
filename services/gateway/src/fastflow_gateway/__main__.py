"""``python -m fastflow_gateway``: one gateway, with settings from the environment."""

from __future__ import annotations

from argparse import ArgumentParser

from fastflow_contracts.bus.permissions import User
from fastflow_contracts.service.lifecycle import run
from fastflow_gateway.app import serve, waiting
from fastflow_gateway.settings import GatewaySettings, check

ABOUT = "One gateway: the dashboard, the API and webhooks. Settings come from the environment: see `fastflow config`."


def main() -> None:
    """Run one gateway. It never returns."""
    ArgumentParser(f"python -m {__package__}", description=ABOUT).parse_args()
    run(User.GATEWAY, GatewaySettings, serve, check=check, waiting=waiting)


if __name__ == "__main__":
    main()
