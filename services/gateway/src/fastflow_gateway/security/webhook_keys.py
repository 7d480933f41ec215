"""Does this key open a webhook of this pipeline? Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple

from fastflow_contracts.pipelines.records import PipelineRecord
from fastflow_contracts.pipelines.spec import PipelineSpec

_NO_KEYS: Final[Mapping[str | None, str]] = {None: ""}
"""Compared with when there is no pipeline or no key, so that the answer takes as long."""


class KeyMatch(NamedTuple):
    """What one copy of a pipeline's record says of a key."""

    record: PipelineRecord | None
    has_keys: bool
    """The pipeline has webhooks."""
    fits: bool
    """It is the key of one of them."""
    run_config_id: str | None
    """The run configuration whose key it is; None is the pipeline's own."""

    @property
    def is_enabled(self) -> bool:
        return self.record is not None and self.record.live is not None and self.record.live.spec.enabled

    @property
    def is_wrong(self) -> bool:
        """There are keys, and this is none of them."""
        return self.has_keys and not self.fits


def match_key(record: PipelineRecord | None, key: str) -> KeyMatch:
    """Compare *key* with every webhook key of the pipeline, in a time that does not tell which one it resembles.

    Args:
        record: What is known of the pipeline; None if it does not exist.
        key: As the caller gave it.

    Returns:
        What *record* says of the key.
    """
    spec: PipelineSpec | None = record.live.spec if record and record.live else None
    keys = spec.webhook_keys() if spec else {}
    given = _digest(key)
    # Every key is compared, whether or not one before it fitted.
    fitting = [
        run_config_id for run_config_id, each in (keys or _NO_KEYS).items() if hmac.compare_digest(given, _digest(each))
    ]
    fits = bool(keys and fitting)
    return KeyMatch(record, bool(keys), fits, fitting[0] if fits else None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
