"""Snapshots of streams, made and restored by the server: sequences, and the progress of consumers. I/O only."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any, BinaryIO, Final

import nats.errors

from fastflow_contracts.bus.client import ANSWER_S, Bus, header
from fastflow_contracts.bus.errors import Rejected, Unavailable

CHUNK_BYTES: Final = 256 * 1024
CHUNK_S: Final = 30.0
"""How long one chunk may take, in either direction."""
END_S: Final = 600.0
"""How long the server may take to create a stream from the chunks."""


async def save(bus: Bus, stream: str, file: BinaryIO) -> dict[str, Any]:
    """Write the snapshot of *stream* to *file*.

    Returns:
        The configuration and state of the stream, as JSON values.

    Raises:
        Rejected: The server refuses, or stops.
        Unavailable: The server does not answer.
    """
    inbox = bus.client.new_inbox()
    pieces = await bus.client.subscribe(inbox, pending_bytes_limit=-1, pending_msgs_limit=-1)
    try:
        wanted = {"deliver_subject": inbox, "chunk_size": CHUNK_BYTES}
        answer = await _ask(bus, f"$JS.API.STREAM.SNAPSHOT.{stream}", wanted)
        while (piece := await pieces.next_msg(timeout=CHUNK_S)).data:
            await asyncio.to_thread(file.write, piece.data)
            if piece.reply:  # the server waits for our acknowledgement
                await bus.client.publish(piece.reply, b"")
        if (header(piece, "Status") or "204") not in ("200", "204"):
            raise Rejected(f"the bus stopped the snapshot of {stream}: {header(piece, 'Description')}.")
    except (nats.errors.Error, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"the bus stopped the snapshot of {stream}: {reason}.") from error
    finally:
        with contextlib.suppress(nats.errors.Error):
            await pieces.unsubscribe()
    return {"config": answer["config"], "state": answer["state"]}


async def restore(bus: Bus, stream: str, description: dict[str, Any], file: BinaryIO) -> None:
    """Create *stream* from the snapshot in *file*. *description*: what ``save`` returned. Raises as ``save``."""
    answer = await _ask(bus, f"$JS.API.STREAM.RESTORE.{stream}", description)
    target = answer["deliver_subject"]
    try:
        while piece := await asyncio.to_thread(file.read, CHUNK_BYTES):
            _checked(stream, (await bus.client.request(target, piece, timeout=CHUNK_S)).data)
        _checked(stream, (await bus.client.request(target, b"", timeout=END_S)).data)
    except (nats.errors.Error, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise Unavailable(f"the bus stopped the restore of {stream}: {reason}.") from error


async def _ask(bus: Bus, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await bus.ask(subject, json.dumps(body).encode(), timeout_s=4 * ANSWER_S)
    return _checked(subject.rpartition(".")[2], answer)


def _checked(stream: str, answer: bytes) -> dict[str, Any]:
    """Decode an answer of the server, which may be empty. Raises ``Rejected``."""
    found: dict[str, Any] = json.loads(answer) if answer else {}
    if "error" in found:
        raise Rejected(f"the bus refused {stream}: {found['error'].get('description')}.")
    return found
