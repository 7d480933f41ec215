"""Subjects whose messages start runs, as the format has them. Data only; the scheduler's ``events`` reads them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from fastflow_contracts.pipelines.format.value_types import (
    BatchMessages,
    EventSubject,
    Expression,
    Flag,
    RunConfigId,
    WaitSeconds,
    says,
)


class BatchSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Many messages start one run, which gets them as lines of JSON."""

    max: Annotated[BatchMessages, says("Most messages of one run.")] = 100
    within_seconds: Annotated[
        WaitSeconds, says("A run starts at the latest this long after the first message was stored.")
    ] = 10.0


class TriggerSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Messages on one subject that start runs."""

    id: Annotated[RunConfigId, says("Unique in the pipeline.")]
    subject: Annotated[
        EventSubject, says("Which messages: a subject that a stream of the bus stores; `*` and `>` match any tokens.")
    ]
    when: Annotated[
        Expression | None, says("Only messages for which this expression is true; without it all of them.")
    ] = None
    key: Annotated[
        Expression | None,
        says(
            "A text: messages with the same one start one run. With `debounce_seconds`: which messages belong together."
        ),
    ] = None
    batch: Annotated[BatchSpec | None, says("Start one run for many messages.")] = None
    debounce_seconds: Annotated[
        WaitSeconds | None, says("Start after this long without a message, with the newest one.")
    ] = None
    run_config_id: Annotated[RunConfigId | None, says("The run configuration to start: one of `schedules[].id`.")] = (
        None
    )
    enabled: Annotated[Flag, says("Whether it starts runs. What arrives while it is false starts none later.")] = True
