"""A nats-server that only speaks TLS, and the authority that signs its certificates."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fastflow.local.bus_users import Users, config, quoted, users_in
from tests.support.ports import free_port
from tests.support.processes import _die_with_parent

START_S = 20.0
_CONFIG = """\
listen: "127.0.0.1:{port}"
max_payload: 5MB
jetstream {{ store_dir: {store}, max_file_store: 24GB, max_memory_store: 256MB }}
{tls}
{users}
"""


class TlsBus(NamedTuple):
    """``address``: host and port. The server requires client certificates that ``ca`` has signed."""

    address: str
    users: Users
    ca: Path
    certificate: Path
    """A client's certificate, with its key in the same file."""


class Authority:
    """Signs certificates. ``path``: its own, as PEM."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
        own = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        path.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def sign(self, path: Path, *names: str, address: str = "127.0.0.1") -> Path:
        """Write a certificate of *address* and *names* with its key to *path*."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, path.stem)])
        where = x509.IPAddress(ipaddress.ip_address(address))
        alternative = x509.SubjectAlternativeName([where, *map(x509.DNSName, names)])
        signed = self._builder(name, key).add_extension(alternative, critical=False).sign(self._key, hashes.SHA256())
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + secret)
        return path

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))


@contextlib.asynccontextmanager
async def tls_bus(folder: Path) -> AsyncIterator[TlsBus]:
    """Run a server with users and without streams. All files are below *folder*."""
    authority = Authority(folder / "authority.pem")
    certificate = authority.sign(folder / "server.pem")
    port = free_port()
    users = users_in(folder / "users")
    files = {"cert_file": certificate, "key_file": certificate, "ca_file": authority.path}
    named = ", ".join(f"{name}: {quoted(str(path))}" for name, path in files.items())
    path = folder / "bus.conf"
    store = quoted(str(folder / "store"))
    path.write_text(_CONFIG.format(port=port, store=store, tls=f"tls {{ {named}, verify: true }}", users=config(users)))
    with (folder / "bus.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).parent / "nats-server"), "-c", str(path)),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,
        )
    try:
        async with asyncio.timeout(START_S):
            while b"Server is ready" not in (folder / "bus.log").read_bytes():
                assert server.returncode is None, (folder / "bus.log").read_text()
                await asyncio.sleep(0.02)
        yield TlsBus(f"127.0.0.1:{port}", users, authority.path, authority.sign(folder / "client.pem"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.kill()
        await server.wait()
