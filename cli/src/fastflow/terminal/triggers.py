"""What the terminal says of triggers. Pure."""

from __future__ import annotations

from datetime import datetime

from fastflow.terminal import tables
from fastflow_api.shapes import EventTrigger
from fastflow_contracts.pipelines.folder.bundle import shown


def trouble(trigger: EventTrigger, at: datetime) -> str | None:
    """Return why *trigger* reads nothing, or what it could not read; None: nothing is wrong."""
    text = trigger.problem
    if text is None and trigger.removed_unread is not None and trigger.removed_unread_at is not None:
        since = tables.ago(trigger.removed_unread_at, at)
        text = f"its stream removed up to {trigger.removed_unread:,} messages before they were read, {since}"
    return None if text is None else f"trigger {shown(trigger.id)}: {shown(text)}"
