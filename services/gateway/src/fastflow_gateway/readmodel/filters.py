"""Which pipelines, runs and skips a request asks for: the parameters that the API and the pages share. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec

from fastflow_api import shapes
from fastflow_contracts.pipelines.format import value_parsers
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.runs.run import RunStatus, TriggeredBy
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.readmodel.run_index import RunFilter
from fastflow_gateway.readmodel.skips import SkipFilter

RUNS_MAX: Final = 500
"""The most runs in one answer."""
SKIPS_MAX: Final = 200
"""The most skips in one answer."""


class PageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which page of runs, and how long."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=RUNS_MAX, description="The most runs to return.")] = 50
    cursor: Annotated[str | None, msgspec.Meta(description="The next_cursor of the previous page.")] = None


class PipelinesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which pipelines to list."""

    tags: Annotated[str, msgspec.Meta(description="Only pipelines with any of these tags, separated by commas.")] = ""
    q: Annotated[str, msgspec.Meta(description="Only pipelines with all words in name, description or tags.")] = ""

    @property
    def wanted_tags(self) -> tuple[str, ...]:
        """The tags, each once."""
        return tuple(dict.fromkeys(tag.strip() for tag in self.tags.split(",") if tag.strip()))


class RunsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs to list."""

    pipeline_name: Annotated[str | None, msgspec.Meta(description="Only runs of this pipeline.")] = None
    status: Annotated[shapes.Status | None, msgspec.Meta(description="Only runs in this state.")] = None
    triggered_by: Annotated[TriggeredBy | None, msgspec.Meta(description="Only runs with this kind of trigger.")] = None
    start_date: Annotated[
        str | None, msgspec.Meta(description="Only runs created at this ISO 8601 date or time (UTC) or later.")
    ] = None
    end_date: Annotated[
        str | None,
        msgspec.Meta(description="Only runs created up to this date or time (UTC); a date counts as its last moment."),
    ] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=RUNS_MAX, description="The most runs to return.")] = 50
    cursor: Annotated[str | None, msgspec.Meta(description="The next_cursor of the previous page.")] = None

    def filter(self) -> RunFilter:
        """The runs that match. Raises ``RequestRefused`` for an invalid date."""
        return RunFilter(
            pipeline=self.pipeline_name,
            status=RunStatus(self.status) if self.status else None,
            triggered_by=self.triggered_by,
            since=instant("start_date", self.start_date),
            until=instant("end_date", self.end_date),
        )


class SkipsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which skips to list."""

    pipeline: Annotated[str | None, msgspec.Meta(description="Only starts of this pipeline.")] = None
    reason: Annotated[str | None, msgspec.Meta(description="Only those with this text in their reason.")] = None
    triggered_by: Annotated[TriggeredBy | None, msgspec.Meta(description="Only starts of this kind.")] = None
    open: Annotated[bool | None, msgspec.Meta(description="true: only those that are not redriven.")] = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=SKIPS_MAX, description="The most skips to return.")] = 50
    cursor: Annotated[str | None, msgspec.Meta(description="The next_cursor of the previous page.")] = None

    def filter(self) -> SkipFilter:
        """The skips that match."""
        return SkipFilter(pipeline=self.pipeline, reason=self.reason, triggered_by=self.triggered_by, is_open=self.open)


def instant(field: str, text: str | None, *, name: str | None = None) -> datetime | None:
    """Read an instant as the field ``start_date`` or ``end_date`` has it; *name*: what the caller calls it.

    Raises ``RequestRefused``.
    """
    if text is None:
        return None
    read = value_parsers.start if field == "start_date" else value_parsers.end
    try:
        return read(JsonNode(text, text, 0, len(text)))
    except ValueError:
        raise RequestRefused(
            422,
            f'{name or field} must be an ISO 8601 date or time such as "2026-01-15" or "2026-01-15T12:00:00Z"; '
            "in an address the + of an offset is written %2B.",
        ) from None
