"""Makes directories read-only for this process and all that it starts, without touching a file. Linux only.

Standard library only.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = 0x1, 0x20, 0x1000, 0x4000, 0x80000


def protect(directories: Sequence[str]) -> bool:
    """Mount *directories* read-only in a mount namespace of this process's own.

    Only root can, and only where it may make mounts; modes would not stop root, and stop everybody else.

    Returns:
        Whether they are read-only now.
    """
    existing = [path for path in directories if os.path.isdir(path)]
    if not existing or os.geteuid() != 0:
        return False
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare") or libc.unshare(_CLONE_NEWNS) != 0:
        return False
    # What the host mounts later still arrives here; nothing goes back.
    if not _mount(libc, b"none", b"/", _MS_REC | _MS_SLAVE):
        return False
    bound = [_bind(libc, os.fsencode(path)) for path in existing]
    return all(bound)


def _bind(libc: Any, path: bytes) -> bool:
    if not _mount(libc, path, path, _MS_BIND):
        return False
    # The flags of the mount below (nodev, nosuid, noexec, the times) cannot be dropped in some containers.
    flags = os.statvfs(path).f_flag & (os.ST_NODEV | os.ST_NOSUID | os.ST_NOEXEC | os.ST_NOATIME | os.ST_RELATIME)
    kept = sum(bit for flag, bit in _KEPT.items() if flags & flag)
    return _mount(libc, b"none", path, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | kept)


_KEPT = {os.ST_NOSUID: 0x2, os.ST_NODEV: 0x4, os.ST_NOEXEC: 0x8, os.ST_NOATIME: 0x400, os.ST_RELATIME: 0x200000}


def _mount(libc: Any, source: bytes, target: bytes, flags: int) -> bool:
    import ctypes

    return bool(libc.mount(source, target, None, ctypes.c_ulong(flags), None) == 0)
