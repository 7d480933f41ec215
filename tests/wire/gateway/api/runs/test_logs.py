"""Following logs and samples through the gateway, on a real bus."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.messages import AttemptSample
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.http import sse
from fastflow_gateway.streaming import broadcast, follow
from fastflow_gateway.streaming.follow import LAST_WORDS_S
from tests.support.gateway import ANSWER_S, TOKEN, Client, Event, claim, finish, running_gateway, say, store
from tests.support.records import T0, a_run


async def followed(client: Client, run: RunRecord, *, after: str | None = None, kind: str = "logs") -> list[Event]:
    """Return all events until the stream ends."""
    return [event async for event in client.events(f"/api/runs/{run.id}/{kind}/stream", after=after)]


def lines(events: list[Event]) -> list[str]:
    return [event.data["line"] for event in events if event.name == "log"]


async def a_finished_run(bus: Bus, *texts: str) -> RunRecord:
    """A run that wrote *texts*, one chunk each, and succeeded."""
    run = await claim(bus, await store(bus, a_run()))
    last = 0
    for n, text in enumerate(texts):
        last = await say(bus, run, text, end=n)
    return await finish(bus, run, log_sequence=last)


async def test_the_log_of_a_finished_run_is_sent_whole_and_ends_at_once(bus: Bus) -> None:
    """Every line with its time, stream, attempt and position; then the final status."""
    run = await claim(bus, await store(bus, a_run()))
    await say(bus, run, ("system", "preparing\n"), ("stdout", "one\ntwo\n"), end=8)
    last = await say(bus, run, ("stderr", "careful\n"), end=16)
    run = await finish(bus, run, log_sequence=last)
    async with running_gateway(bus) as client:
        *said, end = await followed(client, run)
    assert [(event.data["stream"], event.data["line"]) for event in said] == [
        ("system", "preparing"),
        ("stdout", "one"),
        ("stdout", "two"),
        ("stderr", "careful"),
    ]
    assert [event.id for event in said] == ["1:0", "1:1", "1:2", "2:0"]
    assert said[0].data["ts"] == "2026-01-01T00:00:00.250000Z"
    assert said[0].data["attempt"] == 1
    assert end == Event("end", {"status": "SUCCESS"}, None)


async def test_a_follower_sees_each_line_at_once_and_then_the_end(bus: Bus) -> None:
    """Nothing is held back; the end is never announced before the last line."""
    run = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as client, aclosing(client.events(f"/api/runs/{run.id}/logs/stream")) as events:
        for n in range(3):
            last = await say(bus, run, f"line {n}\n", end=n)
            assert (await anext(events)).data["line"] == f"line {n}"
        # The record may say that the run is over before its last output arrives.
        await finish(bus, run, log_sequence=last + 1)
        await say(bus, run, "last words\n", end=99)
        assert (await anext(events)).data["line"] == "last words"
        assert (await anext(events)).name == "end"


async def test_a_follower_resumes_where_it_stopped(bus: Bus) -> None:
    """From every position the rest follows: each line once, in order."""
    run = await a_finished_run(bus, "a\nb\nc\n", "d\n", "e\nf\n")
    async with running_gateway(bus) as client:
        all_events = (await followed(client, run))[:-1]
        assert lines(all_events) == list("abcdef")
        for index, event in enumerate(all_events):
            assert lines(await followed(client, run, after=event.id)) == list("abcdef")[index + 1 :]
        assert lines(await followed(client, run, after="nonsense")) == list("abcdef")


async def test_many_followers_each_get_everything_once(bus: Bus) -> None:
    """Early and late, from one gateway and from another."""
    run = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as client, running_gateway(bus) as other, asyncio.TaskGroup() as group:
        early = [group.create_task(followed(each, run)) for each in (client, other) for _ in range(10)]
        for n in range(50):
            await say(bus, run, f"{n}\n", end=n)
        late = [group.create_task(followed(each, run)) for each in (client, other) for _ in range(10)]
        last = await say(bus, run, "50\n", end=50)
        await finish(bus, run, log_sequence=last)
    expected = [str(n) for n in range(51)]
    assert all(lines(task.result()) == expected for task in (*early, *late))


async def test_what_is_no_longer_in_memory_is_read_from_the_bus(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log far larger than a gateway's memory of it reaches a late follower whole, while it grows."""
    monkeypatch.setattr(broadcast, "KEPT_BYTES_MAX", 2_000)
    run = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as client, asyncio.TaskGroup() as group:
        first = group.create_task(followed(client, run))
        for n in range(200):
            await say(bus, run, f"{n}\n", end=n)
        second = group.create_task(followed(client, run))
        for n in range(200, 400):
            last = await say(bus, run, f"{n}\n", end=n)
        await finish(bus, run, log_sequence=last)
    assert lines(first.result()) == lines(second.result()) == [str(n) for n in range(400)]


