"""All ways to start a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from fastflow_api import shapes
from fastflow_api.connection import TIMEOUT_S, segment
from fastflow_api.resources.base import Resource
from fastflow_api.shapes import Accepted, Run, RunWithResult

_STARTED: Final[Mapping[int, Any]] = {200: Run, 202: Accepted}
_ENDED: Final[Mapping[int, Any]] = {200: RunWithResult, 202: Accepted}


class Starts(Resource):
    """Methods that start runs.

    With *wait_s* each waits for the end of its run, up to 60 seconds. It then returns a ``RunWithResult``, however the
    run ended: check its ``status``. It returns ``Accepted`` if the run is not over in time; the run goes on, and
    ``wait`` waits for longer.
    """

    async def start(
        self,
        name: str,
        *,
        env_vars: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        run_config_id: str | None = None,
        version: str | None = None,
        key: str | None = None,
        allow_undeclared: bool = False,
        wait_s: int = 0,
    ) -> Run | Accepted:
        """Start a run.

        Args:
            name: The name of the pipeline.
            env_vars: Variables; they override the pipeline's own. At most 50, of 16,384 characters each.
            parameters: Strings or any JSON values. Also variables, as text; they override *env_vars*.
            run_config_id: One of the pipeline's ``schedules[].id``; None: the pipeline's own configuration.
            version: The id of a kept version, from ``versions``; None: the live one.
            key: Idempotency key: repeated calls with the same key start one run.
            allow_undeclared: Let *env_vars* and *parameters* set variables that the pipeline does not declare. For what
                a person types; leave it out where you pass on what others say.
            wait_s: Longest wait for the end of the run, in whole seconds up to 60; 0: do not wait.

        Returns:
            The run; or ``Accepted`` with its id if there was no decision within 5 s, or a pause holds the run: the
            trigger is stored and the run comes. It has ended with the reason if the start is refused after all.

        Raises:
            NotFound: The pipeline is unknown or disabled.
            Conflict: The pipeline has no valid version.
            BadRequest: A variable is not valid or not declared, or the configuration is not valid.
            TooMany: ``max_instances`` is reached.
        """
        body = shapes.RunBody(
            env_vars=dict(env_vars or {}),
            parameters=dict(parameters or {}),
            run_config_id=run_config_id,
            version=version,
        )
        path = f"/api/pipelines/{segment(name)}/run"
        given = {"allow_undeclared": "true"} if allow_undeclared else {}
        return await self._start(path, wait_s, query=given, body=body, headers=_headers(key))

    async def publish(
        self,
        name: str,
        event: bytes,
        *,
        media_type: str | None = None,
        attributes: Mapping[str, str] | None = None,
        key: str | None = None,
        wait_s: int = 0,
    ) -> Run | Accepted:
        """Start a run with an event, like a message on the pipeline's subject.

        Args:
            name: The name of the pipeline.
            event: At most 1 MiB. A CloudEvent, a JSON object with ``env_vars``, ``parameters`` and ``run_config_id``,
                or anything else. The script finds it in the file named by ``FASTFLOW_EVENT_FILE``.
            media_type: Media type of the event; ``application/cloudevents+json`` for a structured CloudEvent.
            attributes: Headers of a binary CloudEvent, such as ``{"ce-specversion": "1.0", "ce-id": "7", …}``.
            key: Idempotency key; a CloudEvent has its own.
            wait_s: As for ``start``.

        Returns:
            As for ``start``.

        Raises:
            ApiError: As for ``start``.
        """
        headers = {**(attributes or {}), **_headers(key), **({"Content-Type": media_type} if media_type else {})}
        path = f"/api/pipelines/{segment(name)}/events"
        return await self._start(path, wait_s, data=event, headers=headers)

    async def start_by_webhook(
        self,
        name: str,
        webhook_key: str,
        body: bytes = b"",
        *,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: int = 0,
    ) -> Run | Accepted:
        """Start a run through the pipeline's webhook. Needs no token.

        Args:
            name: The name of the pipeline.
            webhook_key: The pipeline's ``webhook_key``, or that of a run configuration.
            body: Becomes the event. A JSON object of nothing but ``env_vars`` and ``parameters`` gives variables, too.
            media_type: Media type of the body.
            headers: More headers, such as ``Idempotency-Key`` or a signature.
            wait_s: As for ``start``.

        Returns:
            As for ``start``.

        Raises:
            NotSignedIn: The key or the signature is wrong.
            NotFound: The pipeline is unknown, disabled, or has no ``webhook_key``.
        """
        given = {**(headers or {}), **({"Content-Type": media_type} if media_type else {})}
        path = f"/api/webhooks/{segment(name)}/{segment(webhook_key)}"
        return await self._start(path, wait_s, data=body, headers=given)

    async def retry(
        self,
        run_id: str,
        *,
        code: Literal["same", "current"] = "same",
        env_vars: Mapping[str, str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        without: Iterable[str] = (),
        key: str | None = None,
        allow_undeclared: bool = False,
        wait_s: int = 0,
    ) -> Run | Accepted:
        """Run a finished run again, as a new run with the same event, variables and parameters.

        Args:
            run_id: The id of the finished run.
            code: The code of that run, or the pipeline's current version.
            env_vars: Variables to add or replace; the others are kept.
            parameters: Parameters to add or replace: strings, or any JSON values.
            without: Names of variables and parameters of that run to leave out.
            key: As for ``start``.
            allow_undeclared: As for ``start``; it counts if anything is changed.
            wait_s: As for ``start``.

        Returns:
            The new run, as for ``start``.

        Raises:
            NotFound: There is no such run.
            Conflict: The run is not over yet.
            BadRequest: A variable is not valid, not declared, or one of *without* that the run was not given.
        """
        body = shapes.RetryBody(
            code=code, env_vars=dict(env_vars or {}), parameters=dict(parameters or {}), without=tuple(without)
        )
        path = f"/api/runs/{segment(run_id)}/retry"
        given = {"allow_undeclared": "true"} if allow_undeclared else {}
        return await self._start(path, wait_s, query=given, body=body, headers=_headers(key))

    async def _start(
        self, path: str, wait_s: int, *, query: Mapping[str, Any] | None = None, **request: Any
    ) -> Run | Accepted:
        kinds = _STARTED
        if wait_s:
            kinds, query = _ENDED, {**(query or {}), "wait": wait_s}
            request["timeout_s"] = TIMEOUT_S + wait_s
        answer = await self._connection.one_of("POST", path, kinds, query=query, **request)
        assert isinstance(answer, Run | Accepted)
        return answer


def _headers(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}
