"""What the command doctor prints."""

from __future__ import annotations

import pytest

from fastflow.commands.doctor import lines, unserved
from fastflow_api.shapes import Health, Pipeline, Runner


def a_runner(**fields: object) -> Runner:
    given: dict[str, object] = {
        name: () if name in ("unenforced", "degraded", "kinds", "labels") else 0 for name in Runner.__struct_fields__
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


def a_pipeline(*labels: str) -> Pipeline:
    given: dict[str, object] = dict.fromkeys(Pipeline.__struct_fields__)
    return Pipeline(**{**given, "name": "train", "metadata": {"runs_on": list(labels)} if labels else {}})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "runners", "is_served"),
    [
        ((), [], True),
        (("gpu",), [("gpu", "zone-a")], True),
        (("gpu", "zone-a"), [("gpu",), ("zone-a",)], False),
        (("gpu",), [()], False),
        (("gpu",), [], False),
    ],
    ids=["none wanted", "one has it", "none has both", "without labels", "no runner"],
)
def test_a_pipeline_whose_labels_no_runner_has_is_a_line(
    wanted: tuple[str, ...], runners: list[tuple[str, ...]], is_served: bool
) -> None:
    found = list(unserved([a_pipeline(*wanted)], [a_runner(labels=labels, leaving=False) for labels in runners]))
    names = ",".join(wanted)
    line = f"train: its runs wait, because no runner has {names}: set RUNNER_LABELS={names} on one"
    assert found == ([] if is_served else [("labels", line)])


def test_a_runner_that_leaves_serves_no_labels() -> None:
    assert len(list(unserved([a_pipeline("gpu")], [a_runner(labels=("gpu",), leaving=True)]))) == 1
