"""Bare machines: Debian with ``python3``, ``git`` and ``make``, an ordinary user, no Docker, no compiler."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bare.machine import Machine

ROOT = Path(__file__).parents[2]
ENSURE_DEBIAN = ROOT.parent / "shared" / "tools" / "ensure-debian"
"""Builds a base image where no registry is reachable."""


@pytest.fixture(scope="module", params=["bookworm", "trixie"], ids=["debian-12", "debian-13"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """One machine for all tests of a module: each test continues where the previous one stopped."""
    base = f"debian:{request.param}-slim"
    if not _has_image(base):
        get = [str(ENSURE_DEBIAN), request.param] if ENSURE_DEBIAN.exists() else ["docker", "pull", "--quiet", base]
        subprocess.run(get, check=True, timeout=900)
    with Machine(base) as made:
        made.copy(_files())
        yield made


def _has_image(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def _files() -> bytes:
    """Return an archive of the checkout as it is, without the files that git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    there = b"\0".join(name for name in names.split(b"\0") if name and os.path.lexists(os.fsencode(ROOT) + b"/" + name))
    packed = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-", "--owner=1000", "--group=1000"],
        cwd=ROOT,
        input=there,
        capture_output=True,
        check=True,
    )
    return packed.stdout
