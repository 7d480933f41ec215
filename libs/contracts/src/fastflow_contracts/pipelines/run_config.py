"""The settings of one run configuration, merged. Data only; ``pipeline`` merges them.

Names and units are those of the format. None: the file says nothing, so the installation's default applies.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fastflow_contracts.pipelines.retry import CellRetry, RetryStrategy

PipelineType = Literal["script", "notebook"]


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One run configuration, whole."""

    run_config_id: str | None = None
    """None: the pipeline's own settings."""
    type: PipelineType = "script"
    python_version: str | None = None
    cpu_hard_limit: float | None = None
    """Cores, enforced."""
    mem_hard_limit: int | None = None
    """Bytes, enforced."""
    cpu_soft_limit: float | None = None
    """Cores, only warned about."""
    mem_soft_limit: int | None = None
    """Bytes, only warned about."""
    timeout: float | None = None
    """Seconds per attempt, of user code; 0 = no limit, also against a default."""
    retry_attempts: int | None = None
    """Attempts after the first; always 0 for notebooks, whose cells are retried instead."""
    retry_strategy: RetryStrategy | None = None
    default_env: dict[str, str] = {}
    """Clear variables. ``encrypted_env`` wins over them, what is given with the trigger wins over both."""
    encrypted_env: dict[str, str] = {}
    """Fernet tokens by variable name. Each is well-formed; whether a key opens it is not known here."""
    cells: tuple[CellRetry, ...] = ()
    """Of a notebook's code cells, first to last; empty for scripts."""
