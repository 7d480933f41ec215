"""A run's result over HTTP and on its page, on a real bus."""

from __future__ import annotations

import json

import pytest

from fastflow_api import Client, errors
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from tests.support.gateway import TOKEN, claim, finish, running_gateway, store
from tests.support.records import a_run

RESULT = b'{"rows": 1.50, "of": [12345678901234567890123, "<script>"]}'


async def test_a_result_is_what_the_script_wrote(bus: Bus) -> None:
    """In the run, alone byte by byte, and with the client; the list of runs has its size only."""
    run = await finish(bus, await claim(bus, await store(bus, a_run())), result=RESULT)
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        alone = await http.get(f"/api/runs/{run.id}/result")
        shown = await http.get(f"/api/runs/{run.id}")
        (listed,) = (await http.get("/api/runs")).json["runs"]
        assert await client.result(run.id) == json.loads(RESULT)
        assert (await client.run(run.id)).result_bytes == len(RESULT)
    assert (alone.status, alone.headers["Content-Type"], alone.text) == (200, "application/json", RESULT.decode())
    assert alone.headers["X-Content-Type-Options"] == "nosniff"
    assert RESULT.decode() in shown.text
    assert (listed["result_bytes"], "result" in listed) == (len(RESULT), False)


async def test_null_is_a_result_and_none_is_not(bus: Bus) -> None:
    """``result_bytes`` tells them apart."""
    nothing = await finish(bus, await claim(bus, await store(bus, a_run())))
    null = await finish(bus, await claim(bus, await store(bus, a_run())), result=b"null")
    running = await claim(bus, await store(bus, a_run()))
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        told = [(await http.get(f"/api/runs/{run.id}")).json for run in (nothing, null, running)]
        assert [(each["result"], each["result_bytes"]) for each in told] == [(None, None), (None, 4), (None, None)]
        assert await client.result(null.id) is None
        for run, words in ((nothing, "has no result: its script wrote nothing"), (running, "is not over")):
            with pytest.raises(errors.NotFound, match=words):
                await client.result(run.id)
        assert (await http.get("/api/runs/x/result")).status == 404
        assert (await http.get(f"/api/runs/{null.id}/result", anonymous=True)).status == 401


@pytest.mark.parametrize("stored", [b"not json", b"\xff", b'{"a": NaN}', b"1" * 100_000, b""])
async def test_a_result_that_no_runner_wrote_spoils_no_answer(bus: Bus, stored: bytes) -> None:
    """Anyone with the bus may write one: the run is shown without it, and asking for it says so."""
    run = await finish(bus, await claim(bus, await store(bus, a_run())), result=b"1")
    await bus.put(subjects.RUNS, subjects.result_key(run.ref), stored)
    async with running_gateway(bus) as http:
        assert (await http.get(f"/api/runs/{run.id}")).json["result"] is None
        assert "cannot be read now" in (await http.get(f"/runs/{run.id}")).text
        answer = await http.get(f"/api/runs/{run.id}/result")
    assert (answer.status, "is not stored any more, or cannot be read" in answer.json["detail"]) == (404, True)


async def test_the_page_shows_a_result_as_text(bus: Bus) -> None:
    """And a list of objects as a table; a result that is gone from the bus is named."""
    run = await finish(bus, await claim(bus, await store(bus, a_run())), result=RESULT)
    table = await finish(bus, await claim(bus, await store(bus, a_run())), result=b'[{"<b>day": 1}, {"n": "<i>"}]')
    gone = await finish(bus, await claim(bus, await store(bus, a_run())), result=b"1")
    await bus.purge(subjects.RUNS, subjects.result_key(gone.ref), until=10**9)
    async with running_gateway(bus) as http:
        shown, rows, missing = [(await http.get(f"/runs/{each.id}")).text for each in (run, table, gone)]
    assert "12345678901234567890123" in shown
    assert "&lt;script&gt;" in shown
    assert '<th scope="col">&lt;b&gt;day</th>' in rows
    assert "<td>&lt;i&gt;</td>" in rows
    assert "cannot be read now" in missing
