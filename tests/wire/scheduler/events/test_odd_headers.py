"""Headers that no client library sends, from a program that may publish what a trigger waits for: it reads on."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.client import Bus
from tests.wire.scheduler.events.test_triggers import deploy, events_of, make_stream, publish, schedulers, until_done
from tests.wire.scheduler.starting.test_odd_headers import ODD

__all__ = ["schedulers"]

MORE = ODD | {
    "values that are no ASCII": "NATS/1.0\r\nA: größe\r\nce-id: \N{PILE OF POO}\r\n\r\n".encode(),
    "values that are no UTF-8": b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n",
    "the server's own": b"NATS/1.0\r\nNats-Sequence: 999\r\nNats-Subject: ff.x\r\nNats-Time-Stamp: x\r\n"
    b"Nats-Num-Pending: x\r\nNats-Last-Sequence: 7\r\nNats-Stream: FF_LOGS\r\n\r\n",
    "an encoded word": b"NATS/1.0\r\nA: =?utf-8?q?=ff?=\r\nB: =?x?b?zz?=\r\n\r\n",
    "a name twice": b"NATS/1.0\r\nA: 1\r\na: 2\r\nA: 3\r\n folded\r\n\r\n",
}


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "by the leader"])
@pytest.mark.parametrize("headers", MORE.values(), ids=MORE.keys())
async def test_messages_with_odd_headers_start_runs_and_the_next_ones_do(
    schedulers: Bus, direct: bool, headers: bytes
) -> None:
    bus = schedulers
    await make_stream(bus, direct=direct)
    await deploy(bus)
    await publish(bus, 1)
    command = f"HPUB orders.odd {len(headers)} {len(headers) + 1}\r\n".encode()
    await bus.client._send_command(command + headers + b"2\r\n")
    await bus.client.flush()
    await until_done(bus, await publish(bus, 3))
    assert sorted(await events_of(bus)) == [b"1", b"2", b"3"]
