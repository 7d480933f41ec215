"""Run ids, and what they are derived from. Pure.

A run's id is a UUIDv5 of what asked for it. So a request that is repeated, after a crash between any two steps, gives
the same run. A request without an identity gets a random key.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import NewType

from fastflow_contracts.errors import FastFlowError

RunId = NewType("RunId", str)
"""A lower-case UUID with dashes: safe as a subject token, part of a KV key, container name and path."""

RUN_ID_PATTERN = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"

_NAMESPACE = uuid.UUID("6f1e7a52-3d5b-5c0e-9a44-fa57f1000001")


class BadRunId(FastFlowError):
    """The text is not a run id."""


def check_run_id(text: str) -> RunId:
    """Return *text* as a run id. Raises ``BadRunId``."""
    if re.match(RUN_ID_PATTERN, text) is None:
        raise BadRunId(f"{text[:64]!r} is not a run id; use an id from the output of starting or listing runs.")
    return RunId(text)


def run_id_for_key(pipeline: str, key: str) -> RunId:
    """Return the run that the idempotency key *key* (header, message id, event source and id) starts on *pipeline*."""
    return _derive("key", pipeline, key)


def run_id_for_message(stream: str, sequence: int, stored_at: datetime) -> RunId:
    """Return the run that one stored message starts. *stored_at* distinguishes a stream that was wiped and refilled."""
    return _derive("message", stream, str(sequence), stored_at.astimezone(UTC).isoformat())


def run_id_for_event(pipeline: str, trigger: str, stream: str, made_at: datetime, sequence: int) -> RunId:
    """Return the run that one message starts by one trigger. *made_at*: when the stream was created."""
    return _derive("event", pipeline, trigger, stream, made_at.astimezone(UTC).isoformat(), str(sequence))


def run_id_for_batch(pipeline: str, trigger: str, stream: str, made_at: datetime, last: int) -> RunId:
    """Return the run that the messages up to *last* start together. Else as ``run_id_for_event``."""
    return _derive("batch", pipeline, trigger, stream, made_at.astimezone(UTC).isoformat(), str(last))


def run_id_for_slot(pipeline: str, schedule: str, slot: datetime) -> RunId:
    """Return the run of one schedule slot. Every scheduler replica computes the same id."""
    return _derive("slot", pipeline, schedule, slot.astimezone(UTC).isoformat())


def run_id_for_child(parent: RunId, edge: str) -> RunId:
    """Return the run that the end of *parent* starts over *edge* (a downstream trigger, a restart, a manual retry)."""
    return _derive("child", parent, edge)


def _derive(*parts: str) -> RunId:
    # The length before each part makes ("a", "bc") differ from ("ab", "c").
    return RunId(str(uuid.uuid5(_NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts))))
