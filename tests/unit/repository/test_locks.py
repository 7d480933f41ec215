"""The locks: complete, pinned by hash, and without package sources."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
OURS = {"fastflow", *(f"fastflow-{name}" for name in ("contracts", "syncer", "scheduler", "runner", "gateway", "api"))}


def locked(name: str) -> set[str]:
    """Return the names that a lock pins."""
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / name).read_text(), re.MULTILINE))


def pins(name: str) -> set[str]:
    """Return what a lock pins, with versions."""
    return set(re.findall(r"^[a-z0-9-]+==[^ \\\n]+", (ROOT / name).read_text(), re.MULTILINE))


CELL_RUNNER = "services/runner/src/fastflow_runner/guest/cells/requirements.lock"
IMAGES = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("deploy/compose/locks/*.lock"))]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", *IMAGES])
def test_a_lock_holds_pins_and_hashes_only(name: str) -> None:
    """No index, no address, no path; pip checks every file it downloads."""
    text = (ROOT / name).read_text()
    assert not re.search(r"://|^-|^ *file:|/", text, re.MULTILINE)
    pins = re.findall(r"^[a-z0-9-]+==[^\\\n]+\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.MULTILINE)
    assert len(pins) == len(locked(name)) > (0 if name in IMAGES else 20)


def test_what_a_distribution_needs_is_locked() -> None:
    """An added dependency is in the lock: `make lock` was not forgotten."""
    needed = set()
    for file in [
        *ROOT.glob("libs/*/pyproject.toml"),
        *ROOT.glob("services/*/pyproject.toml"),
        ROOT / "cli/pyproject.toml",
    ]:
        needed |= {
            re.split(r"[<>=!~;\[ ]", each)[0] for each in tomllib.loads(file.read_text())["project"]["dependencies"]
        }
    assert needed - OURS <= locked("requirements.lock")
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert {re.split(r"[<>=]", each)[0] for each in tools["dev"]} <= locked("requirements-dev.lock")
    assert {re.split(r"[<>=]", each)[0] for each in tools["build"]} <= locked("requirements.lock")


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_holds_what_was_tested(name: str) -> None:
    """Its pins are those of the lock that the tests use."""
    assert pins(name) <= pins("requirements.lock")


def test_the_cell_runners_lock_is_complete_and_matches_the_type_checker() -> None:
    """Every package has its hashes, none is ever built, and shared packages have the version of the tools' lock."""
    options, pinned = (ROOT / CELL_RUNNER).read_text().split("\n", 1)
    assert options == "--only-binary :all:"
    assert {"nbclient", "nbformat", "jupyter-client", "pyzmq", "traitlets"} <= locked(CELL_RUNNER)
    assert not re.search(r"://|^-", pinned, re.MULTILINE)
    assert len(re.findall(r"^[a-z0-9-]+==[^\\\n]+\\\n    --hash=sha256:", pinned, re.MULTILINE)) == len(
        locked(CELL_RUNNER)
    )
    tools = locked("requirements-dev.lock")
    assert {pin for pin in pins(CELL_RUNNER) if pin.split("==")[0] in tools} <= pins("requirements-dev.lock")
