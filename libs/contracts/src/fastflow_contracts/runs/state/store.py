"""The states of pipelines on the bus: their records and their archives. I/O; ``head`` has the rules.

A run's state is written by ``RunStore``, in the batch that writes the end of the run.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus, Put
from fastflow_contracts.bus.errors import BusError, RevisionConflict
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.bus.subjects import RUNS, STATES
from fastflow_contracts.log import get_logger
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.run import RunErrorType, Running, RunRecord
from fastflow_contracts.runs.state import archive as archives
from fastflow_contracts.runs.state.archive import StateFile
from fastflow_contracts.runs.state.head import (
    STATE_HEAD,
    KeptState,
    LeftState,
    StateHead,
    committed,
    dropped,
    emptied,
)
from fastflow_contracts.runs.state_machine import AttemptOutcome, Command, Finish

log = get_logger(__name__)

RESETS_MAX = 20
"""Tries of a reset while runs commit."""


class StateWrite(NamedTuple):
    """What makes a state current, to be committed with the end of its run."""

    put: Put
    dropped: tuple[str, ...]
    """The archives that are not needed afterwards."""


class StateStore:
    """The states of all pipelines on one bus."""

    def __init__(self, bus: Bus) -> None:
        self._objects = ObjectStore(bus, STATES)
        self.heads: Bucket[PipelineName, StateHead] = Bucket(
            bus,
            RUNS,
            STATE_HEAD,
            keys=subjects.STATE_KEYS,
            key_of=subjects.state_key,
            name_in=subjects.parse_state_key,
        )

    async def head(self, pipeline: PipelineName) -> StateHead:
        """Return the states of *pipeline* as they are now. Raises ``Unreadable`` and ``BusError``."""
        found = await self.heads.get(pipeline, is_exact=True)
        return StateHead() if found is None else found.value

    async def archive(self, version: KeptState) -> bytes:
        """Return the archive of a version that has files. Raises ``Rejected`` if it is gone; ``Unavailable``."""
        return await self._objects.get(version.archive)

    async def save(self, files: Sequence[StateFile]) -> LeftState:
        """Store the archive of *files*. Raises ``Rejected`` if there is no room for it; ``Unavailable``."""
        content = archives.digest(files)
        if not files:
            return LeftState(content=content)
        data = await asyncio.to_thread(archives.pack, files, version=uuid.uuid4().hex)
        name = archives.name_of_archive(data)
        await self._objects.put(name, data)
        size_bytes = sum(len(file.data) for file in files)
        return LeftState(archive=name, files=len(files), size_bytes=size_bytes, content=content)

    async def discard(self, names: Iterable[str]) -> None:
        """Try to remove archives that nothing refers to. What stays is removed by its age."""
        for name in names:
            try:
                await self._objects.delete(name)
            except BusError as error:
                log.warning("unused state not removed", archive=name, error=str(error))

    async def settle(self, run: RunRecord, command: Command) -> tuple[Command, StateWrite | None]:
        """Return the command to apply in place of *command*, and what must be written with it.

        An attempt that left a state ends well only if the state that it began with still is the current one. Else its
        end is a ``state_conflict``. Raises ``BusError``.
        """
        if not isinstance(command, Finish) or command.outcome.state is None or not command.outcome.ends_well:
            return command, None
        if not isinstance(run.state, Running) or run.state.epoch != command.epoch:
            return command, None
        began = run.state.state_version or 0
        stored, revision = await self.heads.load(run.pipeline, is_exact=True)
        if stored is None and revision == 0:
            stored = StateHead()
        if stored is None or stored.number != began:
            return replace(command, outcome=_conflict(command, stored, began)), None
        outcome = command.outcome
        assert outcome.state is not None
        head = committed(stored, outcome.state, run_id=run.id, attempt=run.state.attempt, at=outcome.finished_at)
        put = self.heads.write(run.pipeline, head, expect=revision)._replace(is_lasting=True)
        return command, StateWrite(put, dropped(stored, head))

    async def reset(self, pipeline: PipelineName, *, by: str, at: datetime) -> StateHead:
        """Make an empty state current: a run that has begun with another one conflicts. Safe to repeat.

        Raises:
            RevisionConflict: Runs kept committing states.
            BusError: The bus does not answer, or refuses.
        """
        for _ in range(RESETS_MAX):
            stored, revision = await self.heads.load(pipeline, is_exact=True)
            before = stored or StateHead()
            if revision == 0:
                return before
            head = emptied(before, by=by, at=at, above=0 if stored else revision)
            put = self.heads.write(pipeline, head, expect=revision)._replace(is_lasting=True)
            try:
                await self.heads.bus.commit(RUNS, [put])
            except RevisionConflict:
                continue
            await self.discard(dropped(before, head))
            return head
        raise RevisionConflict(f"the state of {pipeline} changed at the same time; try again.")


def _conflict(command: Finish, head: StateHead | None, began: int) -> AttemptOutcome:
    if head is None:
        why = "the record of the pipeline's state cannot be read; reset the state"
    else:
        now = head.versions[0] if head.versions else None
        who = "" if now is None else f" by run {now.run_id}" if now.run_id else " by a reset"
        why = (
            f"the state changed{who} while this run was at work (version {began} was current, {head.number} is now): "
            "nothing of its state is kept"
        )
    return replace(command.outcome, state=None, error_type=RunErrorType.STATE_CONFLICT, error_message=f"{why}.")
