"""Downstream triggers on a pipeline's page, with plain forms as a browser without scripts sends them."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, ClientTimeout, CookieJar

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import DownstreamRule, ScheduleEntry
from tests.support.dashboard import TOKEN, dashboard
from tests.support.records import a_bundle, publish_pipeline

PATH = "/pipelines/a/downstream-triggers"
API = "/api/pipelines/a/downstream-triggers"
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


@pytest_asyncio.fixture
async def user(bus_url: str, bus: Bus) -> AsyncIterator[ClientSession]:
    """A person who is signed in, where ``a`` starts ``b`` by its metadata."""
    code = a_bundle(main_py="")
    rules = (DownstreamRule(pipeline=PipelineName("b")), DownstreamRule(pipeline=PipelineName("gone"), on_route="<x>"))
    await publish_pipeline(bus, "a", code, downstream_triggers=rules)
    await publish_pipeline(bus, "b", code, schedules=(ScheduleEntry(id="full & more"),))
    timeout, cookies = ClientTimeout(total=20), CookieJar(unsafe=True)
    async with (
        dashboard(bus_url) as url,
        ClientSession(url, headers={"Accept": "text/html"}, timeout=timeout, cookie_jar=cookies) as session,
    ):
        async with session.post("/login", data={"token": TOKEN}) as answer:
            assert answer.status == 200
        yield session


async def text(user: ClientSession, path: str = "/pipelines/a") -> str:
    async with user.get(path) as answer:
        return await answer.text()


async def post(user: ClientSession, path: str, **fields: str) -> tuple[int, str]:
    """Send a form of the page; return the status and where it leads, or the page."""
    token = re.search(r'name="csrf_token" value="([^"]+)"', await text(user))
    assert token
    data = {"csrf_token": token[1]} | fields
    async with user.post(path, data=data, headers=SAME_SITE, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location") or await answer.text()


async def triggers(user: ClientSession) -> list[Any]:
    async with user.get(API) as answer:
        found: list[Any] = await answer.json()
        return found


async def test_triggers_are_listed_with_their_source_and_only_those_of_the_api_have_a_button(
    user: ClientSession,
) -> None:
    """What pipeline.json declares is removed there."""
    page = await text(user)
    assert page.count("pipeline.json</span>") == 2
    assert "after success, on route &lt;x&gt;" in page
    assert "There is no pipeline gone." in page
    assert "/remove" not in page
    assert await post(user, PATH, pipeline="b", after="failure", run_config_id="full & more", on_route="ä/b") == (
        303,
        "/pipelines/a#downstream",
    )
    page = await text(user)
    (action,) = re.findall(r'action="([^"]+/remove)"', page)
    assert "after failure, on route ä/b" in page
    assert await post(user, html.unescape(action)) == (303, "/pipelines/a#downstream")
    assert [each["source"] for each in await triggers(user)] == ["json", "json"]


async def test_the_form_makes_what_the_api_would(user: ClientSession) -> None:
    """Spaces around a field do not count. A trigger that both sources have loses only what the API added."""
    await post(user, PATH, pipeline=" b ", after="every", run_config_id="", on_route=" ")
    await post(user, PATH, pipeline="a", after="success", on_route="again")
    found = {each["id"]: each for each in await triggers(user)}
    assert (found["b"]["source"], found["b"]["on_failure"]) == ("both", True)
    assert (found["a.again"]["on_route"], found["a.again"]["on_success"]) == ("again", True)
    await post(user, f"{PATH}/b/remove")
    found = {each["id"]: each for each in await triggers(user)}
    assert (found["b"]["source"], found["b"]["on_failure"]) == ("json", False)


@pytest.mark.parametrize(
    ("fields", "status", "says"),
    [
        ({"pipeline": "nobody"}, 422, "there is no pipeline nobody"),
        ({"pipeline": '"><script>'}, 422, "cannot be a pipeline"),
        ({"pipeline": ""}, 422, "cannot be a pipeline"),
        ({"pipeline": "b", "run_config_id": "half"}, 422, "run_config_id of b"),
        ({"pipeline": "b", "on_route": "x" * 129}, 422, "on_route"),
        ({"pipeline": "b", "after": "never"}, 422, "success, failure, every"),
    ],
)
async def test_a_refused_form_comes_back_as_it_was_sent(
    user: ClientSession, fields: dict[str, str], status: int, says: str
) -> None:
    """Open, with the reason, and nothing is lost or stored."""
    answered, page = await post(user, PATH, **fields)
    assert answered == status
    assert says in html.unescape(page)
    assert '<details class="add" id="add-trigger" open>' in page
    assert f'name="pipeline" value="{html.escape(fields["pipeline"]).replace("&quot;", "&#34;")}"' in page
    assert len(await triggers(user)) == 2


async def test_what_cannot_be_removed_says_why(user: ClientSession) -> None:
    """A trigger of pipeline.json, one that is gone, and a form from elsewhere."""
    status, page = await post(user, f"{PATH}/b/remove")
    assert (status, "in the pipeline.json of a" in html.unescape(page)) == (409, True)
    status, page = await post(user, f"{PATH}/nothing/remove")
    assert (status, "has no downstream trigger" in html.unescape(page)) == (404, True)
    assert (await post(user, "/pipelines/nobody/downstream-triggers", pipeline="b"))[0] == 404
    async with user.post(PATH, data={"pipeline": "b"}, headers=SAME_SITE) as answer:
        assert answer.status == 403
