"""``python -m fastflow_syncer`` runs one syncer, configured by environment variables."""

from __future__ import annotations

from argparse import ArgumentParser

from fastflow_contracts.bus.permissions import User
from fastflow_contracts.service.lifecycle import run
from fastflow_syncer.app import serve
from fastflow_syncer.settings import SyncerSettings

ABOUT = (
    "One syncer: brings pipelines from a folder or git onto the bus. Set up by its environment: see `fastflow config`."
)


def main() -> None:
    """Run the syncer. Never returns."""
    ArgumentParser(f"python -m {__package__}", description=ABOUT).parse_args()
    run(User.SYNCER, SyncerSettings, serve)


if __name__ == "__main__":
    main()
