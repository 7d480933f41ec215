"""A pipeline's folder as one deterministic tar, named by its hash. Pure: bytes in, bytes out.

This module has the layout of a bundle, the rules for paths and sizes, the writer and the reader; no file system, git
or object store. The reader iterates over members and checks limits; nothing calls ``extractall``.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from fastflow_contracts.errors import FastFlowError

FILES_MAX: Final = 2_000
FILE_BYTES_MAX: Final = 20 * 1024 * 1024
TOTAL_BYTES_MAX: Final = 50 * 1024 * 1024
PATH_BYTES_MAX: Final = 512
REFUSALS_MAX: Final = 20
# Headers, padding and long-name records of one file take less than this.
_OVERHEAD_BYTES_MAX: Final = 4_096
BUNDLE_BYTES_MAX: Final = TOTAL_BYTES_MAX + (FILES_MAX + 3) * _OVERHEAD_BYTES_MAX


class File(msgspec.Struct, frozen=True):
    """A regular file: content and executable flag."""

    data: bytes
    executable: bool = False


class Bundle(msgspec.Struct, frozen=True):
    """A tar and its name: the lower-case hex SHA-256 of its bytes."""

    sha256: str
    data: bytes


class BundleEntry(msgspec.Struct, frozen=True):
    """One entry of a bundle's listing."""

    path: str
    size_bytes: int
    executable: bool


class Refusal(msgspec.Struct, frozen=True):
    """A reason why a folder cannot be bundled. ``path`` is relative to the folder; empty means the whole folder."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class BundleRefused(FastFlowError):
    """The files cannot become a bundle, or the bytes are not a bundle."""

    def __init__(self, refusals: tuple[Refusal, ...]) -> None:
        super().__init__("; ".join(map(str, refusals)))
        self.refusals = refusals


def refusals(sizes_bytes: Mapping[str, int]) -> tuple[Refusal, ...]:
    """Return the reasons against a bundle of these files, at most ``REFUSALS_MAX``; empty if there are none.

    Needs no content, so that a source can check before it reads.

    Args:
        sizes_bytes: Size of each file by relative path.
    """
    found: list[Refusal] = []
    if len(sizes_bytes) > FILES_MAX:
        found.append(Refusal("", f"more than {FILES_MAX:,} files; keep data and dependencies out of the folder"))
    total_bytes = sum(sizes_bytes.values())
    if total_bytes > TOTAL_BYTES_MAX:
        found.append(Refusal("", f"{_mb(total_bytes)} in all; at most {_mb(TOTAL_BYTES_MAX)} are allowed"))
    seen: dict[str, str] = {}
    for path in sorted(sizes_bytes):
        if len(found) >= REFUSALS_MAX:
            break
        reason = unsafe(path)
        if reason is None and sizes_bytes[path] > FILE_BYTES_MAX:
            reason = f"{_mb(sizes_bytes[path])}; a file may have at most {_mb(FILE_BYTES_MAX)}"
        if reason is None:
            twin = seen.setdefault(_folded(path), path)
            if twin != path:
                reason = f"differs only in case or accents' spelling from {twin!r}; rename one of them"
        if reason is not None:
            found.append(Refusal(shown(path), reason))
    if not found:
        found.extend(
            Refusal(shown(path), f"is inside {shown(seen[parent])!r}, which is a file; rename one of them")
            for path in sorted(sizes_bytes)
            for parent in _parents(_folded(path))
            if parent in seen
        )
    return tuple(found[:REFUSALS_MAX])


def unsafe(path: str) -> str | None:
    """Return why *path* is unsafe as a relative path in a file system, tar or log; None if it is safe."""
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in path):
        return "has a control character or is not UTF-8; rename it"
    if len(path.encode()) > PATH_BYTES_MAX:
        return f"is longer than {PATH_BYTES_MAX} bytes; shorten it"
    if "\\" in path:
        return "has a backslash; rename it"
    if path.startswith("/"):
        return "is absolute; paths are relative to the folder"
    if any(part in ("", ".", "..") for part in path.split("/")):
        return "has an empty, '.' or '..' part; paths stay inside the folder"
    return None


def shown(path: str) -> str:
    """Return *path* for a message: control characters and broken UTF-8 escaped, length limited."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)
    return printable if len(printable) <= PATH_BYTES_MAX else printable[:PATH_BYTES_MAX] + "…"


