"""Links: which pipelines start after which. Merges links from the metadata with those from the API.

The target (pipeline, run configuration) and the route identify a link. A run starts each target at most once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from fastflow_contracts.base import Count, Fact, StoredName
from fastflow_contracts.codec import Codec
from fastflow_contracts.names import token
from fastflow_contracts.pipelines.format.spec import DownstreamRule
from fastflow_contracts.pipelines.format.value_types import Route, RunConfigId

HOPS_MAX = 50
"""Most starts one after the other in a chain, unless the scheduler's settings say otherwise."""
CHAIN_RUNS_MAX = 1000
"""Most runs that follow from one first run, unless the scheduler's settings say otherwise."""


class Link(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A pipeline to start when a run ends. ``source`` says where the link is defined."""

    pipeline: StoredName
    on_success: bool = True
    on_failure: bool = False
    run_config_id: RunConfigId | None = None
    on_route: Route | None = None
    """Only after a run that wrote this label; None = after any run."""
    needs_artifacts: bool = False
    """Whether the run that starts finds the artifacts of the one that ended."""
    source: Literal["json", "api", "both"] = "api"

    @property
    def applies(self) -> bool:
        """Whether it can start anything at all."""
        return self.on_success or self.on_failure

    @property
    def target(self) -> str:
        """The target as one token."""
        return token(self.pipeline if self.run_config_id is None else f"{self.pipeline}/{self.run_config_id}")

    @property
    def id(self) -> str:
        """The target and the route. A token has no dot, so two links never have the same id."""
        return self.target if self.on_route is None else f"{self.target}.{token(self.on_route)}"


class LinkSet(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The links of one pipeline made through the API. Stored under ``links.<pipeline>``."""

    v: Count = 1
    links: tuple[Link, ...] = ()
    write_id: str = ""


LINK_SET = Codec(LinkSet)


def merged(declared: Iterable[DownstreamRule], made: Iterable[Link]) -> tuple[Link, ...]:
    """Merge the links of a pipeline by target and route. A merged link applies if either source's link applies."""
    found: dict[str, Link] = {}
    for each in declared:
        link = Link(
            pipeline=each.pipeline,
            on_success=each.on_success,
            on_failure=each.on_failure,
            run_config_id=each.run_config_id,
            on_route=each.on_route,
            needs_artifacts=each.needs_artifacts,
            source="json",
        )
        found[link.id] = _joined(found.get(link.id), link)
    for link in made:
        found[link.id] = _joined(found.get(link.id), link)
    return tuple(found.values())


def _joined(one: Link | None, other: Link) -> Link:
    if one is None:
        return other
    return Link(
        pipeline=one.pipeline,
        on_success=one.on_success or other.on_success,
        on_failure=one.on_failure or other.on_failure,
        run_config_id=one.run_config_id,
        on_route=one.on_route,
        needs_artifacts=one.needs_artifacts or other.needs_artifacts,
        source=one.source if one.source == other.source else "both",
    )
