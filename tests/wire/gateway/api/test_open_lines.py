"""Open lines in the stream of a log, on a real bus."""

from __future__ import annotations

from contextlib import aclosing

from fastflow_api.client import Client as ApiClient
from fastflow_api.log_lines import TextJoiner
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.logs import CHUNK, Chunk, OpenText
from fastflow_contracts.runs.run import RunRecord
from tests.support.gateway import TOKEN, claim, finish, running_gateway, say, store
from tests.support.records import a_run


async def show(bus: Bus, run: RunRecord, start: int, text: str) -> None:
    """Publish text of an open line of stdout."""
    chunk = Chunk(at=1_767_225_600.5, end=(0, 0), open=OpenText(1, start, text))
    await bus.publish(subjects.log(run.ref, 1), CHUNK.encode(chunk))


async def test_open_text_is_a_separate_event_and_changes_no_id(bus: Bus) -> None:
    """Followers that know only ``log`` events see whole lines, and resume where they were."""
    run = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as client:
        path = f"/api/runs/{run.id}/logs/stream"
        async with aclosing(client.events(path)) as events:
            await say(bus, run, "first\n")
            assert (await anext(events)).id == "1:0"
            await show(bus, run, 0, "10%")
            partial = await anext(events)
            assert (partial.name, partial.id) == ("partial", None)
            data = {"stream": "stdout", "attempt": 1, "start": 0, "text": "10%"}
            assert partial.data == data | {"ts": "2026-01-01T00:00:00.500000Z"}
        await show(bus, run, 3, "\r20%")
        await say(bus, run, ("stderr", "careful\n"))
        last = await say(bus, run, "10%\r20%\n", end=8)
        await finish(bus, run, log_sequence=last)
        again = [event async for event in client.events(path, after="1:0")]
        assert [(event.name, event.id) for event in again] == [
            ("partial", None),
            ("partial", None),
            ("log", "4:0"),
            ("log", "5:0"),
            ("end", None),
        ]
        assert (again[1].data["start"], again[1].data["text"]) == (3, "\r20%")
        async with ApiClient(client.url, TOKEN) as api:
            assert [line.line async for line in api.follow_log(run.id)] == ["first", "careful", "10%\r20%"]
            joiner = TextJoiner()
            texts = [joiner.feed(part) async for part in api.follow_text(run.id)]
            assert texts == ["first\n", "10%", "\r20%", "careful\n", "\n"]
            assert await api.log(run.id) == "first\ncareful\n10%\r20%\n"
