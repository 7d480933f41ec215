"""Secrets from the first start on: the key that ``fastflow up`` makes, and its use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.support.installation import Installation

SHOWS = "import os\nprint(os.environ['API_KEY'][::-1], os.environ['API_KEY'])\n"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        yield made


def encrypted(installation: Installation, *options: str, value: str = "hunter2") -> str:
    done = installation.command("encrypt", *options, data=f"{value}\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.promise("secrets")
def test_a_key_is_made_once_and_everything_uses_it(installation: Installation) -> None:
    """The first start prints it; page, API, command and runner agree on it, and the next start finds it."""
    installation.start()
    key_file = installation.data_dir / "encryption.key"
    assert key_file.stat().st_mode & 0o077 == 0
    printed = "".join(installation.printed)
    assert ".fastflow/encryption.key" in printed
    assert "keep a copy" in printed
    assert key_file.read_text().strip() not in printed
    body = {"value": "hunter2", "pipeline": "over_http", "name": "API_KEY"}
    over_http = installation.api("/api/secrets/encrypt-for-pipeline", body)["encrypted"]
    installation.stop()

    by_command = encrypted(installation, "--pipeline", "by_command", "--name", "API_KEY")
    installation.add("over_http", SHOWS, encrypted_env={"API_KEY": over_http})
    installation.add("by_command", SHOWS, encrypted_env={"API_KEY": by_command})
    installation.add("unbound", SHOWS, encrypted_env={"API_KEY": encrypted(installation)})
    installation.add("short", SHOWS, encrypted_env={"API_KEY": encrypted(installation, value="pin")})
    installation.add("copied", SHOWS, encrypted_env={"API_KEY": by_command})
    installation.start()
    assert "keep a copy" not in "".join(installation.printed)
    for name in ("over_http", "by_command"):
        done = installation.command("run", name, "--follow")
        assert (done.returncode, done.stdout) == (0, "2retnuh ***\n")
        assert "[fastflow]" not in done.stderr
    unbound = installation.command("run", "unbound", "--follow")
    assert unbound.stdout == "2retnuh ***\n"
    assert "[fastflow] The token of API_KEY opens in any pipeline" in unbound.stderr
    short = installation.command("run", "short", "--follow")
    assert "[fastflow] The value of API_KEY is too short to be masked" in short.stderr
    copied = installation.command("run", "copied", "--follow")
    assert (copied.returncode, copied.stdout) == (1, "")
    assert "was made for another pipeline" in copied.stderr
    (run,) = json.loads(installation.command("ps", "-a", "--pipeline", "copied", "--json").stdout)
    assert (run["error_type"], len(run["attempts"])) == ("secret_error", 1)
    installation.stop()


@pytest.mark.parametrize("form", ["ENCRYPTION_KEY", "ENCRYPTION_KEY_FILE"])
def test_a_configured_key_is_used_and_not_stored(installation: Installation, form: str) -> None:
    """Given as a value or as a file, rotated or not."""
    new, old = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    installation.add("shows", SHOWS, encrypted_env={"API_KEY": Fernet(old).encrypt(b"hunter2").decode()})
    value = f"{new},{old}"
    if form == "ENCRYPTION_KEY_FILE":
        (installation.folder / "keys").write_text(value + "\n")
        value = "keys"
    installation.start(**{form: value})
    assert not (installation.data_dir / "encryption.key").exists()
    assert installation.command("run", "shows", "--follow").stdout == "2retnuh ***\n"
    installation.stop()


def test_an_invalid_key_is_refused_before_anything_starts(installation: Installation) -> None:
    """With what to do, and without showing it."""
    installation.launch(ENCRYPTION_KEY="not-a-key")
    assert installation.wait() == 2
    printed = "".join(installation.printed)
    assert "fastflow keys new" in printed
    assert "not-a-key" not in printed
