"""Decides whether an environment can be made without running foreign code. I/O: it reads the pipeline's files.

uv builds editable installs even with ``--no-build``, fetching a repository runs git, a project may be a package, and
its settings may send uv anywhere. All of that belongs in a build's sandbox. What is not known to be harmless is not.

Standard library only.
"""

import codecs
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OPTION = re.compile(r"(?:^|\s)(-[^\s=]*)")
_INCLUDE = re.compile(r"(?:^|\s)(?:-r|-c|--requirement|--constraint)(?:\s+|=)(\S+)")
_INCLUDE_OPTIONS = ("-r", "-c", "--requirement", "--constraint")
_PLAIN_OPTIONS = (
    *("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index"),
    *("--only-binary", "--prefer-binary", "--pre", "--hash", "--require-hashes"),
)
_REPOSITORY = re.compile(r"\b(git|hg|svn|bzr)\+")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_REGISTRY_KEYS = {"registry"}
_OWN_SOURCE = {"virtual": "."}


def is_plain_folder(folder: str, requirements: str, given: str, *, project: bool) -> bool:
    """Whether the environment of a folder needs only wheels of packages from indexes.

    Args:
        requirements: Its requirements file, "" for none.
        given: The text of requirements beside it.
        project: Whether to install its project.
    """
    if os.path.lexists(os.path.join(folder, "uv.toml")):
        return False
    if os.path.lexists(os.path.join(folder, "pyproject.toml")) and not _is_plain_project(folder):
        return False
    if project and not os.path.lexists(os.path.join(folder, "pyproject.toml")):
        return False
    return is_plain(given) and (not requirements or _is_plain_file(os.path.join(folder, requirements), set()))


def is_plain(text: str) -> bool:
    """Whether these requirements name only packages from indexes, and files of such requirements."""
    if "\0" in text:
        return False
    # Line by line, continued or not: a backslash can hide nothing; at worst a build is tried without need.
    for line in text.splitlines():
        words = _without_comment(line)
        if _REPOSITORY.search(words):
            return False
        if any(option not in _PLAIN_OPTIONS + _INCLUDE_OPTIONS for option in _OPTION.findall(words)):
            return False
        included = _INCLUDE.findall(words)
        if sum(option in _INCLUDE_OPTIONS for option in _OPTION.findall(words)) != len(included):
            return False
        if any("://" in name or "$" in name or "\\" in name for name in included):
            return False  # elsewhere, or continued on the next line
    return True


def _is_plain_file(path: str, seen: "set[str]") -> bool:
    path = os.path.normpath(path)
    if path in seen:
        return True
    seen.add(path)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return True  # uv says what is wrong with it
    try:
        text = data.decode(next((encoding for bom, encoding in _BOMS if data.startswith(bom)), "utf-8"))
    except UnicodeDecodeError:
        return False
    if not is_plain(text):
        return False
    here = os.path.dirname(path)
    included = [name for line in text.splitlines() for name in _INCLUDE.findall(_without_comment(line))]
    return all(_is_plain_file(os.path.join(here, name.strip("'\"")), seen) for name in included)


def _is_plain_project(folder: str) -> bool:
    try:
        import tomllib  # only where there is a project: importing it takes a while

        project = _toml(tomllib, os.path.join(folder, "pyproject.toml"))
        lock = _toml(tomllib, os.path.join(folder, "uv.lock"))
        sources = [package["source"] for package in lock.get("package", ())]
    except (ImportError, OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return False
    if "build-system" in project or project.get("tool", {}).get("uv"):
        return False
    if not all(source.keys() == _REGISTRY_KEYS or source == _OWN_SOURCE for source in sources):
        return False
    return not _REPOSITORY.search(str(project))


def _toml(tomllib: "Any", path: str) -> "dict[str, Any]":
    if not os.path.exists(path):
        return {}
    with open(path, "rb") as file:
        content: dict[str, Any] = tomllib.loads(file.read().decode("utf-8-sig"))
    return content


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)
