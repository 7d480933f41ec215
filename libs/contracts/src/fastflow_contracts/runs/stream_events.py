"""The start that a message of another program's stream asks for. Pure."""

from __future__ import annotations

from typing import Final

from fastflow_contracts.bus.foreign import EventMessage
from fastflow_contracts.runs.event_headers import event_headers
from fastflow_contracts.runs.messages import Trigger

SUBJECT_HEADER: Final = "nats-subject"
"""How a script and an expression learn the subject."""


def event_trigger(message: EventMessage, trigger_id: str, run_config_id: str | None) -> Trigger:
    """Return the start that *message* asks for by the trigger *trigger_id*."""
    headers = {name.lower(): value for name, value in message.headers.items()} | {SUBJECT_HEADER: message.subject}
    return Trigger(
        triggered_by="bus",
        event=message.data or None,
        event_type=headers.get("content-type") if message.data else None,
        event_headers=event_headers(headers, has_event=bool(message.data)),
        run_config_id=run_config_id,
        trigger_id=trigger_id,
        event_subject=message.subject,
    )
