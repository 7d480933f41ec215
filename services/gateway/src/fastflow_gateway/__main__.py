"""``python -m fastflow_gateway``: one gateway, configured by its environment."""

from __future__ import annotations

from argparse import ArgumentParser

from fastflow_contracts.bus.permissions import User
from fastflow_contracts.service.lifecycle import run
from fastflow_gateway.app import serve
from fastflow_gateway.settings import Settings, check

ABOUT = "One gateway: serves the dashboard, the API and webhooks. Set up by its environment: see `fastflow config`."


def main() -> None:
    """Never returns."""
    ArgumentParser(f"python -m {__package__}", description=ABOUT).parse_args()
    run(User.GATEWAY, Settings, serve, check=check)


if __name__ == "__main__":
    main()
