"""The certificates that sandboxes trust. I/O."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the certificates that they trust; the first one where nobody does."""


class Certificates(msgspec.Struct, frozen=True):
    """A file of certificates, and where it is inside."""

    source: str
    target: str


def trusted(path: Path, more: str) -> Certificates | None:
    """Return what sandboxes trust; None if this machine trusts nobody.

    Args:
        path: Where to write the file, if it is not the system's.
        more: A PEM file of certificates to trust in addition; empty: none.

    Raises:
        OSError: The file cannot be read or written.
    """
    system = next((os.path.realpath(each) for each in BUNDLES if os.path.isfile(each)), None)
    target = system or BUNDLES[0]
    if not more or os.path.realpath(more) == system:
        return None if system is None else Certificates(system, target)
    text = Path(system).read_bytes() if system else b""
    path.write_bytes(text + b"\n" + Path(more).read_bytes())
    path.chmod(0o644)
    return Certificates(str(path), target)
