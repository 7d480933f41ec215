"""The scheduler's jobs: what runs when."""

from __future__ import annotations

from datetime import datetime

from fastflow_api import shapes
from fastflow_api.connection import segment
from fastflow_api.resources.base import Resource


class Schedules(Resource):
    """Methods about jobs: each is one schedule of one pipeline."""

    async def jobs(self) -> list[shapes.Job]:
        """List the jobs, by pipeline; also those that are switched off or over."""
        return await self._connection.json("GET", "/api/scheduler/jobs", list[shapes.Job])

    async def switch_job(self, job_id: str, *, enabled: bool) -> shapes.Job:
        """Switch a job on or off.

        Args:
            job_id: The job's.
            enabled: False: it stays silent until it is switched on again. It then begins with the next slot.

        Raises:
            NotFound: There is no such job.
            Conflict: The pipeline's metadata disable it.
        """
        path = f"/api/scheduler/jobs/{segment(job_id)}"
        return await self._connection.json("PUT", path, shapes.Job, body={"enabled": enabled})

    async def next_runs(self, job_id: str, *, count: int = 5) -> tuple[datetime, ...]:
        """The next slots of a job, ascending; none if it does not fire.

        Args:
            job_id: The job's.
            count: How many at most, up to 100.

        Raises:
            NotFound: There is no such job.
        """
        path = f"/api/scheduler/jobs/{segment(job_id)}/next-runs"
        return (await self._connection.json("GET", path, shapes.NextRuns, query={"count": count})).next_runs
