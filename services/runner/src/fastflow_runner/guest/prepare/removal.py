"""Removes and measures directories that foreign code has filled: of any depth, with any names. I/O.

A path may be longer than the system takes, and a recursion deeper than Python allows. So it works with one open
directory at a time and goes up by ``..``.

Standard library only.
"""

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_FLAGS_GET, _FLAGS_SET = 0x80086601, 0x40086602
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: str) -> int:
    """Remove a directory with all that is in it, or a file. What is already gone is removed.

    No process may be changing it. What cannot be removed does not keep the rest.

    Returns:
        The bytes freed: 0 for a file with other names.

    Raises:
        OSError: Something is left; it says the first reason.
    """
    freed, failure = 0, None
    for folder, name, status in _walk(path, opens=True):
        try:
            if stat.S_ISDIR(status.st_mode):
                _insist(os.rmdir, name, folder)
            else:
                _insist(os.unlink, name, folder)
                freed += status.st_blocks * 512 if status.st_nlink == 1 else 0
        except FileNotFoundError:
            continue
        except OSError as error:
            # A directory is not empty because something in it stays: that says why.
            failure = failure or error
    if failure is not None:
        raise failure
    return freed


def share_bytes(path: str) -> float:
    """Return the bytes that a directory takes on disk. A file with several names counts as its share.

    Others may be changing it. What they move meanwhile may be missing in the sum.
    """
    total = 0.0
    with suppress(OSError):
        for _, _, status in _walk(path, opens=False):
            if not stat.S_ISDIR(status.st_mode):
                total += status.st_blocks * 512 / status.st_nlink
    return total


def _walk(path: str, *, opens: bool) -> "Iterator[tuple[int, str, os.stat_result]]":
    """Yield what *path* holds, and last itself: a directory after what is in it.

    Each comes as the descriptor of its directory, its name, and its status. What cannot be read is passed over.

    Args:
        opens: Open directories that their mode closes.
    """
    above, name = os.path.split(os.path.abspath(path))
    try:
        here = os.open(above, _FOLDER)
    except FileNotFoundError:
        return
    # For each directory on the way down: its name, its status, and the names that are left beside it.
    way: list[tuple[str, os.stat_result, list[str]]] = []
    names = [name]
    try:
        while True:
            while names:
                name = names.pop()
                try:
                    status = os.stat(name, dir_fd=here, follow_symlinks=False)
                except OSError:
                    continue  # gone by now
                below = _open(name, here, opens=opens) if stat.S_ISDIR(status.st_mode) else -1
                if below < 0:
                    yield here, name, status
                    continue
                way.append((name, status, names))
                os.close(here)
                here, names = below, os.listdir(below)
            if not way:
                return
            name, status, names = way.pop()
            below, here = here, _climb(here, above, way)
            os.close(below)
            yield here, name, status
    finally:
        os.close(here)


def _climb(below: int, above: str, way: "Sequence[tuple[str, os.stat_result, object]]") -> int:
    """Open the directory at the end of *way*, from one that was in it.

    That one may have been moved meanwhile, as by uv in its cache: then go down again.

    Raises:
        OSError: The directory itself has been moved.
    """
    here = os.open("..", _FOLDER, dir_fd=below)
    expected = way[-1][1] if way else os.stat(above)
    if os.path.samestat(os.fstat(here), expected):
        return here
    os.close(here)
    here = os.open(above, _FOLDER)
    for name, _, _ in way:
        upper = here
        try:
            here = os.open(name, _FOLDER, dir_fd=upper)
        finally:
            os.close(upper)
    if not os.path.samestat(os.fstat(here), expected):
        os.close(here)
        raise OSError(errno.EBUSY, "a directory was moved while it was read")
    return here


def _open(name: str, folder: int, *, opens: bool) -> int:
    """Open a directory in *folder*; -1 if that is impossible."""
    try:
        if opens:
            below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                if stat.S_IMODE(os.fstat(below).st_mode) & 0o700 != 0o700:
                    os.chmod(f"/proc/self/fd/{below}", 0o700)
            except OSError:
                pass  # another user's; perhaps it is open enough
            finally:
                os.close(below)
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError:
        return -1


def _insist(act: "Callable[..., None]", name: str, folder: int) -> None:
    """Remove a name, also where a script of root has made the directory or the file immutable."""
    try:
        act(name, dir_fd=folder)
    except PermissionError:
        _make_mutable(folder)
        try:
            held = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            pass  # a link, or not ours
        else:
            _make_mutable(held)
            os.close(held)
        act(name, dir_fd=folder)


def _make_mutable(file: int) -> None:
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(file, _FLAGS_GET, bytes(struct.calcsize("l"))))
        if flags & (_IMMUTABLE | _APPEND_ONLY):
            fcntl.ioctl(file, _FLAGS_SET, struct.pack("l", flags & ~(_IMMUTABLE | _APPEND_ONLY)))
    except OSError:
        pass  # a file system without such flags, or only root may
