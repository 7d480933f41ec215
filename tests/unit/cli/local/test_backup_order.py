"""What a backup has."""

from __future__ import annotations

from fastflow.local.backup import ORDER
from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.streams import STREAMS, bucket_stream, object_stream


def test_a_backup_has_every_stream_once() -> None:
    assert sorted(ORDER) == sorted(stream.name or "" for stream in STREAMS)


def test_what_runs_refer_to_is_copied_after_them() -> None:
    """What is stored meanwhile is more than the copied runs need."""
    runs = ORDER.index(bucket_stream(subjects.RUNS))
    assert all(ORDER.index(object_stream(each)) > runs for each in (subjects.ARTIFACTS, subjects.STATES))
