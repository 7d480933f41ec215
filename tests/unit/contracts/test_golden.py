"""What is stored and sent today stays readable. ``tests/golden`` holds messages of every kind, one a line, as they are
on the bus. Never change or remove a line; add a new one for what is new.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

import fastflow_contracts
from fastflow_contracts.bus import objects
from fastflow_contracts.codec import Codec
from fastflow_contracts.pipelines import links
from fastflow_contracts.pipelines.pauses import PAUSE_SET
from fastflow_contracts.pipelines.records import PIPELINE, SYNC_REPORT, SYNC_STATUS, VERSION
from fastflow_contracts.runs import cells, event_cursors, limits, logs, messages
from fastflow_contracts.runs.artifacts.manifest import MANIFEST
from fastflow_contracts.runs.operations import records as operations
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.run import RUN, RUN_INPUT
from fastflow_contracts.runs.state.head import STATE_HEAD
from fastflow_contracts.schedules import beat, state
from fastflow_contracts.service.troubles import TROUBLES
from fastflow_contracts.sessions import spent

GOLDEN: Final = Path(__file__).parents[2] / "golden"
KINDS: Final[dict[str, Codec[Any]]] = {
    "artifacts": MANIFEST,
    "beat": beat.SCHEDULER_BEAT,
    "cancel": messages.CANCEL,
    "cells": cells.CHUNK,
    "chain": limits.CHAIN_COUNT,
    "decision": messages.DECISION,
    "event-cursor": event_cursors.EVENT_CURSOR,
    "hint": messages.HINT,
    "input": RUN_INPUT,
    "limit": limits.LIMIT,
    "links": links.LINK_SET,
    "log": logs.CHUNK,
    "operation": operations.OPERATION,
    "operation-items": operations.OPERATION_ITEMS,
    "pauses": PAUSE_SET,
    "pipeline": PIPELINE,
    "presence": PRESENCE,
    "run": RUN,
    "sample": messages.SAMPLE,
    "schedule": state.SCHEDULE_STATE,
    "skip": messages.SKIP,
    "spent": spent.SPENT,
    "state": STATE_HEAD,
    "switch": state.SWITCH,
    "sync-report": SYNC_REPORT,
    "sync-status": SYNC_STATUS,
    "trigger": messages.TRIGGER,
    "troubles": TROUBLES,
    "version": VERSION,
}
MAPS: Final = {
    "env",
    "encrypted_env",
    "overrides",
    "env_vars",
    "parameters",
    "default_env",
    "event_headers",
    "data",
    "pipelines",
    "inferred_parameters",
}
"""Names people give; here nothing is unknown."""


def lines(kind: str) -> list[bytes]:
    found = (GOLDEN / f"{kind}.jsonl").read_bytes().splitlines()
    assert found
    return found


def newer(value: Any) -> Any:
    """Return the message as a later version might write it: a higher number, and more fields in every object."""
    if isinstance(value, list):
        return [newer(each) for each in value]
    if not isinstance(value, dict):
        return value
    grown = {name: each if name in MAPS else newer(each) for name, each in value.items()}
    return {"of_a_later_version": {"v": [1]}} | grown | ({"v": value["v"] + 1} if "v" in value else {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_an_earlier_version_is_read_without_loss(kind: str) -> None:
    """Written again, it is the same."""
    codec = KINDS[kind]
    for line in lines(kind):
        assert codec.encode(codec.decode(line)) == line


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_a_later_version_is_read(kind: str) -> None:
    """Unknown fields are ignored, in any place and with any value."""
    codec = KINDS[kind]
    for line in lines(kind):
        message = codec.decode(json.dumps(newer(json.loads(line))).encode())
        known = codec.decode(line)
        assert message == (replace(known, v=message.v) if hasattr(known, "v") else known)


def structs_in(value: Any) -> Iterator[Struct]:
    """Return every struct that a message consists of."""
    if isinstance(value, Struct):
        yield value
        yield from (each for name in value.__struct_fields__ for each in structs_in(getattr(value, name)))
    elif isinstance(value, tuple | list):
        yield from (each for item in value for each in structs_in(item))


def test_every_field_of_every_message_is_recorded() -> None:
    """With a value other than its default: a new field needs a new line."""
    fields, recorded = set(), set()
    for kind, codec in KINDS.items():
        for struct in (each for line in lines(kind) for each in structs_in(codec.decode(line))):
            for field in msgspec.structs.fields(struct):
                fields.add((type(struct).__name__, field.name))
                if field.required or getattr(struct, field.name) != field.default:
                    recorded.add((type(struct).__name__, field.name))
    assert fields - recorded == {(name, "v") for name, _ in fields if (name, "v") in fields}


def test_every_kind_of_message_is_recorded() -> None:
    """A new kind must be added here. Cell events are recorded in their chunks; the metadata of an object is NATS's."""
    found = set()
    for module in pkgutil.walk_packages(fastflow_contracts.__path__, "fastflow_contracts."):
        found |= {value for value in vars(importlib.import_module(module.name)).values() if isinstance(value, Codec)}
    assert found == {*KINDS.values(), cells.EVENT, objects.NOTE}
