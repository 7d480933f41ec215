"""Small pipeline folders, their environment as a run gets it, and what plain ``uv run`` makes of the same folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from uv import find_uv_bin

from fastflow_contracts.pipelines.folder.bundle import File, pack
from fastflow_contracts.pipelines.folder.examine import examine
from fastflow_contracts.pipelines.folder.selection import Folder

Files = Mapping[str, str | bytes]

_BACKEND = """
import io, json, os, zipfile

NAME = {name!r}

def _wheel(directory, files):
    info = NAME + "-1.0.dist-info"
    files = dict(files)
    files[info + "/METADATA"] = "Metadata-Version: 2.2\\nName: " + NAME + "\\nVersion: 1.0\\n"
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[info + "/RECORD"] = "".join(path + ",,\\n" for path in [*files, info + "/RECORD"])
    wheel = NAME + "-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, wheel), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel

def build_wheel(directory, config_settings=None, metadata_directory=None):
    with open("src/" + NAME + ".py") as file:
        return _wheel(directory, {{NAME + ".py": file.read()}})

def build_editable(directory, config_settings=None, metadata_directory=None):
    return _wheel(directory, {{NAME + ".pth": os.path.abspath("src")}})
"""


def package(folder: str, name: str, source: str, *, extra: str = "") -> dict[str, str]:
    """Return the files of a package that builds itself without any other, in *folder* ("" is the pipeline's own)."""
    inside = f"{folder}/" if folder else ""
    project = f'[project]\nname = "{name}"\nversion = "1.0"\n{extra}\n'
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    return {
        f"{inside}pyproject.toml": project + build,
        f"{inside}backend.py": _BACKEND.format(name=name),
        f"{inside}src/{name}.py": source,
    }


def contents(files: Files) -> dict[str, File]:
    """Return the files as a bundle takes them."""
    return {path: File(data if isinstance(data, bytes) else data.encode()) for path, data in files.items()}


def bundle_of(files: Files) -> bytes:
    """Return the bundle of a valid pipeline. Fails with its problems."""
    examined = examine("folder", Folder(contents(files)), is_known=False)
    assert examined is not None
    assert not examined.found.problems, "\n".join(map(str, examined.found.problems))
    return pack(contents(files)).data


def write(files: Files, root: Path) -> Path:
    """Write the files below *root*, and return it."""
    for path, file in contents(files).items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
    return root


def uv_run(folder: Path, settings: Mapping[str, str]) -> str:
    """Return what ``uv run`` prints for main.py in *folder*, with its requirements file if there is one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))}
    files = ["requirements.txt.lock", "requirements.txt"]
    given = next(([f"--with-requirements={file}"] for file in files if (folder / file).exists()), [])
    done = subprocess.run(
        [find_uv_bin(), "run", "--quiet", *given, "main.py"],
        cwd=folder,
        env={**kept, "UV_PYTHON": os.path.realpath(sys._base_executable), **settings},  # type: ignore[attr-defined]
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def script_output(python: str, folder: Path) -> str:
    """Return what main.py prints in *folder* with an interpreter."""
    done = subprocess.run([python, "main.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def unlock(root: Path) -> None:
    """Let all below *root* be removed: environments are read-only for all users but root."""
    if os.geteuid() == 0:
        return
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o700)
