"""The form that asks for a backfill: reads its fields. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class BackfillForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form as a person filled it in."""

    schedule: str = ""
    since: str = ""
    until: str = ""
    only_missing: bool = False
    expect: str = ""
    """How many slots the person wants to run, as the form showed them; empty: show what would run."""


def read_backfill_form(fields: Iterable[tuple[str, str]]) -> BackfillForm:
    """Read the posted names and values."""
    given = dict(fields)
    return BackfillForm(
        schedule=given.get("schedule", "").strip(),
        since=given.get("from", "").strip(),
        until=given.get("to", "").strip(),
        only_missing=given.get("only_missing") == "true",
        expect=given.get("expect", ""),
    )
