"""Reads requirements files as uv does: which files of the folder they need, and what is missing. Pure.

Only what refers to files is understood: ``-r``, ``-c``, ``-e``, ``--find-links``, local packages and archives. uv reads
the rest. As for uv, paths after ``-r``, ``-c`` and ``--find-links`` are relative to the file that names them, and
those of packages to the pipeline's folder.
"""

from __future__ import annotations

import codecs
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

from fastflow_contracts.pipelines.format.diagnostics import DIAGNOSTICS_MAX, Problem

_OPTION: Final = re.compile(
    r"(?:(?P<short>-[rcef])\s*|(?P<long>--(?:requirement|constraint|editable|find-links))(?:\s+|\s*=\s*))(?P<value>\S.*)"
)
_COMMENT: Final = re.compile(r"(^|\s)#.*")
_NAMED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\]\s*)?@\s*(?P<target>\S.*)")
# Each run of spaces is tried from its start alone: from each space it would take time quadratic in their number.
_AFTER_TARGET: Final = re.compile(r"((?<!\s)\s+;|;\s|(?<!\s)\s+--).*")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|(git|hg|svn|bzr)\+|https?:")
_ARCHIVE: Final = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_BUILT_BY: Final = ("pyproject.toml", "setup.py")


class Mention(NamedTuple):
    """What a file says about packages: one line of requirements, or one value."""

    text: str
    file: str
    line: int | None


class Reader:
    """Collects the files that environments need, and what is wrong with the references to them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """*files*: the content of all files of the folder, by relative path."""
        self.paths: set[str] = set()
        """The files that are needed."""
        self.lines: list[Mention] = []
        """The lines of all files read so far."""
        self.problems: list[Problem] = []
        self.names_packages = False
        """Whether any file read so far names something to install or an option."""
        self.requires_hashes = False
        self.packages: set[str] = set()
        """Folders of local packages."""
        self._files = files

    def read(self, file: str) -> None:
        """Read a requirements file that exists, and all that it includes."""
        if file in self.paths:
            return
        self.paths.add(file)
        try:
            text = decoded(self._files[file])
        except UnicodeDecodeError:
            self._refuse(file, None, "It is not UTF-8, so uv cannot read it; save it as UTF-8.")
            return
        for line, words in _logical_lines(text):
            self.names_packages = True
            self.lines.append(Mention(words, file, line))
            if words.startswith("--require-hashes"):
                self.requires_hashes = True
            elif option := _OPTION.match(words):
                self._follow(file, line, option["short"] or f"-{option['long'][2]}", option["value"])
            elif not words.startswith("-") and (target := _local_target(words)):
                self.add_package(target, file, line)

    def add_package(self, target: str, file: str, line: int | None) -> None:
        """Add a package of the folder: a directory with all that is in it, or an archive."""
        path = self._inside("", _without_extras(target), file, line)
        if path is None:
            return
        if path in self._files:
            self.paths.add(path)
        elif within := self.within(path):
            self.paths.update(within)
            if not any(posixpath.join(path, name) in within for name in _BUILT_BY):
                self._refuse(file, line, f"`{target}` is no package: it has neither pyproject.toml nor setup.py.")
            self.packages.add(path)
        else:
            self._miss(file, line, target)

    def within(self, path: str) -> list[str]:
        """Return the files in the directory *path*, at any depth; "" is the whole folder."""
        return [each for each in self._files if not path or each.startswith(f"{path}/")]

    def _follow(self, file: str, line: int, option: str, value: str) -> None:
        value = _AFTER_TARGET.sub("", value).strip().strip("'\"")
        if option == "-e":
            if not _URL.match(value) or value.startswith("file:"):
                self.add_package(value, file, line)
        elif option == "-f":
            self._add_links(file, line, value)
        elif not _URL.match(value) or value.startswith("file:"):
            path = self._inside(posixpath.dirname(file), value, file, line)
            if path is None:
                return
            if path in self._files:
                self.read(path)
            else:
                self._miss(file, line, value)

    def _add_links(self, file: str, line: int, value: str) -> None:
        """Add a directory of archives. An absolute one is an index like any other: it is not the folder's."""
        if _URL.match(value) or value.startswith("/"):
            return
        path = self._inside(posixpath.dirname(file), value, file, line)
        if path is None:
            return
        found = [each for each in self.within(path) if posixpath.dirname(each) == path]
        self.paths.update(found)
        if path in self._files:
            self.paths.add(path)
        elif not found:
            self._miss(file, line, value)

    def _inside(self, base: str, target: str, file: str, line: int | None) -> str | None:
        """Return the path within the folder, or None with a problem if it leaves the folder."""
        path = unquote(re.sub(r"^file:(//)?", "", target)) if target.startswith("file:") else target
        root = re.match(r"/*\$\{(PROJECT_ROOT|PWD)\}/?", path)
        if root:
            base, path = "", path[root.end() :] or "."
        if "${" in path:
            return None  # only uv knows its value
        path = posixpath.normpath(posixpath.join(base, path))
        if path.startswith(("/", "~", "../")) or path == "..":
            said = f"`{target}` is outside this folder, and only this folder is at hand; copy it here, or publish it."
            self._refuse(file, line, said)
            return None
        return "" if path == "." else path

    def _miss(self, file: str, line: int | None, target: str) -> None:
        self._refuse(file, line, f"`{target}` is not in this folder; add it, or remove this line.")

    def _refuse(self, file: str, line: int | None, sentence: str) -> None:
        if len(self.problems) < DIAGNOSTICS_MAX:
            self.problems.append(Problem(accepted=sentence, file=file, line=line))


def decoded(data: bytes) -> str:
    """Return the text of a requirements file, in UTF-8 or in what its byte order mark says.

    Raises:
        UnicodeDecodeError: It is something else.
    """
    return data.decode(next((encoding for bom, encoding in _BOMS if data.startswith(bom)), "utf-8"))


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, joined where a backslash continues it, without comments and empty ones."""
    first, gathered = 0, ""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        first = first or number
        if line.endswith("\\") and not _COMMENT.search(line):
            gathered += line[:-1]
            continue
        words = _COMMENT.sub("", gathered + line).strip()
        if words:
            yield first, words
        first, gathered = 0, ""
    if words := gathered.strip():
        yield first, words


def _local_target(words: str) -> str | None:
    """Return the path that a requirement names, or None if it names a package of an index or a URL."""
    named = _NAMED.match(words)
    target = _AFTER_TARGET.sub("", named["target"] if named else words).strip()
    if target.startswith("file:"):
        return target
    if _URL.match(target):
        return None
    bare = _without_extras(target)
    is_path = named or bare.startswith(".") or "/" in bare.split(";")[0] or bare.lower().endswith(_ARCHIVE)
    return target if is_path else None


def _without_extras(target: str) -> str:
    """Return *target* without ``[extras]`` at its end."""
    bare, opening, extras = target.rpartition("[")
    return bare if opening and extras.endswith("]") and not {"]", "/"} & {*extras[:-1]} else target
