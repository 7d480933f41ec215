"""Everything that starts a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastflow_api.connection import segment
from fastflow_api.resources.base import Resource
from fastflow_api.shapes import Accepted, Run

_KINDS: Final[Mapping[int, Any]] = {200: Run, 202: Accepted}


class Starts(Resource):
    """Methods that start runs."""

    async def start(
        self,
        name: str,
        *,
        env_vars: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        run_config_id: str | None = None,
        key: str | None = None,
        by_hand: bool = False,
    ) -> Run | Accepted:
        """Start a run.

        Args:
            name: The pipeline's.
            env_vars: Variables; they win over the pipeline's own. At most 50, of 16,384 characters each.
            parameters: Also variables; they win over *env_vars*.
            run_config_id: One of the pipeline's ``schedules[].id``; None is its own configuration.
            key: Idempotency key: the same call with the same key is the same run, however often it is sent.
            by_hand: A person asks: the run counts as started by ``manual``, else by ``api``.

        Returns:
            The run; or ``Accepted`` with its id, if no decision came within 5 s: the trigger is stored and will run.

        Raises:
            NotFound: The pipeline is unknown or disabled.
            Conflict: It has no valid version.
            BadRequest: A variable or the configuration cannot be used.
            TooMany: ``max_instances`` is reached.
        """
        body = {"env_vars": env_vars or {}, "parameters": parameters or {}, "run_config_id": run_config_id}
        path, headers = f"/api/pipelines/{segment(name)}/run", _headers(key, by_hand=by_hand)
        return _started(await self._connection.one_of("POST", path, _KINDS, body=body, headers=headers))

    async def publish(
        self,
        name: str,
        event: bytes,
        *,
        media_type: str | None = None,
        attributes: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Run | Accepted:
        """Start a run with an event, as a message on the pipeline's subject does.

        Args:
            name: The pipeline's.
            event: At most 1 MiB. A CloudEvent, a JSON object of ``env_vars``, ``parameters`` and ``run_config_id``,
                or anything else; the script finds it in the file that ``FASTFLOW_EVENT_FILE`` names.
            media_type: Of the event; ``application/cloudevents+json`` for a CloudEvent in one piece.
            attributes: Of a CloudEvent in binary form, such as ``{"ce-specversion": "1.0", "ce-id": "7", …}``.
            key: Idempotency key; a CloudEvent brings its own.

        Returns:
            As ``start``.

        Raises:
            ApiError: As ``start``.
        """
        headers = {**(attributes or {}), **_headers(key), **({"Content-Type": media_type} if media_type else {})}
        path = f"/api/pipelines/{segment(name)}/events"
        return _started(await self._connection.one_of("POST", path, _KINDS, data=event, headers=headers))

    async def start_by_webhook(
        self,
        name: str,
        webhook_key: str,
        body: bytes = b"",
        *,
        media_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Run | Accepted:
        """Start a run as a webhook's sender does, which needs no token.

        Args:
            name: The pipeline's.
            webhook_key: Its ``webhook_key``, or that of a run configuration.
            body: Becomes the event; ``env_vars`` and ``parameters`` in a JSON object become variables.
            media_type: Of the body.
            headers: More headers, such as ``Idempotency-Key`` and those of a signature.

        Returns:
            As ``start``.

        Raises:
            NotSignedIn: The key or the signature is wrong.
            NotFound: The pipeline is unknown, disabled, or has no ``webhook_key``.
        """
        given = {**(headers or {}), **({"Content-Type": media_type} if media_type else {})}
        path = f"/api/webhooks/{segment(name)}/{segment(webhook_key)}"
        return _started(await self._connection.one_of("POST", path, _KINDS, data=body, headers=given))

    async def retry(self, run_id: str, *, key: str | None = None, by_hand: bool = False) -> Run | Accepted:
        """Start a run that is over once more: same code, variables and parameters, as a new run.

        Args:
            run_id: Of the run that is over.
            key: As in ``start``.
            by_hand: As in ``start``.

        Returns:
            The new run, as ``start``.

        Raises:
            NotFound: There is no such run.
            Conflict: It is not over yet.
        """
        path, headers = f"/api/runs/{segment(run_id)}/retry", _headers(key, by_hand=by_hand)
        return _started(await self._connection.one_of("POST", path, _KINDS, headers=headers))


def _headers(key: str | None, *, by_hand: bool = False) -> dict[str, str]:
    return {
        **({"Idempotency-Key": key} if key else {}),
        **({"Fastflow-Triggered-By": "manual"} if by_hand else {}),
    }


def _started(answer: Any) -> Run | Accepted:
    assert isinstance(answer, Run | Accepted)
    return answer
