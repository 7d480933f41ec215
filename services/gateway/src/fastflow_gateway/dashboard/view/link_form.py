"""The downstream triggers on a pipeline's page, and the form that makes one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from fastflow_api.shapes import DownstreamTrigger
from fastflow_contracts.pipelines.links import Link
from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_gateway.dashboard.view import graph_words
from fastflow_gateway.views import graph

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
    problem: str | None
    """Why it cannot start anything now."""

    @property
    def is_removable(self) -> bool:
        """Whether the API made it; what pipeline.json declares goes away there only."""
        return self.link.source != "json"


class LinkForm(msgspec.Struct, frozen=True, kw_only=True):
    """What the form holds."""

    pipeline: str = ""
    run_config_id: str = ""
    on_route: str = ""
    needs_artifacts: bool = False
    after: str = "success"
    error: str = ""

    @property
    def is_open(self) -> bool:
        return bool(self.error)


def link_rows(links: Iterable[Link], known: Mapping[str, PipelineRecord]) -> list[LinkRow]:
    """The triggers, by the names of what they start. *known*: the pipelines by name."""
    rows = []
    for link in sorted(links, key=lambda link: (link.pipeline, link.id)):
        shown = graph.downstream_trigger(link)
        rows.append(LinkRow(shown, graph_words.when(shown), graph_words.source(shown), graph.problem(link, known)))
    return rows


def read_link_form(fields: Iterable[tuple[str, str]]) -> LinkForm:
    """Read the form as it was sent. What it does not name has its default; unknown fields are ignored."""
    given = {name: value.strip() for name, value in fields}
    return LinkForm(
        pipeline=given.get("pipeline", ""),
        run_config_id=given.get("run_config_id", ""),
        on_route=given.get("on_route", ""),
        needs_artifacts=given.get("needs_artifacts", "") == "yes",
        after=given.get("after", "success"),
    )
