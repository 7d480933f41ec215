"""Applies users' commands to the records of runs. Today the only command is cancel. I/O."""

from __future__ import annotations

from fastflow_contracts.bus import streams, subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.consume import consume
from fastflow_contracts.bus.decoding import decoded
from fastflow_contracts.bus.errors import BusError
from fastflow_contracts.bus.pull import Message
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.log import get_logger
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.store import RunStore

log = get_logger(__name__)

AT_ONCE_MAX = 32
AGAIN_S = 1.0


class CommandConsumer:
    """Handles commands from the bus. Any number of schedulers can share the work."""

    def __init__(self, bus: Bus, runs: RunStore) -> None:
        self._bus = bus
        self._runs = runs

    async def serve(self) -> None:
        """Handle commands until cancelled."""
        await consume(self._bus, streams.COMMANDS, streams.SCHEDULER, self._handle, at_once_max=AT_ONCE_MAX)

    async def _handle(self, message: Message) -> None:
        try:
            ref = subjects.parse_command(message.subject)
            cancel = decoded(messages.CANCEL, message.data, where=message.subject)
            if cancel is not None:
                changed = await self._runs.change(ref, cancel)
                log.info("cancel handled", run=ref.run_id, accepted=bool(changed.events))
        except BusError as error:
            log.warning("command delayed", sequence=message.sequence, error=str(error))
            await message.nak(AGAIN_S)
            return
        except FastFlowError as error:  # the subject names no run, or the run cannot be cancelled or read
            log.warning("command dropped", sequence=message.sequence, subject=message.subject, error=str(error))
        await message.ack_soon()
