"""Versions on a pipeline's page, in a real browser, on a narrow and a wide screen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import expect

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import VersionRef
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.records import PackageChange, VersionChanges
from fastflow_contracts.pipelines.store import PipelineStore
from tests.support.dashboard import browser, dashboard
from tests.support.records import a_bundle, list_version, publish_pipeline

pytestmark = pytest.mark.browser

DEMO = PipelineName("demo")
OLD, NEW = a_bundle(main_py="print(1)\n"), a_bundle(main_py="print(2)\n")


@pytest_asyncio.fixture
async def url(bus_url: str, bus: Bus) -> AsyncIterator[str]:
    """A dashboard, and a pipeline with two versions."""
    await list_version(bus, "demo", OLD)
    await list_version(bus, "demo", NEW, before=OLD.sha256, deployed=86_400)
    store, ref = PipelineStore(bus), VersionRef(DEMO, NEW.sha256[:12])
    stored = await store.versions.get(ref)
    assert stored is not None
    changes = VersionChanges(
        added=("a_module_with_a_long_name_in/a_folder/of_its_own.py",),
        changed=("main.py", "requirements.txt"),
        packages=(PackageChange(name="pandas", before=">=2.1", after=">=2.2"),),
    )
    version = replace(
        stored.value.version, commit="c" * 40, commit_subject="Read the orders in batches, because " + "many " * 30
    )
    listed = replace(stored.value, version=version, author="Ann Example", changes=changes)
    await store.versions.put(ref, listed, expect=stored.revision)
    await publish_pipeline(bus, "demo", NEW, description="Reads the orders.")
    async with dashboard(bus_url) as address:
        yield address


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", [390, 1440])
async def test_a_version_is_rolled_back_and_released_on_the_page(url: str, width: int, scripts: bool) -> None:
    """With or without scripts; nothing is wider than the screen."""
    async with browser(url, scripts=scripts) as page:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto("/pipelines/demo")
        rows = page.locator("#versions .version-row")
        await expect(rows).to_have_count(2)
        await page.locator(".version-diff summary").click()
        await expect(page.get_by_text("pandas >=2.1 → >=2.2")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.get_by_text("Roll back", exact=True).click()
        note = page.locator("#version-note")
        await expect(note).to_contain_text(f"Pinned to version {OLD.sha256[:12]}")
        await expect(note).to_contain_text(f"the newer version {NEW.sha256[:12]} is not live")
        await expect(rows.nth(1)).to_contain_text("Live")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await note.get_by_role("button", name="Remove the pin").click()
        await expect(note).to_be_empty()
        await expect(rows.nth(0)).to_contain_text("Live")
