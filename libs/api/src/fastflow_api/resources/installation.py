"""The installation itself: runners, syncs, secrets, health."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastflow_api import shapes
from fastflow_api.connection import decoded, segment
from fastflow_api.resources.base import Resource

SYNC_S: Final = 150.0
"""Timeout for an answer: the server waits 120 s for a sync."""


class Installation(Resource):
    """Methods about the installation itself."""

    async def runners(self) -> tuple[shapes.Runner, ...]:
        """List the live runners, by name."""
        return (await self._connection.json("GET", "/api/runners", shapes.Runners)).runners

    async def drain_runner(self, runner_id: str) -> shapes.Runner:
        """Let a runner finish its attempts and leave. It takes no new work.

        Returns:
            The runner; ``busy`` is the number of attempts it still finishes.

        Raises:
            NotFound: There is no such runner.
            Unreachable: The runner does not answer.
        """
        return await self._connection.json("POST", f"/api/runners/{segment(runner_id)}/drain", shapes.Runner)

    async def sync(self) -> shapes.SyncReport:
        """Sync the pipelines with their source now, and wait for the result.

        Raises:
            Unreachable: No syncer is connected, or the sync takes longer than 120 s.
        """
        return await self._connection.json("POST", "/api/sync", shapes.SyncReport, timeout_s=SYNC_S)

    async def sync_status(self) -> shapes.SyncStatus:
        """Get the live commit and the result of the last sync."""
        return await self._connection.json("GET", "/api/sync/status", shapes.SyncStatus)

    async def sync_logs(self) -> tuple[shapes.SyncReport, ...]:
        """List the last syncs, newest first."""
        return (await self._connection.json("GET", "/api/sync/logs", shapes.SyncLogs)).syncs

    async def report_push(self, event: bytes, headers: Mapping[str, str]) -> shapes.PushAnswer:
        """Pass on the push event of a git host, which signed it. Needs no token.

        Args:
            event: The body, as the host sent it.
            headers: The headers that name the event and carry the signature, and ``Content-Type``.

        Raises:
            NotSignedIn: The signature is missing or wrong.
            NotFound: The installation has no push hook.
            Unreachable: No syncer is connected.
        """
        return await self._connection.json("POST", "/api/hooks/git", shapes.PushAnswer, data=event, headers=headers)

    async def pauses(self) -> shapes.Pauses:
        """List what is paused."""
        return await self._connection.json("GET", "/api/pause", shapes.Pauses)

    async def pause(self, reason: str, *, pipeline: str | None = None, by: str = "") -> shapes.Pause:
        """Let no new run begin. Runs that have begun go on; starts are kept, and begin after ``resume``.

        Args:
            reason: Why, for everyone who wonders: one line of at most 300 characters.
            pipeline: The name of a pipeline; None: the whole installation.
            by: Who pauses, at most 100 characters.

        Raises:
            NotFound: There is no such pipeline.
            BadRequest: The reason or the name is empty, too long, or not printable.
        """
        body = shapes.PauseBody(reason=reason, by=by)
        return await self._connection.json("PUT", _pause(pipeline), shapes.Pause, body=body)

    async def resume(self, pipeline: str | None = None) -> shapes.Pauses:
        """End the pause of a pipeline, or of the installation. Returns what is still paused."""
        return await self._connection.json("DELETE", _pause(pipeline), shapes.Pauses)

    async def encrypt(self, value: str, *, pipeline: str | None = None, name: str | None = None) -> str:
        """Encrypt a secret for ``encrypted_env`` of a pipeline.json.

        Args:
            value: The secret.
            pipeline: With *name*: the token opens for this pipeline only.
            name: The name of its variable, or ``webhook.secret``.

        Returns:
            The token.

        Raises:
            Conflict: The installation has no ``ENCRYPTION_KEY``.
            BadRequest: The value, the pipeline or the name is not valid.
        """
        body = shapes.SecretBody(value=value, pipeline=pipeline, name=name)
        path = "/api/secrets/encrypt-for-pipeline"
        return (await self._connection.json("POST", path, shapes.Encrypted, body=body)).encrypted

    async def login_code(self) -> shapes.LoginCode:
        """Make a code for the address ``/login?code=…``, which signs in one browser, once."""
        return await self._connection.json("POST", "/api/login-codes", shapes.LoginCode)

    async def health(self) -> shapes.Health:
        """Check liveness: whether the gateway should keep running. Needs no token."""
        return await self._connection.json("GET", "/healthz", shapes.Health, accept=(503,))

    async def readiness(self) -> shapes.Health:
        """Check readiness: whether the gateway can answer requests. Needs no token."""
        return await self._connection.json("GET", "/readyz", shapes.Health, accept=(503,))

    async def metrics(self) -> str:
        """Get the metrics for Prometheus.

        Raises:
            NotFound: Metrics are switched off.
        """
        return (await self._connection.raw("GET", "/metrics")).decode()

    async def openapi(self) -> dict[str, Any]:
        """Get the OpenAPI 3.1 document of the API."""
        return await self._document("/api/openapi.json")

    async def schema(self) -> dict[str, Any]:
        """Get the JSON Schema of pipeline.json, for editors. Needs no token."""
        return await self._document("/api/schema/pipeline.json")

    async def _document(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = decoded(await self._connection.raw("GET", path), dict[str, Any])
        return found


def _pause(pipeline: str | None) -> str:
    return "/api/pause" if pipeline is None else f"/api/pipelines/{segment(pipeline)}/pause"
