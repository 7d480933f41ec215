"""The programs of this suite: folders below ``programs``, grouped by the requirements that they share. No I/O but
reading them.

``programs/<set>/requirements.txt`` belongs to each program of the set; the set ``plain`` has none. A program is a folder
with a ``main.py`` or a ``main.ipynb``, and any files that it reads.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import msgspec

PROGRAMS: Final = Path(__file__).with_name("programs")
REQUIREMENTS: Final = "requirements.txt"
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
