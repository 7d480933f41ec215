"""What one attempt writes to the bus: its log, its cells and its samples, by one pump. I/O, all of it in ``output``."""

from __future__ import annotations

from collections.abc import Iterable

from fastflow_contracts.clock import now
from fastflow_contracts.runs.logs import Chunk
from fastflow_contracts.runs.run import ErrorType, Run, Running
from fastflow_contracts.runs.state_machine import Outcome
from fastflow_runner.attempts.context import Tools
from fastflow_runner.attempts.outcome import Intent, outcome
from fastflow_runner.output.cell_writer import CellWriter
from fastflow_runner.output.lines import Assembler
from fastflow_runner.output.log_writer import LogWriter
from fastflow_runner.output.pump import Pump
from fastflow_runner.sandbox.events import Exited, Vanished


class Recorder:
    """The words of one attempt, and its outcome once they are all written."""

    def __init__(self, tools: Tools, run: Run) -> None:
        """*run* must be running."""
        assert isinstance(run.state, Running)
        self._tools = tools
        self._run = run
        self._attempt = run.state.attempt
        self._log_writer = LogWriter(tools.bus, run.ref, self._attempt)
        self._cell_writer = CellWriter(tools.bus, run.ref, self._attempt)
        self._last: Chunk | None = None
        self.pump = self._new_pump(())

    async def resume(self) -> None:
        """Go on after the last word of a former holder. Before anything else is said."""
        await self._cell_writer.resume()
        self._last = await self._log_writer.resume()
        self.pump = self._new_pump(())

    def mask(self, secrets: Iterable[str]) -> None:
        """Mask these values from here on. Before any code of the run's has run."""
        self.pump = self._new_pump(secrets)

    async def say(self, text: str) -> None:
        """Add the runner's own words to the log, at once."""
        await self.pump.say(f"[fastflow] {text}")

    async def conclude(self, end: Exited | Vanished, intent: Intent) -> Outcome:
        """Close the log; what the end of the sandbox means."""
        await self.pump.close()
        return outcome(end, intent, self.pump.observed(), now=now())

    async def stop_early(self) -> Outcome:
        """Close the log of an attempt that was cancelled before any of its code ran."""
        await self.pump.close()
        return Outcome(finished_at=now(), stopped=True, log_sequence=self._log_writer.sequence)

    async def give_up(self, why: ErrorType, message: str, *, said: str | None = None) -> Outcome:
        """The attempt fails for no fault of the script's; its log says why, in *said* or else in *message*."""
        await self.say(said or message)
        await self.pump.close()
        return self.lost(message, why)

    def lost(self, message: str, why: ErrorType = ErrorType.LOST) -> Outcome:
        """The outcome of an attempt that ends without an end of its sandbox."""
        return Outcome(
            finished_at=now(),
            error_type=why,
            error_message=message,
            log_sequence=self._log_writer.sequence,
            cell_sequence=self._cell_writer.sequence,
        )

    def _new_pump(self, secrets: Iterable[str]) -> Pump:
        lines = Assembler(secrets=secrets, log_bytes_max=self._tools.log_bytes_max, resume=self._last)
        return Pump(
            self._tools.bus,
            self._run.ref,
            self._attempt,
            self._run.order.limits,
            log_writer=self._log_writer,
            lines=lines,
            cell_writer=self._cell_writer,
        )
