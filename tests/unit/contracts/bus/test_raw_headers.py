"""Headers of any bytes are read, or are none: an error would end the reading of the whole connection."""

from __future__ import annotations

from random import Random

from fastflow_contracts.bus.nats_client import NatsClient

PARTS = (b"NATS/1.0", b" ", b"\r\n", b":", b"A", b"Status", b"404", b"\xff", b"\0", "²".encode(), b"Nats-Sequence: 1")


async def test_no_bytes_are_an_error() -> None:
    client = NatsClient("", tls_only=False)
    for seed in range(5_000):
        random = Random(seed)
        raw = b"NATS/1.0" * random.randrange(2) + b"".join(random.choices(PARTS, k=random.randrange(8)))
        found = await client._process_headers(raw)
        assert found is None or all(isinstance(each, str) for pair in found.items() for each in pair), raw
