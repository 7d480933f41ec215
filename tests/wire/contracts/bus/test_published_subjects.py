"""Who may publish the messages that triggers wait for: nobody but the administrator, unless ``--publish`` says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import nats.errors
import pytest
from nats.js.api import StreamConfig

from fastflow.errors import BadUsage
from fastflow.local.bus_users import checked_subjects
from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow.local.nats_server import embedded_bus
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import ADMIN_INBOX, SERVICES
from fastflow_contracts.bus.streams import ensure
from tests.wire.contracts.bus.test_permissions import _as

ANSWER_S = 2.0


class _Two(NamedTuple):
    """The administrator and a program outside."""

    admin: Bus
    outside: Bus


@asynccontextmanager
async def _bus(folder: Path, *published: str) -> AsyncIterator[_Two]:
    async with (
        embedded_bus(folder, sync="2m", published=published) as url,
        connect(url, name="admin", inbox=ADMIN_INBOX) as admin,
        connect((folder / OUTSIDE_URL_FILE).read_text().strip(), name="outside") as outside,
    ):
        await ensure(admin.js)
        await admin.js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>", "payments.>"]))
        yield _Two(admin, outside)


async def _stored(bus: Bus) -> int:
    return (await bus.js.stream_info("ORDERS")).state.messages


async def _is_refused(bus: Bus, subject: str) -> bool:
    try:
        await bus.js.publish(subject, b"1", timeout=ANSWER_S)
    except (nats.errors.Error, TimeoutError):
        return True
    return False


async def test_no_user_publishes_on_other_programs_subjects_unasked(tmp_path: Path) -> None:
    async with _bus(tmp_path) as two:
        assert await _is_refused(two.outside, "orders.new")
        url = (tmp_path / "bus.url").read_text().strip()
        for user in SERVICES:
            async with _as(user, url, tmp_path) as service:
                await service.client.publish("orders.new", b"1")
                await service.client.flush()
        assert await _stored(two.admin) == 0
        await two.admin.js.publish("orders.new", b"1")
        assert await _stored(two.admin) == 1


async def test_programs_outside_publish_what_they_were_allowed_to_and_get_an_acknowledgement(tmp_path: Path) -> None:
    """Each message once, and nothing else: no other subject, no own subject of ours, no reading of the stream."""
    async with _bus(tmp_path, "orders.>") as two:
        acknowledged = await two.outside.js.publish("orders.eu.new", b"1", headers={"X-Id": "7"})
        assert (acknowledged.stream, acknowledged.seq) == ("ORDERS", 1)
        await two.outside.client.publish("orders.eu.new", b"2")  # without waiting, as many programs do
        async with asyncio.timeout(30):
            while await _stored(two.admin) < 2:
                await asyncio.sleep(0.02)
        kept = await two.admin.js.get_msg("ORDERS", seq=1)
        assert (kept.subject, kept.data, (kept.headers or {})["X-Id"]) == ("orders.eu.new", b"1", "7")
        for subject in ("payments.new", "ff.start.x", "$KV.ff_runs.run.x.y"):
            assert await _is_refused(two.outside, subject), subject
        with pytest.raises((nats.errors.Error, TimeoutError)):
            await two.outside.js.get_msg("ORDERS", seq=1)
        assert await _stored(two.admin) == 2


async def test_an_answer_to_such_a_message_reaches_nobody_else(tmp_path: Path) -> None:
    """The server answers on the subject that the message names."""
    forged = "$KV.ff_runs.run.x.y"
    async with _bus(tmp_path, "orders.>") as two:
        await two.outside.client.publish("orders.new", b"1", reply=forged)
        await two.outside.js.publish("orders.new", b"2")
        assert await _stored(two.admin) == 2
        assert (await two.admin.js.stream_info("KV_ff_runs")).state.messages == 0


@pytest.mark.parametrize(
    ("subjects", "words"),
    [
        (["ff.>"], "belongs to the bus and to Fast-Flow"),
        ([">"], "write out the first token"),
        (["orders.>", "orders.eu"], "overlap"),
        (["orders. eu"], "no spaces"),
    ],
)
def test_subjects_that_cannot_be_allowed_are_refused(subjects: list[str], words: str) -> None:
    with pytest.raises(BadUsage, match=words):
        checked_subjects(subjects)


def test_a_subject_that_is_named_twice_is_one() -> None:
    assert checked_subjects(["orders.>", "orders.>"]) == ("orders.>",)
