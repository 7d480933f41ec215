"""Files that the code of packages and scripts leaves behind, made to stop those who look at them or remove them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastflow_runner.environments.collector import KEEP_S
from fastflow_runner.environments.environments import EnvironmentFailed
from fastflow_runner.guest.prepare.removal import _walk, remove, share_bytes
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.events import Exited
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.process import ProcessSandboxes
from fastflow_runner.sandbox.session import Session
from tests.packages import make_sdist
from tests.process.runner.environments.test_collector import Workshop, unheard, workshop

__all__ = ["workshop"]

DEEP = """
import os
for _ in range(3000):
    os.mkdir("d" * 40)
    os.chdir("d" * 40)
open("leaf", "w").write("x" * 100_000)
"""


def make(directory: Path, source: str) -> None:
    """Run *source* in a new *directory*, as a process of its own: it may lose its way."""
    directory.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", source], cwd=directory, check=True)


def closed(directory: Path) -> None:
    make(directory, "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w')\nos.chmod('a/b', 0)\nos.chmod('a', 0o500)")


def immutable(directory: Path) -> None:
    make(directory, "import os\nos.mkdir('a')\nopen('a/b', 'w')")
    if os.geteuid() == 0:  # others cannot do this
        subprocess.run(["chattr", "+i", directory / "a" / "b", directory / "a"], check=False)


def named_badly(directory: Path) -> None:
    names = "(b'new\\nline', b'\\xff\\xfe', b'\\x1b[2J', b'x' * 255, b'foreign a 1048576', b'-rf')"
    make(directory, f"import os\nfor name in {names}:\n    os.mkdir(name)\n    open(name + b'/' + name, 'w')")


def deep(directory: Path) -> None:
    make(directory, DEEP)


def wide(directory: Path) -> None:
    make(directory, "for number in range(100_000): open(str(number), 'w').close()")


@pytest.mark.parametrize("fill", [deep, wide, closed, immutable, named_badly])
def test_a_directory_is_removed_whatever_is_in_it(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    """Deeper than a path can be long, 100,000 files, closed, immutable, with any names."""
    fill(tmp_path / "there")
    remove(str(tmp_path / "there"))
    assert os.listdir(tmp_path) == []


def test_what_a_link_names_stays(tmp_path: Path) -> None:
    """Links are removed, not followed: neither files nor directories; nor is a link in place of the directory."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "link").symlink_to(tmp_path / "mine")
    remove(str(tmp_path / "there"))
    (tmp_path / "there").symlink_to(tmp_path / "mine")
    remove(str(tmp_path / "there"))
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "file"]


def test_bytes_count_at_any_depth(tmp_path: Path) -> None:
    """A package cannot hide its size below a long path."""
    deep(tmp_path / "there")
    assert share_bytes(str(tmp_path)) >= 100_000
    remove(str(tmp_path / "there"))


def test_a_directory_that_is_moved_while_it_is_counted_does_no_harm(tmp_path: Path) -> None:
    """As uv moves packages in its cache: all that stays is counted."""
    for name in ("a", "b", "c"):
        (tmp_path / "there" / name / "sub").mkdir(parents=True)
        (tmp_path / "there" / name / "sub" / "file").write_bytes(b"x" * 100_000)
    moved = 0
    for folder, name, _ in _walk(str(tmp_path / "there"), opens=False):
        if name == "file":
            os.rename(os.readlink(f"/proc/self/fd/{folder}"), tmp_path / f"moved-{moved}")
            moved += 1
    assert moved == 3


async def test_a_run_that_digs_too_deep_is_removed(tmp_path: Path) -> None:
    """Its folder and its temporary files go, and the runner lives on."""
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    channel = await sandboxes.open(SandboxSpec(name="deep"))
    source = f"{DEEP}\nos.chdir(os.environ['TMPDIR'])\n{DEEP}\nprint(os.environ['TMPDIR'])"
    job = SandboxJob(argv=("{python}", "-c", source), cwd="run")
    async for event in await Session.start(channel, job):
        if isinstance(event, Exited):
            assert event.exit_code == 0, event
    await channel.close()
    await sandboxes.remove("deep")
    assert not (tmp_path / "sandboxes" / "deep").exists()
    await sandboxes.close()


NAMES = ["deadbeef\nforeign x y", "foreign a zero", "{", '{"foreign": "x"}', "\x1b[2J", "x" * 255, "ff\udcff"]


async def test_no_name_that_a_package_makes_ends_the_runner(workshop: Workshop) -> None:
    """Directories among the trees, with names that look like the collector's own words, are removed like others."""
    runner = workshop.runner()
    await workshop.make(runner, "red")
    for name in NAMES:
        tree = workshop.path / "trees" / os.fsdecode(os.fsencode(name))
        tree.mkdir()
        os.utime(tree, (time.time() - 10 * KEEP_S,) * 2)
    await runner.collect()
    assert len(os.listdir(workshop.path / "trees")) == 1
    assert workshop.names("red") == {"red"}


async def test_a_hostile_source_distribution_fails_its_own_run_only(workshop: Workshop) -> None:
    """Its build fills the store with bad names and deep trees and says the preparer's words; the runner goes on."""
    backend = f"""
import os, sys
def source():
    trees = {str(workshop.path / "trees")!r}
    for name in {NAMES!r}:
        os.makedirs(os.path.join(os.fsencode(trees), os.fsencode(name)))
        os.utime(os.path.join(os.fsencode(trees), os.fsencode(name)), (4e9, 4e9))
    os.mkdir(os.path.join(trees, "deep"))
    os.chdir(os.path.join(trees, "deep"))
    for _ in range(3000):
        os.mkdir("d" * 40); os.chdir("d" * 40)
    os.utime(os.path.join(trees, "deep"), (1, 1))
    for words in ("::python \\x1b[2J" + "9" * 9000, "::interpreter none", '{{"foreign": 0}}', "gone ../..", "\\udcff"):
        for stream in (sys.stdout, sys.stderr):
            stream.buffer.write(words.encode("utf-8", "surrogateescape") + b"\\n")
    raise RuntimeError("enough")
"""
    make_sdist(workshop.packages, "hostile", "1.0", backend)
    runner = workshop.runner()
    with pytest.raises(EnvironmentFailed, match="enough"):
        await runner.prepare(workshop.request("hostile"), say=unheard)
    keeping = asyncio.create_task(runner.keep())
    await runner.collect()
    assert os.listdir(workshop.path / "trees") == []
    assert not keeping.done()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    (made,) = await workshop.make(runner, "red")
    assert made.python_version.startswith("3.")


@pytest.mark.parametrize(
    "hide", ["os.mkfifo(path)", "os.symlink('/dev/zero', path)", "open(path, 'wb').write(b'\\xff')"]
)
async def test_a_tree_with_a_strange_configuration_is_listed(workshop: Workshop, hide: str) -> None:
    """A build can put anything in the place of ``pyvenv.cfg``: a runner that starts neither waits nor fails."""
    await workshop.make(workshop.runner(), "red")
    (tree,) = (workshop.path / "trees").iterdir()
    tree.chmod(0o755)
    (tree / "pyvenv.cfg").unlink()
    subprocess.run([sys.executable, "-c", f"import os\npath = 'pyvenv.cfg'\n{hide}"], cwd=tree, check=True)
    runner = workshop.runner()
    keeping = asyncio.create_task(runner.keep())
    while (ready := runner.ready(workshop.request("red"))) is None:
        await asyncio.sleep(0.01)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert ready.python_version
