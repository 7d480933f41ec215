"""Variables in the dashboard's form: an operator may set undeclared ones, and reads why another is refused."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.runs.store import RunStore
from tests.support.dashboard import TOKEN, dashboard
from tests.support.records import a_bundle, publish_pipeline


class Visitor:
    """A browser that is signed in. Its forms and scripts send the token of its session."""

    def __init__(self, session: ClientSession, csrf: str) -> None:
        self.session = session
        self.csrf = csrf

    async def start(self, **fields: str) -> tuple[int, str]:
        """Send the form; return the status, and the text of the page or the id of the run."""
        data = {"csrf_token": self.csrf, "key": "k"} | fields
        headers = {"Sec-Fetch-Site": "same-origin"}
        async with self.session.post(
            "/pipelines/demo/start", data=data, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, answer.headers.get("Location", "").rpartition("/")[2] or await answer.text()


@pytest_asyncio.fixture
async def visitor(bus_url: str, bus: Bus) -> AsyncIterator[Visitor]:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), encrypted_env={"API_KEY": "token"})
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


async def run_of(bus: Bus, run_id: str) -> tuple[RunRecord, RunInput]:
    run = (await RunStore(bus).find(check_run_id(run_id))).run
    return run, await RunStore(bus).input(run)


async def test_the_form_sets_variables_that_the_pipeline_does_not_declare(bus: Bus, visitor: Visitor) -> None:
    status, run_id = await visitor.start(env_name="DEBUG", env_value="1", param_name="day", param_value="monday")
    assert status == 303
    run, given = await run_of(bus, run_id)
    assert (run.order.triggered_by, run.order.by_operator) == ("manual", True)
    assert given.overrides == {"DEBUG": "1", "day": "monday"}


async def test_the_form_says_why_a_variable_is_refused(bus: Bus, visitor: Visitor) -> None:
    for name, said in (("LD_PRELOAD", "changes how programs load"), ("API_KEY", "is a secret of the pipeline")):
        status, page = await visitor.start(env_name=name, env_value="x")
        assert (status, "Not started" in page, f"{name} {said}" in page) == (422, True, True)


async def test_a_call_of_the_api_from_a_page_is_manual_and_sets_only_what_is_declared(
    bus: Bus, visitor: Visitor
) -> None:
    """The session says that it is a person; no header of the caller does."""
    headers = {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": visitor.csrf, "Accept": "application/json"}
    async with visitor.session.post("/api/pipelines/demo/run", json={}, headers=headers) as answer:
        assert (answer.status, (await answer.json())["triggered_by"]) == (200, "manual")
    body = {"env_vars": {"DEBUG": "1"}}
    async with visitor.session.post("/api/pipelines/demo/run", json=body, headers=headers) as answer:
        assert (answer.status, "DEBUG is not declared" in await answer.text()) == (422, True)
