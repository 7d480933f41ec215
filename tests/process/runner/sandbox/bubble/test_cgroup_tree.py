"""Where groups are made: found from what the kernel says, and made ready in a real hierarchy of version 2.

A machine that uses memory, cpu and pids in version 1 still has a hierarchy of version 2, for the controllers that
nobody uses. Its rules are those of the others: the tests take ``hugetlb``. Where version 2 has all of them,
``test_cgroups`` tries its limits.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest

from fastflow_runner.sandbox.bubble.cgroups.group import Cgroup, GroupPlace
from fastflow_runner.sandbox.bubble.cgroups.limits import Memory, write_cores, write_processes
from fastflow_runner.sandbox.bubble.cgroups.tree import LEAF, TOP, OwnGroup, own_groups

CONTROLLER = "hugetlb"
UNIFIED = Path("/sys/fs/cgroup/unified")
PREPARE = """
import json, os, subprocess, sys
from pathlib import Path
from fastflow_runner.sandbox.bubble.cgroups.tree import OwnGroup, delegated_folder
own, top, user = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
(own / "cgroup.procs").write_text(str(os.getpid()))
if user:
    os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
others = [subprocess.Popen(["sleep", "600"]) for _ in range(int(sys.argv[4]))]
try:
    folder = str(delegated_folder(OwnGroup(own, top, frozenset()), {"hugetlb"}))
except OSError as error:
    folder = error.strerror
print(json.dumps([folder, open("/proc/self/cgroup").read().split("0::")[1].strip()]))
for each in others:
    each.kill(); each.wait()
