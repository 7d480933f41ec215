"""The backends without isolation: plain processes, and the dummy that runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from fastflow_runner.backend.backend import Backend, NoSandbox
from fastflow_runner.backend.packages import blank_spec, package_access, supply
from fastflow_runner.environments.environments import Environments
from fastflow_runner.environments.store import process_place
from fastflow_runner.sandbox.dummy import DummySandboxes
from fastflow_runner.sandbox.process import ProcessSandboxes
from fastflow_runner.settings import RunnerSettings


def process_backend(settings: RunnerSettings, runner: str, environ: Mapping[str, str], installation: str) -> Backend:
    directory = Path(settings.data_dir)
    place = process_place(directory / "store")
    found = package_access(settings, environ, place)
    may_be_open = settings.network_unenforced == "allow"
    root = directory / "sandboxes"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NoSandbox(
            f"{root}, the folder of the sandboxes, cannot be made ({error.strerror}); move away what is there, or "
            "set another FASTFLOW_DATA_DIR."
        ) from error
    sandboxes = ProcessSandboxes(root, may_be_open=may_be_open)
    return Backend(
        kind="process",
        daemon=None,
        sandboxes=sandboxes,
        environments=Environments(
            sandboxes,
            place,
            runner=runner,
            access=found,
            supply=supply(settings, found),
            budget_bytes=settings.environments_bytes_max,
        ),
        blank=blank_spec(settings, place),
        cell_runner=place.cell_runner,
        installation=installation,
        network=settings.network,
        network_max=settings.network_max,
    )


def dummy_backend(settings: RunnerSettings, runner: str, installation: str) -> Backend:
    """For measuring everything except sandboxes: no code runs, every script succeeds at once."""
    place = replace(process_place(Path(settings.data_dir) / "store"), bare=True)
    sandboxes = DummySandboxes()
    return Backend(
        kind="dummy",
        daemon=None,
        sandboxes=sandboxes,
        environments=Environments(sandboxes, place, runner=runner),
        blank=blank_spec(settings, place),
        cell_runner=place.cell_runner,
        installation=installation,
    )
