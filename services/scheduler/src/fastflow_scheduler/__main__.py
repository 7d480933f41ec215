"""``python -m fastflow_scheduler``: one scheduler, configured by its environment."""

from __future__ import annotations

from fastflow_contracts.permissions import User
from fastflow_contracts.service import run
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import Settings


def main() -> None:
    """Never returns."""
    run(User.SCHEDULER, Settings, serve)


if __name__ == "__main__":
    main()
