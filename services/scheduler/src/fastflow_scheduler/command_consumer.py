"""Commands that people give to a run, applied to its record. Today there is one: cancel. I/O."""

from __future__ import annotations

import logging

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.consume import consume
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.store import RunStore

log = logging.getLogger(__name__)

AT_ONCE_MAX = 32
AGAIN_S = 1.0


class CommandConsumer:
    """Takes commands off the bus. Any number of schedulers may."""

    def __init__(self, bus: Bus, runs: RunStore) -> None:
        self._bus = bus
        self._runs = runs

    async def serve(self) -> None:
        """Work until cancelled."""
        await consume(self._bus, streams.COMMANDS, streams.SCHEDULER, self._handle, at_once_max=AT_ONCE_MAX)

    async def _handle(self, message: Message) -> None:
        try:
            ref = subjects.parse_command(message.subject)
            cancel = decoded(messages.CANCEL, message.data, where=message.subject)
            if cancel is not None:
                changed = await self._runs.change(ref, cancel)
                log.info("run %s: cancel %s", ref.run_id, "accepted" if changed.events else "changes nothing")
        except BusError as error:
            log.warning("command %d waits: %s", message.sequence, error)
            await message.nak(AGAIN_S)
            return
        except FastFlowError as error:  # the subject names no run, or one that cannot be cancelled or read
            log.warning("command %d on %s is dropped: %s", message.sequence, message.subject, error)
        await message.ack_soon()
