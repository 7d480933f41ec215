"""What a runner says where it may not set limits: without rights, and where hierarchies cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

pytestmark = [
    pytest.mark.usefixtures("bwrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, and mount"),
]

DROP = """
import sys
os.setgroups([]); os.setresgid(65532, 65532, 65532); os.setresuid(65532, 65532, 65532)
sys.executable = "/usr/bin/python3"
"""
"""Later than the imports: this user may not see our interpreter, but the system's."""
FIND = """
import json, os
from fastflow_runner.sandbox.bubble.cgroups import find_cgroups
{drop}
found = find_cgroups()
name = f"ff-test-{{os.getpid()}}"
cgroup = found.make(name, 10**8, 1.0, 10)
cgroup.limit(10**8, 2.0)
cgroup.kill()
print(json.dumps([*found.unenforced, found.get(name).oom_killed()]))
assert cgroup.try_remove()
"""
APART = ("unshare", "--mount", "sh", "-ec")
READ_ONLY = "for each in $(findmnt -rno TARGET | grep ^/sys/fs/cgroup); do mount -o remount,bind,ro $each; done"
LOOKALIKES = """
while IFS=: read -r number controller path; do
    [ "$number:$(echo /sys/fs/cgroup/unified*)" = 0:/sys/fs/cgroup/unified ] && continue
    [ ! -e "/sys/fs/cgroup/$controller$path" ] || mount -t tmpfs none "/sys/fs/cgroup/$controller$path"
done < /proc/self/cgroup;"""
MEMORY = (
    "The memory limit is watched five times a second: a script that grows faster exceeds it for a moment, and a "
    "hostile one for good, because files in memory that have no name are not counted"
)
PROCESSES = "The number of processes is not limited"
PROCESSOR = "The processor limit is not enforced"


def answer(source: str, *, drop: str = "", prefix: Sequence[str] = ()) -> str:
    told = subprocess.run(
        [*prefix, sys.executable, "-c", source.format(drop=drop)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert told.stderr == ""
    return told.stdout


def test_a_user_without_rights_is_told_each_limit_that_is_not_kept() -> None:
    """One sentence each, with the reason and what to do; and sandboxes work without a group."""
    *unenforced, oom_killed = json.loads(answer(FIND, drop=DROP))
    assert [each.partition(" (")[0] for each in unenforced] == [MEMORY, PROCESSOR]
    for each in unenforced:
        assert "Permission denied: /sys/fs/cgroup" in each or "holds other processes" in each
        is_v1 = "/sys/fs/cgroup/" in each and os.path.exists("/sys/fs/cgroup/memory")
        remedy = "systemd.unified_cgroup_hierarchy=1)." if is_v1 else "with Delegate=yes (deploy/systemd), or as root."
        assert each.endswith(remedy)
    assert oom_killed is False


def test_a_count_of_processes_that_is_not_kept_is_told() -> None:
    """The runner tries it. Where no name space of users can be made, as in an old kernel, nothing is promised."""
    without = "import ctypes; ctypes.CDLL(None).unshare(0x10000000)"
    without += "; open('/proc/sys/user/max_user_namespaces', 'w').write('0')"
    *unenforced, _ = json.loads(answer(FIND, drop=without))
    assert [each.partition(" (")[0] for each in unenforced] == [MEMORY, PROCESSOR, PROCESSES]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            "for each in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,bind,ro $each || :; done",
            "Read-only file",
        ),
        ("umount --recursive --lazy /sys/fs/cgroup", "no control group of this process has the controller"),
        ("mount -t tmpfs none /sys/fs/cgroup", "No such file or directory: /sys/fs/cgroup"),
    ],
    ids=["read-only", "not mounted", "hidden"],
)
def test_hierarchies_that_cannot_be_used_are_a_reason(change: str, reason: str) -> None:
    """As in containers: read-only, absent, or below another file system. Root is not told to become root."""
    *unenforced, _ = json.loads(
        answer(FIND, prefix=["unshare", "--mount", "sh", "-ec", f'{change} 2>&-; exec "$@"', "sh"])
    )
    assert [each.partition(" (")[0] for each in unenforced] == [MEMORY, PROCESSOR]
    assert all(reason in each for each in unenforced), unenforced
    assert not any("as root" in each for each in unenforced)


def test_a_runner_with_real_time_priority_is_told_what_that_costs() -> None:
    """In version 1, a kernel with groups of real-time processes takes none into a new group. That ends nothing."""
    *unenforced, _ = json.loads(answer(FIND, prefix=["chrt", "--fifo", "1"]))
    assert all(PROCESSOR in each and "takes no process with real-time priority" in each for each in unenforced)


def test_what_only_looks_like_a_control_group_is_refused() -> None:
    """A folder of another file system in its place: no limit is written into it."""
    *unenforced, _ = json.loads(answer(FIND, prefix=[*APART, f'{LOOKALIKES} exec "$@"', "sh"]))
    assert [each.partition(" (")[0] for each in unenforced] == [MEMORY, PROCESSOR]
