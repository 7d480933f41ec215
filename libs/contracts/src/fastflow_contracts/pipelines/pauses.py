"""What is paused: the whole installation, or single pipelines. Data, and the rule what a pause holds.

All of it is one record, so one read tells. Gateways write it; schedulers and runners obey it. A pause holds the runs
that have not begun. A run whose first attempt has ended is under way: its retries go on.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import replace

from fastflow_contracts.base import Count, Fact, Instant, StoredName
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.codec import Codec
from fastflow_contracts.names import PipelineName

REASON_CHARACTERS_MAX: Final = 300
BY_CHARACTERS_MAX: Final = 100
PIPELINES_MAX: Final = 500
"""Pipelines that can be paused one by one: all pauses must fit one record."""


class PauseRecord(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """One pause."""

    reason: Annotated[str, msgspec.Meta(max_length=REASON_CHARACTERS_MAX)]
    by: Annotated[str, msgspec.Meta(max_length=BY_CHARACTERS_MAX)] = ""
    """Who paused, as they called themselves; empty: they did not say."""
    via: Literal["manual", "api"] = "api"
    """``manual``: a signed-in browser; ``api``: a holder of the token."""
    at: Instant


class PauseSet(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """All pauses. Stored under ``pause``."""

    v: Count = 1
    installation: PauseRecord | None = None
    pipelines: dict[StoredName, PauseRecord] = {}
    write_id: str = ""

    def of(self, pipeline: PipelineName) -> PauseRecord | None:
        """Return the pause that holds the new runs of *pipeline*; None: they begin."""
        return self.installation or self.pipelines.get(pipeline)

    def own(self, pipeline: PipelineName | None) -> PauseRecord | None:
        """Return the pause of *pipeline* itself; of the installation for None."""
        return self.installation if pipeline is None else self.pipelines.get(pipeline)

    def with_pause(self, pipeline: PipelineName | None, pause: PauseRecord | None) -> PauseSet:
        """Return the set with *pause* in the place of that of *pipeline*, or of the installation; None: without it."""
        if pipeline is None:
            return replace(self, installation=pause)
        others = {name: each for name, each in self.pipelines.items() if name != pipeline}
        return replace(self, pipelines=others if pause is None else others | {pipeline: pause})


NOT_PAUSED: Final = PauseSet()
PAUSE_SET = Codec(PauseSet)


def pause_sets(bus: Bus) -> Bucket[str, PauseSet]:
    """The record of all pauses on *bus*; its name is its key, ``subjects.PAUSE_KEY``."""
    return Bucket(bus, subjects.SCHEDULES, PAUSE_SET, keys=subjects.PAUSE_KEY, key_of=str, name_in=str)
