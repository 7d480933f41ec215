"""Identifiers, and the identities they are made from. Pure.

A run's id is a UUIDv5 of what asked for it, so that asking twice, after a crash between any two steps,
arrives at the same run. A request with no identity of its own is given a random key.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import NewType

from fastflow_contracts.errors import FastFlowError

RunId = NewType("RunId", str)
"""A lower-case UUID with dashes: safe as subject token, KV key part, container name, and path."""

_NAMESPACE = uuid.UUID("6f1e7a52-3d5b-5c0e-9a44-fa57f1000001")


class BadRunId(FastFlowError):
    """The text is no run id."""


def check_run_id(text: str) -> RunId:
    """Return *text* as a run id, or raise ``BadRunId``."""
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text:
        raise BadRunId(f"{text[:64]!r} is no run id; use the id that starting or listing runs shows.")
    return RunId(text)


def run_id_for_key(pipeline: str, key: str) -> RunId:
    """The run that idempotency key *key* (header, message id, or event source and id) starts on *pipeline*."""
    return _derive("key", pipeline, key)


def run_id_for_message(stream: str, sequence: int, stored_at: datetime) -> RunId:
    """The run that one stored message starts. *stored_at* tells a wiped and refilled stream apart."""
    return _derive("message", stream, str(sequence), stored_at.astimezone(UTC).isoformat())


def run_id_for_slot(pipeline: str, schedule: str, slot: datetime) -> RunId:
    """The run of one schedule slot; every scheduler replica computes the same."""
    return _derive("slot", pipeline, schedule, slot.astimezone(UTC).isoformat())


def run_id_for_child(parent: RunId, edge: str) -> RunId:
    """The run that *parent*'s end starts over *edge* (a downstream trigger, a restart, a retry by hand)."""
    return _derive("child", parent, edge)


def _derive(*parts: str) -> RunId:
    # The length before each part keeps ("a", "bc") and ("ab", "c") apart.
    return RunId(str(uuid.uuid5(_NAMESPACE, "".join(f"{len(part)}:{part}" for part in parts))))