async def test_a_chunk_that_was_stored_twice_is_sent_once(bus: Bus) -> None:
    """Its publisher was not sure and sent it again; even if the copy is the last message, the end comes."""
    run = await claim(bus, await store(bus, a_run()))
    for _ in range(2):
        last = await say(bus, run, "once\n", end=5)
    run = await finish(bus, run, log_sequence=last)
    async with running_gateway(bus) as client:
        assert lines(await followed(client, run)) == ["once"]
        assert (await client.get(f"/api/runs/{run.id}/logs")).text == "once\n"


async def test_parts_of_a_long_line_say_that_more_follows(bus: Bus) -> None:
    """A line in several chunks arrives in parts, each but the last marked."""
    run = await a_finished_run(bus, "begin ", "middle ", "end\nnext\n")
    async with running_gateway(bus) as client:
        *said, _ = await followed(client, run)
    assert [(event.data["line"], event.data.get("more", False)) for event in said] == [
        ("begin ", True),
        ("middle ", True),
        ("end", False),
        ("next", False),
    ]


async def test_every_attempt_is_part_of_the_log(bus: Bus) -> None:
    """The log continues after a retry; each line names its attempt, and the stream stays open between attempts."""
    run = await claim(bus, await store(bus, a_run(retry_attempts=1)))
    first = await say(bus, run, "first\n", end=6)
    run = await finish(bus, run, log_sequence=first, exit_code=1)
    async with running_gateway(bus) as client, aclosing(client.events(f"/api/runs/{run.id}/logs/stream")) as events:
        assert (await anext(events)).data["attempt"] == 1
        await say(bus, run, "second\n", attempt=2, end=7)
        event = await anext(events)
        assert (event.data["line"], event.data["attempt"]) == ("second", 2)


async def test_logs_that_are_gone_do_not_keep_a_follower_waiting(bus: Bus) -> None:
    """If a log was removed by age, the stream ends at once, although the last line never comes."""
    run = await claim(bus, await store(bus, a_run()))
    run = await finish(bus, run, log_sequence=1_000_000)
    async with running_gateway(bus) as client:
        assert await asyncio.wait_for(followed(client, run), LAST_WORDS_S / 2) == [
            Event("end", {"status": "SUCCESS"}, None)
        ]


