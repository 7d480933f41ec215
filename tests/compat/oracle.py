"""The oracle: the program on this machine, as its author runs it, by ``uv run`` or papermill. I/O.

Packages come from a cache of uv that is filled once: ``FASTFLOW_COMPAT_CACHE``, else a folder of this user.
"""

from __future__ import annotations

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final

from uv import find_uv_bin

from tests.compat.outcome import Outcome, as_tar, cells_of, files_of, readable
from tests.compat.program import Program

CACHE: Final = Path(os.environ.get("FASTFLOW_COMPAT_CACHE") or Path.home() / ".cache" / "fastflow-compat")
UV_CACHE: Final = CACHE / "uv"
HOME: Final = ".home"
PAPERMILL: Final = ("papermill==2.6.0", "ipykernel>=6")
FINISHED_S: Final = 3600.0
"""A limit that only a hang reaches: a program waits for all that were started before it."""
STARTS_MAX: Final = 5
_KERNEL_DIED: Final = b"Kernel died before replying"
_NOT_A_LAPTOPS: Final = ("FASTFLOW_", "PYTHON", "PYTEST", "COV_", "VIRTUAL_ENV", "LC_", "UV_CACHE_DIR")


class Oracle:
    """Runs programs below *folder*, a few at a time. There is a file beside their folders, and one in their home."""

    def __init__(self, folder: Path, *, at_once: int) -> None:
        self._folder = folder
        self._free = asyncio.Semaphore(at_once)
        self._pythons: dict[str, asyncio.Task[str]] = {}
        self._filling: dict[tuple[str, bool, str], asyncio.Task[None]] = {}

    async def outcome(self, program: Program, version: str) -> Outcome:
        """Run the program on this version of Python."""
        folder = self._folder / version / program.name
        _furnish(folder.parent)
        python = await self._python(version)
        await self._filled(program, python)
        program.copy_to(folder)
        async with self._free:
            if program.is_notebook:
                return await _papermill(program, folder, python)
            return await _uv_run(program, folder, python)

    async def _python(self, version: str) -> str:
        """Return an interpreter without packages, as a fresh one of uv: that of this machine may have some."""
        if version not in self._pythons:
            making = _clean_python(self._folder / version / ".python", version)
            self._pythons[version] = asyncio.create_task(making, name=f"python-{version}")
        return await self._pythons[version]

    async def _filled(self, program: Program, python: str) -> None:
        """Fetch the packages of a set into the cache, once. Later runs need no network."""
        key = (program.group, program.is_notebook, python)
        if key not in self._filling:
            command = [*_uv(program, python), "python", "-c", ""]
            self._filling[key] = asyncio.create_task(_fill(command, self._folder), name=f"fill-{program.group}")
        await self._filling[key]


def _furnish(folder: Path) -> None:
    (folder / HOME / ".cache").mkdir(parents=True, exist_ok=True)
    for path in ("beside.txt", f"{HOME}/.cache/earlier.txt"):
        (folder / path).touch()


async def _clean_python(folder: Path, version: str) -> str:
    command = [find_uv_bin(), "venv", "--quiet", "--no-project", f"--python={version}", str(folder)]
    code, _, errors = await _finished(command, folder.parent)
    assert code == 0, errors.decode()
    return str(folder / "bin" / "python")


async def _fill(command: list[str], folder: Path) -> None:
    code, _, errors = await _finished(command, folder)
    assert code == 0, errors.decode()


async def _uv_run(program: Program, folder: Path, python: str) -> Outcome:
    code, stdout, stderr = await _finished([*_uv(program, python), "main.py"], folder, **_at_home(folder))
    return Outcome(
        stdout=readable(stdout, str(folder)),
        stderr=readable(stderr, str(folder)),
        exit_code=code,
        files=files_of(as_tar(folder), str(folder)),
    )


async def _papermill(program: Program, folder: Path, python: str) -> Outcome:
    executed = folder.with_suffix(".executed.ipynb")
    options = ["--no-progress-bar", "--kernel", "python3", "--start-timeout", str(int(FINISHED_S))]
    command = [*_uv(program, python), "papermill", *options, "main.ipynb", str(executed)]
    for _ in range(STARTS_MAX):
        code, _, stderr = await _finished(command, folder, **_at_home(folder))
        # No cell has run: Jupyter chooses the ports of a kernel before it takes them, and another one was faster.
        if _KERNEL_DIED not in stderr:
            break
    assert executed.exists(), stderr.decode()
    return Outcome(
        exit_code=code,
        files=files_of(as_tar(folder), str(folder)),
        cells=cells_of(executed.read_bytes(), str(folder)),
    )


def _at_home(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder.parent / HOME), "UV_OFFLINE": "1"}


def _uv(program: Program, python: str) -> list[str]:
    command = [find_uv_bin(), "run", "--quiet", "--no-project", f"--python={python}"]
    if program.requirements is not None:
        command.append(f"--with-requirements={program.requirements}")
    if program.is_notebook:
        command += [word for package in PAPERMILL for word in ("--with", package)]
    return command


async def _finished(command: list[str], folder: Path, **environ: str) -> tuple[int, bytes, bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_A_LAPTOPS)}
    path = os.pathsep.join(
        part
        for part in kept.get("PATH", os.defpath).split(os.pathsep)
        if not (Path(part).parent / "pyvenv.cfg").exists()
    )
    environ = kept | {"PATH": path, "LANG": "C.UTF-8", "UV_CACHE_DIR": str(UV_CACHE)} | environ
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environ, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    async with asyncio.timeout(FINISHED_S):
        stdout, stderr = await process.communicate()
    assert process.returncode is not None
    return process.returncode if process.returncode >= 0 else 128 - process.returncode, stdout, stderr
