"""Whatever a file of a folder contains: the pipeline is valid or has problems, and nothing else happens.

``make verify`` draws 100,000 metadata files and 300 notebooks.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from fastflow.terminal.upcoming import upcoming_of
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.folder.bundle import File
from fastflow_contracts.pipelines.folder.discovery import Discovered, inspect_folder
from fastflow_contracts.pipelines.folder.examine import UNEXPECTED, examine
from fastflow_contracts.pipelines.folder.selection import Folder
from fastflow_contracts.pipelines.records import PIPELINE, PipelineRecord, Version
from tests.support.corruption import NONSENSE, fresh_dice, spoilt
from tests.support.profile import lasting
from tests.support.records import T0

METADATA: Final = lasting(500, long=100_000)
NOTEBOOKS: Final = lasting(100, long=300)
OTHERS: Final = lasting(5, long=100)
"""Of each kind of file."""

SCRIPT: Final = b"# /// script\n# requires-python = '>=3.11'\n# dependencies = ['requests']\n# ///\nprint(1)\n"
WHOLE: Final[dict[str, Any]] = {
    "type": "script",
    "enabled": True,
    "description": "x",
    "tags": ["a", "b"],
    "python_version": "3.12",
    "timeout": 60,
    "cpu_hard_limit": 1.5,
    "mem_hard_limit": "1.5g",
    "default_env": {"A": "1", "B": 2},
    "encrypted_env": {"S": "gAAAA"},
    "retry_attempts": 2,
    "retry_strategy": {"type": "exponential_backoff", "initial_delay": 1, "multiplier": 2, "max_delay": 10},
    "schedule_cron": "*/5 * * * *",
    "schedule_start": "2026-01-01T00:00:00+01:00",
    "schedule_end": "2027-01-01",
    "timezone": "Europe/Berlin",
    "max_instances": 2,
    "downstream_triggers": [{"pipeline": "other", "on_success": True}],
    "schedules": [{"id": "x", "schedule_interval_seconds": 60, "default_env": {}, "enabled": False}],
    "restart_on_crash": True,
    "restart_cooldown": 5,
    "webhook_key": "a-webhook-key-of-some-length",
}
CELL: Final[dict[str, Any]] = {
    "cell_type": "code",
    "source": ["print(1)\n"],
    "metadata": {"tags": ["parameters"], "fastflow": {"retries": 1, "timeout": 5}},
    "outputs": [],
}
NOTEBOOK: Final[dict[str, Any]] = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}},
    "cells": [CELL, {"cell_type": "markdown", "source": "x", "metadata": {}, "attachments": {"a": {"image/png": "x"}}}],
}
OTHER_FILES: Final[Mapping[str, bytes]] = {
    "main.py": SCRIPT,
    "requirements.txt": b"requests==2.0 --hash=sha256:00\n-r base.txt\n./wheels/x.whl\n-e ./lib\n",
    "requirements.txt.lock": b"requests==2.0\n",
    "pyproject.toml": b"[project]\nname='x'\nrequires-python='>=3.11'\n[tool.uv.sources]\ny={path='../y'}\n",
    "uv.lock": b"version = 1\n",
    "uv.toml": b"index-url = 'x'\n",
    ".python-version": b"3.12\n",
    ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n",
    "other.json": b'{"enabled": true}',
}
ENCODINGS: Final = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp500")


def check(name: str, files: Mapping[str, bytes]) -> Discovered | None:
    """Read a folder as validate and the syncer do; what is found can be stored and shown."""
    found = inspect_folder(name, files)
    if found is None:
        return None
    assert (found.spec is None) == bool(found.problems)
    for diagnostic in (*found.problems, *found.notices):
        assert str(diagnostic).replace("\n", "").isprintable()
    live = None
    if found.spec is not None:
        live = Version(bundle="b", spec=found.spec, live_since=T0)
        upcoming_of(found.spec, now=T0, count=3)
    record = PipelineRecord(
        name=PipelineName(name), live=live, seen_at=T0, problems=found.problems, notices=found.notices
    )
    assert PIPELINE.decode(PIPELINE.encode(record)) == record
    return found


@pytest.mark.simulation
def test_any_metadata_is_read_or_refused() -> None:
    """Random bytes, wrong types, one field of nonsense, several of them."""
    dice = fresh_dice()
    whole = json.dumps(WHOLE).encode()
    for _ in range(METADATA):
        some = {field: WHOLE[field] for field in dice.sample(sorted(WHOLE), dice.randrange(1, 6))}
        data = spoilt(dice, dice.choice((whole, json.dumps(some).encode())))
        if dice.random() < 0.2:
            data = garbled(dice, data)
        assert check("etl", {"main.py": b"print(1)\n", "pipeline.json": data}) is not None


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: repr(value)[:20])
def test_nonsense_in_any_field_is_read_or_refused(value: object) -> None:
    for field in WHOLE:
        data = json.dumps({field: value}, ensure_ascii=False).encode("utf-8", "surrogatepass")
        assert check("etl", {"main.py": b"print(1)\n", "pipeline.json": data}) is not None


@pytest.mark.simulation
def test_any_notebook_is_read_or_refused() -> None:
    """Also one with invalid UTF-8 in a part that no reader needs."""
    dice = fresh_dice()
    whole = json.dumps(NOTEBOOK).encode()
    metadata = b'{"type": "notebook"}'
    broken = [
        whole.replace(old, new)
        for old, new in ((b"print", b"pr\xffint"), (b'"retries"', b'"r\xff"'), (b'"x"', b'"\xc3"'))
    ]
    drawn = (
        garbled(dice, spoilt(dice, whole)) if dice.random() < 0.5 else spoilt(dice, whole) for _ in range(NOTEBOOKS)
    )
    for data in (*broken, *drawn):
        found = check("etl", {"main.ipynb": data, "pipeline.json": metadata})
        assert found is not None
    assert all(check("etl", {"main.ipynb": data, "pipeline.json": metadata}).problems for data in broken)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", OTHER_FILES)
def test_any_other_file_is_read_or_refused(name: str) -> None:
    """In any encoding, with zero bytes, deep, huge and cut."""
    dice = fresh_dice()
    files = {"main.py": b"print(1)\n", "lib/setup.py": b"", "wheels/x.whl": b"", "base.txt": b"rich\n"}
    for data in variants(dice, OTHER_FILES[name]):
        assert check("etl", {**files, name: data}) is not None


def test_a_folder_that_the_readers_fail_at_has_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours in one folder is a problem of that pipeline, for validate and the syncer alike."""

    def fails(*_: object, **__: object) -> None:
        raise RecursionError

    monkeypatch.setattr("fastflow_contracts.pipelines.folder.examine.inspect_folder", fails)
    folder = Folder({"main.py": File(b"print(1)\n")}, ())
    found = examine("etl", folder, is_known=False)
    assert found is not None
    assert UNEXPECTED in str(found.found.problems[0])
    assert examine("etl", Folder({"notes.txt": File(b"")}, ()), is_known=False) is None


def variants(dice: random.Random, data: bytes) -> Iterator[bytes]:
    """The encodings of *data*, what is deep or huge, and random changes."""
    for encoding in ENCODINGS:
        yield data.decode().encode(encoding)
    yield from (b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"[" * 100_000, b"a=" + b"[" * 10_000, b"1" * 10_000)
    yield from (b"a = " + b"9" * 10_000, b"# /// script\n" * 1_000, b"-r base.txt\n" * 10_000, b"\\\n" * 10_000)
    for _ in range(OTHERS):
        yield garbled(dice, data)


def garbled(dice: random.Random, data: bytes) -> bytes:
    """Change a few bytes, or the encoding."""
    if dice.random() < 0.2:
        return data.decode("utf-8", "replace").encode(dice.choice(ENCODINGS), "replace")
    changed = bytearray(data or b" ")
    for _ in range(dice.randrange(1, 5)):
        place = dice.randrange(len(changed))
        changed[place : place + dice.randrange(3)] = dice.choice(
            (b"\xff", b"\0", b"\xc3", b"\xed\xa0\x80", b'"', b"\n", b"{")
        )
        changed = changed or bytearray(b" ")
    return bytes(changed)
