"""Where the gateway of a data folder listens: written by ``up``, read by the commands beside it. Files only."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from fastflow.local.data_dir import write_private

DATA_DIR: Final = ".fastflow"
"""The data folder, where none is named."""
ADDRESS_FILE: Final = "gateway.url"


def write_address(data_dir: Path, url: str) -> None:
    """Keep the dashboard's address *url*, without any token, in the data folder."""
    write_private(data_dir / ADDRESS_FILE, url.rstrip("/") + "\n")


def read_address(data_dir: Path) -> str | None:
    """The address that the last ``up`` wrote; None if there is none. Whether it still runs is not known."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (data_dir / ADDRESS_FILE).read_text().strip() or None
    return None
