"""``python -m fastflow_gateway``: one gateway, configured by its environment."""

from __future__ import annotations

from fastflow_contracts.permissions import User
from fastflow_contracts.service import run
from fastflow_gateway.app import serve
from fastflow_gateway.settings import Settings, check


def main() -> None:
    """Never returns."""
    run(User.GATEWAY, Settings, serve, check=check)


if __name__ == "__main__":
    main()
