"""The pages of a pipeline and of all pipelines say what messages start it, and what stands in the way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape

import click
import pytest
import pytest_asyncio

from fastflow.commands.doctor import stuck
from fastflow.commands.pipelines import Line, table
from fastflow_api import Client as ApiClient
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import TriggerRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.event_triggers import BatchSpec, TriggerSpec
from fastflow_contracts.runs.event_cursors import EventCursor, event_cursors
from tests.support.gateway import TOKEN, Client, running_gateway, store
from tests.support.records import T0, a_bundle, a_run, publish_pipeline

PROBLEM = "no stream of the bus stores lost.>; create one with this subject."
TRIGGERS = (
    TriggerSpec(id="each", subject="orders.>", when="event.note != '<b>'", key="event.id"),
    TriggerSpec(id="batch", subject="clicks.*", batch=BatchSpec(max=1000, within_seconds=3600)),
    TriggerSpec(id="quiet", subject="stock.>", debounce_seconds=1.5),
    TriggerSpec(id="lost", subject="lost.>"),
    TriggerSpec(id="off", subject="old.>", enabled=False),
    TriggerSpec(id="fresh", subject="fresh.>"),
)


@pytest_asyncio.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    """A gateway that knows the cursors of ``demo``."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), triggers=TRIGGERS)
    run = await store(bus, a_run("demo"))
    known = {"subject": "x", "since": T0, "stream": "S", "made_at": T0}
    cursors = {
        "each": EventCursor(**known, waiting=0, last_at=T0, last_run_id=run.id, last_run_at=T0),  # type: ignore[arg-type]
        "batch": EventCursor(**known, waiting=1234),  # type: ignore[arg-type]
        "quiet": EventCursor(**known, removed=4321, removed_at=T0),  # type: ignore[arg-type]
        "lost": EventCursor(subject="lost.>", since=T0, problem=PROBLEM),
    }
    for name, cursor in cursors.items():
        await event_cursors(bus).put(TriggerRef(PipelineName("demo"), name), cursor, expect=0)
    async with running_gateway(bus) as client:
        async with asyncio.timeout(30):
            while not (await client.get("/api/pipelines/demo")).json["triggers"][3]["problem"]:
                await asyncio.sleep(0.02)
        yield client


async def _page(client: Client, path: str) -> str:
    return (await client.get(path, headers={"Accept": "text/html"})).text


def _words(html: str) -> str:
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html).split()))


async def test_each_trigger_says_what_it_starts_and_how_far_it_is(client: Client) -> None:
    page = await _page(client, "/pipelines/demo")
    rows = {
        key: _words(row)
        for key, row in re.findall(r'<li class="trigger[^"]*" data-key="(\w+)">(.*?)</li>', page, re.DOTALL)
    }
    assert list(rows) == [trigger.id for trigger in TRIGGERS]
    assert "One run for each key when event.note != '<b>' key event.id" in rows["each"]
    assert "Stream S · 0 waiting · last message 1 Jan 2026 · last run" in rows["each"]
    assert "One run for up to 1,000 messages, after 1 h 00 m at the latest" in rows["batch"]
    assert "1,234 waiting · none handled yet" in rows["batch"]
    assert "One run after 1.5 s of quiet, with the newest message" in rows["quiet"]
    assert "The stream removed up to 4,321 messages before they were read" in rows["quiet"]
    assert "Off" in rows["off"]
    assert "Not read yet" in rows["fresh"]
    assert "N" + PROBLEM[1:] in rows["lost"]


async def test_a_trigger_that_reads_nothing_is_said_where_one_looks_first(client: Client) -> None:
    """Above the runs of its pipeline, and in the list of pipelines."""
    page = _words((await _page(client, "/pipelines/demo")).partition("<main")[2])
    assert page.index(f"Trigger lost reads no messages N{PROBLEM[1:]}") < page.index("Messages that start it")
    listed = await _page(client, "/")
    assert _words(listed).count("A trigger reads nothing") == 1
    assert f"lost: {PROBLEM}" in unescape(listed)


async def test_commands_say_what_stands_in_the_way(client: Client) -> None:
    """``pipelines`` the first of it, ``doctor`` all of it."""
    async with ApiClient(client.url, TOKEN) as api:
        listed = await api.pipelines()
    at = T0 + timedelta(hours=3)
    removed = "trigger quiet: its stream removed up to 4,321 messages before they were read, 3 h ago"
    assert list(stuck(listed, at)) == [
        ("trigger", f"demo: {removed}"),
        ("trigger", f"demo: trigger lost: {PROBLEM}"),
    ]
    assert removed in click.unstyle(table((Line(each, ()) for each in listed), at))


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_pipeline_without_triggers_has_no_such_card(bus: Bus, client: Client, *, enabled: bool) -> None:
    await publish_pipeline(bus, "plain", a_bundle(main_py="1"), enabled=enabled)
    async with asyncio.timeout(30):
        while (answer := await client.get("/pipelines/plain", headers={"Accept": "text/html"})).status != 200:
            await asyncio.sleep(0.02)
    assert "Messages that start it" not in answer.text
