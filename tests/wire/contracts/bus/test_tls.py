"""A bus behind TLS, with its own authority, which also signs client certificates."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.access.tls import BadTls, Tls
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.errors import Unavailable
from fastflow_contracts.bus.permissions import ADMIN, ADMIN_INBOX
from tests.support.installation import fastflow
from tests.support.processes import Service
from tests.support.tls_bus import Authority, TlsBus, tls_bus

SERVICES = {
    "gateway": {"FASTFLOW_PORT": "0", "FASTFLOW_ADMIN_TOKEN": secrets.token_urlsafe(24)},
    "scheduler": {},
    "syncer": {},
    "runner": {"FASTFLOW_SANDBOX": "process", "FASTFLOW_GRACE_S": "0"},
}


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[TlsBus]:
    async with tls_bus(tmp_path) as made:
        yield made


def url(bus: TlsBus, scheme: str = "tls") -> str:
    return f"{scheme}://{ADMIN}:{bus.users.admin_password}@{bus.address}"


async def complaint(url: str, tls: Tls) -> str:
    """Return why there is no connection."""
    with pytest.raises(Unavailable) as refused:
        async with connect(url, name="test", inbox=ADMIN_INBOX, tls=tls, connect_s=1.5):
            raise AssertionError
    return str(refused.value)


async def test_the_command_and_every_service_reach_a_bus_behind_tls(bus: TlsBus, tmp_path: Path) -> None:
    """With an address, an authority, and a certificate; no other setting changes."""
    settings = {"FASTFLOW_NATS_CA": str(bus.ca), "FASTFLOW_NATS_CERTIFICATE": str(bus.certificate)}
    made = await asyncio.to_thread(fastflow, "bus", "ensure", cwd=tmp_path, FASTFLOW_NATS_URL=url(bus), **settings)
    assert made.returncode == 0, made.stderr
    (tmp_path / "pipelines").mkdir()
    for name, own in SERVICES.items():
        places = {"PIPELINES_DIR": str(tmp_path / "pipelines")} if name == "syncer" else {}
        if name == "runner":
            places = {"FASTFLOW_DATA_DIR": str(tmp_path / "data")}
        seed = {"FASTFLOW_NATS_CREDENTIALS": str(tmp_path / "users" / f"{name}.seed")}
        service = Service(name, {"FASTFLOW_NATS_URL": f"tls://{bus.address}", **settings, **seed, **own, **places})
        await service.start()
        assert await service.terminate() == 0


async def test_a_server_of_another_authority_is_refused(bus: TlsBus, tmp_path: Path) -> None:
    """The message says what is wrong and names the setting."""
    other = Authority(tmp_path / "other.pem")
    for tls in (Tls(ca=str(other.path), certificate=str(bus.certificate)), Tls()):
        said = await complaint(url(bus), tls)
        assert "certificate is not trusted" in said
        assert "FASTFLOW_NATS_CA" in said
        assert bus.users.admin_password not in said


async def test_a_bus_that_requires_a_client_certificate_is_explained(bus: TlsBus) -> None:
    """It says so after the handshake, as TLS 1.3 does."""
    assert "FASTFLOW_NATS_CERTIFICATE" in await complaint(url(bus), Tls(ca=str(bus.ca)))


async def test_a_server_without_tls_gets_no_secret(tmp_path: Path) -> None:
    """An attacker in between could remove TLS. The address and the authority each require it."""
    async with embedded_bus(tmp_path, sync="2m") as plain:
        authority = Authority(tmp_path / "authority.pem")
        for address, tls in ((plain.replace("nats://", "tls://"), Tls()), (plain, Tls(ca=str(authority.path)))):
            assert "does not offer TLS" in await complaint(address, tls)


async def test_files_that_are_not_certificates_are_named(tmp_path: Path) -> None:
    """Before anything connects."""
    (tmp_path / "no.pem").write_text("no")
    authority = Authority(tmp_path / "authority.pem")
    for tls, named in (
        (Tls(ca=str(tmp_path / "no.pem")), "no.pem"),
        (Tls(ca=str(tmp_path / "missing.pem")), "missing.pem"),
        (Tls(ca=str(authority.path), certificate=str(tmp_path / "no.pem")), "certificate in .*no.pem"),
    ):
        with pytest.raises(BadTls, match=named):
            async with connect("tls://127.0.0.1:1", name="test", tls=tls):
                raise AssertionError
