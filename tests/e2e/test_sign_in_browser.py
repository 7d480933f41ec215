"""Signing in by an address that works once, and out for good, in a real browser."""

from __future__ import annotations

import aiohttp
import pytest
from playwright.async_api import expect

from fastflow_api import Client
from tests.support.dashboard import TOKEN, browser, dashboard

pytestmark = pytest.mark.browser


async def test_a_browser_signs_in_by_an_address_once_and_out_for_good(bus_url: str) -> None:
    """The address holds no token and does not stay in the browser; after the logout a copy of the cookie is refused."""
    async with dashboard(bus_url) as url, browser(url, logged_in=False) as page:
        async with Client(url, TOKEN) as client:
            code = (await client.login_code()).code
        assert TOKEN not in code
        await page.goto(f"/login?code={code}&next=/runs")
        await page.wait_for_url("**/runs")
        (cookie,) = await page.context.cookies()
        stolen = {"Cookie": f"{cookie['name']}={cookie['value']}"}

        async with aiohttp.ClientSession(headers=stolen) as thief:

            async def status() -> int:
                async with thief.get(f"{url}/api/runs") as answer:
                    return answer.status

            assert await status() == 200
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url("**/login")
            assert await page.context.cookies() == []
            while await status() == 200:  # until the bus has told the gateway
                pass
            assert await status() == 401

        await page.goto(f"/login?code={code}")
        await expect(page.get_by_role("alert")).to_contain_text("fastflow open")
        await page.get_by_label("Token").fill(TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(lambda shown: "/login" not in shown)
