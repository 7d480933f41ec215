"""Ten thousand messages that no client would publish, on every subject that a service reads: all services live on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Final

import nats
import nats.errors
import nats.js.errors

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.subjects import RunRef
from fastflow_contracts.ids import RunId
from fastflow_contracts.names import PipelineName
from tests.fuzz import hostile
from tests.fuzz.under_test import SEED, Attacked
from tests.support.profile import lasting

MESSAGES: Final = lasting(300, long=10_000)
RUN: Final = RunRef(PipelineName("good"), RunId("00000000-0000-4000-8000-000000000000"))
BODY: Final = {
    "pipeline": "good",
    "run": "good.00000000-0000-4000-8000-000000000000",
    "run_id": "00000000-0000-4000-8000-000000000000",
    "id": "00000000-0000-4000-8000-000000000000",
    "env_vars": {"A": "1"},
    "parameters": {},
    "at": "2026-01-01T00:00:00Z",
    "v": 1,
    "attempt": 1,
    "lines": [{"n": 1, "text": "x", "at": "2026-01-01T00:00:00Z"}],
    "state": {"type": "pending"},
    "key": "k",
}
TYPES: Final = (
    "application/json",
    "application/cloudevents+json",
    "application/vnd.fastflow.trigger+json",
    "application/vnd.fastflow.start+json",
    "text/plain",
)
HEADERS: Final = (
    "Content-Type",
    "Nats-Msg-Id",
    "Nats-Expected-Last-Sequence",
    "Nats-TTL",
    "Nats-Rollup",
    "Fastflow-Idempotency-Key",
    "Fastflow-Triggered-By",
    "traceparent",
    "ce-id",
    "ce-specversion",
)
PREFIXES: Final = ("ff.trigger", "ff.command.run.good", "ff.log.good", "ff.cell.good", "ff.metric.good", "ff.skipped")


async def test_no_message_ends_a_service(tmp_path: Path) -> None:
    """With the administrator's rights, so that only the services' own checks stand in the way."""
    with Attacked(tmp_path) as attacked:
        bus = await nats.connect(attacked.bus_url, max_reconnect_attempts=-1, inbox_prefix="_INBOX_fastflow")
        for number in range(MESSAGES):
            random = Random(SEED + number)
            subject, payload, headers = _message(random)
            try:
                await bus.publish(subject, payload, reply=_reply(random), headers=headers)
                if number % 100 == 99:
                    await bus.flush(60)
            except (nats.errors.BadSubjectError, nats.errors.MaxPayloadError, ValueError):
                continue
        await bus.close()
        await asyncio.to_thread(attacked.check)


def _subject(random: Random) -> str:
    good = (
        subjects.trigger(RUN.pipeline),
        subjects.command(RUN),
        subjects.work("script"),
        subjects.work("notebook"),
        subjects.log(RUN, 1),
        subjects.cell(RUN, 1),
        subjects.metric(RUN, 1),
        subjects.skipped(RUN.pipeline, RUN.run_id),
        subjects.dead_trigger(RUN.pipeline, RUN.run_id),
        subjects.run_event(RUN),
        subjects.SYNC,
    )
    if random.random() < 0.7:
        return random.choice(good)
    return f"{random.choice(PREFIXES)}.{_token(random)}"


def _token(random: Random) -> str:
    """A token that the server takes: no white space, no wildcard alone, and not too long for its line."""
    found = "".join(letter for letter in hostile.word(random) if letter.isprintable() and letter not in " .*>")
    return found.encode()[:3000].decode(errors="ignore") or "x"


def _reply(random: Random) -> str:
    return random.choice(
        ("", "", "_INBOX_fastflow.x", "_INBOX_fastflow." + "y" * 500, "ff.trigger.good", "$JS.API.INFO")
    )


def _message(random: Random) -> tuple[str, bytes, dict[str, str] | None]:
    headers = {random.choice(HEADERS): _header(random) for _ in range(random.randrange(4))}
    if random.random() < 0.5:
        headers["Content-Type"] = random.choice(TYPES)
    return _subject(random), hostile.body(random, BODY), headers or None


def _header(random: Random) -> str:
    return hostile.header_value(random).encode("ascii", "replace").decode().strip()[:1500]
