"""The artifacts of a run: files that its script left. Pure.

The manifest says which they are. It is stored with the end of its run and beside the record, as a result is; the
content is in an object store, under its hash.
"""

from __future__ import annotations

import mimetypes
import re
from typing import Annotated, Final

import msgspec

from fastflow_contracts.base import Count, Fact
from fastflow_contracts.codec import Codec
from fastflow_contracts.errors import FastFlowError

ARTIFACTS_MAX: Final = 1000
"""Files of one run."""
PATH_BYTES_MAX: Final = 1024
NAME_BYTES_MAX: Final = 255
"""Of one part of a path, as in every common file system."""
MANIFEST_BYTES_MAX: Final = 256 * 1024
PROBLEMS_MAX: Final = 20
_UNKNOWN: Final = "application/octet-stream"
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What the supervisor in the sandbox leaves behind, too. Spaces of any kind may be in a name."""
_TYPES: Final = mimetypes.MimeTypes()
"""Of Python itself: the files of the system differ from host to host."""


class BadArtifact(FastFlowError):
    """A file cannot be an artifact. The message is a sentence that says why."""


class StoredArtifact(Fact, frozen=True, kw_only=True):
    """One file."""

    path: str
    """Relative, with "/" between its parts (``check_path``)."""
    size_bytes: Count
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    media_type: str = _UNKNOWN
    """What its name says. Its content may be anything."""


class ArtifactManifest(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """All files that one run left."""

    artifacts: tuple[StoredArtifact, ...] = ()
    problems: tuple[str, ...] = ()
    """A sentence for each file that is not among them."""

    @property
    def bytes_total(self) -> int:
        """Size of all files."""
        return sum(each.size_bytes for each in self.artifacts)


MANIFEST = Codec(ArtifactManifest)


def check_path(path: str) -> str:
    """Return *path* if it can name an artifact. Raises ``BadArtifact``."""
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise BadArtifact(f"the name {path[:80]!a} is not UTF-8; rename the file.") from None
    if size > PATH_BYTES_MAX:
        raise BadArtifact(f"the path {path[:80]!a}… has more than {PATH_BYTES_MAX:,} bytes; shorten it.")
    parts = path.split("/")
    if any(len(part.encode()) > NAME_BYTES_MAX for part in parts):
        raise BadArtifact(f"a name in {path[:80]!a}… has more than {NAME_BYTES_MAX} bytes; shorten it.")
    if any(part in ("", ".", "..") for part in parts):
        raise BadArtifact(f"{path[:80]!a} is no relative path; name the file without . and .. in its path.")
    if _CONTROL.search(path) is not None:
        raise BadArtifact(f"the name {path[:80]!a} has control characters; rename the file.")
    return path


def check_manifest(manifest: ArtifactManifest) -> ArtifactManifest:
    """Return *manifest* if all its files can be written into one folder. Raises ``BadArtifact``."""
    if len(manifest.artifacts) > ARTIFACTS_MAX:
        raise BadArtifact(f"it names {len(manifest.artifacts):,} files, and a run has at most {ARTIFACTS_MAX:,}.")
    paths = {check_path(each.path) for each in manifest.artifacts}
    if len(paths) < len(manifest.artifacts):
        raise BadArtifact("it names a file twice.")
    for path in paths:
        for end, letter in enumerate(path):
            if letter == "/" and path[:end] in paths:
                raise BadArtifact(f"{path[:end][:80]!a} is both a file and a folder.")
    return manifest


def media_type_of(path: str) -> str:
    """Return the media type that the ending of *path* says."""
    kind, encoding = _TYPES.guess_type(f"/{path}")
    return _UNKNOWN if kind is None or encoding is not None else kind
