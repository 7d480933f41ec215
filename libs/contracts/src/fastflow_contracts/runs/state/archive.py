"""The files of one state as a compressed tar, named by its hash. Pure: bytes in, bytes out.

Paths, contents, modification times and whether a file is executable are kept; nothing else is.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable

import msgspec

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.runs.state.head import STATE_BYTES_MAX, STATE_FILES_MAX

_TAR_BYTES_MAX = STATE_BYTES_MAX + (STATE_FILES_MAX + 3) * 8_192
"""Headers, long names and padding of one file take less than 8 KiB."""


class StateFile(msgspec.Struct, frozen=True):
    """A regular file of a state."""

    path: str
    data: bytes
    is_executable: bool = False
    modified_ns: int = 0


class BadArchive(FastFlowError):
    """The bytes are no archive of a state."""


def pack(files: Iterable[StateFile], *, version: str) -> bytes:
    """Pack *files*. *version* makes the archive, and so its name, unlike any other."""
    out = io.BytesIO()
    labels = {"comment": version}
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT, pax_headers=labels) as tar:
        for file in files:
            info = tarfile.TarInfo(file.path)
            info.size = len(file.data)
            info.mode = 0o755 if file.is_executable else 0o644
            info.mtime = max(0, file.modified_ns) / 1e9
            tar.addfile(info, io.BytesIO(file.data))
    return out.getvalue()


def unpack(data: bytes) -> tuple[StateFile, ...]:
    """Return the files of an archive, by path. Raises ``BadArchive``."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
            plain = packed.read(_TAR_BYTES_MAX + 1)
        if len(plain) > _TAR_BYTES_MAX:
            raise BadArchive("it holds more than a state may")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", encoding="utf-8") as tar:
            files = [_file(tar, info) for info in tar]
    except (tarfile.TarError, zlib.error, ValueError, OverflowError, EOFError, OSError) as error:
        raise BadArchive("it cannot be read") from error
    return tuple(sorted(files, key=lambda file: file.path))


def name_of_archive(data: bytes) -> str:
    """Return the name under which an archive is stored."""
    return hashlib.sha256(data).hexdigest()


def digest(files: Iterable[StateFile]) -> str:
    """Return a hash of what makes two states differ: paths, contents, and which files are executable."""
    total = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        content = hashlib.sha256(file.data).hexdigest()
        total.update(f"{content} {file.is_executable:d} {len(file.path)} {file.path}\n".encode())
    return total.hexdigest()


def _file(tar: tarfile.TarFile, info: tarfile.TarInfo) -> StateFile:
    if info.type != tarfile.REGTYPE or info.issparse():
        raise BadArchive("it holds something that is not a regular file")
    reader = tar.extractfile(info)
    assert reader is not None, "it is a regular file"
    return StateFile(info.name, reader.read(), bool(info.mode & 0o100), round(info.mtime * 1e9))
