"""The downstream triggers on a pipeline's page, and the form that makes one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from fastflow_api.shapes import DownstreamTrigger
from fastflow_gateway.dashboard.view import graph_drawing

AFTER: Mapping[str, tuple[bool, bool]] = {
    "success": (True, False),
    "failure": (False, True),
    "every": (True, True),
}
"""The choices of the form: whether it starts after a success, and after a failure."""


class LinkRow(msgspec.Struct, frozen=True):
    """One downstream trigger, in words."""

    link: DownstreamTrigger
    when: str
    source: str

    @property
    def is_removable(self) -> bool:
        """Whether the API made it; what pipeline.json declares goes away there only."""
        return self.link.source != "json"


class LinkForm(msgspec.Struct, frozen=True, kw_only=True):
    """What the form holds."""

    pipeline: str = ""
    run_config_id: str = ""
    on_route: str = ""
    after: str = "success"
    error: str = ""

    @property
    def is_open(self) -> bool:
        return bool(self.error)


def link_rows(links: Iterable[DownstreamTrigger]) -> list[LinkRow]:
    """The triggers, by the names of what they start."""
    rows = [LinkRow(link, graph_drawing.when(link), graph_drawing.source(link)) for link in links]
    return sorted(rows, key=lambda row: (row.link.pipeline, row.link.id))


def read_link_form(fields: Iterable[tuple[str, str]]) -> LinkForm:
    """Read the form as it was sent. What it does not name has its default; unknown fields are ignored."""
    given = {name: value.strip() for name, value in fields}
    return LinkForm(
        pipeline=given.get("pipeline", ""),
        run_config_id=given.get("run_config_id", ""),
        on_route=given.get("on_route", ""),
        after=given.get("after", "success"),
    )
