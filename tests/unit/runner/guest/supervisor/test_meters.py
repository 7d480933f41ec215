"""CPU and memory, as read from a cgroup's files."""

from __future__ import annotations

from pathlib import Path

from fastflow_runner.guest.supervisor.meters import CgroupMeter


def test_usage_is_read_from_cgroup_version_1(tmp_path: Path) -> None:
    """Memory without the inactive file cache, time in nanoseconds, a huge number for no limit."""
    write(tmp_path / "memory/memory.limit_in_bytes", "9223372036854771712")
    write(tmp_path / "memory/memory.usage_in_bytes", "5000")
    write(tmp_path / "memory/memory.stat", "cache 7\nshmem 1\ntotal_inactive_file 1000\ntotal_shmem 700\n")
    write(tmp_path / "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    write(tmp_path / "cpuacct/cpuacct.usage", "1500000000\n")
    cgroup = CgroupMeter(str(tmp_path))
    assert cgroup.usable
    assert cgroup.memory_limit_bytes is None
    assert (cgroup.memory_bytes(), cgroup.cpu_s(), cgroup.oom_kills()) == (4000, 1.5, 3)
    assert cgroup.files_bytes() == 700


def test_usage_is_read_from_cgroup_version_2(tmp_path: Path) -> None:
    """The same from the files of the unified hierarchy."""
    write(tmp_path / "cgroup.controllers", "cpu memory pids")
    write(tmp_path / "memory.max", "268435456\n")
    write(tmp_path / "memory.current", "5000\n")
    write(tmp_path / "memory.stat", "anon 1\ninactive_file 1000\nshmem 700\n")
    write(tmp_path / "memory.events", "low 0\noom 2\noom_kill 1\n")
    write(tmp_path / "cpu.stat", "usage_usec 1500000\nuser_usec 1\n")
    cgroup = CgroupMeter(str(tmp_path))
    assert cgroup.usable
    assert cgroup.memory_limit_bytes == 268435456
    assert (cgroup.memory_bytes(), cgroup.cpu_s(), cgroup.oom_kills()) == (4000, 1.5, 1)
    assert cgroup.files_bytes() == 700
    write(tmp_path / "memory.max", "max\n")
    assert CgroupMeter(str(tmp_path)).memory_limit_bytes is None


def test_without_a_cgroup_usage_is_measured_otherwise(tmp_path: Path) -> None:
    """The caller learns that there are no such files."""
    assert not CgroupMeter(str(tmp_path)).usable


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
