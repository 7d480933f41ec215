"""A bundle is unpacked as it was packed, and nothing else is."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder.bundle import BundleRefused, File, pack
from fastflow_runner.guest.supervisor.failure import SetupFailed, safe_name
from fastflow_runner.guest.supervisor.intake import unpack


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
    """Content, folders, empty ones as well, and the executable bit; long names too."""
    long = "/".join(["folder"] * 30) + "/ä.py"
    unpack(
        io.BytesIO(
            pack(
                {"main.py": File(b"1"), "bin/x": File(b"2", executable=True), long: File(b"3"), "out/": File(b"")}
            ).data
        ),
        str(tmp_path),
    )
    assert list((tmp_path / "out").iterdir()) == []
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
        member("../folder", tarfile.DIRTYPE),
        member("sparse", tarfile.GNUTYPE_SPARSE),
    ],
    ids=lambda info: f"{info.type!r}-{info.name}",
)
def test_anything_but_a_safe_file_or_folder_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    """Links, devices, and paths that lead outside; nothing appears outside."""
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


PATHS = st.lists(st.text("ab.ä-_ ", min_size=1, max_size=120), min_size=1, max_size=3).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(PATHS, st.tuples(st.binary(max_size=1100), st.booleans()), max_size=5))
def test_any_folder_arrives_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, bool]]
) -> None:
    """Names that are short and names that need a record of their own, files that fill blocks and files that do not."""
    target, wanted = tmp_path_factory.mktemp("unpacked"), {path: File(*file) for path, file in files.items()}
    try:
        bundle = pack(wanted)
    except BundleRefused:
        return
    spool = io.BytesIO(b"a file before it" + bundle.data)
    spool.seek(len(b"a file before it"))
    unpack(spool, str(target))
    found = {
        str(path.relative_to(target)): File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in target.rglob("*")
        if path.is_file()
    }
    assert found == wanted


@pytest.mark.parametrize("cut", [512, 600, 1023])
def test_a_tar_that_was_cut_is_refused(tmp_path: Path, cut: int) -> None:
    """In the content of a file."""
    whole = tar_of(member("main.py"), tarfile.TarInfo("more.py")).getvalue()
    info = tarfile.TarInfo("long.py")
    info.size = 600
    data = whole[:1024] + tar_of(info).getvalue()
    with pytest.raises(SetupFailed):
        unpack(io.BytesIO(data[: 1024 + cut]), str(tmp_path))


@pytest.mark.parametrize(
    ("at", "byte"), [(0, b"\xff"), (124, b"9"), (148, b"7"), (156, b"x"), (156, b"S"), (345, b"p")]
)
def test_a_header_that_was_changed_is_refused(tmp_path: Path, at: int, byte: bytes) -> None:
    """Its checksum no longer fits."""
    data = bytearray(tar_of(member("main.py")).getvalue())
    data[at : at + 1] = byte
    with pytest.raises(SetupFailed):
        unpack(io.BytesIO(bytes(data)), str(tmp_path))
