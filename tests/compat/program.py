"""The programs of this suite: folders below ``programs``, grouped by the requirements that they share. I/O.

``programs/<set>/requirements.txt`` belongs to each program of the set; the set ``plain`` has none. A program is a
folder with a ``main.py`` or a ``main.ipynb``, and any files that it reads.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec

PROGRAMS: Final = Path(__file__).with_name("programs")
REQUIREMENTS: Final = "requirements.txt"
EXIT_CODES: Final = {
    "aborted": 134,
    "assertion": 1,
    "asyncio_forgotten": 1,
    "click_command": 2,
    "command_line": 2,
    "ended_by_sigterm": 143,
    "error_group": 1,
    "error_missing_module": 1,
    "error_notes": 1,
    "error_syntax": 1,
    "exit_code": 3,
    "exit_large_code": 44,
    "exit_message": 1,
    "killed_by_signal": 137,
    "notebook_error": 1,
    "notebook_error_own": 1,
    "notebook_input": 1,
    "notebook_exit_code": 1,
    "notebook_pandas": 1,
    "notebook_syntax_error": 1,
    "output_closed_streams": 4,
    "package_error_exit": 1,
    "pandas_error": 2,
    "requests_failed_step": 11,
    "signal_handlers": 7,
    "typer_application": 5,
    "uncaught_error": 1,
}
"""How those end that do not succeed. So a program that does not work here is noticed."""
_NEVER: Final = ("__pycache__", ".ipynb_checkpoints")


class Program(msgspec.Struct, frozen=True, order=True):
    """One program. ``group`` is the set whose requirements it has."""

    group: str
    name: str

    @property
    def folder(self) -> Path:
        return PROGRAMS / self.group / self.name

    @property
    def is_notebook(self) -> bool:
        return (self.folder / "main.ipynb").exists()

    @property
    def requirements(self) -> Path | None:
        path = PROGRAMS / self.group / REQUIREMENTS
        return path if path.exists() else None

    def copy_to(self, folder: Path) -> None:
        """Write the program as its author has it in a folder: its own files, and the requirements of its set."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(*_NEVER))
        if self.requirements is not None:
            shutil.copy(self.requirements, folder)


def all_programs() -> list[Program]:
    """Return every program, sorted."""
    mains = (path for name in ("main.py", "main.ipynb") for path in PROGRAMS.glob(f"*/*/{name}"))
    return sorted(Program(path.parent.parent.name, path.parent.name) for path in mains)


ALL: Final = all_programs()
