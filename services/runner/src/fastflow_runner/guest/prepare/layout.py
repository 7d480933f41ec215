"""The store's directories, links and locks. I/O; which of them are made or taken away is ``steps``' and ``collect``'s.

Standard library only.
"""

import fcntl
import os
import shutil
import stat
import time

AT_WORK = 0
"""The byte of ``locks`` that preparers share while they make something."""
COLLECTING = 1
"""The byte that one collector holds."""


def lock_byte(key: str) -> int:
    """The byte of ``locks`` that stands for an environment; two keys that share one do no harm."""
    return 2 + int(key[:15], 16)


class Store:
    """The store at a path."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.trees = os.path.join(path, "trees")
        self.envs = os.path.join(path, "envs")
        self.python = os.path.join(path, "python")
        self.cache = os.path.join(path, "cache")
        self.trash = os.path.join(path, "trash")
        self._locks = -1

    def lay_out(self) -> None:
        """Make what is missing. Only the store's owner can."""
        private = ((self.cache, 0o700), (self.trash, 0o700))
        for directory, mode in ((self.envs, 0o755), (self.python, 0o755), (self.trees, 0o1777), *private):
            os.makedirs(directory, exist_ok=True)
            if stat.S_IMODE(os.stat(directory).st_mode) != mode:
                os.chmod(directory, mode)
        os.close(os.open(os.path.join(self.path, "locks"), os.O_RDWR | os.O_CREAT, 0o644))

    def tree(self, name: str) -> str:
        if not name.isalnum():
            raise SystemExit(f"{name!r} is no name of a tree.")
        return os.path.join(self.trees, name)

    def env(self, key: str) -> str:
        if not is_key(key):
            raise SystemExit(f"{key!r} is no key of an environment.")
        return os.path.join(self.envs, key)

    def has(self, key: str) -> bool:
        """Whether the environment exists and leads to an interpreter."""
        return os.path.exists(os.path.join(self.env(key), "bin", "python"))

    def links(self) -> "list[str]":
        """The keys of all that are linked, sound or not."""
        names = os.listdir(self.envs) if os.path.isdir(self.envs) else []
        return [name for name in names if is_key(name)]

    def environments(self) -> "list[str]":
        """The keys of all that exist."""
        return [key for key in self.links() if self.has(key)]

    def check(self, tree: str, owner: int) -> None:
        """Refuse a tree that some other user than its builder has put there."""
        status = os.lstat(self.tree(tree))
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner:
            raise SystemExit(f"The tree {tree} is not its builder's; the environment is refused.")

    def link(self, key: str, tree: str) -> None:
        """Make *tree* the environment *key*, unless there is a sound one by now."""
        target = os.path.join(os.pardir, "trees", os.path.basename(self.tree(tree)))
        try:
            os.symlink(target, self.env(key))
        except FileExistsError:
            if self.has(key):
                self.discard(tree)
                return
            # A link whose tree or interpreter is gone. Two that repair it at once both link a sound tree.
            aside = f"{self.env(key)}.{os.path.basename(target)}"
            os.symlink(target, aside)
            os.replace(aside, self.env(key))

    def discard(self, tree: str) -> None:
        shutil.rmtree(self.tree(tree), ignore_errors=True)

    def note_use(self, key: str, idle_s: float) -> None:
        """Remember that an environment was used *idle_s* ago, unless it was used later."""
        used_at = time.time() - idle_s
        try:
            if os.lstat(self.env(key)).st_mtime < used_at:
                os.utime(self.env(key), (used_at, used_at), follow_symlinks=False)
        except FileNotFoundError:
            pass  # it was collected meanwhile

    # Locks. They are the process's and end with it; closing the file once would end them all.

    def share(self, byte: int) -> None:
        """Wait until nobody holds *byte* alone, then hold it with others."""
        fcntl.lockf(self._lock_file(os.O_RDONLY), fcntl.LOCK_SH, 1, byte)

    def seize(self, byte: int) -> bool:
        """Hold *byte* alone. False: somebody else holds it."""
        try:
            fcntl.lockf(self._lock_file(os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:  # also where there are no locks: then nobody can be sure to be alone
            return False
        return True

    def release(self, byte: int) -> None:
        fcntl.lockf(self._lock_file(os.O_RDWR), fcntl.LOCK_UN, 1, byte)

    def _lock_file(self, mode: int) -> int:
        if self._locks < 0:
            self._locks = os.open(os.path.join(self.path, "locks"), mode)
        return self._locks


def is_key(name: str) -> bool:
    return bool(name) and set(name) <= set("0123456789abcdef")
