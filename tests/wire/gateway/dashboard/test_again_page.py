"""The form that runs a run again with changes: it shows names and no values, and starts what it says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.store import RunStore
from tests.support.dashboard import TOKEN, dashboard
from tests.support.gateway import claim, finish
from tests.support.records import a_bundle, publish_pipeline

Fields = Sequence[tuple[str, str]]


class Visitor:
    """A browser that is signed in."""

    def __init__(self, session: ClientSession, csrf: str) -> None:
        self.session = session
        self.csrf = csrf

    async def get(self, path: str) -> str:
        async with self.session.get(path) as answer:
            return await answer.text()

    async def send(self, path: str, fields: Fields) -> tuple[int, str]:
        """Send a form; return the status, and the text of the page or the id of the run."""
        data = [("csrf_token", self.csrf), *fields]
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with self.session.post(path, data=data, headers=headers, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", "").rpartition("/")[2] or await answer.text()


@pytest_asyncio.fixture
async def visitor(bus_url: str, bus: Bus) -> AsyncIterator[Visitor]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
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


async def a_run(bus: Bus, visitor: Visitor) -> RunRecord:
    headers = {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": visitor.csrf, "Accept": "application/json"}
    body = {"env_vars": {"CITY": "s3cr3t-city"}, "parameters": {"day": "monday", "share": 0.5}}
    path = "/api/pipelines/demo/run?allow_undeclared=true"
    async with visitor.session.post(path, json=body, headers=headers) as answer:
        run = (await stored(bus, (await answer.json())["id"]))[0]
    await finish(bus, await claim(bus, run), exit_code=1)
    await visitor.get(f"/api/runs/{run.id}/stream")  # it ends when the gateway knows that the run is over
    return run


async def stored(bus: Bus, run_id: str) -> tuple[RunRecord, RunInput]:
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return run, await RunStore(bus).input(run)


def row(kind: str, name: str, choice: str = "keep", text: str = "") -> Fields:
    return [("given_kind", kind), ("given_name", name), ("given_choice", choice), ("given_text", text)]


async def test_the_form_shows_names_and_no_values_and_starts_what_it_says(bus: Bus, visitor: Visitor) -> None:
    run = await a_run(bus, visitor)
    assert f'href="/runs/{run.id}/again"' in await visitor.get(f"/runs/{run.id}")
    page = await visitor.get(f"/runs/{run.id}/again")
    assert all(f'value="{name}"' in page for name in ("CITY", "day", "share"))
    assert "s3cr3t" not in page
    fields = [
        ("code", "current"),
        *row("env", "CITY"),
        *row("parameter", "day", "drop"),
        *row("parameter", "share", "keep", "0.75"),  # what is typed counts
        ("env_name", "MORE"),
        ("env_value", "1"),
    ]
    status, run_id = await visitor.send(f"/runs/{run.id}/again", fields)
    assert status == 303
    again, given = await stored(bus, run_id)
    assert given.overrides == {"CITY": "s3cr3t-city", "share": "0.75", "MORE": "1"}
    assert (again.order.triggered_by, again.order.json_parameters) == ("manual", ("share",))


async def test_a_refused_change_keeps_what_was_typed(bus: Bus, visitor: Visitor) -> None:
    run = await a_run(bus, visitor)
    typed = [*row("parameter", "share", "set", "half"), ("env_name", "KEPT"), ("env_value", "typed")]
    status, page = await visitor.send(f"/runs/{run.id}/again", typed)
    assert (status, "share was given as JSON" in page, 'value="half"' in page, 'value="typed"' in page) == (
        422,
        True,
        True,
        True,
    )


async def test_an_empty_value_can_be_given_and_a_run_that_is_not_over_refuses(bus: Bus, visitor: Visitor) -> None:
    run = await a_run(bus, visitor)
    status, run_id = await visitor.send(f"/runs/{run.id}/again", row("env", "CITY", "set"))
    again, given = await stored(bus, run_id)
    assert (status, given.overrides["CITY"]) == (303, "")
    status, page = await visitor.send(f"/runs/{again.id}/again", row("env", "CITY", "drop"))
    assert (status, "is not over yet" in page) == (409, True)
