"""What the operator demands of the packages of every environment. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from typing import Final

import msgspec

from fastflow_contracts.pipelines.folder.origins import LOCK, Objection, mentions, strangers, unreadable, variables
from fastflow_contracts.pipelines.folder.project import PROJECT, BadProject, read_project
from fastflow_contracts.pipelines.folder.requirements import Mention, Reader
from fastflow_runner.environments.store import EnvironmentRequest

_REPOSITORY: Final = re.compile(r"\b(git|hg|svn|bzr)\+")


class Supply(msgspec.Struct, frozen=True):
    """Rules for packages. The default demands nothing."""

    allowed_indexes: tuple[str, ...] = ()
    """Where packages may come from; empty: from anywhere. See ``origins.strangers``."""
    requires_hashes: bool = False
    """Install only what is pinned by hash. What a build fetches has no hash, so nothing is built either."""
    builds: bool = True
    """Whether packages without a wheel are built."""

    @property
    def may_build(self) -> bool:
        return self.builds and not self.requires_hashes

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a preparer is told."""
        return tuple(
            word
            for word, asked in (("--no-build", not self.may_build), ("--require-hashes", self.requires_hashes))
            if asked
        )

    @property
    def mark(self) -> str:
        """Differs for rules under which environments differ; empty for the default."""
        return "" if self == ANY_SUPPLY else f" {msgspec.json.encode(self).decode()}"

    def refusals(self, request: EnvironmentRequest) -> list[str]:
        """Return why an environment must not be made, one sentence each, with the file and line."""
        files = {path: file.data for path, file in request.folder.items()}
        reader = Reader(files)
        if request.requirements:
            reader.read(request.requirements_name)
        found = [*mentions(files, reader, files), *(Mention(each, "", None) for each in request.extras)]
        objection = chain(variables(found), unreadable(files, files), strangers(found, self.allowed_indexes))
        rules = chain(objection, self._hashes(request, files, reader), self._builds(files, reader, request, found))
        return [_sentence(each) for each in rules]

    def _hashes(self, request: EnvironmentRequest, files: dict[str, bytes], reader: Reader) -> Iterator[Objection]:
        if not self.requires_hashes or request.is_ours:
            return
        for extra in request.extras:
            said = f"`{extra[:80]}` has no hash; name it, and what it needs, in requirements.txt with hashes."
            yield Objection(Mention("", "", None), said)
        if request.is_project:
            if LOCK not in files:
                said = "There is no uv.lock, so nothing has a hash; make it by `uv lock`."
                yield Objection(Mention("", PROJECT, None), said)
            elif name := _without_hash(files[LOCK]):
                yield Objection(Mention("", LOCK, None), f"The package {name[:80]} has no hash; use one of an index.")

    def _builds(
        self, files: dict[str, bytes], reader: Reader, request: EnvironmentRequest, found: list[Mention]
    ) -> Iterator[Objection]:
        """What always builds, so that uv is not asked at all: it builds some of it in spite of ``--no-build``."""
        if self.may_build:
            return
        for mention in found:
            if _REPOSITORY.search(mention.text) or re.match(r"(-e|--editable)\b", mention.text):
                yield Objection(mention, f"`{mention.text[:80]}` must be built from source. {_NO_BUILDS}")
        try:
            packages = sorted(reader.packages) + ([PROJECT] if _is_package(files, request) else [])
        except BadProject as error:
            yield Objection(Mention("", PROJECT, None), str(error))
            return
        for path in packages:
            said = f"This package must be built from source. {_NO_BUILDS}"
            yield Objection(Mention("", path or ".", None), said)


ANY_SUPPLY: Final = Supply()
"""No rules."""
_NO_BUILDS: Final = "This installation builds nothing from source; name a release that has a wheel."


def _is_package(files: dict[str, bytes], request: EnvironmentRequest) -> bool:
    return request.is_project and PROJECT in files and read_project(files[PROJECT]).is_package


def _without_hash(lock: bytes) -> str | None:
    """Return a package of a lock that has no hash and is not the project itself."""
    try:
        packages = tomllib.loads(lock.decode("utf-8-sig")).get("package", [])
        for package in packages:
            archives = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
            is_own = package["source"].get("virtual") == "."
            if not is_own and not (archives and all(archive.get("hash") for archive in archives)):
                return str(package["name"])
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return "that cannot be read"
    return None


def _sentence(objection: Objection) -> str:
    file, line = objection.mention.file, objection.mention.line
    place = file if line is None else f"{file}:{line}"
    return f"{place}: {objection.reason}" if place else objection.reason
