"""The store's directories, links and locks. I/O; ``steps`` and ``collect`` decide what to make or remove.

Standard library only.
"""

import fcntl
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager, suppress

from . import removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ENVS, TREES, PYTHON, CACHE, TRASH = "envs", "trees", "python", "cache", "trash"
LOCKS = "locks"
"""One byte for each environment, which runs share. All may read it."""
WORK = "work"
"""The locks of the store's owner. Nobody may read it: who cannot write the store cannot lock it either."""
BUILDS = "builds"
"""One byte for each build at work. Nobody may read it, and every user may write it."""
_MODES = {LOCKS: 0o644, WORK: 0o200, BUILDS: 0o222}
PARTS = (ENVS, TREES, PYTHON, CACHE, TRASH, *_MODES)
"""All that ``lay_out`` makes."""

_BYTES = 1 << 60
_COLLECTING = 0
_AT_WORK = 1
_VERSION = re.compile(r"\d+(\.\d+)*[0-9a-z.+]{0,20}")
_CONFIGURATION_BYTES_MAX = 64 * 1024


def lock_byte(key: str) -> int:
    """Return the byte of ``locks`` for an environment. It does no harm if two keys share one."""
    return 2 + int(key[:15], 16)


class Store:
    """The store at a path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.trees = os.path.join(path, TREES)
        self.envs = os.path.join(path, ENVS)
        self.python = os.path.join(path, PYTHON)
        self.cache = os.path.join(path, CACHE)
        self.trash = os.path.join(path, TRASH)
        self._open: dict[str, int] = {}

    def lay_out(self) -> None:
        """Create what is missing. Only the store's owner can."""
        private = ((self.cache, 0o700), (self.trash, 0o700))
        for directory, mode in ((self.envs, 0o755), (self.python, 0o755), (self.trees, 0o1777), *private):
            os.makedirs(directory, exist_ok=True)
            if stat.S_IMODE(os.stat(directory).st_mode) != mode:
                os.chmod(directory, mode)
        for name, mode in _MODES.items():
            file = os.open(os.path.join(self.path, name), os.O_WRONLY | os.O_CREAT, mode)
            os.fchmod(file, mode)
            os.close(file)

    def tree(self, name: str) -> str:
        if not name.isalnum():
            raise SystemExit(f"{name!r} is not the name of a tree.")
        return os.path.join(self.trees, name)

    def env(self, key: str) -> str:
        if not is_key(key):
            raise SystemExit(f"{key!r} is not the key of an environment.")
        return os.path.join(self.envs, key)

    def has(self, key: str) -> bool:
        """Whether the environment exists and leads to an interpreter."""
        return os.path.exists(os.path.join(self.env(key), "bin", "python"))

    def version(self, key: str) -> str:
        """Return the version of an environment's interpreter; "" if it is not known."""
        return _version(self.env(key))

    def tree_version(self, tree: str) -> str:
        """Return the version of a tree's interpreter; "" if it is not known."""
        return _version(self.tree(tree))

    def links(self) -> "list[str]":
        """Return the keys of all links, sound or not."""
        names = os.listdir(self.envs) if os.path.isdir(self.envs) else []
        return [name for name in names if is_key(name)]

    def environments(self) -> "list[str]":
        """Return the keys of all existing environments."""
        return [key for key in self.links() if self.has(key)]

    def check(self, tree: str, owner: int) -> None:
        """Refuse a tree that a user other than its builder has put there."""
        status = os.lstat(self.tree(tree))
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner:
            raise SystemExit(f"the tree {tree} does not belong to its builder; the environment is refused.")

    def link(self, key: str, tree: str) -> None:
        """Make *tree* the environment *key*, unless a sound one exists by now."""
        target = os.path.join(os.pardir, "trees", os.path.basename(self.tree(tree)))
        try:
            os.symlink(target, self.env(key))
        except FileExistsError:
            if self.has(key):
                self.discard(tree)
                return
            # A link whose tree or interpreter is gone. If two preparers repair it at once, both link a sound tree.
            aside = f"{self.env(key)}.{os.path.basename(target)}"
            os.symlink(target, aside)
            os.replace(aside, self.env(key))

    def discard(self, tree: str) -> None:
        """Remove a tree of this user. What resists is left to the collector."""
        with suppress(OSError):
            removal.remove(self.tree(tree))

    def note_use(self, key: str, idle_s: float) -> None:
        """Record that an environment was used *idle_s* seconds ago, unless it was used later."""
        used_at = time.time() - idle_s
        try:
            if os.lstat(self.env(key)).st_mtime < used_at:
                os.utime(self.env(key), (used_at, used_at), follow_symlinks=False)
        except FileNotFoundError:
            pass  # collected in the meantime

    # Locks. They belong to the process and end with it; closing a file once would release all of its locks.
    # All are exclusive, so they need a file that is open for writing: runs see the store read-only.

    def begin_work(self) -> None:
        """Say that this preparer makes something, until it ends. Waits while a collector keeps preparers out."""
        fcntl.lockf(self._file(WORK), fcntl.LOCK_EX, 1, _AT_WORK + secrets.randbelow(_BYTES))

    def begin_build(self) -> None:
        """Say that this build is at work. It never waits: another build may hold every byte.

        A build that cannot say so is protected by the age of its tree.
        """
        with suppress(OSError):
            fcntl.lockf(self._file(BUILDS), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, secrets.randbelow(_BYTES))

    def begin_collection(self) -> bool:
        """Become the one collector, until this process ends. Returns False if there is another one."""
        return self._seize(WORK, _COLLECTING)

    @contextmanager
    def nobody_works(self) -> "Iterator[bool]":
        """Keep preparers out for the block. It gets False if one is at work; then none is kept out."""
        alone = self._seize(WORK, _AT_WORK, _BYTES)
        try:
            yield alone and self._seize(BUILDS, 0, _BYTES)
        finally:
            if alone:
                fcntl.lockf(self._file(BUILDS), fcntl.LOCK_UN, _BYTES, 0)
                fcntl.lockf(self._file(WORK), fcntl.LOCK_UN, _BYTES, _AT_WORK)

    @contextmanager
    def unused(self, key: str) -> "Iterator[bool]":
        """Keep runs from beginning with an environment for the block. It gets False if a run uses it."""
        free = self._seize(LOCKS, lock_byte(key))
        try:
            yield free
        finally:
            if free:
                fcntl.lockf(self._file(LOCKS), fcntl.LOCK_UN, 1, lock_byte(key))

    def _seize(self, name: str, start: int, size: int = 1) -> bool:
        try:
            fcntl.lockf(self._file(name), fcntl.LOCK_EX | fcntl.LOCK_NB, size, start)
        except OSError:  # also on file systems without locks, where exclusive use is never certain
            return False
        return True

    def _file(self, name: str) -> int:
        if name not in self._open:
            self._open[name] = os.open(os.path.join(self.path, name), os.O_WRONLY)
        return self._open[name]


def is_key(name: str) -> bool:
    return bool(name) and set(name) <= set("0123456789abcdef")


def _version(root: str) -> str:
    """Read the version from the virtual environment at *root*, which a build may have filled with anything."""
    fields = dict(line.replace(" ", "").strip().partition("=")[::2] for line in _configuration(root).splitlines())
    version = fields.get("version_info", fields.get("version", ""))
    if version.count(".") < 2:  # uv's interpreters of a minor version move to its newest release
        release = re.search(r"-(\d+\.\d+\.\d+)", os.path.realpath(os.path.join(root, "bin", "python")))
        version = release[1] if release else version
    return version if _VERSION.fullmatch(version) else ""


def _configuration(root: str) -> str:
    """Return the text of ``pyvenv.cfg``. Never waits, as for a pipe, and never reads more than a bound."""
    try:
        file = os.open(os.path.join(root, "pyvenv.cfg"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        is_file = stat.S_ISREG(os.fstat(file).st_mode)
        return os.read(file, _CONFIGURATION_BYTES_MAX).decode("utf-8", "replace") if is_file else ""
    finally:
        os.close(file)
