"""The event of a run over HTTP and on its page, on a real bus."""

from __future__ import annotations

import base64

import pytest
from msgspec.structs import replace

from fastflow_api import Client, errors
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.store import RunStore
from fastflow_contracts.runs.triggers import EVENT_BYTES_MAX
from tests.support.gateway import TOKEN, running_gateway, store
from tests.support.records import a_run

JSON = "application/json"


async def started_with(bus: Bus, event: bytes | None, **given: object) -> RunRecord:
    """A run with this event, as a scheduler creates it."""
    run = a_run(has_input=True)
    assert await RunStore(bus).create(run, replace(RunInput(event=event, env={"SECRET": "s3cret"}), **given))
    return run


async def test_an_event_is_what_was_sent_with_its_headers(bus: Bus) -> None:
    """Also on the page, as a link. Variables of the run are not in it."""
    headers = {"content-type": JSON, "x-github-event": "push"}
    run = await started_with(bus, b'{"x": "\xc3\xa9<script>"}', event_type=JSON, event_headers=headers)
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        path = f"/api/runs/{run.id}/event"
        answer, head, page = await http.get(path), await http.ask("HEAD", path), await http.get(f"/runs/{run.id}")
        found = await client.event(run.id)
        assert (await http.get(path, anonymous=True)).status == 401
    assert answer.json == {
        "event": '{"x": "é<script>"}',
        "event_base64": None,
        "event_bytes": 18 + 1,
        "event_type": JSON,
        "headers": headers,
    }
    assert (found.event, found.headers) == (answer.json["event"], headers)
    assert (answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]) == (
        "application/json",
        "nosniff",
    )
    assert (head.status, head.text, head.headers["Content-Type"]) == (200, "", answer.headers["Content-Type"])
    assert (f'href="{path}"' in page.text, "application/json, 19 B" in page.text) == (True, True)
    assert not any("s3cret" in each.text for each in (answer, page))


@pytest.mark.parametrize(
    "event",
    [
        b'{"env_vars": {"TOKEN": "s3cret"}, "n": 1}',
        b'{"parameters": {"TOKEN": "s3cret"}}',
        b'{"env\\u005fvars": {"TOKEN": "s3cret"}}',
        b'{"env_vars": {"TOKEN": "s3cret"',
        b'\xff{"env_vars": {"TOKEN": "s3cret"}}',
    ],
    ids=["variables", "parameters", "escaped", "cut", "binary"],
)
async def test_values_of_variables_in_an_event_are_hidden(bus: Bus, event: bytes) -> None:
    run = await started_with(bus, event)
    async with running_gateway(bus) as http:
        answer = await http.get(f"/api/runs/{run.id}/event")
    assert (answer.status, "s3cret" in answer.text, "***" in answer.text) == (200, False, True)
    assert answer.json["event_base64"] is None


@pytest.mark.parametrize(
    "event", [b"", b"\x00\xff\xfe" * 1000, b"x" * EVENT_BYTES_MAX], ids=["empty", "binary", "large"]
)
async def test_any_bytes_are_whole(bus: Bus, event: bytes) -> None:
    """Those that are no text are base64."""
    run = await started_with(bus, event)
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        found = await client.event(run.id)
        assert (await http.get(f"/runs/{run.id}")).status == 200
    data = base64.b64decode(found.event_base64) if found.event_base64 else (found.event or "").encode()
    assert (data, found.event_bytes, found.event_type, found.headers) == (event, len(event), None, {})


async def test_a_run_without_an_event_says_so(bus: Bus) -> None:
    """One whose input is gone says that; the page is shown nevertheless."""
    bare, without, gone = await store(bus, a_run()), await started_with(bus, None), await started_with(bus, b"1")
    await bus.purge(subjects.INPUTS, subjects.input_key(gone.ref), until=10**9)
    async with running_gateway(bus) as http, Client(http.url, TOKEN) as client:
        for run, words in ((bare, "has no event"), (without, "has no event"), (gone, "is not stored any more")):
            with pytest.raises(errors.NotFound, match=words):
                await client.event(run.id)
            page = await http.get(f"/runs/{run.id}")
            assert (page.status, "/event" in page.text) == (200, False)
        assert (await http.get("/api/runs/x/event")).status == 404
