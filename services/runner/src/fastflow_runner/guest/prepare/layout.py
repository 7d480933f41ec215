"""The store's directories, links and locks. I/O; ``steps`` and ``collect`` decide what to make or remove.

Standard library only.
"""

import fcntl
import os
import re
import shutil
import stat
import time

AT_WORK = 0
"""The byte of ``locks`` that preparers share while they make something."""
COLLECTING = 1
"""The byte that a single collector holds."""


def lock_byte(key: str) -> int:
    """Return the byte of ``locks`` for an environment. It does no harm if two keys share one."""
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
        """Create what is missing. Only the store's owner can."""
        private = ((self.cache, 0o700), (self.trash, 0o700))
        for directory, mode in ((self.envs, 0o755), (self.python, 0o755), (self.trees, 0o1777), *private):
            os.makedirs(directory, exist_ok=True)
            if stat.S_IMODE(os.stat(directory).st_mode) != mode:
                os.chmod(directory, mode)
        os.close(os.open(os.path.join(self.path, "locks"), os.O_RDWR | os.O_CREAT, 0o644))

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
        for folder, _, _ in os.walk(self.tree(tree)):
            os.chmod(folder, 0o700)
        shutil.rmtree(self.tree(tree), ignore_errors=True)

    def note_use(self, key: str, idle_s: float) -> None:
        """Record that an environment was used *idle_s* seconds ago, unless it was used later."""
        used_at = time.time() - idle_s
        try:
            if os.lstat(self.env(key)).st_mtime < used_at:
                os.utime(self.env(key), (used_at, used_at), follow_symlinks=False)
        except FileNotFoundError:
            pass  # collected in the meantime

    # Locks. They belong to the process and end with it; closing the file once would release all of them.

    def share(self, byte: int) -> None:
        """Wait until no process holds *byte* alone, then hold it together with others."""
        fcntl.lockf(self._lock_file(os.O_RDONLY), fcntl.LOCK_SH, 1, byte)

    def seize(self, byte: int) -> bool:
        """Hold *byte* alone. Returns False if another process holds it."""
        try:
            fcntl.lockf(self._lock_file(os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:  # also on file systems without locks, where exclusive use is never certain
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


def _version(root: str) -> str:
    """Read the version from the virtual environment at *root*."""
    try:
        with open(os.path.join(root, "pyvenv.cfg"), encoding="utf-8") as file:
            fields = dict(line.replace(" ", "").strip().partition("=")[::2] for line in file)
    except OSError:
        return ""
    version = fields.get("version_info", fields.get("version", ""))
    if version.count(".") < 2:  # uv's interpreters of a minor version move to its newest release
        release = re.search(r"-(\d+\.\d+\.\d+)", os.path.realpath(os.path.join(root, "bin", "python")))
        version = release[1] if release else version
    return version
