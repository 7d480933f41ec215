"""``fastflow up`` with bubblewrap: packages built from source, by root and other users, and what their code reaches."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packages import make_sdist
from tests.support.bubble import as_ordinary_user
from tests.support.installation import Installation

pytestmark = [pytest.mark.bubble, pytest.mark.slow]

HARMLESS = "def source(): return 'SAID = \"harmless\"'"
HOSTILE = """\
import json, os
def source():
    found = {"sees": sorted(os.listdir("/store")), "trees": len(os.listdir("/store/trees")), "written": []}
    for folder, _, _ in os.walk("/store"):
        try:
            os.chmod(folder, 0o777)
        except OSError:
            pass
        try:
            open(folder + "/zz.pth", "w").write("# hostile")
            found["written"].append(folder)
        except OSError:
            pass
    for part in ("envs", "trees", "python", "cache", "trash", "locks", "work", "builds", "mark"):
        try:
            os.rename("/store/" + part, "/store/trees/" + part)
            found["written"].append("/store/" + part)
        except OSError:
            pass
    return f"SAID = {json.dumps(found)!r}"
"""
BROKEN = """\
def source():
    raise RuntimeError("no compiler today")
"""
SEES = """\
import json, os
found = {"sees": sorted(os.listdir("/store")), "written": []}
for folder, _, _ in os.walk("/store"):
    try:
        os.chmod(folder, 0o777)
        found["written"].append(folder)
    except OSError:
        pass
print(json.dumps(found))
"""


@pytest.fixture(params=["root", "ordinary user"])
def installation(request: pytest.FixtureRequest) -> Iterator[Installation]:
    folder = Path(tempfile.mkdtemp(prefix="ff-builds-"))  # every user reaches it
    folder.chmod(0o777)
    is_root = request.param == "root"
    if os.geteuid() != 0 and is_root:
        pytest.skip("needs root")
    around = () if is_root or os.geteuid() != 0 else as_ordinary_user()
    with Installation(folder, around=around) as made:
        yield made
    shutil.rmtree(folder)


def add(installation: Installation, name: str, backend: str) -> None:
    """Write a pipeline with a source distribution, which prints what that says."""
    installation.add(name, f"import {name}\nprint({name}.SAID)\n")
    make_sdist(installation.pipelines / name, name, "1.0", backend)
    (installation.pipelines / name / "requirements.txt").write_text(f"./{name}-1.0.tar.gz\n")


def state(installation: Installation) -> dict[str, tuple[float, ...]]:
    """Return modes, and sizes and times of files, of all in the store."""
    store, found = installation.data_dir / "bubble" / "store", {}
    for path in store.rglob("*"):
        status = path.lstat()
        change = () if path.is_dir() else (status.st_size, status.st_mtime)
        found[str(path.relative_to(store))] = (status.st_mode, *change)
    return found


def last_line(installation: Installation, pipeline: str) -> str:
    """Run a pipeline and return the last line of its log."""
    done = installation.command("run", pipeline, "--follow")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("network", ["fastflow", "none"])
def test_a_build_writes_only_its_own_tree(installation: Installation, network: str) -> None:
    """Another pipeline's environment, the caches and the links stay as they are; neither is anything of them seen."""
    add(installation, "harmless", HARMLESS)
    add(installation, "hostile", HOSTILE)
    installation.start("--sandbox", "bubble", FASTFLOW_NETWORK=network)
    assert last_line(installation, "harmless") == "harmless"
    before = state(installation)
    found = json.loads(last_line(installation, "hostile"))
    assert (found["sees"], found["trees"]) == (["python", "trees"], 1)
    assert len({path.split("/")[3] for path in found["written"]}) == 1
    assert before.items() <= state(installation).items()
    assert last_line(installation, "harmless") == "harmless"
    assert installation.stop() == 0


def test_a_build_that_fails_leaves_nothing_and_says_why(installation: Installation) -> None:
    """In the log, and with the reason in its last line."""
    add(installation, "broken", BROKEN)
    installation.start("--sandbox", "bubble", FASTFLOW_NETWORK="none")
    run = json.loads(installation.command("run", "broken", "--json").stdout)["id"]
    followed = installation.command("logs", run, "--follow")
    said = followed.stdout + followed.stderr
    assert "no compiler today" in said
    assert "the environment could not be prepared: Failed to build `broken" in said
    store = installation.data_dir / "bubble" / "store"
    assert [path for tree in (store / "trees").iterdir() for path in tree.iterdir()] == []
    assert list((store / "envs").iterdir()) == []
    assert installation.stop() == 0


def test_a_run_sees_the_environments_and_no_more_of_the_store(installation: Installation) -> None:
    """Neither uv's cache, with what came from private indexes, nor what was thrown away; and it can write nothing."""
    installation.add("sees", SEES)
    installation.start("--sandbox", "bubble", FASTFLOW_NETWORK="none")
    assert json.loads(last_line(installation, "sees")) == {"sees": ["envs", "locks", "python", "trees"], "written": []}
    assert installation.stop() == 0
