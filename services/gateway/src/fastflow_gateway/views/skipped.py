"""Refused starts as shapes, with what may be shown of their messages. Pure.

The message is kept whole for a redrive. Values of variables are never shown, nor values of headers that may be secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec.structs import asdict

from fastflow_api import shapes
from fastflow_api.shapes import HIDDEN
from fastflow_contracts.runs.event_headers import event_headers
from fastflow_contracts.runs.messages import TRIGGER_TYPE, SkipRecord
from fastflow_contracts.runs.skips import Letter
from fastflow_contracts.runs.triggers import BadTrigger, read_trigger
from fastflow_gateway.views.events import event_text

EVENT_CHARACTERS_MAX: Final = 4_096
"""How much of an event a list shows."""


class Content(NamedTuple):
    """What may be shown of a message."""

    event: str | None
    event_bytes: int
    event_type: str | None
    env_names: tuple[str, ...] = ()
    parameter_names: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    """Of the call, if the message is the trigger that a service made of it."""


def skip(record: SkipRecord) -> shapes.Skip:
    """A refused start without its message."""
    return shapes.Skip(
        id=record.id,
        at=record.at,
        pipeline_name=record.pipeline,
        reason=record.reason,
        triggered_by=record.triggered_by,
        run_config_id=record.run_config_id,
        parent_run_id=record.parent_run_id,
        schedule=record.schedule,
        scheduled_for=record.scheduled_for,
        redriven_as=record.redriven_as,
        stream=record.event_at.stream if record.event_at else None,
        sequence=record.event_at.sequence if record.event_at else None,
    )


def detail(record: SkipRecord, letter: Letter | None, *, characters_max: int | None = None) -> shapes.SkipDetail:
    """A refused start with its message.

    Args:
        record: The skip.
        letter: Its message; None: no copy is kept.
        characters_max: Cut the event after so many characters; None: show all of it.
    """
    content = _content(letter, by_service=record.by_service) if letter else Content(None, 0, None)
    return shapes.SkipDetail(
        **asdict(skip(record)),
        is_kept=letter is not None or record.event_at is not None,
        is_copied=letter is not None,
        event=content.event if content.event is None else content.event[:characters_max],
        event_bytes=content.event_bytes,
        event_type=content.event_type,
        headers={**_headers(letter), **content.headers} if letter else {},
        env_vars=dict.fromkeys(content.env_names, HIDDEN),
        parameters=dict.fromkeys(content.parameter_names, HIDDEN),
    )


def _content(letter: Letter, *, by_service: bool) -> Content:
    try:
        trigger = read_trigger(letter.payload, letter.headers, by_service=by_service)
    except BadTrigger:
        kind = next((value for name, value in letter.headers.items() if name.lower() == "content-type"), None)
        is_event = bool(letter.payload) and kind != TRIGGER_TYPE
        return Content(
            event_text(letter.payload) if is_event else HIDDEN if letter.payload else None, len(letter.payload), kind
        )
    event = trigger.event
    return Content(
        event_text(event) if event is not None else None,
        len(event or b""),
        trigger.event_type,
        tuple(trigger.env_vars),
        tuple(trigger.parameters),
        trigger.event_headers if TRIGGER_TYPE in letter.headers.values() else {},
    )


def _headers(letter: Letter) -> dict[str, str]:
    """The values of those that a run would get; only the names of the others."""
    passing = event_headers(letter.headers, has_event=True)
    return {name: passing.get(name.lower(), HIDDEN) for name, value in letter.headers.items() if value != TRIGGER_TYPE}