def pack(files: Mapping[str, File]) -> Bundle:
    """Pack files by relative path into a bundle. Equal files give equal bytes, in any order.

    Raises:
        BundleRefused: With every reason, up to ``REFUSALS_MAX``.
    """
    if found := refusals({path: len(file.data) for path, file in files.items()}):
        raise BundleRefused(found)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        for path in sorted(files):
            # Everything else keeps tarfile's fixed defaults: mtime, uid and gid 0, no owner names.
            info = tarfile.TarInfo(path)
            info.size = len(files[path].data)
            info.mode = 0o755 if files[path].executable else 0o644
            tar.addfile(info, io.BytesIO(files[path].data))
    data = out.getvalue()
    return Bundle(sha256=sha256_of(data), data=data)


def sha256_of(data: bytes) -> str:
    """Return the name of a bundle with these bytes."""
    return hashlib.sha256(data).hexdigest()


def verify(data: bytes, sha256: str) -> None:
    """Check that *data* is the bundle named *sha256*.

    Raises:
        BundleRefused: The hash differs.
    """
    if (actual := sha256_of(data)) != sha256:
        raise BundleRefused((Refusal("", f"the bundle's hash is {actual}, not {sha256}; fetch it again"),))


def listing(data: bytes) -> tuple[BundleEntry, ...]:
    """List the entries of a bundle, in its order.

    Raises:
        BundleRefused: The bytes are not a bundle.
    """
    return tuple(BundleEntry(info.name, info.size, bool(info.mode & 0o100)) for _, info in _members(data))


def unpack(data: bytes) -> dict[str, File]:
    """Return all files of a bundle by path: the inverse of ``pack``.

    Raises:
        BundleRefused: The bytes are not a bundle.
    """
    return {info.name: File(_content(tar, info), bool(info.mode & 0o100)) for tar, info in _members(data)}


def read_file(data: bytes, path: str) -> bytes:
    """Return the content of one file of a bundle.

    Raises:
        KeyError: The bundle has no such file.
        BundleRefused: The bytes are not a bundle.
    """
    for tar, info in _members(data):
        if info.name == path:
            return _content(tar, info)
    raise KeyError(path)


def _members(data: bytes) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Yield every member, after the check that all are regular, safe and within the limits."""
    if len(data) > BUNDLE_BYTES_MAX:
        raise _no_bundle(f"it has more than {_mb(BUNDLE_BYTES_MAX)}")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as tar:
            members: list[tarfile.TarInfo] = []
            for info in tar:
                # A sparse member has the type of a regular file, but declares more bytes than it contains.
                if info.type != tarfile.REGTYPE or info.issparse():
                    raise _no_bundle("it holds something that is not a regular file")
                if info.size < 0 or info.offset_data + info.size > len(data) or len(members) == FILES_MAX:
                    raise _no_bundle("its members are larger than the archive says, or too many")
                members.append(info)
            sizes_bytes = {info.name: info.size for info in members}
            if len(sizes_bytes) != len(members):
                raise _no_bundle("a path occurs twice")
            if found := refusals(sizes_bytes):
                raise BundleRefused(found)
            for info in members:
                yield tar, info
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError) as error:
        raise _no_bundle("its tar cannot be read") from error


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    reader = tar.extractfile(info)
    assert reader is not None, "_members yields regular files only"
    return reader.read()


def _no_bundle(why: str) -> BundleRefused:
    return BundleRefused((Refusal("", f"these bytes are not a bundle: {why}; fetch or sync it again"),))


def _folded(path: str) -> str:
    """Equal for two paths that are one on a case-insensitive or normalising file system."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / (1024 * 1024):,.1f} MB"
