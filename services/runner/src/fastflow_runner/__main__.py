"""``python -m fastflow_runner``: one runner, configured by its environment."""

from __future__ import annotations

from fastflow_contracts.permissions import User
from fastflow_contracts.service import run
from fastflow_runner.app import serve
from fastflow_runner.settings import Settings


def main() -> None:
    """Never returns."""
    run(User.RUNNER, Settings, serve)


if __name__ == "__main__":
    main()
