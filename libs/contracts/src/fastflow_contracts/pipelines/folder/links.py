"""Follows the links in a folder: each travels as the file or folder that it names. Pure: paths in, paths out.

Only paths that travel themselves can be named, so a link never leads out of the folder or to a file that stays behind.
Nobody follows a link in a file system.
"""

from __future__ import annotations

import posixpath
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.folder.bundle import Refusal, shown

HOPS_MAX: Final = 40
"""Most links on the way from one link to what it names, as on Linux."""
STEPS_MAX: Final = 1_000
"""Most parts of a path to walk for one link."""
TARGET_BYTES_MAX: Final = 4_096
"""Longest text of a link, as on Linux."""


_TOO_FAR: Final = f"which leads back to itself or through more than {HOPS_MAX} links; remove it"


class FollowedLinks(NamedTuple):
    """What the links of a folder stand for."""

    sources: Mapping[str, str]
    """By path that exists through a link: the path whose content it has. A trailing slash: an empty folder."""
    refusals: tuple[Refusal, ...]


class _NotFollowed(FastFlowError):
    """The link cannot travel; the message completes "is a link to X, "."""


def follow(paths: Iterable[str], links: Mapping[str, str], *, paths_max: int) -> FollowedLinks:
    """Follow every link of a folder.

    Args:
        paths: The files that travel, and empty folders with a trailing slash, relative to the folder.
        links: The text of each link by its path.
        paths_max: Stop when more paths than this exist through links.
    """
    tree = _Tree(paths, links)
    sources: dict[str, str] = {}
    refusals: list[Refusal] = []
    for path in sorted(links):
        try:
            for seen, source in tree.expanded(path, path, ()):
                sources[seen] = source
                if len(sources) > paths_max:
                    return FollowedLinks(sources, tuple(refusals))
        except _NotFollowed as error:
            refusals.append(Refusal(shown(path), f"is a link to {shown(links[path])!r}, {error}"))
    return FollowedLinks(sources, tuple(refusals))


class _Tree:
    """The paths of one folder, with their folders."""

    def __init__(self, paths: Iterable[str], links: Mapping[str, str]) -> None:
        self._links = links
        self._ordered = sorted({*paths, *links})
        self._files = {path for path in self._ordered if not path.endswith("/")} - links.keys()
        self._folders = {""}
        for path in self._ordered:
            parent = posixpath.dirname(path)
            while parent not in self._folders:
                self._folders.add(parent)
                parent = posixpath.dirname(parent)

    def expanded(self, seen: str, link: str, way: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        """Yield the paths that exist through *link*, with their sources.

        Args:
            seen: The path that the link has in the run; it differs from *link* below another link.
            link: The path of the link itself.
            way: The folders of the links that led here.
        """
        named = self._named(link)
        if named in self._files:
            yield seen, named
            return
        way = (*way, posixpath.dirname(link))
        if len(way) > HOPS_MAX:
            raise _NotFollowed(_TOO_FAR)
        if any(_is_within(folder, named) for folder in way):
            raise _NotFollowed("which leads back to itself; remove it")
        prefix = f"{named}/"
        for position in range(bisect_left(self._ordered, prefix), len(self._ordered)):
            path = self._ordered[position]
            if not path.startswith(prefix):
                break
            inside = seen + "/" + path.removeprefix(prefix)
            if path in self._links:
                yield from self.expanded(inside, path, way)
            else:
                yield inside, path

    def _named(self, link: str) -> str:
        """Return the path of the file or folder at the end of all links. Raises ``_NotFollowed``."""
        here = link.split("/")[:-1]
        parts = deque(_parts(self._links[link]))
        hops, steps = 1, 0
        while parts:
            part, steps = parts.popleft(), steps + 1
            if steps > STEPS_MAX:
                raise _NotFollowed(_TOO_FAR)
            if part == "..":
                if not here:
                    raise _NotFollowed("which is outside of the folder and is not followed; put the file itself there")
                here.pop()
                continue
            here.append(part)
            path = "/".join(here)
            if path in self._links:
                hops += 1
                if hops > HOPS_MAX:
                    raise _NotFollowed(_TOO_FAR)
                here.pop()
                parts.extendleft(reversed(_parts(self._links[path])))
            elif path not in self._folders and (parts or path not in self._files):
                raise _NotFollowed("which is not there or stays behind; put the file itself there")
        return "/".join(here)


def _parts(target: str) -> list[str]:
    if target.startswith("/"):
        raise _NotFollowed("which is outside of the folder and is not followed; put the file itself there")
    return [part for part in target.split("/") if part not in ("", ".")]


def _is_within(folder: str, above: str) -> bool:
    return not above or folder == above or folder.startswith(f"{above}/")
