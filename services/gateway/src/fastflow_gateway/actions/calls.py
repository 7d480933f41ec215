"""Answer calls on the bus: start a run for a request on ``ff.call.<pipeline>``, reply when it is over. I/O.

Any gateway may answer, in a queue group. The start is stored like any other before anything waits. So when a gateway
dies, its callers hear nothing and their runs go on; a call that is repeated with the same id finds its run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import nats.errors
from aiohttp import web
from nats.aio.client import Client
from nats.aio.msg import Msg

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.ids import RunId
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import BadName, BadToken
from fastflow_contracts.runs.calls import (
    ERROR_CODE_HEADER,
    ERROR_HEADER,
    NOT_OVER,
    PREFER,
    REFUSED,
    UNAVAILABLE,
    WAIT_S_MAX,
    preferred_wait_s,
    without_end,
)
from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.result import told
from fastflow_contracts.runs.run import Ended
from fastflow_contracts.runs.triggers import read_trigger
from fastflow_gateway import app_keys
from fastflow_gateway.actions import runs
from fastflow_gateway.actions.skips import kept_if_refused
from fastflow_gateway.actions.waits import WAITS
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.model import MODEL
from fastflow_gateway.readmodel.run_index import KnownRun
from fastflow_gateway.views.waiting import held_by, pause_words

log = get_logger(__name__)

QUEUE: Final = "gateway"
"""Queue group of all gateways: one of them answers each call."""
CALLS_MAX: Final = 1_000
"""Calls that one gateway handles at once; one more is told to try again."""


class _NoEnd(Exception):
    """There is no end of a run to reply: why, and what the caller should do."""

    def __init__(self, error_type: str, code: int, text: str, known: KnownRun | RunId | None = None) -> None:
        super().__init__(text)
        self.headers = {ERROR_CODE_HEADER: str(code), ERROR_HEADER: error_type}
        run_id, status = (known.run.id, known.run.status) if isinstance(known, KnownRun) else (known, None)
        self.reply = without_end(error_type, text, run_id=run_id, status=status)


@contextlib.asynccontextmanager
async def answering_calls(app: web.Application) -> AsyncIterator[None]:
    """Answer calls while the block runs; at its end reply to those that wait."""
    bus = app[app_keys.BUS]
    async with asyncio.TaskGroup() as group:
        calls = Calls(app, group)
        subscription = await bus.client.subscribe(subjects.CALLS, queue=QUEUE, cb=calls.take)
        with contextlib.suppress(nats.errors.Error, TimeoutError):  # without the bus, the next connection subscribes
            await bus.client.flush()
        try:
            yield
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
            app[WAITS].stop()


class Calls:
    """The calls that this gateway handles."""

    def __init__(self, app: web.Application, group: asyncio.TaskGroup) -> None:
        self._app = app
        self._group = group
        self._client: Client = app[app_keys.BUS].client
        self._handled = 0

    async def take(self, message: Msg) -> None:
        """Handle a call without making the next one wait."""
        if not subjects.is_inbox(message.reply):
            log.info("call ignored", subject=message.subject[:200], reason="it has no inbox for a reply")
        elif self._handled >= CALLS_MAX:
            busy = f"this gateway has {CALLS_MAX:,} calls; no run was started: wait a moment, then call again."
            await self._reply(message.reply, _NoEnd(UNAVAILABLE, 503, busy))
        else:
            self._handled += 1
            self._group.create_task(self._handle(message), name="call")

    async def _handle(self, message: Msg) -> None:
        inbox = message.reply
        reply: bytes | _NoEnd
        try:
            deadline_s, known = asyncio.get_running_loop().time() + _wait_s(message), await self._start(message)
            del message  # an event may be large, and the wait long
            reply = await self._end(known, deadline_s)
        except _NoEnd as error:
            reply = error
        except BusError as error:
            text = f"the bus is unavailable: {error} The run may or may not come; call again with the same Nats-Msg-Id."
            reply = _NoEnd(UNAVAILABLE, 503, text)
        except Exception:
            log.exception("call failed")
            text = "the gateway failed; its log says why. A run may or may not have been started."
            reply = _NoEnd(UNAVAILABLE, 500, text)
        finally:
            self._handled -= 1
        await self._reply(inbox, reply)

    async def _start(self, message: Msg) -> KnownRun | RunId:
        headers = {name: value.encode(errors="replace").decode() for name, value in (message.headers or {}).items()}
        app, body = self._app, bytes(message.data)
        try:
            name = subjects.parse_call(message.subject)
            async with kept_if_refused(app, name, body, headers, Trigger(), status=422):
                trigger = read_trigger(body, headers)
            return await runs.start(app, name, trigger)
        except (BadName, BadToken) as error:
            raise _NoEnd(REFUSED, 404, str(error)) from error
        except RequestRefused as refused:
            raise _NoEnd(REFUSED, refused.status, str(refused)) from refused

    async def _end(self, known: KnownRun | RunId, deadline_s: float) -> bytes:
        """Wait for the end. Raises ``_NoEnd``, ``BusError``."""
        model, run_id = self._app[MODEL], known.run.id if isinstance(known, KnownRun) else known
        ended = known if isinstance(known, KnownRun) and known.run.is_over else None
        if ended is None and (ended := await self._app[WAITS].end_of(run_id, deadline_s)) is None:
            text = (
                f"run {run_id} is not over yet, and goes on; to wait for its end, call again with the same Nats-Msg-Id."
            )
            late = model.runs.get(run_id)
            if late is not None and (pause := held_by(late.run, model.pauses.now)) is not None:
                text = f"{text} It has not begun: {pause_words('it', pause)}"
            raise _NoEnd(NOT_OVER, 504, text, model.runs.get(run_id) or known)
        if ended.run.is_refused:  # its start was stored before a scheduler could decide
            assert isinstance(ended.run.state, Ended)
            raise _NoEnd(REFUSED, 409, ended.run.state.reason, ended)
        return told(ended.run, await model.result(ended.run))

    async def _reply(self, inbox: str, reply: bytes | _NoEnd) -> None:
        payload, headers = (reply.reply, reply.headers) if isinstance(reply, _NoEnd) else (reply, None)
        try:
            await self._client.publish(inbox, payload, headers=headers)
        except nats.errors.Error as error:
            log.warning("call not answered", error=str(error))


def _wait_s(message: Msg) -> int:
    values = [value for name, value in (message.headers or {}).items() if name.lower() == PREFER.lower()]
    wanted = preferred_wait_s(values)
    return WAIT_S_MAX if wanted is None else wanted
