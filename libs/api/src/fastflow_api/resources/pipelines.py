"""Pipelines: the list, one of them, its statistics, and the links between them."""

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
            tags: Only those that have one of these tags.
            q: Only those with every word of this text in their name, description or tags.

        Raises:
            ApiError: As for every method.
        """
        query = {"tags": ",".join(tags) or None, "q": q or None}
        return await self._connection.json("GET", "/api/pipelines", list[shapes.Pipeline], query=query)

    async def pipeline(self, name: str) -> shapes.PipelineDetail:
        """Get one pipeline, with the text of its files and the addresses of its webhooks.

        Raises:
            NotFound: There is no pipeline of this name.
        """
        return await self._connection.json("GET", f"/api/pipelines/{segment(name)}", shapes.PipelineDetail)

    async def pipeline_runs(self, name: str, *, limit: int = 50, cursor: str | None = None) -> shapes.RunPage:
        """List the runs of one pipeline, newest first. Also works for a removed pipeline.

        Args:
            name: The name of the pipeline.
            limit: Most runs to return, up to 500.
            cursor: ``next_cursor`` of the previous page.

        Raises:
            NotFound: There is no such pipeline, and it has no runs.
        """
        query = {"limit": limit, "cursor": cursor}
        return await self._connection.json("GET", f"/api/pipelines/{segment(name)}/runs", shapes.RunPage, query=query)

    async def stats(self, name: str) -> shapes.Stats:
        """Get the totals of one pipeline over all stored runs.

        Raises:
            NotFound: As for ``pipeline_runs``.
        """
        return await self._connection.json("GET", f"/api/pipelines/{segment(name)}/stats", shapes.Stats)

    async def daily_stats(self, name: str, *, days: int = 30) -> shapes.DailyStats:
        """Get the totals of one pipeline by day (UTC), oldest first.

        Args:
            name: The name of the pipeline.
            days: Number of days including today, up to 90.

        Raises:
            NotFound: As for ``pipeline_runs``.
        """
        path = f"/api/pipelines/{segment(name)}/daily-stats"
        return await self._connection.json("GET", path, shapes.DailyStats, query={"days": days})

    async def versions(self, name: str) -> shapes.PipelineVersions:
        """List the kept versions of one pipeline, newest first, with the pin and the rollback, if any.

        Raises:
            NotFound: There is no such pipeline.
        """
        return await self._connection.json("GET", f"{_path(name)}/versions", shapes.PipelineVersions)

    async def pin(self, name: str, version: str, *, reason: str = "") -> shapes.PipelineVersions:
        """Make a kept version live, and keep it live whatever is pushed.

        Args:
            name: The name of the pipeline.
            version: The id of the version.
            reason: Why, for others to read; at most 500 characters.

        Raises:
            NotFound: There is no such pipeline, or the version is not kept.
        """
        body = shapes.PinBody(version=version, reason=reason)
        return await self._connection.json("PUT", f"{_path(name)}/pin", shapes.PipelineVersions, body=body)

    async def unpin(self, name: str) -> shapes.PipelineVersions:
        """Remove the pin: the newest version becomes live, unless it was rolled back.

        Raises:
            NotFound: There is no such pipeline.
            Conflict: It is not pinned.
        """
        return await self._connection.json("DELETE", f"{_path(name)}/pin", shapes.PipelineVersions)

    async def state(self, name: str) -> shapes.PipelineState:
        """List the kept versions of the state of one pipeline, newest first. Also works for a removed pipeline.

        Raises:
            NotFound: There is no such pipeline, and it left no state.
        """
        return await self._connection.json("GET", f"{_path(name)}/state", shapes.PipelineState)

    async def download_state(self, name: str, number: int) -> bytes:
        """Get the files of one version of a pipeline's state, as a compressed tar.

        Raises:
            NotFound: This version is not kept, or has no files.
        """
        return await self._connection.raw("GET", f"{_path(name)}/state/{number}")

    async def reset_state(self, name: str) -> shapes.PipelineState:
        """Empty the state of one pipeline: its next run begins without files.

        Raises:
            NotFound: There is no such pipeline, and it left no state.
        """
        return await self._connection.json("DELETE", f"{_path(name)}/state", shapes.PipelineState)

    async def graph(self) -> shapes.Graph:
        """Get the graph of which pipeline starts which, with missing pipelines and cycles."""
        return await self._connection.json("GET", "/api/pipelines/graph", shapes.Graph)

    async def downstream_triggers(self, name: str) -> list[shapes.DownstreamTrigger]:
        """List the pipelines that start after the last attempt of a run of this pipeline.

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
        on_route: str | None = None,
        needs_artifacts: bool = False,
    ) -> shapes.DownstreamTrigger:
        """Start another pipeline after this one. An existing trigger is updated.

        Args:
            name: The pipeline that comes first.
            pipeline: The pipeline to start.
            on_success: Start it when a run succeeded.
            on_failure: Start it when a run failed.
            run_config_id: Start it with this one of its run configurations.
            on_route: Start it only after a run that wrote this label to ``FASTFLOW_ROUTE_FILE``.
            needs_artifacts: It finds the run's artifacts below ``FASTFLOW_PARENT_ARTIFACTS_DIR``.

        Raises:
            NotFound: There is no pipeline *name*.
            BadRequest: There is no pipeline *pipeline*, or no such configuration.
        """
        body = shapes.LinkBody(
            pipeline=pipeline,
            on_success=on_success,
            on_failure=on_failure,
            run_config_id=run_config_id,
            on_route=on_route,
            needs_artifacts=needs_artifacts,
        )
        return await self._connection.json("POST", _triggers(name), shapes.DownstreamTrigger, body=body)

    async def remove_downstream_trigger(self, name: str, trigger_id: str) -> list[shapes.DownstreamTrigger]:
        """Remove a trigger that was made through the API. Returns the remaining ones.

        Raises:
            NotFound: There is no such pipeline or trigger.
            Conflict: The trigger is in the pipeline's metadata.
        """
        path = f"{_triggers(name)}/{segment(trigger_id)}"
        return await self._connection.json("DELETE", path, list[shapes.DownstreamTrigger])


def _path(name: str) -> str:
    return f"/api/pipelines/{segment(name)}"


def _triggers(name: str) -> str:
    return f"/api/pipelines/{segment(name)}/downstream-triggers"
