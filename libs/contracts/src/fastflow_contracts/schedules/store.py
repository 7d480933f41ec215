"""The stored state and switches of schedules. I/O only."""

from __future__ import annotations

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.bucket import Bucket
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.subjects import JobRef
from fastflow_contracts.schedules.state import SCHEDULE_STATE, SWITCH, ScheduleState, Switch


class ScheduleStore:
    """The schedules of one bus."""

    def __init__(self, bus: Bus) -> None:
        self.states: Bucket[JobRef, ScheduleState] = Bucket(
            bus,
            subjects.SCHEDULES,
            SCHEDULE_STATE,
            keys=subjects.SCHEDULE_STATE_KEYS,
            key_of=subjects.schedule_state_key,
            name_in=subjects.parse_schedule_state_key,
            together=True,
        )
        self.switches: Bucket[JobRef, Switch] = Bucket(
            bus,
            subjects.SCHEDULES,
            SWITCH,
            keys=subjects.SCHEDULE_SWITCH_KEYS,
            key_of=subjects.schedule_switch_key,
            name_in=subjects.parse_schedule_switch_key,
        )
