"""Lets a runner that is root show files from its private folders to sandboxes, which are another user. I/O.

Bubblewrap resolves the paths that it mounts as the sandbox's user, who can reach neither /root nor a private data
folder. So bubblewrap is started by a thread in a mount namespace of its own, where a private folder is covered by an
empty one, with only the wanted files in it, at their usual paths. Nothing of this is visible on the host, and it goes
with the thread: no mount is ever left over.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeVar

from fastflow_runner.sandbox.bubble.failures import NotReached

_Result = TypeVar("_Result")

_CLONE_NEWNS: Final = 0x20000
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_MS_SLAVE: Final = 0x80000
_PASSABLE: Final = (
    "run the service as a user that is not root, or move what it needs, see FASTFLOW_DATA_DIR, to a folder that "
    "everybody may pass"
)


class Stage:
    """Runs calls where *sources* can be reached by a user. Calls run one at a time.

    Sources are paths without symbolic links: what a link leads to is shown at its own path, and not at the link.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._shown: frozenset[tuple[str, int, int]] = frozenset()

    def call(self, function: Callable[[], _Result], sources: Iterable[str], user: int) -> _Result:
        """Call *function*, and return what it returns.

        Raises:
            NotReached: A source is missing, or cannot be made reachable. The next call tries again.
        """
        try:
            blocked = {source: folder for source in sources if (folder := blocking(source, user))}
            if not blocked or not can_be(user):
                return function()
            shown = frozenset((source, os.stat(source).st_dev, os.stat(source).st_ino) for source in blocked)
        except OSError as error:
            raise _not_shown(error) from error
        if self._thread is None or not shown <= self._shown:
            self.close()
            thread = ThreadPoolExecutor(1, thread_name_prefix="bubble-stage")
            try:
                thread.submit(_set, blocked).result()
            except BaseException as error:  # half covered: nothing may start there
                thread.shutdown()
                if isinstance(error, OSError):
                    raise _not_shown(error) from error
                raise
            self._thread, self._shown = thread, shown
        return self._thread.submit(function).result()

    def close(self) -> None:
        """End the thread. What it showed remains in the sandboxes that it started."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None


def can_be(user: int) -> bool:
    """Whether this process is root, and *user* exists where it runs: a container may have few users, or only one."""
    if os.geteuid() != 0:
        return False
    try:
        ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except OSError:
        return False
    return any(int(first) <= user < int(first) + int(count) for first, _, count in ranges)


def blocking(source: str, user: int) -> str | None:
    """Return the outermost folder on the way to *source* that *user* may not pass; None if there is none.

    Raises:
        OSError: The source is missing.
    """
    path = ""
    for name in os.path.dirname(os.path.realpath(source, strict=True)).split("/")[1:]:
        path = f"{path}/{name}"
        status = os.stat(path)
        wanted = stat.S_IXUSR if status.st_uid == user else stat.S_IXOTH
        if name and not status.st_mode & wanted:
            return path
    return None


def _not_shown(error: OSError) -> NotReached:
    return NotReached(f"{error.filename} cannot be shown to a sandbox ({error.strerror})", _PASSABLE)


def _set(blocked: dict[str, str]) -> None:
    """Cover the blocking folders in a mount namespace of this thread. Raises ``NotReached``, ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int) -> None:
        if result != 0:
            reason = os.strerror(ctypes.get_errno())
            folders = ", ".join(sorted(set(blocked.values())))
            raise NotReached(f"sandboxes cannot reach {folders} ({reason})", _PASSABLE)

    def mount(source: str, target: str, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
        check(libc.mount(os.fsencode(source), os.fsencode(target), kind, ctypes.c_ulong(flags), data))

    check(libc.unshare(_CLONE_NEWNS))
    mount("none", "/", None, _MS_REC | _MS_SLAVE)  # what the host mounts later still arrives; nothing goes back
    with ExitStack() as stack:
        opened = {}
        for source in sorted(map(os.path.realpath, blocked)):
            opened[source] = os.open(source, os.O_PATH | os.O_CLOEXEC)
            stack.callback(os.close, opened[source])
        for folder in sorted(set(blocked.values())):
            mount("tmpfs", folder, b"tmpfs", 0, b"size=1m,mode=755")
        for source, descriptor in opened.items():
            if stat.S_ISDIR(os.stat(descriptor).st_mode):
                os.makedirs(source, mode=0o755, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(source), mode=0o755, exist_ok=True)
                os.close(os.open(source, os.O_WRONLY | os.O_CREAT, 0o644))
            mount(f"/proc/self/fd/{descriptor}", source, None, _MS_BIND | _MS_REC)
