"""Pipelines: the list, one of them, its figures, and what starts what."""

from __future__ import annotations

from collections.abc import Iterable

from fastflow_api import shapes
from fastflow_api.connection import segment
from fastflow_api.resources.base import Resource


class Pipelines(Resource):
    """Methods about pipelines."""

    async def pipelines(self, *, tags: Iterable[str] = (), q: str = "") -> list[shapes.Pipeline]:
        """List the pipelines, by name.

        Args:
            tags: Only those that have all of these tags.
            q: Only those with this text in their name, description or tags.

        Raises:
            ApiError: As every method.
        """
        query = {"tags": ",".join(tags) or None, "q": q or None}
        return await self._connection.json("GET", "/api/pipelines", list[shapes.Pipeline], query=query)

    async def pipeline(self, name: str) -> shapes.PipelineDetail:
        """One pipeline, with the text of its files and the addresses of its webhooks.

        Raises:
            NotFound: There is none of this name.
        """
        return await self._connection.json("GET", f"/api/pipelines/{segment(name)}", shapes.PipelineDetail)

    async def pipeline_runs(self, name: str, *, limit: int = 50, cursor: str | None = None) -> shapes.RunPage:
        """The runs of one pipeline, newest first; also of one that was removed.

        Args:
            name: The pipeline's.
            limit: How many at most, up to 500.
            cursor: ``next_cursor`` of the page before.

        Raises:
            NotFound: There is no such pipeline, and there never was a run of it.
        """
        query = {"limit": limit, "cursor": cursor}
        return await self._connection.json("GET", f"/api/pipelines/{segment(name)}/runs", shapes.RunPage, query=query)

    async def stats(self, name: str) -> shapes.Stats:
        """Totals of one pipeline over all runs that are still known.

        Raises:
            NotFound: As ``pipeline_runs``.
        """
        return await self._connection.json("GET", f"/api/pipelines/{segment(name)}/stats", shapes.Stats)

    async def daily_stats(self, name: str, *, days: int = 30) -> shapes.DailyStats:
        """Totals of one pipeline by day (UTC), oldest first.

        Args:
            name: The pipeline's.
            days: How many, today included; up to 90.

        Raises:
            NotFound: As ``pipeline_runs``.
        """
        path = f"/api/pipelines/{segment(name)}/daily-stats"
        return await self._connection.json("GET", path, shapes.DailyStats, query={"days": days})

    async def graph(self) -> shapes.Graph:
        """Which pipelines start which, with missing names and circles."""
        return await self._connection.json("GET", "/api/pipelines/graph", shapes.Graph)

    async def downstream_triggers(self, name: str) -> list[shapes.DownstreamTrigger]:
        """What is started when a run of this pipeline is done for good.

        Raises:
            NotFound: There is no such pipeline.
        """
        return await self._connection.json("GET", _triggers(name), list[shapes.DownstreamTrigger])

    async def make_downstream_trigger(
        self,
        name: str,
        pipeline: str,
        *,
        on_success: bool = True,
        on_failure: bool = False,
        run_config_id: str | None = None,
    ) -> shapes.DownstreamTrigger:
        """Start another pipeline after this one. One that is there starts then as given now.

        Args:
            name: The pipeline to follow.
            pipeline: The pipeline to start.
            on_success: Start it when a run succeeded.
            on_failure: Start it when a run failed.
            run_config_id: Start it with this run configuration of its own.

        Raises:
            NotFound: There is no pipeline *name*.
            BadRequest: There is no pipeline *pipeline*, or no such configuration.
        """
        body = {
            "pipeline": pipeline,
            "on_success": on_success,
            "on_failure": on_failure,
            "run_config_id": run_config_id,
        }
        return await self._connection.json("POST", _triggers(name), shapes.DownstreamTrigger, body=body)

    async def remove_downstream_trigger(self, name: str, trigger_id: str) -> list[shapes.DownstreamTrigger]:
        """Remove a trigger that was made here; the answer is what is left.

        Raises:
            NotFound: There is no such pipeline or trigger.
            Conflict: The trigger is in the pipeline's metadata.
        """
        path = f"{_triggers(name)}/{segment(trigger_id)}"
        return await self._connection.json("DELETE", path, list[shapes.DownstreamTrigger])


def _triggers(name: str) -> str:
    return f"/api/pipelines/{segment(name)}/downstream-triggers"
