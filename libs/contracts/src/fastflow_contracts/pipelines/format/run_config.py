"""The merged settings of one run configuration. Data only; ``spec`` merges them.

Names and units are those of the format. None means unset: the installation's default applies.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.pipelines.format.retry import CellRetry, RetryStrategy

PipelineType = Literal["script", "notebook"]


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The complete settings of one run configuration."""

    run_config_id: str | None = None
    """None: the pipeline's own settings."""
    type: PipelineType = "script"
    python_version: str | None = None
    network: str | tuple[str, ...] | None = None
    """``internet``, ``none``, or each ``host:port`` that it reaches."""
    priority: int = 0
    """Of waiting runs, those with a higher one begin first: -1, 0 or 1."""
    runs_on: tuple[str, ...] = ()
    """Labels that the runner must have, sorted."""
    state: bool = False
    """Whether its runs get the pipeline's state."""
    cpu_hard_limit: float | None = None
    """Cores, enforced."""
    mem_hard_limit: int | None = None
    """Bytes, enforced."""
    cpu_soft_limit: float | None = None
    """Cores; exceeding it causes a warning."""
    mem_soft_limit: int | None = None
    """Bytes; exceeding it causes a warning."""
    timeout: float | None = None
    """Seconds of user code per attempt; 0 means no limit, even where the default sets one."""
    concurrency: ConcurrencySpec | None = None
    has_own_concurrency: bool = False
    """The limit is this run configuration's own: it does not count the pipeline's other runs."""
    retry_attempts: int | None = None
    """Attempts after the first; always 0 for notebooks, which retry cells instead."""
    retry_strategy: RetryStrategy | None = None
    default_env: dict[str, str] = {}
    """Unencrypted variables. ``encrypted_env`` overrides them; the trigger overrides both."""
    encrypted_env: dict[str, str] = {}
    """Fernet tokens by variable name. Each is well-formed, but may not decrypt with the installation's key."""
    secret_names: frozenset[str] = frozenset()
    """All variables of ``encrypted_env`` in the file, also those that stay unset: their token is not well-formed."""
    accepts_env: tuple[str, ...] = ()
    """Names, or patterns of names, that a start from outside may set besides those of ``default_env``."""
    tags: tuple[str, ...] = ()
    """Of the pipeline."""
    parameters: dict[str, Any] | None = None
    """The JSON Schema of the parameters."""
    parameter_values: dict[str, Any] = {}
    """Parameters that a start need not give: those of the schedule's entry."""
    cells: tuple[CellRetry, ...] = ()
    """Retries of a notebook's code cells, first to last; empty for scripts."""
