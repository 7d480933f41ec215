"""Reading a pipeline.json."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.format.diagnostics import DIAGNOSTICS_MAX
from fastflow_contracts.pipelines.format.manifest import MANIFEST_BYTES_MAX, Manifest, Notice, Problem, read_manifest
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry

SIGNED = json.dumps({"verify": "github", "secret": base64.urlsafe_b64encode(b"\x80" + bytes(72)).decode()})


def read(text: str | bytes) -> Manifest:
    return read_manifest(text.encode() if isinstance(text, str) else text, file_name="pipeline.json")


def test_all_problems_are_reported_at_once() -> None:
    """In the order of the file, with field, value, accepted values, and line."""
    manifest = read("""{
      "timeout": -5,
      "default_env": {"A": 1,
                      "B": null},
      "schedules": [
        {"id": "prod", "schedule_cron": "0 25 * * *"},
        {"id": "prod", "timeout": "1h"},
        "nightly",
        {"timeout": 1}
      ],
      "retry_strategy": {"type": "linear"}
    }""")
    assert manifest.spec is None
    assert [(problem.line, problem.field, problem.value) for problem in manifest.problems] == [
        (2, "timeout", "-5"),
        (4, "default_env.B", "null"),
        (6, "schedules[0].schedule_cron", '"0 25 * * *"'),
        (7, "schedules[1].timeout", '"1h"'),
        (7, "schedules[1].id", '"prod"'),
        (8, "schedules[2]", '"nightly"'),
        (9, "schedules[3].id", None),
        (11, "retry_strategy.type", '"linear"'),
    ]
    assert [str(problem) for problem in manifest.problems][:3] == [
        "pipeline.json:2: timeout is -5; accepted: a number of seconds, 0 or more, at most ten years",
        "pipeline.json:4: default_env.B is null; accepted: a string of up to 32,768 characters "
        "without NUL, a number, true or false",
        'pipeline.json:6: schedules[0].schedule_cron is "0 25 * * *"; accepted: a cron expression of five fields such '
        'as "0 9 * * mon-fri", or one of @hourly, @daily, @weekly, @monthly, @yearly '
        "('25' is not a valid hour (0 to 23))",
    ]
    assert "schedules[3].id is missing" in str(manifest.problems[6])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (b"", 1, "must be JSON"),
        (b'{\n "timeout": 1,\n}', 2, 'comma comes before "}"'),
        (b'{\n "timeout": NaN}', 2, "NaN is not a JSON value"),
        (b'{\n "description": "\xff"}', 2, "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), 1, "UTF-8"),
        (b"[" * 100_000, 1, "brackets"),
        (b" " * (MANIFEST_BYTES_MAX + 1), None, "bytes"),
    ],
)
def test_a_file_that_is_not_json_has_one_problem(text: bytes, line: int | None, said: str) -> None:
    """It says why and where."""
    manifest = read(text)
    (problem,) = manifest.problems
    assert problem.line == line
    assert said in problem.accepted
    assert str(problem).startswith("pipeline.json:")
    assert (manifest.spec, manifest.type) == (None, None)


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "1", "true"])
def test_only_an_object_is_a_manifest(text: str) -> None:
    """Other JSON is refused."""
    assert str(read(text).problems[0]) == "pipeline.json:1: It must hold an object, in { }."


def test_a_byte_order_mark_is_harmless() -> None:
    """Some editors write one."""
    manifest = read(b'\xef\xbb\xbf{"timeout": 5}')
    assert manifest.spec == PipelineSpec(timeout=5)


@pytest.mark.parametrize(
    ("text", "field", "said"),
    [
        ('{"timeot": 5}', "timeot", "did you mean timeout?"),
        ('{"Timeout": 5}', "Timeout", "did you mean timeout?"),
        ('{"schedule": []}', "schedule", "did you mean schedules?"),
        ('{"owner": "me"}', "owner", "is not a field of the format and is ignored."),
        ('{"": 1}', '[""]', "is ignored"),
        ('{"a b": 1}', '["a b"]', "is ignored"),
        ('{"schedules": [{"id": "a", "chron": "x"}]}', "schedules[0].chron", "is ignored"),
        ('{"retry_strategy": {"type": "fixed_delay", "delays": 1}}', "retry_strategy.delays", "did you mean delay?"),
        ('{"timeout": 5, "timeout": 6}', "timeout", "more than once; the last one counts"),
        ('{"default_env": {"A": "1", "A": "2"}}', "default_env.A", "more than once"),
        ('{"schedule_cron": "@daily", "schedule_interval_seconds": 5}', "schedule_interval_seconds", "wins over it"),
        ('{"schedule_cron": "@daily", "schedules": [{"id": "a"}]}', "schedule_cron", "because there are schedules"),
        ('{"cells": [{"retries": 1}]}', "cells", "only"),
        ('{"webhok_key": "k"}', "webhok_key", "did you mean webhook_key?"),
        (f'{{"webhook": {SIGNED}}}', "webhook", "without a webhook_key"),
        (
            f'{{"webhook_key": "k", "schedules": [{{"id": "a", "webhook": {SIGNED}}}]}}',
            "schedules[0].webhook",
            "without",
        ),
        (f'{{"webhook_key": "k", "webhook": {SIGNED[:-1]}, "header": "X-S"}}}}', "webhook.header", "hmac"),
        ('{"type": "notebook", "retry_attempts": 3}', "retry_attempts", "retries cells"),
        ('{"restart_interval": 60}', "restart_interval", "not longer than restart_cooldown (60 s)"),
        ('{"restart_interval": "5", "restart_cooldown": 7.5}', "restart_interval", "restart_cooldown (7.5 s)"),
    ],
)
def test_likely_mistakes_are_noticed(text: str, field: str, said: str) -> None:
    """Nothing is refused for them."""
    manifest = read(text)
    assert manifest.spec is not None
    (notice,) = manifest.notices
    assert (notice.field, notice.line, notice.file) == (field, 1, "pipeline.json")
    assert said in notice.text


def test_the_last_of_repeated_keys_counts() -> None:
    """As in other readers of JSON."""
    assert read('{"timeout": -1, "timeout": 6}').spec == PipelineSpec(timeout=6)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"schedule_start": "2025-02-01", "schedule_end": "2025-01-31"}', "schedule_end"),
        ('{"schedules": [{"id": "a", "schedule_start": "2025-02-01", "schedule_end": "2024-02-01"}]}', "schedules[0]"),
        ('{"webhook_key": "k", "schedules": [{"id": "a", "webhook_key": "k"}]}', "schedules[0].webhook_key"),
    ],
)
def test_contradicting_values_are_a_problem(text: str, field: str) -> None:
    """Each pair."""
    (problem,) = read(text).problems
    assert problem.field.startswith(field)


def test_a_window_may_be_one_day() -> None:
    """Start and end on the same date mean that whole day."""
    assert read('{"schedule_start": "2025-02-01", "schedule_end": "2025-02-01"}').spec is not None


@pytest.mark.parametrize(
    "text",
    [
        '{"webhook_key": ["hunter2"]}',
        '{"encrypted_env": "hunter2"}',
        '{"encrypted_env": {"A": "hunter2"}}',
        '{"encrypted_env": {"A": {"B": "hunter2"}}}',
        '{"schedules": {"id": "a", "webhook_key": "hunter2", "encrypted_env": {"A": "hunter2"}}}',
        '{"webhook_key": "hunter2", "schedules": [{"id": "a", "webhook_key": "hunter2"}]}',
        '{"webhook": "hunter2"}',
        '{"webhook": {"verify": "github", "secret": "hunter2"}}',
        '{"schedules": [{"id": "a", "webhook": {"verify": "github", "secret": "hunter2"}}]}',
    ],
)
def test_secrets_are_never_shown(text: str) -> None:
    """Neither an error nor the spec repeats a value that is not a token."""
    manifest = read(text)
    assert manifest.problems or manifest.notices
    assert "hunter2" not in str([*map(str, manifest.problems), *map(str, manifest.notices), manifest.spec])


def test_the_type_is_known_despite_other_problems() -> None:
    """Unless that very field is unreadable."""
    assert read('{"type": "notebook", "timeout": -1}').type == "notebook"
    assert read('{"timeout": -1}').type == "script"
    assert read('{"type": "Notebook"}').type is None


def test_problems_are_bounded() -> None:
    """A file with very many gets the first ones and their number."""
    manifest = read(json.dumps({"tags": [1] * 5000, **{f"x{index}": 1 for index in range(5000)}}))
    assert len(manifest.problems) == DIAGNOSTICS_MAX + 1
    assert "4900 more" in str(manifest.problems[-1])
    assert len(manifest.notices) == DIAGNOSTICS_MAX


def test_long_values_are_shortened() -> None:
    """To one line."""
    (problem,) = read('{"timeout": "' + "x" * 5000 + '"}').problems
    assert len(problem.value or "") < 100


FIELDS = [*PipelineSpec.__struct_fields__, *ScheduleEntry.__struct_fields__, "delays", "delay", "x", "a.b", ""]
SCALARS = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 1.5, 10**400, float("inf"), float("nan"), "", "1g", "0 9 * * *"]),
    st.sampled_from(["2025-01-01", "Europe/Berlin", "all", "notebook", "custom_schedule", "exponential_backoff"]),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=15,
)


DIAGNOSTICS = tuple[tuple[Problem, ...], tuple[Notice, ...]]


def holds_together(manifest: Manifest) -> None:
    """Check that a manifest has a spec or problems, and survives the bus."""
    assert (manifest.spec is None) == bool(manifest.problems)
    assert all(map(str, [*manifest.problems, *manifest.notices]))
    encoded = msgspec.json.encode([manifest.problems, manifest.notices])
    assert msgspec.json.decode(encoded, type=DIAGNOSTICS) == (manifest.problems, manifest.notices)
    if manifest.spec:
        normal = msgspec.json.encode(manifest.spec)
        assert msgspec.json.decode(normal, type=PipelineSpec) == manifest.spec
        assert read(normal).spec == manifest.spec
        manifest.spec.run_config()
        manifest.spec.schedule_list()


@given(st.binary(max_size=200))
def test_any_bytes_give_a_spec_or_problems(text: bytes) -> None:
    """Nothing crashes the parser."""
    holds_together(read(text))


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\\ud8', max_size=60))
def test_any_text_gives_a_spec_or_problems(text: str) -> None:
    """Nothing crashes the parser."""
    holds_together(read(text))


@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6))
def test_any_values_give_a_spec_or_problems(value: dict[str, Any]) -> None:
    """A spec, written as JSON, is a manifest of the same spec."""
    holds_together(read(json.dumps(value)))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("webhook_key", "k" * 1_001, "up to 1,000 characters"),
        ("description", "d" * 10_001, "up to 10,000 characters"),
        ("tags", ["t" * 10_001], "up to 10,000 characters"),
        ("default_env", {"A": "x" * 32_769}, "up to 32,768 characters"),
        ("default_env", {"A": "a\0b"}, "without NUL"),
        ("default_env", {"A" * 257: "x"}, "1 to 256 characters"),
    ],
)
def test_what_is_too_long_says_how_long_it_may_be(field: str, value: object, said: str) -> None:
    """A key beyond the first line of a request would be accepted, and no call with it ever."""
    manifest = read(json.dumps({field: value}))
    assert manifest.spec is None
    assert said in str(manifest.problems[0])
