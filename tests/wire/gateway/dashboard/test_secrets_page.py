"""The page that encrypts secrets, and the mark on runs that passed a soft limit."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from msgspec.structs import replace

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.runs.run import AttemptRecord as RunAttempt
from fastflow_contracts.runs.run import Ended, Verdict
from fastflow_runner.secrets import SecretBox
from tests.support.gateway import TOKEN, Answer, Client, running_gateway, store
from tests.support.records import a_bundle, a_run, at, publish_pipeline

KEY = Fernet.generate_key().decode()
SECRET = "hunter2 \"<&>'é"
PAGE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


class Browser:
    """A visitor who signed in."""

    def __init__(self, client: Client, cookie: str) -> None:
        self._client = client
        self._headers = PAGE | {"Cookie": cookie}

    async def get(self, path: str) -> Answer:
        return await self._client.get(path, headers=self._headers, anonymous=True)

    async def submit(self, **fields: str) -> Answer:
        """Send the form of the page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', (await self.get("/secrets")).text)
        assert found
        data = {"csrf_token": found[1]} | fields
        return await self._client.post("/secrets", data=data, headers=self._headers, anonymous=True)


async def log_in(client: Client) -> Browser:
    answer = await client.post("/login", data={"token": TOKEN}, headers=PAGE, anonymous=True)
    return Browser(client, answer.headers["Set-Cookie"].split(";")[0])


@pytest_asyncio.fixture
async def browser(bus: Bus) -> AsyncIterator[Browser]:
    await publish_pipeline(bus, "shop", a_bundle(main_py="1"))
    async with running_gateway(bus, encryption_key=KEY) as client:
        yield await log_in(client)


async def test_a_value_becomes_a_token_and_is_not_seen_again(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    """The response has the token, bound to the given place; neither it nor the log has the value."""
    with caplog.at_level(logging.DEBUG):
        answer = await browser.submit(pipeline="shop", name="API_KEY", value=SECRET)
    assert answer.status == 200
    found = re.search(r'data-copy="([^"]+)"', answer.text)
    assert found
    assert SecretBox(KEY).open({"API_KEY": found[1]}, pipeline="shop") == {"API_KEY": SECRET}
    assert "hunter2" not in answer.text + caplog.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "hunter2" not in (await browser.get("/secrets")).text


async def test_lines_end_as_they_were_typed(browser: Browser) -> None:
    """Browsers send CR LF, which would break a key in PEM."""
    answer = await browser.submit(pipeline="shop", name="PEM", value="a\r\nb\r\n")
    found = re.search(r'data-copy="([^"]+)"', answer.text)
    assert found
    assert SecretBox(KEY).open({"PEM": found[1]}, pipeline="shop") == {"PEM": "a\nb\n"}


@pytest.mark.parametrize(
    "fields",
    [
        {"pipeline": "shop", "name": ""},
        {"pipeline": "", "name": "A"},
        {"pipeline": "a/b", "name": "A"},
        {"pipeline": "shop", "name": "A=B"},
    ],
)
async def test_a_refusal_keeps_the_names_and_forgets_the_value(browser: Browser, fields: dict[str, str]) -> None:
    """With the reason; the value must be typed again."""
    answer = await browser.submit(**fields, value=SECRET)
    assert answer.status == 422
    assert "Not encrypted" in answer.text
    assert "hunter2" not in answer.text
    assert all(f'value="{value}"' in answer.text for value in fields.values() if value)


async def test_without_a_key_the_page_says_what_to_do(bus: Bus) -> None:
    """Before a value is typed, and after."""
    async with running_gateway(bus) as client:
        browser = await log_in(client)
        assert "fastflow keys new" in (await browser.get("/secrets")).text
        answer = await browser.submit(pipeline="shop", name="A", value=SECRET)
        assert (answer.status, "fastflow keys new" in answer.text) == (409, True)


async def test_runs_that_passed_a_soft_limit_are_marked(bus: Bus, browser: Browser) -> None:
    """In the list, on their page, and in the API."""
    warning = "Memory: 80 MiB used, above the soft limit of 50 MiB."
    attempt = RunAttempt(number=1, runner="r1", claimed_at=at(0), finished_at=at(1), exit_code=0, warnings=(warning,))
    run = replace(a_run("shop"), state=Ended(verdict=Verdict.SUCCESS, at=at(1)), attempts=(attempt,))
    await store(bus, run)
    await store(bus, replace(a_run("shop"), state=Ended(verdict=Verdict.SUCCESS, at=at(1))))
    listed = (await browser.get("/runs")).text
    assert listed.count('class="soft-mark"') == 1
    assert warning in listed
    assert warning in (await browser.get(f"/runs/{run.id}")).text
    assert f'"warnings":["{warning}"]' in (await browser.get(f"/api/runs/{run.id}")).text
