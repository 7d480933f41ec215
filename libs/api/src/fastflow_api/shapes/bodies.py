"""The bodies of requests. Data only; unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from fastflow_api.shapes.runs import TriggeredBy


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all bodies."""


class RunBody(Body, frozen=True, kw_only=True):
    """The input of a run. Each object holds at most 50 entries, each value at most 16,384 characters."""

    env_vars: dict[str, str] = {}
    """Environment variables; they override the pipeline's own."""
    parameters: dict[str, Any] = {}
    """Parameters: strings, or any JSON values. Also environment variables, as text; they override ``env_vars``."""
    run_config_id: str | None = None
    """One of the pipeline's ``schedules[].id``; null is the pipeline's own configuration."""
    version: str | None = None
    """The id of a kept version; null is the live one."""


class PinBody(Body, frozen=True, kw_only=True):
    """Which version stays live."""

    version: str
    """The id of a kept version."""
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Why, for others to read."""


class RetryBody(Body, frozen=True, kw_only=True):
    """How to retry a run."""

    code: Literal["same", "current"] = "same"
    """The code of that run, or the pipeline's current version."""
    env_vars: dict[str, str] = {}
    """Variables to add or replace; the others are kept. ``***``, as answers show values, keeps one, too."""
    parameters: dict[str, Any] = {}
    """Parameters to add or replace: strings, or any JSON values; as ``env_vars``."""
    without: tuple[str, ...] = ()
    """Names of variables and parameters of that run to leave out."""


class LinkBody(Body, frozen=True, kw_only=True):
    """What to start when a run is over."""

    pipeline: str
    """The pipeline to start."""
    on_success: bool = True
    on_failure: bool = False
    run_config_id: str | None = None
    """The run configuration to start it with, one of its ``schedules[].id``; null is its own configuration."""
    on_route: str | None = None
    """Start it only if the run wrote this label to the file ``FASTFLOW_ROUTE_FILE``; null is after any run."""
    needs_artifacts: bool = False
    """It finds the run's artifacts below the folder ``FASTFLOW_PARENT_ARTIFACTS_DIR``."""


class JobSwitch(Body, frozen=True, kw_only=True):
    """What to change about a job."""

    enabled: bool
    """False: the job stays off, also after a sync, until it is switched on. It then fires from its next slot on."""


class SecretBody(Body, frozen=True, kw_only=True):
    """What to encrypt, and where the token is valid."""

    value: str
    pipeline: str | None = None
    """With ``name``: the token is valid for this pipeline only."""
    name: str | None = None
    """The name of the variable, or ``webhook.secret``."""


class RedriveBody(Body, frozen=True, kw_only=True):
    """Which open skips to redrive; an empty object is all of them."""

    pipeline: str | None = None
    """Only starts of this pipeline."""
    reason: str | None = None
    """Only those with this text in their reason."""
    triggered_by: TriggeredBy | None = None
    """Only starts of this kind."""
    dry_run: bool = False
    """Only count them."""
    cursor: str | None = None
    """``next_cursor`` of the previous answer: continue with newer skips."""
    expect: int | None = None
    """How many skips the caller expects, as a dry run has counted them. Required without ``dry_run`` and ``cursor``."""


class PauseBody(Body, frozen=True, kw_only=True):
    """Why something is paused."""

    reason: str
    """For everyone who wonders why nothing starts: one line of at most 300 characters."""
    by: str = ""
    """Who pauses: a name of at most 100 characters. It is shown, and not checked."""
