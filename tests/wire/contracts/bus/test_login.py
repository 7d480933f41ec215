"""Users and passwords with characters that mean something in a URL or in the server's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow.local.bus_users import quoted
from fastflow.local.connection import find_url
from fastflow.local.nats_server import USERS, embedded_bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.permissions import ADMIN
from fastflow_contracts.service.settings import ServiceSettings, load
from fastflow_gateway.settings import GatewaySettings

PASSWORDS = ["p#w/d%1", 'q"u\\o:t@e', "mü ller$x{}", "%41"]


@pytest.mark.parametrize("password", PASSWORDS)
async def test_any_password_signs_in(tmp_path: Path, password: str) -> None:
    """In the address, percent-encoded; and as a setting, unchanged."""
    (tmp_path / USERS).mkdir()
    (tmp_path / USERS / f"{ADMIN}.password").write_text(password, encoding="utf-8")
    async with embedded_bus(tmp_path) as url:
        plain = f"nats://127.0.0.1:{url.rpartition(':')[2]}"
        (tmp_path / "password").write_text(f"{password}\n", encoding="utf-8")
        in_file = {"FASTFLOW_NATS_USER": ADMIN, "FASTFLOW_NATS_PASSWORD_FILE": str(tmp_path / "password")}
        set_ = {"FASTFLOW_NATS_URL": plain, "FASTFLOW_NATS_USER": ADMIN, "FASTFLOW_NATS_PASSWORD": password}
        for good in (
            url,
            load(GatewaySettings, set_).bus_url,
            load(ServiceSettings, in_file | {"FASTFLOW_NATS_URL": f"nats://x:y@{plain[7:]}"}).bus_url,
            find_url(None, None, environ=set_, here=tmp_path),
            find_url(plain, None, environ=in_file, here=tmp_path),
            find_url(None, tmp_path, environ={}, here=tmp_path),
        ):
            async with connect(good, name="test") as bus:
                assert bus.is_connected


@pytest.mark.slow
async def test_a_wrong_password_is_refused_and_not_shown(tmp_path: Path) -> None:
    """The error names the server, and what to check."""
    async with embedded_bus(tmp_path) as url:
        wrong = load(
            ServiceSettings, {"FASTFLOW_NATS_URL": url, "FASTFLOW_NATS_USER": "x", "FASTFLOW_NATS_PASSWORD": "w%r"}
        )
        with pytest.raises(Unavailable, match="refuses these credentials") as refusal:
            async with connect(wrong.bus_url, name="test"):
                pass
    assert "w%" not in str(refusal.value)


def test_a_string_of_the_configuration_has_only_escapes_that_the_server_knows() -> None:
    """JSON's ``\\\\u`` is none of them: the server does not start with it."""
    assert quoted('mü"\\\n') == '"mü\\"\\\\\\n"'
