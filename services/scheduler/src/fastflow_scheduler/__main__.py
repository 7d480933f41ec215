"""``python -m fastflow_scheduler``: one scheduler, configured by its environment."""

from __future__ import annotations

from argparse import ArgumentParser

from fastflow_contracts.bus.permissions import User
from fastflow_contracts.service.lifecycle import run
from fastflow_scheduler.app import serve
from fastflow_scheduler.settings import SchedulerSettings

ABOUT = "One scheduler: decides when and whether runs start. Set up by its environment: see `fastflow config`."


def main() -> None:
    """Never returns."""
    ArgumentParser(f"python -m {__package__}", description=ABOUT).parse_args()
    run(User.SCHEDULER, SchedulerSettings, serve)


if __name__ == "__main__":
    main()