async def test_a_last_message_that_never_comes_is_awaited_with_a_bound(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the record names a message that does not exist, the stream ends a moment later."""
    monkeypatch.setattr(follow, "LAST_WORDS_S", 0.05)
    run = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as client, aclosing(client.events(f"/api/runs/{run.id}/logs/stream")) as events:
        await say(bus, run, "said\n", end=5)
        assert (await anext(events)).data["line"] == "said"
        await finish(bus, run, log_sequence=1_000_000)
        assert (await anext(events)).name == "end"


async def test_silence_is_filled_with_comments(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet stream shows that it is alive."""
    monkeypatch.setattr(follow, "HEARTBEAT_S", 0.02)
    run = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as client, asyncio.timeout(ANSWER_S):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with client.http.get(f"{client.url}/api/runs/{run.id}/logs/stream", headers=headers) as response:
            assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert response.headers["X-Accel-Buffering"] == "no"
            seen = b""
            while seen.count(b": still here\n\n") < 3:
                seen += await response.content.readany()
    assert seen.startswith(b"retry: 2000\n\n")


async def test_open_streams_end_when_the_gateway_stops(bus: Bus) -> None:
    """No stream is cut within an event, and none delays the end."""
    run = await claim(bus, await store(bus, a_run()))
    async with asyncio.timeout(ANSWER_S), asyncio.TaskGroup() as group, running_gateway(bus) as client:
        await say(bus, run, "said\n", end=5)
        arrived = asyncio.Event()

        async def watch() -> list[Event]:
            seen = []
            async for event in client.events(f"/api/runs/{run.id}/logs/stream"):
                seen.append(event)
                arrived.set()
            return seen

        watcher = group.create_task(watch())
        await arrived.wait()
        # leaving the block stops the gateway before the client is closed
    assert lines(watcher.result()) == ["said"]


async def test_a_client_that_does_not_read_delays_no_other(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others follow at their own pace; the one that reads nothing is dropped."""
    monkeypatch.setattr(sse, "SEND_S", 1.5)
    monkeypatch.setattr(broadcast, "KEPT_BYTES_MAX", 500_000)
    run = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as client, asyncio.timeout(60):
        host, port = client.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        request = f"GET /api/runs/{run.id}/logs/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        writer.write(request.encode())
        await reader.readline()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        text = "x" * 1_000 + "\n"
        for n in range(100):
            last = await say(bus, run, text * 200, end=n)
        await finish(bus, run, log_sequence=last)
        assert await patiently_counted(client, run) == 20_000
        while "fastflow_gateway_streams 0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.02)
        writer.close()


async def patiently_counted(client: Client, run: RunRecord) -> int:
    """Return the number of lines; the follower resumes if a busy machine makes it too slow."""
    count, last = 0, None
    while True:
        with suppress(aiohttp.ClientPayloadError):
            async for event in client.events(f"/api/runs/{run.id}/logs/stream", after=last):
                if event.name == "end":
                    return count
                count, last = count + (event.name == "log"), event.id or last


async def test_the_whole_log_is_plain_text(bus: Bus) -> None:
    """As written, streams interleaved; only its last lines with ``tail``; nothing for a run without output."""
    run = await claim(bus, await store(bus, a_run()))
    await say(bus, run, ("stdout", "one\n"), ("stderr", "two\n"), end=8)
    await say(bus, run, ("stdout", "three"), ("stderr", "four\n"), ("stdout", "five"), end=17)
    silent = await store(bus, a_run())
    async with running_gateway(bus) as client:
        log = await client.get(f"/api/runs/{run.id}/logs")
        assert log.text == "one\ntwo\nthree\nfour\nfive"
        assert log.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert (await client.get(f"/api/runs/{run.id}/logs?tail=2")).text == "four\nfive"
        assert (await client.get(f"/api/runs/{run.id}/logs?tail=x")).status == 422
        assert (await client.get(f"/api/runs/{silent.id}/logs")).text == ""
        assert (await client.get("/api/runs/nonsense/logs")).status == 404


async def test_samples_are_listed_and_followed(bus: Bus) -> None:
    """What a run used, whole and live, until it is over."""
    run = await claim(bus, await store(bus, a_run()))

    async def use(n: int) -> None:
        sample = AttemptSample(ts=T0 + timedelta(seconds=n), cpu_cores=n / 2, memory_bytes=n * 1000)
        await bus.publish(subjects.metric(run.ref, 1), messages.SAMPLE.encode(sample))

    await use(1)
    async with running_gateway(bus) as client:
        assert (await client.get(f"/api/runs/{run.id}/metrics")).json["samples"] == [
            {
                "ts": "2026-01-01T00:00:01Z",
                "attempt": 1,
                "cpu_cores": 0.5,
                "memory_bytes": 1000,
                "memory_limit_bytes": None,
                "soft_limit_exceeded": False,
            }
        ]
        events: Any = client.events(f"/api/runs/{run.id}/metrics/stream")
        async with aclosing(events):
            assert (await anext(events)).data["cpu_cores"] == 0.5
            await use(2)
            assert (await anext(events)).data["cpu_cores"] == 1.0
            await finish(bus, run)
            assert (await anext(events)).name == "end"
