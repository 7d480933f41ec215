"""Kinds of value: what each accepts, and what its JSON Schema accepts.

Every case is put into a whole pipeline.json and goes through the parser and through a JSON Schema validator, so that
the two cannot drift apart. Where JSON Schema cannot say what the parser checks, the case says so.
"""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fastflow_contracts.pipelines.format.json_schema import pipeline_schema
from fastflow_contracts.pipelines.format.manifest import read_manifest
from fastflow_contracts.pipelines.format.retry import CellRetry
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.format.webhook import WebhookSpec

MIB = 1024**2
VALIDATOR = Draft202012Validator(pipeline_schema())
TOKEN = base64.urlsafe_b64encode(b"\x80" + bytes(72)).decode()
LAST_INSTANT = datetime(2025, 12, 31, 23, 59, 59, 999999, UTC)

ACCEPTED: list[tuple[str, Any, Any]] = [
    # field, JSON value, value in the spec
    ("mem_hard_limit", "512m", 512 * MIB),
    ("mem_hard_limit", "512Mi", 512 * MIB),
    ("mem_hard_limit", "512MB", 512 * MIB),
    ("mem_hard_limit", "1.5g", 1536 * MIB),
    ("mem_hard_limit", "1G", 1024 * MIB),
    ("mem_hard_limit", "0.5tb", 512 * 1024 * MIB),
    ("mem_hard_limit", "6144k", 6 * MIB),
    ("mem_hard_limit", "6291456b", 6 * MIB),
    ("mem_hard_limit", "6291456", 6 * MIB),
    ("mem_hard_limit", 6291456, 6 * MIB),
    ("mem_hard_limit", 1e9, 10**9),
    ("mem_soft_limit", "6.0000001m", 6 * MIB),
    ("cpu_hard_limit", 0.5, 0.5),
    ("cpu_soft_limit", 16, 16.0),
    ("timeout", 0, 0.0),
    ("timeout", 0.5, 0.5),
    ("timeout", 3600.0, 3600.0),
    ("timeout", None, None),
    ("enabled", False, False),
    ("enabled", None, True),
    ("retry_attempts", 3.0, 3),
    ("python_version", "3.12", "3.12"),
    ("python_version", "3.12.4", "3.12.4"),
    ("default_env", {"A": "x", "B": 1.5, "C": True, "D": 10**20, "E": ""}, None),
    ("default_env", None, {}),
    ("encrypted_env", {"A": TOKEN, "B": "gAAAAABl...", "C": 1}, {"A": TOKEN, "B": "", "C": ""}),
    ("schedule_cron", "0 9 * * MON-fri", "0 9 * * MON-fri"),
    ("schedule_cron", "@daily", "@daily"),
    ("schedule_interval_seconds", 3600, 3600),
    ("schedule_start", "2025-12-31", datetime(2025, 12, 31, tzinfo=UTC)),
    ("schedule_end", "2025-12-31", LAST_INSTANT),
    ("schedule_end", "20251231", LAST_INSTANT),
    ("schedule_end", "2025-12-31T23:59:59", datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ("schedule_end", "2025-12-31T00:00+01:00", datetime(2025, 12, 30, 23, tzinfo=UTC)),
    ("schedule_end", "2025-12-31 12:00:00.5Z", datetime(2025, 12, 31, 12, 0, 0, 500000, UTC)),
    ("run_once_at", "2026-01-15T12:00:00", datetime(2026, 1, 15, 12, tzinfo=UTC)),
    ("run_once_at", "2026-01-15", datetime(2026, 1, 15, tzinfo=UTC)),
    ("timezone", "Europe/Berlin", "Europe/Berlin"),
    ("timezone", "UTC", "UTC"),
    ("catchup", "all", "all"),
    ("webhook_key", "", None),
    ("webhook_key", "s3cret", "s3cret"),
    ("webhook", {"verify": "github", "secret": TOKEN}, WebhookSpec(verify="github", secret=TOKEN)),
    (
        "webhook",
        {"verify": "hmac", "secret": TOKEN, "header": "X-Shop-Hmac"},
        WebhookSpec(verify="hmac", secret=TOKEN, header="X-Shop-Hmac"),
    ),
    ("restart_interval", "0 3 * * *", "0 3 * * *"),
    ("restart_interval", "3600", 3600),
    ("restart_interval", 3600, 3600),
    ("restart_cooldown", 0, 0.0),
    ("max_instances", 1, 1),
    ("tags", ["a", "täglich"], ("a", "täglich")),
    ("type", "notebook", "notebook"),
    ("unheard_of", {"any": ["thing"]}, None),
    ("cells", [None, {"retries": 1}], (CellRetry(), CellRetry(retries=1))),
]

REFUSED: list[tuple[str, Any]] = [
    ("mem_hard_limit", ""),
    ("mem_hard_limit", "1.5"),
    ("mem_hard_limit", "1,5g"),
    ("mem_hard_limit", "-1g"),
    ("mem_hard_limit", "1 g"),
    ("mem_hard_limit", "1gg"),
    ("mem_hard_limit", "g"),
    ("mem_hard_limit", "٣g"),
    ("mem_hard_limit", 6 * MIB - 1),
    ("mem_hard_limit", 10**30),
    ("mem_hard_limit", 6291456.5),
    ("mem_hard_limit", True),
    ("cpu_hard_limit", 0),
    ("cpu_hard_limit", -1),
    ("cpu_hard_limit", "1.0"),
    ("cpu_hard_limit", True),
    ("cpu_hard_limit", 1e300),
    ("timeout", -1),
    ("timeout", "60"),
    ("timeout", False),
    ("timeout", [60]),
    ("enabled", "false"),
    ("enabled", 0),
    ("retry_attempts", -1),
    ("retry_attempts", 1.5),
    ("retry_attempts", 10**300),
    ("retry_strategy", {}),
    ("retry_strategy", "fixed_delay"),
    ("retry_strategy", {"type": "linear"}),
    ("retry_strategy", {"type": ["fixed_delay"]}),
    ("retry_strategy", {"type": "fixed_delay", "delay": -1}),
    ("retry_strategy", {"type": "custom_schedule"}),
    ("retry_strategy", {"type": "custom_schedule", "delays": []}),
    ("retry_strategy", {"type": "custom_schedule", "delays": [60, "x"]}),
    ("retry_strategy", {"type": "exponential_backoff", "multiplier": 0}),
    ("python_version", 3.1),
    ("python_version", "3"),
    ("python_version", "2.7"),
    ("python_version", ">=3.11"),
    ("default_env", {"A": None}),
    ("default_env", {"A": {"B": 1}}),
    ("default_env", {"A=B": "x"}),
    ("default_env", {"": "x"}),
    ("default_env", ["A"]),
    ("encrypted_env", "token"),
    ("schedule_cron", "0 9 * *"),
    ("schedule_cron", "0 0 9 * * *"),
    ("schedule_cron", 5),
    ("schedule_interval_seconds", 0),
    ("schedule_interval_seconds", 0.5),
    ("schedule_interval_seconds", "3600"),
    ("schedule_start", "01.02.2025"),
    ("schedule_start", "2025-1-1"),
    ("schedule_start", "2025-01-01x12:00"),
    ("schedule_start", 20250101),
    ("schedule_start", "tomorrow"),
    ("run_once_at", ""),
    ("timezone", "Europe/Berlin; drop"),
    ("timezone", "../etc/passwd"),
    ("timezone", 1),
    ("catchup", "some"),
    ("catchup", True),
    ("webhook_key", 12345),
    ("webhook", "hunter2"),
    ("webhook", {"verify": "github"}),
    ("webhook", {"secret": TOKEN}),
    ("webhook", {"verify": "bitbucket", "secret": TOKEN}),
    ("webhook", {"verify": "github", "secret": ""}),
    ("webhook", {"verify": "hmac", "secret": TOKEN, "header": "X Signature"}),
    ("restart_interval", 0),
    ("restart_interval", "often"),
    ("restart_cooldown", -1),
    ("max_instances", 0),
    ("tags", "daily"),
    ("tags", [None]),
    ("tags", ["daily", 1]),
    ("type", "Notebook"),
    ("description", 1),
    ("cells", {"retries": 1}),
    ("cells", [{"retries": "1"}]),
    ("schedules", {"id": "a"}),
    ("schedules", [None]),
    ("schedules", ["a"]),
    ("schedules", [{}]),
    ("schedules", [{"id": None}]),
    ("schedules", [{"id": ""}]),
    ("schedules", [{"id": "a", "timeout": -1}]),
    ("downstream_triggers", [{"on_success": True}]),
    ("downstream_triggers", [{"pipeline": "no such/name"}]),
    ("downstream_triggers", [{"pipeline": "b", "on_failure": "yes"}]),
]

REFUSED_BY_THE_PARSER_ALONE: list[tuple[str, Any]] = [
    ("mem_hard_limit", "5m"),
    ("mem_hard_limit", "9999999t"),
    ("schedule_cron", "60 9 * * *"),
    ("schedule_cron", "0 0 30 2 *"),
    ("schedule_start", "2025-02-30"),
    ("schedule_start", "0001-01-01T00:00:00+14:00"),
    ("timezone", "Europe/Bonn"),
    ("timezone", "localtime"),
    ("restart_interval", "0"),
    ("default_env", {"A": "\0"}),
    ("webhook", {"verify": "github", "secret": "hunter2"}),
    ("schedules", [{"id": "a"}, {"id": "a"}]),
]


def parse(field: str, value: object) -> Any:
    return read_manifest(json.dumps({field: value}).encode(), file_name="pipeline.json")


@pytest.mark.parametrize(("field", "value", "expected"), ACCEPTED)
def test_a_valid_value_is_accepted_by_parser_and_schema(field: str, value: object, expected: object) -> None:
    """The spec holds it in its own units."""
    manifest = parse(field, value)
    assert not manifest.problems
    assert manifest.spec is not None
    if expected is not None:
        assert getattr(manifest.spec, field) == expected
    VALIDATOR.validate({field: value})


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_an_invalid_value_is_refused_by_parser_and_schema(field: str, value: object) -> None:
    """The parser names the field."""
    manifest = parse(field, value)
    assert manifest.spec is None
    assert all(problem.field.startswith(field) and problem.line == 1 for problem in manifest.problems)
    assert not VALIDATOR.is_valid({field: value})


@pytest.mark.parametrize(("field", "value"), REFUSED_BY_THE_PARSER_ALONE)
def test_some_values_are_refused_by_the_parser_alone(field: str, value: object) -> None:
    """JSON Schema cannot express these rules."""
    assert parse(field, value).spec is None
    VALIDATOR.validate({field: value})


@given(st.lists(st.sampled_from([case for case in ACCEPTED if case[0] != "schedule_start"]), max_size=12))
def test_valid_values_together_are_valid(cases: list[tuple[str, Any, Any]]) -> None:
    """For parser and schema. The spec's own JSON is a manifest of the same spec."""
    document = {field: value for field, value, _ in cases}
    spec = read_manifest(json.dumps(document).encode(), file_name="pipeline.json").spec
    assert spec is not None
    VALIDATOR.validate(document)
    normal = msgspec.json.encode(spec)
    assert msgspec.json.decode(normal, type=PipelineSpec) == spec
    assert read_manifest(normal, file_name="pipeline.json").spec == spec


def test_the_published_schema_is_valid() -> None:
    """It says something about every field."""
    schema = pipeline_schema()
    Draft202012Validator.check_schema(schema)
    properties: Any = schema["properties"]
    assert all(field["description"] for field in properties.values())


def test_env_values_keep_their_json_text() -> None:
    """Numbers and booleans reach the environment exactly as written."""
    text = b'{"default_env": {"A": 1.50, "B": true, "C": 1e3, "D": -0, "E": 99999999999999999999, "F": 1e999}}'
    spec = read_manifest(text, file_name="pipeline.json").spec
    assert spec is not None
    assert spec.default_env == {
        "A": "1.50",
        "B": "true",
        "C": "1e3",
        "D": "-0",
        "E": "99999999999999999999",
        "F": "1e999",
    }


@pytest.mark.parametrize("value", ["", "hunter2", "gAAAAABl...", TOKEN[:-4], "A" * 100, TOKEN[:-1], "gÄ" + TOKEN[2:]])
def test_a_secret_that_is_not_a_token_gets_a_notice(value: str) -> None:
    """Without its value; the variable stays unset."""
    manifest = parse("encrypted_env", {"KEY": value})
    assert manifest.spec is not None
    assert manifest.spec.encrypted_env == {"KEY": ""}
    (notice,) = manifest.notices
    assert (notice.field, notice.line) == ("encrypted_env.KEY", 1)
    assert not value or value not in str(notice)
