"""What one attempt writes to the bus: its log, cells and samples, through one pump. All I/O is in ``output``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fastflow_contracts.clock import now
from fastflow_contracts.runs.logs import Chunk
from fastflow_contracts.runs.run import RunErrorType, Running, RunRecord
from fastflow_contracts.runs.state_machine import AttemptOutcome
from fastflow_runner.attempts.context import AttemptContext
from fastflow_runner.attempts.outcome import Intent, LeftArtifacts, outcome, without_secrets
from fastflow_runner.guest.cells.masking import Masker
from fastflow_runner.output.cell_writer import CellWriter
from fastflow_runner.output.lines import Assembler
from fastflow_runner.output.log_writer import LogWriter
from fastflow_runner.output.pump import Pump
from fastflow_runner.sandbox.events import Exited, Vanished


class Recorder:
    """Writes the output of one attempt, and returns its outcome once everything is written."""

    def __init__(self, context: AttemptContext, run: RunRecord) -> None:
        """*run* must be running."""
        assert isinstance(run.state, Running)
        self._context = context
        self._run = run
        self._attempt = run.state.attempt
        self._log_writer = LogWriter(context.bus, run.ref, self._attempt)
        self._cell_writer = CellWriter(context.bus, run.ref, self._attempt, refuse=self._over_quota)
        self._last: Chunk | None = None
        self._masker = Masker(())
        self.pump = self._new_pump(())

    async def resume(self) -> None:
        """Continue after the last chunk of a previous holder. Call this before anything else."""
        await self._cell_writer.resume()
        self._last = await self._log_writer.resume()
        self.pump = self._new_pump(())

    def mask(self, secrets: Iterable[str]) -> None:
        """Mask these values from now on. Call this before any code of the run runs."""
        secrets = tuple(secrets)
        self._masker = Masker(secrets)
        self.pump = self._new_pump(secrets)

    async def say(self, text: str) -> None:
        """Write a line of the runner's own to the log, at once."""
        await self.pump.say(f"[fastflow] {text}")

    async def conclude(self, end: Exited | Vanished, intent: Intent, left: LeftArtifacts) -> AttemptOutcome:
        """Close the log and return what the end of the sandbox means."""
        await self.pump.close()
        told = without_secrets(end, self._masker.mask)
        return outcome(told, intent, self.pump.observed(), now=now(), left=left)

    async def stop_early(self) -> AttemptOutcome:
        """Close the log of an attempt that was cancelled before any of its code ran."""
        await self.pump.close()
        return AttemptOutcome(finished_at=now(), stopped=True, log_sequence=self._log_writer.sequence)

    async def give_up(self, why: RunErrorType, message: str, *, said: str | None = None) -> AttemptOutcome:
        """Fail the attempt for a reason outside the script. The log gets *said*, or *message* if that is None."""
        await self.say(said or message)
        await self.pump.close()
        return self.lost(message, why)

    def lost(self, message: str, why: RunErrorType = RunErrorType.LOST) -> AttemptOutcome:
        """The outcome of an attempt whose sandbox did not report an end."""
        return AttemptOutcome(
            finished_at=now(),
            error_type=why,
            error_message=message,
            log_sequence=self._log_writer.sequence,
            cell_sequence=self._cell_writer.sequence,
        )

    def _over_quota(self, size_bytes: int) -> str:
        return self._context.quota.refuse(self._run.pipeline, size_bytes, asyncio.get_running_loop().time())

    def _new_pump(self, secrets: Iterable[str]) -> Pump:
        lines = Assembler(
            secrets=secrets, log_bytes_max=self._context.log_bytes_max, refuse=self._over_quota, resume=self._last
        )
        return Pump(
            self._context.bus,
            self._run.ref,
            self._attempt,
            self._run.order.limits,
            log_writer=self._log_writer,
            lines=lines,
            cell_writer=self._cell_writer,
            memory_bytes_max=self._context.memory_bytes_max,
        )
