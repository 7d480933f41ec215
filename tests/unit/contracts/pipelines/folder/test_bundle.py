"""Bundles: equal files give equal bytes, and nothing unsafe goes in or comes out."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.bundle import BundleRefused, File

_part = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/\\"),
    min_size=1,
    max_size=60,
).filter(lambda part: part not in (".", ".."))
_path = st.lists(_part, min_size=1, max_size=3).map("/".join).filter(lambda path: bundle.unsafe(path) is None)
_file = st.builds(File, st.binary(max_size=700), st.booleans())
_files = st.dictionaries(_path, _file, max_size=6).filter(
    lambda files: not bundle.refusals({path: len(file.data) for path, file in files.items()})
)


@given(_files, st.randoms(use_true_random=False))
def test_equal_files_have_equal_hashes(files: dict[str, File], random: object) -> None:
    """The order in which files are found does not change a byte."""
    shuffled = list(files.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert bundle.pack(dict(shuffled)) == bundle.pack(files)


@given(_files)
def test_a_bundle_unpacks_to_the_packed_files(files: dict[str, File]) -> None:
    """The listing shows the same files without their content."""
    packed = bundle.pack(files)
    bundle.verify(packed.data, packed.sha256)
    assert bundle.unpack(packed.data) == files
    assert [(e.path, e.size_bytes, e.executable) for e in bundle.listing(packed.data)] == [
        (path, len(files[path].data), files[path].executable) for path in sorted(files)
    ]
    assert all(bundle.read_file(packed.data, path) == file.data for path, file in files.items())
    assert len(packed.data) <= bundle.BUNDLE_BYTES_MAX


@given(_files, _path, _file)
def test_other_files_have_another_hash(files: dict[str, File], path: str, file: File) -> None:
    """A changed or added file, or a changed mode, changes the name of the bundle."""
    changed = files | {path: file}
    if bundle.refusals({p: len(f.data) for p, f in changed.items()}):
        return
    assert (bundle.pack(changed).sha256 == bundle.pack(files).sha256) == (changed == files)


@given(_files, st.data())
def test_damaged_bytes_are_read_or_refused(files: dict[str, File], data: st.DataObject) -> None:
    """For any bytes, the reader returns files within the caps or raises ``BundleRefused``."""
    raw = bytearray(bundle.pack(files).data)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        got = bundle.unpack(cut)
    except BundleRefused:
        return
    assert sum(len(file.data) for file in got.values()) <= len(cut)


def test_the_layout_of_a_bundle_stays() -> None:
    """Another interpreter or a later release writes the same bytes."""
    files = {
        "main.py": File(b"print('hi')\n"),
        "bin/tool": File(b"#!/bin/sh\n", executable=True),
        "daten/übung \u4f60.csv": File(b"a;b\r\n1;2\r\n"),
        "x" * 120 + ".txt": File(b""),
    }
    packed = bundle.pack(files)
    assert packed.sha256 == "b487c9682020cc9af6c91bedcb3d77ed9e7f88c0bc6cadab8a8e5f0f710140b3"
    with tarfile.open(fileobj=io.BytesIO(packed.data)) as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in tar} == {(0, 0, 0, "", "")}
        assert {m.name: m.mode for m in tar}["bin/tool"] == 0o755


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("../up", "'..'"),
        ("a/../../up", "'..'"),
        ("/etc/passwd", "absolute"),
        ("a\\b", "backslash"),
        ("a//b", "empty"),
        ("", "empty"),
        ("./a", "'.'"),
        ("a\nb", "control"),
        ("a\x1b[2J", "control"),
        ("a\udcffb", "UTF-8"),
        ("é" * 300, "longer"),
    ],
)
def test_unsafe_paths_are_refused(path: str, word: str) -> None:
    """A path that could leave the folder, or confuse a terminal or a file system; the error says why."""
    with pytest.raises(BundleRefused, match=word) as caught:
        bundle.pack({path: File(b"")})
    str(caught.value).encode()
    assert caught.value.refusals[0].path.isprintable()


@pytest.mark.parametrize(
    "paths",
    [("Main.py", "main.py"), ("a/B", "A/b"), ("stra\u00dfe", "STRASSE"), ("\u00e9", "e\u0301"), ("a", "A/x")],
)
def test_paths_that_some_file_systems_cannot_tell_apart_are_refused(paths: tuple[str, str]) -> None:
    """Also a file whose folder is a file."""
    with pytest.raises(BundleRefused):
        bundle.pack(dict.fromkeys(paths, File(b"")))


def test_caps_are_checked_before_anything_is_read() -> None:
    """Number of files, size of one and size of all; each error has the limit."""
    assert bundle.refusals({f"{i:04}": 1 for i in range(bundle.FILES_MAX)}) == ()
    assert "2,000 files" in str(bundle.refusals({f"{i:04}": 1 for i in range(bundle.FILES_MAX + 1)})[0])
    assert bundle.refusals({"a": bundle.FILE_BYTES_MAX}) == ()
    (one,) = bundle.refusals({"data.bin": bundle.FILE_BYTES_MAX + 1})
    assert one.path == "data.bin"
    assert "20.0 MB" in one.reason
    (whole,) = bundle.refusals(dict.fromkeys("abc", 17 * 1024 * 1024))
    assert whole.path == ""
    assert "50.0 MB" in whole.reason


def _tar(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return out.getvalue()


def _info(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


@pytest.mark.parametrize(
    "data",
    [
        _tar(_info("a", tarfile.SYMTYPE, link="/etc/passwd")),
        _tar(_info("a", tarfile.LNKTYPE, link="b")),
        _tar(_info("a", tarfile.DIRTYPE)),
        _tar(_info("a", tarfile.FIFOTYPE)),
        _tar(_info("a", tarfile.CHRTYPE)),
        _tar(_info("../a")),
        _tar(_info("/a")),
        _tar(_info("a", size=1), _info("a", size=2)),
        _tar(_info("a"), _info("A")),
        _tar(*(_info(str(n)) for n in range(bundle.FILES_MAX + 1))),
        b"\x1f\x8b" + b"\0" * 600,
        b"",
    ],
)
def test_a_hostile_tar_is_refused(data: bytes) -> None:
    """Links, devices, paths outside, duplicates, floods and compression bombs."""
    for read in (bundle.listing, bundle.unpack, lambda d: bundle.read_file(d, "a")):
        with pytest.raises(BundleRefused):
            read(data)


def test_a_member_that_lies_about_its_size_is_refused() -> None:
    """A header that announces terabytes costs nothing."""
    raw = bytearray(_tar(_info("a", size=4)))
    raw[124:136] = b"77777777777\0"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    with pytest.raises(BundleRefused):
        bundle.unpack(bytes(raw))


def test_a_missing_file_and_a_wrong_hash_are_errors() -> None:
    """A file that is not there is a ``KeyError``; bytes with another hash are refused."""
    packed = bundle.pack({"a": File(b"1")})
    with pytest.raises(KeyError):
        bundle.read_file(packed.data, "b")
    with pytest.raises(BundleRefused, match="hash"):
        bundle.verify(packed.data + b"\0", packed.sha256)
