"""Labels of runners: which ones there are, and how a set of them is one token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.bus import subjects
from fastflow_contracts.labels import (
    LABEL_CHARACTERS_MAX,
    LABEL_PATTERN,
    LABELS_MAX,
    RUNNER_LABELS_MAX,
    BadLabel,
    in_order,
    label_token,
    labels_in,
    lacking,
    runner_labels,
)
from fastflow_contracts.service.settings import BadSettings, load
from fastflow_runner.settings import RunnerSettings
from tests.support.records import a_run

SETS = st.lists(st.from_regex(LABEL_PATTERN.replace("$", r"\Z")), min_size=1, max_size=LABELS_MAX)


@given(SETS)
def test_a_set_of_labels_is_one_token_whatever_its_order(labels: list[str]) -> None:
    assert label_token(labels) == label_token(labels[::-1] + labels[:1])
    assert labels_in(label_token(labels)) == in_order(labels)
    run = a_run()
    subject = subjects.work("notebook", run.ref, 3, labels)
    assert subjects.parse_labelled_work(subject) == ("notebook", in_order(labels))
    assert subjects.parse_work(subject) == (run.id, 3)


@pytest.mark.parametrize(
    "label", ["", " ", "GPU", "gpu ", "zone a", "-a", "a-", "a.b", "a+b", "*", ">", "é", "gpu\n", "x" * 41, "a,b"]
)
def test_what_is_no_label_makes_no_subject(label: str) -> None:
    with pytest.raises(BadLabel, match="a label is 1 to 40"):
        subjects.work("script", a_run().ref, 1, ["good", label])


def test_more_labels_than_a_run_may_ask_for_make_no_subject() -> None:
    with pytest.raises(BadLabel, match="1 to 8 labels"):
        label_token([f"l{number}" for number in range(LABELS_MAX + 1)])


@pytest.mark.parametrize("subject", ["ff.work.labelled.script", "ff.work.labelled.script.A.b.c.1", "", "x" * 3000])
def test_a_subject_of_no_labelled_hint_is_refused(subject: str) -> None:
    with pytest.raises(BadLabel):
        subjects.parse_labelled_work(subject)


def test_a_runner_takes_a_run_only_with_all_of_its_labels() -> None:
    assert lacking(("gpu", "zone-a"), ("zone-a", "gpu", "big")) == ()
    assert lacking(("gpu", "zone-a"), ("zone-b", "gpu")) == ("zone-a",)
    assert lacking((), ()) == lacking((), ("gpu",)) == ()
    assert lacking(("gpu",), ()) == ("gpu",)


@pytest.mark.parametrize(
    ("text", "labels"),
    [("", ()), ("gpu", ("gpu",)), (" zone-a , gpu,gpu ", ("gpu", "zone-a")), ("a" * LABEL_CHARACTERS_MAX, ("a" * 40,))],
)
def test_a_runner_reads_its_labels(text: str, labels: tuple[str, ...]) -> None:
    settings = load(RunnerSettings, {"RUNNER_LABELS": text})
    assert runner_labels(settings.labels) == labels


@pytest.mark.parametrize(
    "text",
    [
        "GPU",
        "a b",
        ",",
        "gpu,",
        "a.b",
        "x" * 41,
        ",".join(f"l{n}" for n in range(RUNNER_LABELS_MAX + 1)),
        "a,b,>",
        "*",
        "é",
        pytest.param(",".join(f"l{n}" for n in range(10_000)), id="10,000 labels"),
        pytest.param("a" * 100_000, id="one long label"),
        pytest.param("a, " * 50_000, id="the same one, again and again"),
    ],
)
def test_a_runner_refuses_to_start_with_other_labels(text: str) -> None:
    """The message says what a label is."""
    with pytest.raises(BadSettings, match="the first and the last a letter or a digit"):
        load(RunnerSettings, {"RUNNER_LABELS": text})
