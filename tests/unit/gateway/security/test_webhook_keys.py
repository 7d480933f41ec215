"""Which webhook a key opens."""

from __future__ import annotations

import pytest

from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_gateway.security.webhook_keys import match_key
from tests.support.records import T0

OWN, HUB = "a-webhook-key-of-some-length", "a-webhook-key-of-the-hub"


def a_record(spec: PipelineSpec | None) -> PipelineRecord:
    live = Version(bundle="b", spec=spec, live_since=T0) if spec is not None else None
    return PipelineRecord(name=PipelineName("demo"), live=live, seen_at=T0)


BOTH = PipelineSpec(webhook_key=OWN, schedules=(ScheduleEntry(id="hub", webhook_key=HUB),))


@pytest.mark.parametrize(
    ("key", "fits", "run_config_id"),
    [(OWN, True, None), (HUB, True, "hub"), ("another", False, None), ("", False, None), ("\ud800", False, None)],
)
def test_each_key_opens_its_own_run_configuration(key: str, fits: bool, run_config_id: str | None) -> None:
    """Any other key is wrong."""
    match = match_key(a_record(BOTH), key)
    assert (match.fits, match.run_config_id, match.is_wrong) == (fits, run_config_id, not fits)


@pytest.mark.parametrize("record", [None, a_record(None), a_record(PipelineSpec())])
@pytest.mark.parametrize("key", ["", "another"])
def test_a_pipeline_without_keys_has_no_webhook(record: PipelineRecord | None, key: str) -> None:
    """The empty key does not open it either."""
    match = match_key(record, key)
    assert (match.has_keys, match.fits, match.is_wrong) == (False, False, False)


def test_a_disabled_pipeline_still_knows_its_keys() -> None:
    """A client that has one did not guess."""
    match = match_key(a_record(PipelineSpec(webhook_key=OWN, enabled=False)), OWN)
    assert match.fits
    assert not match.is_enabled
