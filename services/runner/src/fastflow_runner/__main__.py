"""``python -m fastflow_runner``: one runner, configured by its environment."""

from __future__ import annotations

from argparse import ArgumentParser

from fastflow_contracts.bus.permissions import User
from fastflow_contracts.service.lifecycle import run
from fastflow_runner.app import serve
from fastflow_runner.settings import RunnerSettings

ABOUT = "One runner: executes scripts and notebooks in sandboxes. Set up by its environment: see `fastflow config`."


def main() -> None:
    """Run the runner until it is stopped. Never returns."""
    ArgumentParser(f"python -m {__package__}", description=ABOUT).parse_args()
    run(User.RUNNER, RunnerSettings, serve)


if __name__ == "__main__":
    main()
