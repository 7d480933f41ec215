"""Folders that a job brings into its sandbox, and those that go back after the script's end. Data only.

Only regular files travel, with their bytes, their path below the folder, whether they are executable, and when they
were modified. Empty folders, owners and other modes do not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from fastflow_runner.errors import RunnerError

DEPTH_MAX: Final = 32
PATH_BYTES_MAX: Final = 1024


class FolderFile(msgspec.Struct, frozen=True):
    """A regular file below a folder."""

    path: str
    """Relative, with ``/`` between its parts."""
    size_bytes: int
    is_executable: bool = False
    modified_ns: int = 0
    """Nanoseconds since 1970; 0 = when it is written."""


class FolderBounds(msgspec.Struct, frozen=True):
    """What goes back of a folder at most. What is beyond a bound stays behind, and the rest goes back."""

    files_max: int
    bytes_max: int
    """Of all files together."""
    depth_max: int = DEPTH_MAX
    path_bytes_max: int = PATH_BYTES_MAX


class CarriedFolder(msgspec.Struct, frozen=True):
    """A folder that is there before the script starts, outside the code. The variable *env* holds its path."""

    env: str
    name: str
    is_writable: bool = True
    """By its modes, which bind every user but root."""
    files: tuple[FolderFile, ...] = ()
    """What it holds at first."""
    back: FolderBounds | None = None
    """What goes back after the script's end; None = nothing."""


class LeftFolder(msgspec.Struct, frozen=True):
    """What the script left in a folder that goes back."""

    files: tuple[FolderFile, ...] = ()
    """What can be fetched, by path."""
    problems: tuple[str, ...] = ()
    """What stays behind, and why: the first sentences."""
    problems_total: int = 0
    is_missing: bool = False
    """Whether the script removed the folder itself."""


Contents: TypeAlias = Mapping[str, Callable[[FolderFile], AsyncGenerator[bytes, None]]]
"""By the name of a folder: gives the bytes of each of its files, as often as they are asked for."""


class ContentMismatch(RunnerError):
    """What should go into a sandbox does not have the size that was announced."""


class FileLost(RunnerError):
    """A file that the script left cannot be fetched. The others still can."""


class SandboxGone(FileLost):
    """The sandbox has ended: nothing more can be fetched."""
