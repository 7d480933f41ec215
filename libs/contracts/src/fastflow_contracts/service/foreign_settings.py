"""Settings of other orchestrators that have no effect here: each is named at start, with what to set instead. Pure.

A name that means the same as one of ours is read instead: see ``Env.also``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fastflow_contracts.log import get_logger

log = get_logger(__name__)

_KEPT: Final = "logs are kept for 30 days and runs for 90, or until their streams are full; then the oldest go"
_ADVICE: Final = {
    "LOG_MAX_SIZE_MB": "set FASTFLOW_LOG_BYTES_MAX",
    "LOG_RETENTION_DAYS": _KEPT,
    "LOG_RETENTION_RUNS": _KEPT,
    "UV_CACHE_DIR": "uv's cache is in FASTFLOW_STORE_VOLUME, or below FASTFLOW_DATA_DIR for plain processes",
}
_PREFIXES: Final = ("AUTO_SYNC_", "GIT_SYNC_", "LOG_RETENTION_")
TAKEN: Final = frozenset(
    ("AUTO_SYNC_ENABLED", "AUTO_SYNC_INTERVAL", "GIT_SYNC_DEPLOY_KEY", "GIT_SYNC_INTERVAL", "GIT_SYNC_TOKEN")
)
"""Those of such names that a syncer reads."""


def foreign(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what to do instead, by name, for settings in *environ* that have no effect."""
    names = (name for name in sorted(environ) if name in _ADVICE or name.startswith(_PREFIXES))
    return {
        name: _ADVICE.get(name, "see docs/settings.md")
        for name in names
        if environ[name] and name.removesuffix("_FILE") not in TAKEN
    }


def warn_of_foreign(environ: Mapping[str, str]) -> None:
    """Log a warning for each of these settings."""
    for name, advice in foreign(environ).items():
        log.warning("setting ignored", setting=name, advice=advice)
