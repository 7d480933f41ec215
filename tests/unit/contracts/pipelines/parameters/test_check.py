"""Values are checked by a schema in bounded time, and the words say where and what."""

from __future__ import annotations

import socket
import sys
from typing import Any

import pytest

from fastflow_contracts.pipelines.parameters.check import TooComplex, wrong_values

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {
            "type": "object",
            "properties": {"id": {"type": "integer"}, "a/b~c": {"type": "string"}},
            "required": ["id"],
        },
        "day": {"type": "string", "format": "date"},
        "mode": {"enum": ["quick", "full", 3]},
        "items": {"type": "array", "items": {"type": "number", "minimum": 0}, "maxItems": 3, "uniqueItems": True},
        "code": {"type": "string", "pattern": "^[A-Z]{3}$", "maxLength": 3},
        "half": {"multipleOf": 0.01},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
    "required": ["day"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"day": "2026-01-31"}, []),
        ({"day": "2026-02-30"}, ["/day: must be a date such as 2026-01-31"]),
        ({}, ["/day: is missing; it must be a date such as 2026-01-31"]),
        ({"day": 1}, ["/day: must be a text"]),
        (
            {"day": "2026-01-31", "customer": {"id": "7"}, "mode": "slow"},
            ["/customer/id: must be a whole number", '/mode: must be one of "quick", "full", 3'],
        ),
        ({"day": "2026-01-31", "customer": {}}, ["/customer/id: is missing; it must be a whole number"]),
        ({"day": "2026-01-31", "customer": {"id": 1, "a/b~c": 2}}, ["/customer/a~1b~0c: must be a text"]),
        (
            {"day": "2026-01-31", "dya": 1},
            ["/dya: is unknown; known are code, customer, day, half, items, maybe, mode"],
        ),
        ({"day": "2026-01-31", "items": [1, -1, "x"]}, ["/items/1: must be at least 0", "/items/2: must be a number"]),
        ({"day": "2026-01-31", "items": [1, 1.0]}, ["/items: must be a list in which nothing is there twice"]),
        ({"day": "2026-01-31", "items": [1, True]}, ["/items/1: must be a number"]),
        ({"day": "2026-01-31", "code": "ab"}, ['/code: must be a text that the pattern "^[A-Z]{3}$" matches']),
        ({"day": "2026-01-31", "half": 19.99, "maybe": None}, []),
        ({"day": "2026-01-31", "maybe": "x"}, ["/maybe: must be one of: a whole number, null"]),
    ],
)
def test_each_wrong_value_is_named_with_what_is_wanted(value: Any, said: list[str]) -> None:
    """By its JSON pointer."""
    assert [str(each) for each in wrong_values(ORDER, value)] == said


def test_the_words_never_show_the_value() -> None:
    """It may be a secret, or very long."""
    secret = dict.fromkeys(ORDER["properties"], "s3cret-" + "x" * 9000)
    assert "s3cret" not in " ".join(map(str, wrong_values(ORDER, secret)))


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", "2026-01-31", "31.1.2026"),
        ("date-time", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00"),
        ("date-time", "2026-01-31t12:00:00.5+01:00", "2026-01-31T25:00:00Z"),
        ("time", "12:00:00Z", "12:00"),
        ("uuid", "0191e6a0-0000-7000-8000-000000000000", "{0191e6a0}"),
        ("email", "a@example.com", "a b@example.com"),
        ("uri", "https://example.com/", "/only/a/path"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("ipv6", "::1", "1"),
    ],
)
def test_formats_are_checked(name: str, good: str, bad: str) -> None:
    """Of texts only; a format that is not known describes."""
    schema = {"format": name}
    assert wrong_values(schema, good) == wrong_values(schema, 1) == wrong_values({"format": "iban"}, bad) == ()
    assert len(wrong_values(schema, bad)) == 1


def doubling(levels: int) -> dict[str, Any]:
    steps = {f"a{level}": {"anyOf": [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**steps, f"a{levels}": {"type": "integer"}}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$ref": "#"}, {}),
        ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, {}),
        (doubling(60), {}),
        ({"pattern": "(a|b)*a(a|b){1000}x"}, "ab" * 8_000),
        ({"pattern": "(a?){1000}x$"}, "a" * 16_000),
        ({"patternProperties": {"(a?){1000}x$": {}}, "additionalProperties": False}, {"a" * 16_000: 1}),
        ({"allOf": [{"pattern": rf"^\pL{{1,10}}{number}$"} for number in range(300)]}, "a"),
        (
            {"patternProperties": {f"^a{number}$": {} for number in range(400)}},
            {f"b{number}": 1 for number in range(400)},
        ),
        ({"items": {"type": "integer"}}, list(range(8_000))),
        ({"contains": {"const": -1}}, list(range(8_000))),
        ({"items": {"enum": list(range(5_000))}}, list(range(5_000))),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"}, nested(500)),
        ({"$ref": "https://example.com/schema.json"}, {}),
        ({"$ref": "#/nowhere"}, {}),
        ({"pattern": "(?=a)"}, "a"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_hostile_schema_or_value_is_given_up(schema: Any, value: Any) -> None:
    """The bound is on work, so this does not depend on the machine."""
    with pytest.raises(TooComplex):
        wrong_values(schema, value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": "^[a-z]+$"}, "a" * 1_000_000),
        ({"pattern": "^[A-Za-z0-9+/]*={0,2}$"}, "abcd" * 50_000),
        ({"pattern": r"^[^@\s]+@[^@\s]+\.[^@\s]+$"}, "a" * 16_000 + "@example.com"),
        ({"pattern": "^.{1,1000}$"}, "x" * 1_000),
        ({"items": {"pattern": "^.{1,255}$"}}, ["x" * 100] * 20),
        ({"items": {"pattern": "^[A-Z]{3}$"}}, ["ABC"] * 2_000),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_long_text_is_checked_by_an_ordinary_pattern(schema: Any, value: Any) -> None:
    """Parameters have up to 16,384 characters each."""
    assert wrong_values(schema, value) == ()


def test_the_budget_of_one_check_is_not_that_of_the_next() -> None:
    with pytest.raises(TooComplex):
        wrong_values({"$ref": "#"}, {})
    assert wrong_values(ORDER, {"day": "2026-01-31"}) == ()


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even a name is looked up."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("it opens a connection")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for reference in ("http://127.0.0.1:1/x", "https://json-schema.org/draft-07/schema", "file:///etc/passwd"):
        with pytest.raises(TooComplex):
            wrong_values({"$ref": reference}, {})


def test_a_schema_of_an_older_draft_inside_does_not_leave_the_bounds() -> None:
    """``jsonschema`` would evaluate it with its own keywords, without a budget."""
    from fastflow_contracts.pipelines.parameters.schema import faults

    inside = {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"}
    assert [fault.path for fault in faults({"type": "object", "properties": {"x": inside}})] == [
        ("properties", "x", "$schema")
    ]


def test_the_library_is_imported_when_a_schema_is_used() -> None:
    """A pipeline without one costs no memory in any service."""
    import subprocess

    code = "import fastflow_contracts.pipelines.format.manifest as m, sys; m.read_manifest(b'{}', file_name='p'); "
    code += "print('jsonschema' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
