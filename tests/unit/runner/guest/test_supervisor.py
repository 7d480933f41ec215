"""The supervisor's parts that need no process: unpacking a bundle, and reading a cgroup's files."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.bundle import File, pack
from fastflow_runner.guest.supervisor.intake import SetupFailed, safe_name, unpack
from fastflow_runner.guest.supervisor.meters import Cgroup


def tar_of(*members: tarfile.TarInfo) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    out.seek(0)
    return out


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_a_bundle_is_unpacked_as_it_was_packed(tmp_path: Path) -> None:
    """Content, folders and the executable bit; long names too."""
    long = "/".join(["folder"] * 30) + "/ä.py"
    unpack(
        io.BytesIO(pack({"main.py": File(b"1"), "bin/x": File(b"2", executable=True), long: File(b"3")}).data),
        str(tmp_path),
    )
    assert (tmp_path / "main.py").read_bytes() == b"1"
    assert (tmp_path / long).read_bytes() == b"3"
    assert (tmp_path / "bin/x").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "main.py").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("/etc/passwd"),
        member("a/../../outside"),
        member("a//b"),
        member("link", tarfile.SYMTYPE, "/etc"),
        member("link", tarfile.LNKTYPE, "main.py"),
        member("pipe", tarfile.FIFOTYPE),
        member("device", tarfile.CHRTYPE),
        member("folder", tarfile.DIRTYPE),
        member("sparse", tarfile.GNUTYPE_SPARSE),
    ],
    ids=lambda info: f"{info.type!r}-{info.name}",
)
def test_anything_but_a_safe_regular_file_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    """Links, devices, folders, and paths that lead outside; nothing appears outside."""
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(SetupFailed):
        unpack(tar_of(member("main.py"), bad), str(inside))
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_a_path_may_occur_once(tmp_path: Path) -> None:
    """A second member of the same name is refused."""
    with pytest.raises(OSError, match="exists"):
        unpack(tar_of(member("main.py"), member("main.py")), str(tmp_path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=2000))
def test_bytes_that_are_not_a_tar_are_refused(tmp_path: Path, rubbish: bytes) -> None:
    """They never write a file and never end the supervisor."""
    with suppress(SetupFailed):
        unpack(io.BytesIO(rubbish), str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\0b"])
def test_a_name_is_one_visible_part(name: str) -> None:
    """The folder and the files of a job are always beside each other."""
    with pytest.raises(SetupFailed):
        safe_name(name)


def test_usage_is_read_from_cgroup_version_1(tmp_path: Path) -> None:
    """Memory without the inactive file cache, time in nanoseconds, a huge number for no limit."""
    write(tmp_path / "memory/memory.limit_in_bytes", "9223372036854771712")
    write(tmp_path / "memory/memory.usage_in_bytes", "5000")
    write(tmp_path / "memory/memory.stat", "cache 7\ntotal_inactive_file 1000\n")
    write(tmp_path / "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    write(tmp_path / "cpuacct/cpuacct.usage", "1500000000\n")
    cgroup = Cgroup(str(tmp_path))
    assert cgroup.usable
    assert cgroup.memory_limit_bytes is None
    assert (cgroup.memory_bytes(), cgroup.cpu_s(), cgroup.oom_kills()) == (4000, 1.5, 3)


def test_usage_is_read_from_cgroup_version_2(tmp_path: Path) -> None:
    """The same from the files of the unified hierarchy."""
    write(tmp_path / "cgroup.controllers", "cpu memory pids")
    write(tmp_path / "memory.max", "268435456\n")
    write(tmp_path / "memory.current", "5000\n")
    write(tmp_path / "memory.stat", "anon 1\ninactive_file 1000\n")
    write(tmp_path / "memory.events", "low 0\noom 2\noom_kill 1\n")
    write(tmp_path / "cpu.stat", "usage_usec 1500000\nuser_usec 1\n")
    cgroup = Cgroup(str(tmp_path))
    assert cgroup.usable
    assert cgroup.memory_limit_bytes == 268435456
    assert (cgroup.memory_bytes(), cgroup.cpu_s(), cgroup.oom_kills()) == (4000, 1.5, 1)
    write(tmp_path / "memory.max", "max\n")
    assert Cgroup(str(tmp_path)).memory_limit_bytes is None


def test_without_a_cgroup_usage_is_measured_otherwise(tmp_path: Path) -> None:
    """The caller learns that there are no such files."""
    assert not Cgroup(str(tmp_path)).usable


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
