"""The parts of a service that failed lately, told on the bus: for services that nobody asks. I/O.

A gateway answers for itself, and a runner's presence says how it is. A scheduler or a syncer in a process of its own
keeps a record while parts of it are degraded (``parts``), and writes nothing while it is well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Final

from fastflow_contracts.base import Count, Fact, Instant
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import ServiceRef
from fastflow_contracts.clock import now
from fastflow_contracts.codec import Codec, Malformed
from fastflow_contracts.service.parts import degraded, keep

ROUND_S: Final = 5.0
"""How often a service looks, and renews its record while a part is degraded."""
FRESH_S: Final = 30.0
"""A record that is older counts no more: its service is gone, or has no bus."""
PARTS_MAX: Final = 32
PART_CHARACTERS_MAX: Final = 500


class ServiceTroubles(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """What is wrong in one process of a service. Stored under ``service.<service>.<id>``."""

    v: Count = 1
    service: str
    id: str
    """Random per process."""
    host: str
    parts: tuple[str, ...] = ()
    """Its parts that failed and are not well again yet, one clause each. Empty: it is well again."""
    at: Instant
    """Its own clock; readers judge age by the bus's timestamp of the record."""


TROUBLES: Final = Codec(ServiceTroubles)


def troubles(bus: Bus) -> Bucket[ServiceRef, ServiceTroubles]:
    """Return the troubles on *bus*."""
    return Bucket(
        bus,
        subjects.RUNNERS,
        TROUBLES,
        keys=subjects.SERVICE_KEYS,
        key_of=subjects.service_key,
        name_in=subjects.parse_service_key,
        check=check_troubles,
    )


def check_troubles(name: ServiceRef, record: ServiceTroubles) -> None:
    """Check a stored record. Raises ``Malformed`` if it is another service's, or says what no service says."""
    if (record.service, record.id) != name:
        raise Malformed(f"it is the record of {record.service[:64]!r} {record.id[:64]!r}")
    if len(record.parts) > PARTS_MAX or any(len(part) > PART_CHARACTERS_MAX for part in record.parts):
        raise Malformed(f"it has more than {PARTS_MAX} parts, or one of more than {PART_CHARACTERS_MAX} characters")


@contextlib.asynccontextmanager
async def telling(bus: Bus, name: ServiceRef) -> AsyncIterator[None]:
    """Tell on *bus* which parts of this process are degraded, while the block runs. Never raises."""
    own = f"{name.service}/troubles"
    task = asyncio.create_task(keep(own, lambda: _tell(bus, name, own), ends=lambda _: False), name="troubles")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _tell(bus: Bus, name: ServiceRef, own: str) -> None:
    """Tell until cancelled; not of *own*, this part: a write that fails must not be the reason for the next one."""
    records, is_told = troubles(bus), False
    while True:
        parts = tuple(str(part)[:PART_CHARACTERS_MAX] for part in degraded() if part.part != own)[:PARTS_MAX]
        if parts or is_told:
            host = socket.gethostname()
            record = ServiceTroubles(service=name.service, id=name.id, host=host, parts=parts, at=now())
            await records.put(name, record, expect=None)
            is_told = bool(parts)
        await asyncio.sleep(ROUND_S)
