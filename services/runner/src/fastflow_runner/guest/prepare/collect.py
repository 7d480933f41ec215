"""Removes what is not needed until the store is within its budget. I/O; ``next_victim`` is pure.

First it removes trees without a link, left by killed preparers, even below the budget. Then, while the store is above
its budget, it removes the whole cache of uv, which only saves downloads; then the environments with the oldest last
use, and the interpreters that no other environment uses. It never removes one that a process holds (see
``layout.Store.seize``) or that was used lately: an environment just made for a run must still exist when the run
begins.

An environment is unlinked first, which leaves its tree without an owner; then the tree goes to the trash and is
deleted. A tree made by a build belongs to that build's user, who alone can delete it: the collector only names it, for
a step ``remove`` of that user.

Standard library only.
"""

import os
import secrets
import stat
import time
from contextlib import suppress

from .layout import AT_WORK, COLLECTING, Store, lock_byte

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def next_victim(idle_s: "Mapping[str, float]", keep_s: float) -> "str | None":
    """Return the environment to remove first, of those given with the seconds since their last use."""
    key = max(idle_s, key=lambda each: idle_s[each], default=None)
    return key if key is not None and idle_s[key] >= keep_s else None


def collect(store: Store, budget_bytes: int, keep_s: float) -> "Iterator[str]":
    """Collect, unless another collector is at work.

    Yields lines: ``gone <key>``, ``foreign <tree> <user id>``, and last ``used <bytes>``.
    """
    if not store.seize(COLLECTING):
        return
    empty_trash(store)
    yield from throw_away_orphans(store, keep_s)
    used = share_bytes(store.path)
    if budget_bytes and used > budget_bytes:
        used -= throw_away_cache(store)
        used -= throw_away_interpreters(store)
    idle_s = idle(store)
    while budget_bytes and used > budget_bytes and (key := next_victim(idle_s, keep_s)) is not None:
        del idle_s[key]
        tree = unlink(store, key)
        if tree is None:
            continue
        yield f"gone {key}"
        freed, line = throw_away_tree(store, tree)
        used -= freed + throw_away_interpreters(store)
        if line:
            yield line
    yield f"used {max(0, round(used))}"


def idle(store: Store) -> "dict[str, float]":
    """Return the seconds since the last use of each environment."""
    now, found = time.time(), {}
    for key in store.links():
        with suppress(FileNotFoundError):
            found[key] = now - os.lstat(store.env(key)).st_mtime
    return found


def unlink(store: Store, key: str) -> "str | None":
    """Remove the link unless a process holds the environment. Returns its tree, which then has no owner."""
    if not store.seize(lock_byte(key)):
        return None
    try:
        tree = os.path.basename(os.readlink(store.env(key)))
        os.unlink(store.env(key))
    except FileNotFoundError:
        return None
    finally:
        store.release(lock_byte(key))
    return tree


def throw_away_orphans(store: Store, keep_s: float) -> "Iterator[str]":
    """Delete trees without a link. No preparer is at work, and a build would have linked its tree by now."""
    if not store.seize(AT_WORK):
        return
    linked = {os.path.basename(os.readlink(store.env(key))) for key in store.links()}
    found = []
    with os.scandir(store.trees) as entries:
        for entry in entries:
            age_s = time.time() - entry.stat(follow_symlinks=False).st_mtime
            if entry.name not in linked and age_s >= keep_s:
                found.append(entry.name)
    store.release(AT_WORK)
    for name in found:
        _, line = throw_away_tree(store, name)
        if line:
            yield line


def throw_away_tree(store: Store, name: str) -> "tuple[float, str]":
    """Delete a tree.

    Returns:
        The bytes freed now or later, and a line to print if only the tree's builder can delete it.
    """
    path = os.path.join(store.trees, name)
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return 0, ""
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(path)
        return 0, ""
    if status.st_uid != os.getuid():
        return share_bytes(path), f"foreign {name} {status.st_uid}"
    return throw_away(store, path), ""


def throw_away_cache(store: Store) -> float:
    """Start a new cache unless a process uses the old one; return the bytes freed."""
    if not store.seize(AT_WORK):
        return 0
    aside = _to_trash(store, store.cache)
    store.lay_out()
    store.release(AT_WORK)
    return delete(aside)


def throw_away_interpreters(store: Store) -> float:
    """Delete interpreters that no tree uses, unless one is being made; return the bytes freed."""
    if not store.seize(AT_WORK):
        return 0
    needed = set()
    for tree in os.listdir(store.trees):
        path = os.path.realpath(os.path.join(store.trees, tree, "bin", "python"))
        needed.add(os.path.relpath(path, os.path.realpath(store.python)).split(os.sep)[0])
    with os.scandir(store.python) as entries:
        unused = [each for each in entries if each.is_dir(follow_symlinks=False) and each.name not in needed]
    aside = [_to_trash(store, each.path) for each in unused if not each.name.startswith(".")]
    for name in os.listdir(store.python):
        path = os.path.join(store.python, name)
        if os.path.islink(path) and not os.path.exists(path):
            os.unlink(path)
    store.release(AT_WORK)
    return sum(map(delete, aside))


def throw_away(store: Store, path: str) -> float:
    """Delete a directory of our own that no process can be using; return the bytes freed."""
    return delete(_to_trash(store, path))


def empty_trash(store: Store) -> None:
    """Delete what a killed collection has left."""
    for name in os.listdir(store.trash):
        delete(os.path.join(store.trash, name))


def _to_trash(store: Store, path: str) -> str:
    aside = os.path.join(store.trash, secrets.token_hex(16))
    os.chmod(path, 0o700)  # a directory that cannot be written cannot be moved
    os.rename(path, aside)
    return aside


def delete(path: str) -> int:
    """Delete a directory of this user's; return the bytes freed, which is 0 for a file with other names."""
    folders, freed = [path], 0
    for folder in folders:  # the list grows meanwhile
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                os.unlink(entry.path)
                if status.st_nlink == 1:
                    freed += status.st_blocks * 512
    for folder in reversed(folders):
        os.rmdir(folder)
    return freed


def share_bytes(path: str) -> float:
    """Return the bytes that a directory takes on disk. A file with several names counts as its share."""
    folders, total = [path], 0.0
    for folder in folders:  # the list grows meanwhile
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                        continue
                    total += status.st_blocks * 512 / status.st_nlink
        except OSError:
            continue  # gone by now, or a build has closed it
    return total
