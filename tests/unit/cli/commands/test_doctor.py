"""What the command doctor prints."""

from __future__ import annotations

from fastflow.commands.doctor import lines
from fastflow_api.shapes import Health, Runner


def a_runner(**fields: object) -> Runner:
    given: dict[str, object] = {
        name: () if name in ("unenforced", "degraded", "kinds") else 0 for name in Runner.__struct_fields__
    }
    return Runner(**{**given, "id": "r1", **fields})  # type: ignore[arg-type]


def test_everything_that_is_wrong_is_a_line() -> None:
    """Dependencies, parts that failed, records that cannot be read, and what a runner cannot enforce."""
    health = Health(
        status="degraded",
        dependencies={"bus": "ok", "storage": "the disk was full; restart nats-server"},
        degraded=("gateway/model failed 3 times",),
        unreadable={"RunRecord": 2},
    )
    found = list(
        lines(health, [a_runner(), a_runner(degraded=("pool failed",), unenforced=("No network limit.", "No filter."))])
    )
    assert found == [
        ("bus", "ok"),
        ("storage", "the disk was full; restart nats-server"),
        ("degraded", "gateway/model failed 3 times"),
        ("unreadable", "2 RunRecord: `fastflow bus unreadable` lists and removes them"),
        ("degraded", "r1: pool failed"),
        ("r1", "No network limit."),
        ("r1", "No filter."),
    ]
