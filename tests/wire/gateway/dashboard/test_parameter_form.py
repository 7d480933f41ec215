"""The form of a start has a field for each parameter, and says beside each what is wrong. So do the API and OpenAPI."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.pipelines.format.spec import ScheduleEntry
from fastflow_contracts.runs.store import RunStore
from tests.support.dashboard import TOKEN, dashboard
from tests.support.records import a_bundle, publish_pipeline

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {"type": "string", "title": "Customer", "description": "Who pays <b>."},
        "rows": {"type": "integer", "minimum": 1, "default": 100},
        "share": {"type": "number"},
        "dry": {"type": "boolean", "default": True},
        "mode": {"enum": ["quick", "full"], "default": "quick"},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "hosts": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string", "format": "textarea"},
        "limits": {"$ref": "#/$defs/limits"},
    },
    "$defs": {"limits": {"type": "object", "properties": {"cpu": {"type": "number"}}}},
    "required": ["customer"],
    "additionalProperties": False,
}
FILLED = {
    "p.customer": "ACME",
    "p.rows": "5",
    "p.share": "0.5",
    "p.dry": "false",
    "p.mode": '"full"',
    "p.day": "2026-01-31",
    "p.at": "2026-01-31T12:00",
    "p.hosts": "a\r\n\r\nb\r\n",
    "p.note": "one\r\ntwo",
    "p.limits": '{"cpu": 2}',
}


class Visitor:
    """A browser that is signed in."""

    def __init__(self, session: ClientSession, csrf: str) -> None:
        self.session = session
        self.csrf = csrf

    async def start(self, key: str = "k", **fields: str) -> tuple[int, str]:
        """Send the form; return the status, and the text of the page or the id of the run."""
        data = {"csrf_token": self.csrf, "key": key} | fields
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with self.session.post(
            "/pipelines/demo/start", data=data, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Location", "").rpartition("/")[2] or unescape(await answer.text())

    async def get(self, path: str) -> str:
        async with self.session.get(path) as answer:
            assert answer.status == 200
            return await answer.text()


@pytest_asyncio.fixture
async def visitor(bus_url: str, bus: Bus) -> AsyncIterator[Visitor]:
    entry = ScheduleEntry(id="nightly", parameters={"customer": "ACME", "rows": 7})
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), parameters=SCHEMA, schedules=(entry,))
    async with (
        dashboard(bus_url) as url,
        ClientSession(
            url, headers={"Accept": "text/html"}, timeout=ClientTimeout(total=60), cookie_jar=CookieJar(unsafe=True)
        ) as session,
    ):
        async with session.post("/login", data={"token": TOKEN}) as answer:
            found = re.search(r'name="csrf_token" value="([^"]+)"', await answer.text())
        assert found
        yield Visitor(session, found[1])


async def given(bus: Bus, run_id: str) -> dict[str, str]:
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return (await RunStore(bus).input(run)).overrides


async def test_each_parameter_has_a_field_of_its_type(visitor: Visitor) -> None:
    """With its title, description, default and whether it is required. No rows for others, which are refused."""
    page = await visitor.get("/pipelines/demo/start")
    for words in (
        'name="p.rows" value="100" type="number" step="1" min="1"',
        'name="p.share" value="" type="number" step="any"',
        'type="date"',
        'type="datetime-local"',
        '<input type="checkbox" id="p-4" name="p.dry" value="true" checked',
        '<option value="&#34;quick&#34;" selected>quick</option>',
        "Who pays &lt;b&gt;.",
        "One on each line.",
    ):
        assert words in page
    assert page.count('title="Required"') == 1
    assert 'name="param_name"' not in page


async def test_what_is_entered_arrives_with_its_type(bus: Bus, visitor: Visitor) -> None:
    status, run_id = await visitor.start(**FILLED)
    assert status == 303, run_id
    assert await given(bus, run_id) == {
        "customer": "ACME",
        "rows": "5",
        "share": "0.5",
        "dry": "false",
        "mode": "full",
        "day": "2026-01-31",
        "at": "2026-01-31T12:00:00Z",
        "hosts": '["a","b"]',
        "note": "one\ntwo",
        "limits": '{"cpu":2}',
    }


async def test_fields_left_empty_or_at_their_default_leave_room_for_the_configuration(
    bus: Bus, visitor: Visitor
) -> None:
    """So ``rows`` is that of the schedule's entry."""
    fields = {"p.customer": "", "p.rows": "100", "p.dry": "true", "p.mode": '"quick"', "p.note": "", "p.hosts": ""}
    status, run_id = await visitor.start(run_config_id="nightly", **fields)
    assert status == 303, run_id
    assert await given(bus, run_id) == {"customer": "ACME", "rows": "7", "dry": "true", "mode": "quick"}


async def test_errors_stand_beside_their_fields_and_entries_are_kept(visitor: Visitor) -> None:
    """All at once, and no skip is made of what a person typed."""
    wrong = FILLED | {"p.customer": "", "p.rows": "many", "p.limits": '{"cpu": "x"}', "p.hosts": "a\nb"}
    status, page = await visitor.start(**wrong)
    assert status == 422
    for words in (
        "It is missing; it must be a text.",
        "It must be a whole number.",
        "/cpu must be a number.",
        'value="many"',
        '{"cpu": "x"}',
        "a\nb</textarea>",
        '<option value=""full"" selected>',
        "Some parameters are not what the pipeline wants",
    ):
        assert words in page, words
    assert json.loads(await visitor.get("/api/skipped"))["skips"] == []


@pytest.mark.parametrize("query", ["", "?allow_undeclared=true"])
async def test_the_api_names_each_wrong_field(visitor: Visitor, query: str) -> None:
    """Also to those who may set only what is declared: to declare what the schema excludes would not help."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/json"}
    body = {"parameters": {"rows": 0, "limits": {"cpu": "x"}, "extra": 1}}
    async with visitor.session.post(f"/api/pipelines/demo/run{query}", json=body, headers=headers) as answer:
        detail = (await answer.json())["detail"]
    assert (answer.status, detail) == (
        422,
        "parameters: /customer: is missing; it must be a text; /extra: is unknown; known are at, customer, day, dry, "
        "hosts, limits, mode, note, rows, share; /limits/cpu: must be a number; /rows: must be at least 1.",
    )


async def test_openapi_has_a_path_for_the_pipeline_with_its_schema(visitor: Visitor) -> None:
    """Its references begin at the schema, which has an id for that."""
    document = json.loads(await visitor.get("/api/openapi.json"))
    start = document["paths"]["/api/pipelines/demo/run"]["post"]
    body = start["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert body["parameters"] == {"$id": "urn:fastflow:parameters:demo", **SCHEMA}
    assert {"env_vars", "run_config_id"} < body.keys()
    assert not [each for each in start["parameters"] if each["in"] == "path"]
    detail = json.loads(await visitor.get("/api/pipelines/demo"))
    assert detail["parameters"] == SCHEMA


@pytest.mark.parametrize("name", ["p.nosuch", "p.", "p.rows.x"])
async def test_a_field_that_the_form_does_not_have_is_ignored(bus: Bus, visitor: Visitor, name: str) -> None:
    """The pipeline may have changed since the page was loaded."""
    status, run_id = await visitor.start(**{"p.customer": "ACME", name: "1"})
    assert status == 303
    assert await given(bus, run_id) == {"customer": "ACME", "rows": "100", "dry": "true", "mode": "quick"}