"""


def test_version_2_is_one_group() -> None:
    """As on a machine of today."""
    mounts = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
    (own,) = own_groups("0::/system.slice/fastflow.service\n", mounts)
    assert own == OwnGroup(Path("/sys/fs/cgroup/system.slice/fastflow.service"), Path("/sys/fs/cgroup"), frozenset())


def test_version_1_has_groups_by_controller() -> None:
    """Some share a hierarchy, each may have another path, and version 2 may be beside them."""
    mounts = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""
    found = own_groups("4:memory:/one\n2:cpu,cpuacct:/\n1:name=systemd:/two\n0::/\n", mounts)
    assert [(str(each.folder), sorted(each.controllers)) for each in found] == [
        ("/sys/fs/cgroup/cpu,cpuacct", ["cpu", "cpuacct"]),
        ("/sys/fs/cgroup/memory/one", ["memory"]),
        ("/sys/fs/cgroup/systemd/two", ["name=systemd"]),
        ("/sys/fs/cgroup/unified", []),
    ]


@pytest.mark.parametrize(
    ("groups", "root", "folder"),
    [
        ("0::/docker/abc/inner", "/docker/abc", "/sys/fs/cgroup/inner"),  # a container that sees its own part
        ("0::/docker/abc", "/docker/abc", "/sys/fs/cgroup"),
        ("0::/docker/abcdef", "/docker/abc", None),  # a neighbour
        ("0::/../other", "/", None),  # outside of its name space
        ("0::/a:b", "/", "/sys/fs/cgroup/a:b"),
        ("0::/with space", "/with\\040space", "/sys/fs/cgroup"),
        ("", "/", None),
    ],
)
def test_a_part_of_a_hierarchy(groups: str, root: str, folder: str | None) -> None:
    """What is not below the mount cannot be reached."""
    found = own_groups(groups, f"29 23 0:26 {root} /sys/fs/cgroup rw - cgroup2 cgroup rw")
    assert [str(each.folder) for each in found] == ([] if folder is None else [folder])


@pytest.fixture
def own() -> Iterator[Path]:
    """A group of version 2, with a controller that its groups may use."""
    if os.geteuid() != 0 or not (UNIFIED / "cgroup.controllers").exists():
        pytest.skip("needs root, and version 2 beside version 1")
    if CONTROLLER not in (UNIFIED / "cgroup.controllers").read_text().split():
        pytest.skip(f"{CONTROLLER} is not free for version 2")
    was_enabled = CONTROLLER in (UNIFIED / "cgroup.subtree_control").read_text().split()
    (UNIFIED / "cgroup.subtree_control").write_text(f"+{CONTROLLER}")
    folder = UNIFIED / f"fastflow-test-{uuid4()}"
    folder.mkdir()
    yield folder
    for each in (folder / LEAF, folder, UNIFIED / TOP):
        with suppress(FileNotFoundError):
            each.rmdir()
    if not was_enabled:
        (UNIFIED / "cgroup.subtree_control").write_text(f"-{CONTROLLER}")


def prepare(own: Path, *, user: int = 0, others: int = 0) -> tuple[str, str]:
    """Return the folder that a runner in *own* gets, or the refusal; and the group that it is in afterwards."""
    command = [sys.executable, "-c", PREPARE, str(own), str(UNIFIED), str(user), str(others)]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    folder, group = json.loads(told.stdout)
    return folder, group


def test_a_runner_alone_moves_into_a_leaf(own: Path) -> None:
    """Then its group may have groups with controllers; the next runner finds it so, inside the leaf and beside it."""
    leaf = f"/{own.name}/{LEAF}"
    assert prepare(own) == (str(own), leaf)
    assert CONTROLLER in (own / "cgroup.subtree_control").read_text().split()
    assert prepare(own / LEAF) == (str(own), leaf)


def test_a_delegated_group_is_emptied(own: Path) -> None:
    """Under ``fastflow up`` the other services are in it too."""
    os.setxattr(own, "user.delegate", b"1")
    assert prepare(own, others=3) == (str(own), f"/{own.name}/{LEAF}")


def test_a_group_that_others_are_in_is_left_alone(own: Path) -> None:
    """Root takes one at the top instead, as in a login session."""
    assert prepare(own, others=1) == (str(UNIFIED / TOP), f"/{own.name}")
    assert not (own / LEAF).exists()


def test_a_user_moves_into_a_leaf_of_a_group_delegated_to_it(own: Path) -> None:
    """What systemd gives with ``User=`` and ``Delegate=yes``; without, or with others in it, nothing changes."""
    user = 65532
    assert prepare(own, user=user) == ("Permission denied", f"/{own.name}")
    for each in (own, own / "cgroup.procs", own / "cgroup.subtree_control"):
        os.chown(each, user, user)
    assert prepare(own, user=user, others=1) == ("Device or resource busy", f"/{own.name}")
    assert prepare(own, user=user) == (str(own), f"/{own.name}/{LEAF}")


def test_a_group_of_version_2_is_killed_and_removed(own: Path) -> None:
    """By the kernel's own file, with processes that ignore signals."""
    cgroup = Cgroup("ff-test", {CONTROLLER: GroupPlace(own, 2)})
    cgroup.make(None, None, 10)
    with subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600"]) as process:
        cgroup.join(process.pid)
        assert str(process.pid) in (own / "ff-test" / "cgroup.procs").read_text().split()
        asyncio.run(cgroup.remove())
        assert process.wait(timeout=60) == -9
    assert not (own / "ff-test").exists()


def test_the_files_of_limits_in_version_2(tmp_path: Path) -> None:
    """On plain files, which take everything: names and values only. The kernel here may have them in version 1."""
    files = ("memory.max", "memory.swap.max", "cpu.max", "pids.max", "memory.events")
    for name in files:
        (tmp_path / name).write_text("")
    memory = Memory(tmp_path, 2)
    assert memory.counts_swap()
    assert memory.oom_kills() == 0
    memory.write(10**8)
    write_cores(tmp_path, 2, 0.25)
    write_processes(tmp_path, 512)
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 0\n")
    assert [(tmp_path / name).read_text() for name in files[:4]] == ["100000000", "0", "25000 100000", "512"]
    assert memory.oom_kills() == 2
