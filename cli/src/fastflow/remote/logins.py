"""The logins of ``fastflow login``: addresses and tokens, in the user's configuration folder. Files only.

Only its owner can read the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from fastflow.errors import BadUsage, CliError
from fastflow.local.data_dir import write_private

DEFAULT: Final = "default"
"""The name of the login that commands use by default."""


class Login(msgspec.Struct, frozen=True):
    """The address and token of one installation."""

    url: str
    token: str


def path() -> Path:
    """The file with all logins."""
    import platformdirs

    return platformdirs.user_config_path("fastflow") / "logins.json"


def read() -> dict[str, Login]:
    """Logins by name; none if there is no file. Raises ``BadUsage`` for a file that cannot be read."""
    try:
        return msgspec.json.decode(path().read_bytes(), type=dict[str, Login])
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise BadUsage(f"{path()} cannot be read: {error.strerror}.") from None
    except msgspec.DecodeError:
        raise BadUsage(f"{path()} is damaged; remove it and sign in again with `fastflow login`.") from None


def write(logins: dict[str, Login]) -> None:
    """Replace all logins; an empty *logins* removes the file. Raises ``CliError``."""
    file = path()
    try:
        if not logins:
            file.unlink(missing_ok=True)
            return
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(file, msgspec.json.format(msgspec.json.encode(logins), indent=2).decode() + "\n")
    except OSError as error:
        raise CliError(f"{file} cannot be written: {error.strerror}.") from None
