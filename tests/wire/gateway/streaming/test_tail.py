"""The last lines of a log, read from its end, on a real bus."""

from __future__ import annotations

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_gateway.streaming import stored, tail
from tests.support.gateway import claim, finish, running_gateway, say, store
from tests.support.records import a_run

BACKSLASHES = "\\n" * 20


@pytest.mark.parametrize("ended", [False, True])
async def test_the_tail_is_the_end_of_the_whole_log(bus: Bus, monkeypatch: pytest.MonkeyPatch, *, ended: bool) -> None:
    """Wherever windows begin, between messages of other runs, and for a repeated message at a window's edge."""
    monkeypatch.setattr(tail, "WINDOW", 2)
    monkeypatch.setattr(tail, "WINDOW_GROWTH", 2)
    run, other = await claim(bus, await store(bus, a_run())), a_run("other")
    last = 0
    for number in range(40):
        text = f"{number}: {BACKSLASHES}" + ("\n" if number % 3 else "")
        for _ in range(1 + (number % 5 == 0)):
            last = await say(bus, run, ("stdout" if number % 4 else "stderr", text), end=number)
        await say(bus, other, "not this\n")
    if ended:
        await finish(bus, run, log_sequence=last)
    async with running_gateway(bus) as client:
        whole = (await client.get(f"/api/runs/{run.id}/logs")).text
        *lines, rest = whole.split("\n")
        lines = [line + "\n" for line in lines] + ([rest] if rest else [])
        assert len(lines) > 25
        for number in (1, 2, 3, 7, 20, len(lines), 1_000):
            assert (await client.get(f"/api/runs/{run.id}/logs?tail={number}")).text == "".join(lines[-number:])


async def test_a_tail_that_is_too_long_says_so(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end comes, after a line that says how to get all of it. Short lines at the end come as they are."""
    monkeypatch.setattr(tail, "TAIL_BYTES_MAX", 10_000)
    run = await store(bus, a_run())
    for number in range(20):
        await say(bus, run, "x" * 2_000, end=number)
    await say(bus, run, "\none\ntwo\n", end=99)
    async with running_gateway(bus) as client:
        assert (await client.get(f"/api/runs/{run.id}/logs?tail=2")).text == "one\ntwo\n"
        mark, long, *rest = (await client.get(f"/api/runs/{run.id}/logs?tail=3")).text.split("\n")
        assert f"GET /api/runs/{run.id}/logs sends the whole log" in mark
        assert 2_000 <= len(long) <= 10_000
        assert rest == ["one", "two", ""]


async def test_reads_beyond_the_budget_are_refused_in_words(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """After they have waited for their turn."""
    monkeypatch.setattr(stored, "READS_MAX", 0)
    monkeypatch.setattr(stored, "READ_S", 0.1)
    run = await store(bus, a_run())
    async with running_gateway(bus) as client:
        refused = await client.get(f"/api/runs/{run.id}/logs/lines")
        assert refused.status == 503
        assert "try again" in refused.json["detail"]
        assert refused.headers["Retry-After"]
