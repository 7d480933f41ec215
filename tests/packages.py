"""Small Python packages built on the spot, so that tests of environments need no index; and an interpreter to copy."""

from __future__ import annotations

import io
import os
import platform
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

_UNNEEDED = shutil.ignore_patterns("test", "tests", "__pycache__", "config-*", "site-packages", "share", "include")
OTHER_VERSION = "3.12"
"""A Python version that the worker image does not have."""


def make_wheel(directory: Path, name: str, version: str, source: str, **beside: str) -> Path:
    """Make a pure wheel with one module of the package's name.

    Args:
        beside: Text of a file ``<name>.pth`` or similar, by its suffix.
    """
    path = directory / f"{name}-{version}-py3-none-any.whl"
    path.write_bytes(_wheel(name, version, source, beside))
    return path


def make_sdist(directory: Path, name: str, version: str, backend: str) -> Path:
    """Make a source distribution.

    Args:
        backend: The Python that builds it. It defines ``source() -> str``, the module's text, and may do whatever
            foreign code does.
    """
    path = directory / f"{name}-{version}.tar.gz"
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "PKG-INFO": _metadata(name, version),
        "backend.py": f"{_BACKEND}\nNAME, VERSION = {name!r}, {version!r}\n{backend}\n",
    }
    with tarfile.open(path, "w:gz") as tar:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{file}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def copy_running_interpreter(python_dir: Path) -> Path:
    """Copy the Python that runs the tests to *python_dir*, in uv's layout, as an interpreter of the store."""
    library, binary = Path(os.__file__).parent, Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    copy = python_dir / f"cpython-{platform.python_version()}-linux-{os.uname().machine}-gnu"
    (copy / "bin").mkdir(parents=True)
    shutil.copytree(library, copy / "lib" / library.name, symlinks=True, ignore=_UNNEEDED)
    (copy / "lib" / library.name / "site-packages").mkdir(exist_ok=True)
    for shared in library.parent.glob("libpython*.so*"):
        shutil.copy2(shared, copy / "lib", follow_symlinks=False)
    own = copy / "bin" / library.name
    shutil.copy2(binary, own)
    _relocate(own, Path(sys.base_prefix))
    return copy


def copy_interpreter(python_dir: Path) -> Path:
    """Copy a Python of ``OTHER_VERSION`` to *python_dir*, in uv's layout, so that no download is needed."""
    homes = [Path.home() / ".local/share/uv/python", Path.home() / ".pyenv/versions"]
    found = [path for home in homes for path in sorted(home.glob(f"*{OTHER_VERSION}.*")) if (path / "bin").is_dir()]
    if not found:
        pytest.skip(f"no Python {OTHER_VERSION} of uv's or pyenv's to copy (looked into {', '.join(map(str, homes))})")
    original = found[-1].resolve()
    version = original.name.split("-")[1] if "-" in original.name else original.name
    copy = python_dir / f"cpython-{version}-linux-{os.uname().machine}-gnu"
    shutil.copytree(original, copy, symlinks=True, ignore=_UNNEEDED)
    (copy / f"lib/python{OTHER_VERSION}/site-packages").mkdir()
    _relocate(copy / f"bin/python{OTHER_VERSION}", original)
    return copy


def _relocate(binary: Path, prefix: Path) -> None:
    """Relocate it: uv's interpreters find their library beside themselves, pyenv's at their build path."""
    there, here = f"{prefix}/lib\0".encode(), b"$ORIGIN/../lib\0"
    binary.write_bytes(binary.read_bytes().replace(there, here.ljust(len(there), b"\0")))


def _wheel(name: str, version: str, source: str, beside: dict[str, str]) -> bytes:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        **{f"{name}.{ending}": text for ending, text in beside.items()},
        f"{info}/METADATA": _metadata(name, version),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wheel:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(path, text)
    return archive.getvalue()


def _metadata(name: str, version: str) -> str:
    return f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n"


_BACKEND = """
import io, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    info = f"{NAME}-{VERSION}.dist-info"
    files = {
        f"{NAME}.py": source(),
        f"{info}/METADATA": f"Metadata-Version: 2.2\\nName: {NAME}\\nVersion: {VERSION}\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\\n" for path in [*files, f"{info}/RECORD"])
    wheel = f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{wheel}", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel
"""
