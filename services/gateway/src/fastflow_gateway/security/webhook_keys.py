"""Matches a key with the webhook keys of a pipeline. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple

from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.records import PipelineRecord

_NO_KEYS: Final[Mapping[str | None, str]] = {None: ""}
"""Stands in for a missing pipeline or key, so that the comparison takes as long."""


class KeyMatch(NamedTuple):
    """What one copy of a pipeline's record says about a key."""

    record: PipelineRecord | None
    has_keys: bool
    """The pipeline has webhooks."""
    fits: bool
    """The key opens one of them."""
    run_config_id: str | None
    """The run configuration of the key; None: the pipeline itself."""

    @property
    def is_enabled(self) -> bool:
        return self.record is not None and self.record.live is not None and self.record.live.spec.enabled

    @property
    def is_wrong(self) -> bool:
        """The pipeline has keys, and this is not one of them."""
        return self.has_keys and not self.fits


def match_key(record: PipelineRecord | None, key: str) -> KeyMatch:
    """Compare *key* with every webhook key of the pipeline, in constant time.

    Args:
        record: The pipeline's record; None if there is no such pipeline.
        key: The client's key.

    Returns:
        What *record* says about the key.
    """
    spec: PipelineSpec | None = record.live.spec if record and record.live else None
    keys = spec.webhook_keys() if spec else {}
    given = _digest(key)
    # Compare every key, even after a match: the time must not tell which one it was.
    fitting = [
        run_config_id for run_config_id, each in (keys or _NO_KEYS).items() if hmac.compare_digest(given, _digest(each))
    ]
    fits = bool(keys and fitting)
    return KeyMatch(record, bool(keys), fits, fitting[0] if fits else None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
