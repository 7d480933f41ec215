"""The encryption keys of the commands: from the environment, or the one that ``fastflow up`` created. Files only."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet

from fastflow.errors import NoSuchThing
from fastflow.local.address import DATA_DIR
from fastflow.local.data_dir import read_kept, write_private
from fastflow_contracts.secrets.envelope import split_keys

KEY_FILE = "encryption.key"
VARIABLE = "ENCRYPTION_KEY"


def is_set(environ: Mapping[str, str]) -> bool:
    """Whether the environment names the keys."""
    return bool(environ.get(VARIABLE, "").strip() or environ.get(f"{VARIABLE}_FILE"))


def find_keys(environ: Mapping[str, str], *, here: Path) -> tuple[str, ...]:
    """At least one key: from ``ENCRYPTION_KEY``, or from the nearest data folder from *here* upwards.

    Raises:
        NoSuchThing: There is no key.
        BadKey: The text is not a key.
    """
    if path := environ.get(f"{VARIABLE}_FILE"):
        try:
            found = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise NoSuchThing(f"{VARIABLE}_FILE {path} cannot be read: {error}.") from None
    else:
        found = environ.get(VARIABLE, "") or _nearest(environ, here)
    if keys := split_keys(found):
        return keys
    raise NoSuchThing(
        f"there is no encryption key: set {VARIABLE} or {VARIABLE}_FILE to the key of your installation, "
        "or create one with `fastflow keys new`."
    )


def kept_key(data_dir: Path) -> tuple[str, bool]:
    """The key in the data folder, and whether it is new. Only its owner can read the file."""
    path = data_dir / KEY_FILE
    if key := read_kept(path):
        return key, False
    key = new_key()
    write_private(path, key + "\n")
    return key, True


def new_key() -> str:
    """Create a key."""
    return Fernet.generate_key().decode()


def _nearest(environ: Mapping[str, str], here: Path) -> str:
    named = environ.get("FASTFLOW_DATA_DIR")
    folders = [here / named] if named else [folder / DATA_DIR for folder in (here, *here.parents)]
    for folder in folders:
        with contextlib.suppress(OSError):
            if found := (folder / KEY_FILE).read_text().strip():
                return found
    return ""
