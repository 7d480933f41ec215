"""The address of a data folder's gateway: written by ``up``, read by the other commands. Files only."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from fastflow.local.data_dir import write_private

DATA_DIR: Final = ".fastflow"
"""The default data folder."""
ADDRESS_FILE: Final = "gateway.url"


def write_address(data_dir: Path, url: str) -> None:
    """Store the dashboard's address *url*, which must not contain a token, in the data folder."""
    write_private(data_dir / ADDRESS_FILE, url.rstrip("/") + "\n")


def read_address(data_dir: Path) -> str | None:
    """The address that the last ``up`` wrote, or None. That ``up`` may have ended since."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (data_dir / ADDRESS_FILE).read_text().strip() or None
    return None
