"""The dashboard in a real browser, where a name is not localhost, and where scripts are off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.connection import connect
from fastflow_gateway.app import gateway
from fastflow_gateway.settings import GatewaySettings
from tests.support.dashboard import TOKEN, browser, dashboard
from tests.support.records import a_bundle, publish_pipeline

pytestmark = pytest.mark.browser

OTHER_TOKEN = f"{TOKEN}-of-another"
NAMED = ("--host-resolver-rules=MAP fastflow.test 127.0.0.1",)
"""A name that Chromium does not trust over plain HTTP: it sends no Sec-Fetch-Site there."""


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard that knows one pipeline with a webhook."""
    await publish_pipeline(bus, "hello", a_bundle(main_py="1"), webhook_key="a-key/of its+own")
    async with dashboard(bus_url) as address:
        yield address


def named(url: str) -> str:
    return f"http://fastflow.test:{urlsplit(url).port}"


async def log_in(page: Page, url: str, token: str) -> None:
    await page.goto(f"{url}/login")
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Pipelines")).to_be_visible()


async def test_forms_work_over_plain_http_under_any_name(url: str) -> None:
    """There the browser says only by Origin where a form comes from."""
    async with browser(named(url), logged_in=False, options=NAMED) as page:
        await log_in(page, named(url), TOKEN)
        await page.goto("/pipelines/hello/start")
        await page.get_by_role("button", name="Start run").click()
        await expect(page.locator("#status")).to_have_text("Waiting")


async def test_two_installations_on_one_host_stay_signed_in(url: str, bus_url: str) -> None:
    """Cookies belong to a host, not to a port."""
    settings = GatewaySettings(port=0, admin_token=OTHER_TOKEN)
    async with (
        connect(bus_url, name="another") as bus,
        gateway(settings, bus) as other,
        browser(named(url), logged_in=False, options=NAMED) as page,
    ):
        await log_in(page, named(url), TOKEN)
        await log_in(page, named(other), OTHER_TOKEN)
        for each in (url, other):
            await page.goto(f"{named(each)}/runs")
            await expect(page.get_by_role("heading", name="Runs", exact=True)).to_be_visible()


@pytest.mark.parametrize("scripts", [False, True], ids=["without scripts", "with scripts"])
async def test_the_address_of_a_webhook_can_be_shown_and_copied(url: str, scripts: bool) -> None:
    """It is complete, and works when pasted. Before, the page has no key."""
    async with browser(url, scripts=scripts) as page:
        await page.goto("/pipelines/hello")
        assert "a-key" not in await page.content()
        await page.get_by_role("button", name="Show its address").click()
        address = f"{url}/api/webhooks/hello/a-key%2Fof%20its%2Bown"
        await expect(page.get_by_text(address, exact=True)).to_be_visible()
        if scripts:
            await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            await page.get_by_role("button", name="Copy the address of the webhook").click()
            await expect(page.get_by_text("Copied").first).to_be_visible()
            assert await page.evaluate("navigator.clipboard.readText()") == address
        else:
            await expect(page.get_by_role("button", name="Copy the address of the webhook")).to_have_count(0)
        answer = await page.request.post(address)
        assert answer.status == 200
