"""The examples of docs/client.md and of the distribution's README, on a real gateway and a real bus."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from fastflow_api import ApiError, Client
from fastflow_api import errors as api_errors
from fastflow_api.resources.base import Resource
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.runs.store import RunStore
from tests.support.gateway import TOKEN, claim, finish, running_gateway, running_scheduler, say
from tests.support.records import a_bundle, publish_pipeline

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/client.md").read_text()
README = (ROOT / "libs/api/README.md").read_text()


def examples(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


async def executed(code: str, names: dict[str, Any]) -> None:
    """Run code as a notebook does: with top-level `await`, inside a running event loop."""
    compiled = compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(compiled, CodeType)
    awaited = eval(compiled, names)
    if inspect.isawaitable(awaited):
        await awaited


@pytest.fixture
async def url(bus: Bus) -> AsyncIterator[str]:
    """An installation with the pipeline of the examples, and a stand-in for a runner."""
    await publish_pipeline(
        bus, "greet", a_bundle(main_py="print('Hello')"), accepts_env=("NAME",), schedule_cron="0 6 * * *"
    )
    async with running_scheduler(bus), running_gateway(bus) as gateway:
        playing = asyncio.create_task(_run_all(bus, gateway.url))
        yield gateway.url
        playing.cancel()


async def _run_all(bus: Bus, url: str) -> None:
    store = RunStore(bus)
    async with Client(url, TOKEN) as client:
        while True:
            for each in (await client.runs(status="PENDING")).runs:
                run = await claim(bus, (await store.find(check_run_id(each.id))).run)
                await finish(bus, run, log_sequence=await say(bus, run, "Hello\n", end=6))
            await asyncio.sleep(0.05)


async def test_the_page_runs_from_top_to_bottom(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the cells of one notebook, which share their names."""
    monkeypatch.setenv("FASTFLOW_URL", url)
    monkeypatch.setenv("FASTFLOW_TOKEN", TOKEN)
    names: dict[str, Any] = {}
    async with asyncio.timeout(60):
        for example in examples(PAGE):
            await executed(example, names)
    said = capsys.readouterr().out
    assert said.startswith("greet 0\nSUCCESS\nHello\n\n")
    assert "stdout Hello\nSUCCESS\n" in said
    assert said.endswith("there is no pipeline 'no-such-pipeline'; GET /api/pipelines lists all pipelines.\n")


async def test_the_readmes_example_runs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the address of a real installation instead of the default."""
    (example,) = examples(README)
    async with asyncio.timeout(60):
        await executed(example.replace("http://127.0.0.1:8000", url), {"token": TOKEN})
    assert capsys.readouterr().out == "SUCCESS Hello\n\n"


def test_the_page_lists_every_method_and_every_error() -> None:
    """And nothing else."""
    tables = re.findall(r"^\| .* \| (.*) \|$", PAGE.partition("## All methods")[2], re.MULTILINE)
    told = [name for row in tables for name in re.findall(r"`(\w+)`", row)]
    public = {
        name
        for kind in Client.__mro__
        if issubclass(kind, Resource)
        for name, member in vars(kind).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }
    assert sorted(told) == sorted(public - {"close"})
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    kinds = {name for name, kind in vars(api_errors).items() if isinstance(kind, type) and issubclass(kind, ApiError)}
    assert listed == kinds - {"ApiError"}


def test_every_method_and_shape_is_documented() -> None:
    """The first line of each docstring is a sentence."""
    for kind in Client.__mro__[:-1]:
        assert (kind.__doc__ or "").split("\n")[0].strip().endswith((".", ".``"))
        for name, member in vars(kind).items():
            if inspect.isfunction(member) and not name.startswith("_"):
                assert (member.__doc__ or "").split("\n")[0].endswith("."), name
