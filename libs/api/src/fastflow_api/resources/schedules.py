"""The scheduler's jobs."""

from __future__ import annotations

from datetime import datetime

from fastflow_api import shapes
from fastflow_api.connection import segment
from fastflow_api.resources.base import Resource


class Schedules(Resource):
    """Methods about jobs. A job is one schedule of one pipeline."""

    async def jobs(self) -> list[shapes.Job]:
        """List the jobs, by pipeline, including those that are switched off or over."""
        return await self._connection.json("GET", "/api/scheduler/jobs", list[shapes.Job])

    async def switch_job(self, job_id: str, *, enabled: bool) -> shapes.Job:
        """Switch a job on or off.

        Args:
            job_id: The id of the job.
            enabled: False: the job starts nothing until it is switched on again, and then continues with the next slot.

        Raises:
            NotFound: There is no such job.
            Conflict: The pipeline's metadata disable the job.
        """
        path = f"/api/scheduler/jobs/{segment(job_id)}"
        return await self._connection.json("PUT", path, shapes.Job, body=shapes.JobSwitch(enabled=enabled))

    async def next_runs(self, job_id: str, *, count: int = 5) -> tuple[datetime, ...]:
        """List the next slots of a job, in order; empty if it does not fire.

        Args:
            job_id: The id of the job.
            count: Most slots to return, up to 100.

        Raises:
            NotFound: There is no such job.
        """
        path = f"/api/scheduler/jobs/{segment(job_id)}/next-runs"
        return (await self._connection.json("GET", path, shapes.NextRuns, query={"count": count})).next_runs
