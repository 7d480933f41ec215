"""Keep the starts that the gateway refuses itself, and redrive skips: one, or all that match. I/O."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import takewhile
from typing import Final

from aiohttp import web

from fastflow_api import shapes
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.clock import now
from fastflow_contracts.ids import RunId, run_id_for_key
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.runs.event_headers import event_headers
from fastflow_contracts.runs.messages import TRIGGER_TYPE, Skipped, SkipRecord, Trigger
from fastflow_contracts.runs.skips import Letter, SkipStore
from fastflow_contracts.runs.triggers import BadTrigger
from fastflow_gateway import app_keys
from fastflow_gateway.actions.trigger_client import TRIGGER_CLIENT, asked_key
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun
from fastflow_gateway.readmodel.skips import SkipFilter

REDRIVEN_MAX: Final = 500
"""Skips that one request redrives."""
AT_ONCE_MAX: Final = 16
"""Redrives to wait for at once."""
REASONS_MAX: Final = 10
"""Different reasons of refusals that the answer names."""


async def keep(
    app: web.Application, name: PipelineName, letter: Letter, trigger: Trigger, refusal: RequestRefused
) -> None:
    """Keep a start that the gateway refuses without asking a scheduler.

    Args:
        app: The gateway.
        name: The pipeline.
        letter: The whole message.
        trigger: What is known of the start: its key, how it came, and the run configuration.
        refusal: The answer, with the reason.

    Raises:
        BusError: The bus did not answer; the start is not kept.
    """
    key = uuid.uuid4().hex if trigger.key is None else asked_key(trigger)
    skip = SkipRecord(
        id=run_id_for_key(name, key),
        at=now(),
        pipeline=name,
        reason=str(refusal),
        triggered_by=trigger.triggered_by,
        run_config_id=trigger.run_config_id,
    )
    await SkipStore(app[app_keys.BUS]).keep(skip, letter)


@contextlib.asynccontextmanager
async def kept_if_refused(
    app: web.Application, name: PipelineName, body: bytes, headers: Mapping[str, str], trigger: Trigger, *, status: int
) -> AsyncIterator[None]:
    """Keep a client's call that the block refuses, as ``keep`` does. Raises ``RequestRefused`` with *status*."""
    try:
        yield
    except (BadTrigger, RequestRefused) as error:
        refusal = RequestRefused(status, str(error))
        await keep(app, name, client_letter(body, headers), trigger, refusal)
        raise refusal from error


def client_letter(body: bytes, headers: Mapping[str, str]) -> Letter:
    """The message that a client's call is, with the headers of its event.

    It never has the media type of our own services: the redrive of such a message would believe who started it.
    """
    kept = event_headers(headers, has_event=bool(body))
    return Letter(body, {name: value for name, value in kept.items() if TRIGGER_TYPE not in value.lower()})


async def redrive(app: web.Application, skip: SkipRecord, *, key: str | None = None) -> KnownRun | RunId:
    """Start the message of *skip*. A repeat gives the run that the first one started, if there is no *key*.

    Returns:
        The run. Only the id if no scheduler answered in time.

    Raises:
        RequestRefused: It is refused again, or its message is not kept. The skip stays.
        BusError: The bus did not answer.
    """
    _check_redrivable(skip)
    if skip.redriven_as is not None and key is None:
        return await app[MODEL].run(skip.redriven_as) or skip.redriven_as
    outcome = await app[TRIGGER_CLIENT].redrive(skip, key=key)
    if isinstance(outcome, Skipped):
        raise RequestRefused(outcome.status, outcome.reason)
    return outcome


async def redrive_all(
    app: web.Application,
    wanted: SkipFilter,
    *,
    dry_run: bool = False,
    cursor: str | None = None,
    expect: int | None = None,
) -> shapes.Redriven:
    """Start the messages of all skips that match and are not redriven yet, the oldest first.

    Args:
        app: The gateway.
        wanted: Which skips.
        dry_run: Only count them.
        cursor: Only skips that are newer than the one with this id.
        expect: How many match, as the caller knows. With a *cursor* it may be None: any number.

    Returns:
        What became of the first ``REDRIVEN_MAX``. A refused one stays a skip.

    Raises:
        RequestRefused: There are not as many as expected, or it is not said how many; nothing was started.
    """
    if cursor is not None and app[MODEL].skips.get(RunId(cursor)) is None:
        raise RequestRefused(422, f"cursor: there is no skip {cursor[:64]!r}; begin again without it.")
    found = [skip for skip in _newer(app[MODEL].skips.listed(wanted), cursor) if skip.redriven_as is None]
    if dry_run:
        return shapes.Redriven(matched=len(found), left=len(found))
    if expect is None and cursor is None:
        raise RequestRefused(
            422,
            f'{len(found):,} skips match; to start them send "expect": {len(found)}, or "dry_run": true to look again.',
        )
    if expect is not None and expect != len(found):
        raise RequestRefused(
            409,
            f'{len(found):,} skips match now, not {expect:,}; nothing was started. Look again with "dry_run": true.',
        )
    taken = found[:REDRIVEN_MAX]
    queue = iter(taken)
    started: list[RunId] = []
    reasons: Counter[str] = Counter()

    async def work() -> None:
        for skip in queue:
            try:
                outcome = await redrive(app, skip)
            except (RequestRefused, BusError) as error:
                reasons[str(error)] += 1
            else:
                started.append(outcome.run.id if isinstance(outcome, KnownRun) else outcome)

    async with asyncio.TaskGroup() as group:
        for number in range(AT_ONCE_MAX):
            group.create_task(work(), name=f"redrive-{number}")
    left = len(found) - len(taken)
    return shapes.Redriven(
        matched=len(found),
        started=len(started),
        refused=reasons.total(),
        left=left,
        next_cursor=taken[-1].id if left else None,
        run_ids=tuple(started),
        reasons=tuple(reason for reason, _ in reasons.most_common(REASONS_MAX)),
    )


def _newer(newest_first: Iterable[SkipRecord], cursor: str | None) -> list[SkipRecord]:
    """The skips that are newer than the one with the id *cursor*, oldest first."""
    return list(takewhile(lambda skip: cursor is None or skip.id != cursor, newest_first))[::-1]


def _check_redrivable(skip: SkipRecord) -> None:
    if skip.id is None:
        raise RequestRefused(409, "an older version refused this start and kept no message; send it again.")
    try:
        check_name(skip.pipeline)
    except BadName as error:
        raise RequestRefused(409, f"its subject names no pipeline: {error}") from error
