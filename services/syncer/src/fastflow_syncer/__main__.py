"""``python -m fastflow_syncer``: one syncer, configured by its environment."""

from __future__ import annotations

from fastflow_contracts.permissions import User
from fastflow_contracts.service import run
from fastflow_syncer.app import serve
from fastflow_syncer.settings import Settings


def main() -> None:
    """Never returns."""
    run(User.SYNCER, Settings, serve)


if __name__ == "__main__":
    main()
