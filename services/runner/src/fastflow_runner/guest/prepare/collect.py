"""Removes what is not needed until the store is within its budget. I/O; ``next_victim`` is pure.

First it removes trees without a link, left by killed preparers, even below the budget. Then, while the store is above
its budget, it removes the whole cache of uv, which only saves downloads; then the environments with the oldest last
use, and the interpreters that no other environment uses. It never removes one that a process holds (see
``layout.Store.unused``) or that was used lately: an environment just made for a run must still exist when the run
begins.

An environment is unlinked first, which leaves its tree without an owner; then the tree goes to the trash and is
deleted. What a build made belongs to that build's user, who alone can delete it: the collector only names the user,
for a step ``remove`` of that user. No name that a package chose leaves the store: it may hold any bytes.

What cannot be deleted keeps nothing else: it stays, and the next collection tries again.

Standard library only.
"""

import os
import secrets
import stat
import time
from contextlib import suppress

from .layout import Store
from .removal import remove, share_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def next_victim(idle_s: "Mapping[str, float]", keep_s: float) -> "str | None":
    """Return the environment to remove first, of those given with the seconds since their last use."""
    key = max(idle_s, key=lambda each: idle_s[each], default=None)
    return key if key is not None and idle_s[key] >= keep_s else None


def collect(store: Store, budget_bytes: int, keep_s: float) -> "Iterator[dict[str, object]]":
    """Collect, unless another collector is at work.

    Yields:
        ``{"gone": key}``; ``{"foreign": user id}``, once for each user who must delete its own trees; and last
        ``{"used": bytes}``.
    """
    if not store.begin_collection():
        return
    empty_trash(store)
    foreign = throw_away_orphans(store, keep_s)
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
        yield {"gone": key}
        freed, owner = throw_away_tree(store, tree)
        used -= freed + throw_away_interpreters(store)
        foreign |= owner
    for user in sorted(foreign):
        yield {"foreign": user}
    yield {"used": max(0, round(used))}


def idle(store: Store) -> "dict[str, float]":
    """Return the seconds since the last use of each environment."""
    now, found = time.time(), {}
    for key in store.links():
        with suppress(FileNotFoundError):
            found[key] = now - os.lstat(store.env(key)).st_mtime
    return found


def unlink(store: Store, key: str) -> "str | None":
    """Remove the link unless a process holds the environment. Returns its tree, which then has no owner."""
    with store.unused(key) as free:
        if not free:
            return None
        try:
            tree = os.path.basename(os.readlink(store.env(key)))
            os.unlink(store.env(key))
        except OSError:
            return None
    return tree


def orphans(store: Store) -> "Iterator[tuple[str, os.stat_result]]":
    """Return what lies among the trees and has no link, with its status."""
    linked = set()
    for key in store.links():
        with suppress(OSError):
            linked.add(os.path.basename(os.readlink(store.env(key))))
    for name in os.listdir(store.trees):
        with suppress(FileNotFoundError):
            if name not in linked:
                yield name, os.lstat(os.path.join(store.trees, name))


def throw_away_orphans(store: Store, keep_s: float) -> "set[int]":
    """Delete trees without a link. No preparer is at work, and a build would have linked its tree by now.

    Returns:
        The users who must delete their own.
    """
    with store.nobody_works() as quiet:
        found = [name for name, status in orphans(store) if quiet and _is_old(status.st_mtime, keep_s)]
    foreign: set[int] = set()
    for name in found:
        foreign |= throw_away_tree(store, name)[1]
    return foreign


def _is_old(changed_at: float, keep_s: float) -> bool:
    """Whether a tree is too old to be linked soon. A build may have set any time, also one far ahead."""
    return abs(time.time() - changed_at) >= keep_s


def throw_away_tree(store: Store, name: str) -> "tuple[float, set[int]]":
    """Delete a tree.

    Returns:
        The bytes freed now or later, and its owner if only that user can delete it.
    """
    path = os.path.join(store.trees, name)
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(path)
            return 0, set()
    except OSError:
        return 0, set()
    if status.st_uid != os.getuid():
        return share_bytes(path), {status.st_uid}
    return throw_away(store, path), set()


def remove_own(store: Store) -> None:
    """Delete this user's trees without a link. The user is that of one build, which is over."""
    for name, status in list(orphans(store)):
        if status.st_uid == os.getuid():
            with suppress(OSError):
                remove(os.path.join(store.trees, name))


def throw_away_cache(store: Store) -> float:
    """Start a new cache unless a process uses the old one; return the bytes freed."""
    with store.nobody_works() as quiet:
        if not quiet:
            return 0
        aside = _to_trash(store, store.cache)
        store.lay_out()
    return _delete(aside)


def throw_away_interpreters(store: Store) -> float:
    """Delete interpreters that no tree uses, unless one is being made; return the bytes freed."""
    with store.nobody_works() as quiet:
        if not quiet:
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
    return sum(map(_delete, aside))


def throw_away(store: Store, path: str) -> float:
    """Delete a directory of our own that no process can be using; return the bytes freed."""
    try:
        return _delete(_to_trash(store, path))
    except OSError:
        return 0


def empty_trash(store: Store) -> None:
    """Delete what a killed collection has left."""
    for name in os.listdir(store.trash):
        _delete(os.path.join(store.trash, name))


def _to_trash(store: Store, path: str) -> str:
    aside = os.path.join(store.trash, secrets.token_hex(16))
    os.chmod(path, 0o700)  # a directory that cannot be written cannot be moved
    os.rename(path, aside)
    return aside


def _delete(path: str) -> int:
    """Delete what is in the trash; return the bytes freed. What resists is tried again by the next collection."""
    try:
        return remove(path)
    except OSError:
        return 0
