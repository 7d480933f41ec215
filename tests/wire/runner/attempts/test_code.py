"""The code of a run is fetched and read once for each bundle. A real bus."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fastflow_runner.attempts import code as codes
from fastflow_runner.attempts.code import Code, fetch
from tests.support.runner_bench import Bench


async def test_what_a_bundle_needs_is_read_once_for_each_interpreter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bundle under another Python version needs another environment."""
    read: list[str] = []
    requests_of = codes.requests_of

    def counted(python_version: str, *args: Any) -> Any:
        read.append(python_version)
        return requests_of(python_version, *args)

    codes._requests.clear()
    monkeypatch.setattr(codes, "requests_of", counted)
    run = await bench.pending()
    first, again = await fetch(bench.context, run), await fetch(bench.context, run)
    assert isinstance(first, Code)
    assert first == again
    other = replace(run, order=replace(run.order, python_version="3.9"))
    found = await fetch(bench.context, other)
    assert isinstance(found, Code)
    assert found.requests[0].python_version == "3.9"
    assert read == [run.order.python_version, "3.9"]
