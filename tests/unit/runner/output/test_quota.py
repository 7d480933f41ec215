"""How much one pipeline may log."""

from __future__ import annotations

from datetime import UTC, datetime

from fastflow_runner.output import quota
from fastflow_runner.output.lines import Assembler
from fastflow_runner.output.quota import DAY_S, OutputQuota

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_flood_of_one_pipeline_uses_up_its_own_quota_only() -> None:
    """Over all its runs; a day later it is whole again."""
    quotas = OutputQuota(1000)
    assert not quotas.refuse("flood", 600, 0)
    assert "flood wrote more than 1000 bytes within a day" in quotas.refuse("flood", 600, 1)
    assert not quotas.refuse("quiet", 600, 1)
    assert quotas.refuse("flood", 500, DAY_S / 20)
    assert not quotas.refuse("flood", 500, DAY_S / 5)
    assert not quotas.refuse("flood", 1000, 2 * DAY_S)


def test_no_limit_is_no_limit() -> None:
    """A setting of 0."""
    assert not OutputQuota(0).refuse("flood", 10**15, 0)


def test_the_memory_for_quotas_is_bounded() -> None:
    """Pipelines that write nothing any more are forgotten."""
    quotas = OutputQuota(1000)
    for number in range(3 * quota.PIPELINES_MAX):
        quotas.refuse(f"p{number}", 1, number * DAY_S)
    assert len(quotas._spent) <= quota.PIPELINES_MAX + 1


def test_a_log_over_the_quota_says_so_once_and_is_counted() -> None:
    """The script continues; another run of the pipeline has a log with just that line."""
    quotas = OutputQuota(1000)

    def refuse(size_bytes: int) -> str:
        return quotas.refuse("flood", size_bytes, 0)

    for line_count in (10, 0):
        lines = Assembler(refuse=refuse)
        chunks = []
        for number in range(50):
            chunks += lines.feed("stdout", number * 100, AT, b"x" * 99 + b"\n")
        chunks += lines.close(AT)
        text = "".join(piece.text for chunk in chunks for piece in chunk.lines)
        assert text.count("x" * 99) == line_count
        assert text.count("log truncated: the runs of flood wrote more than 1000 bytes within a day") == 1
        assert "the script wrote 5000 bytes in all" in text
        assert lines.end == (5000, 0)
