"""The parameters of a run: what its start gives, the values of its configuration, the defaults of the schema."""

from __future__ import annotations

from typing import Any

import pytest

from fastflow_contracts.pipelines.format.run_config import RunConfig
from fastflow_contracts.pipelines.parameters.settle import BadParameters, Settled, settle

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "rows": {"type": "integer", "default": 100},
        "mode": {"enum": ["quick", "full"], "default": "quick"},
        "dry": {"type": "boolean"},
        "db": {
            "type": "object",
            "properties": {"host": {"type": "string", "default": "here"}, "port": {"type": "integer", "default": 5432}},
        },
        "level": {"enum": [1, 2]},
        "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "text": {"type": ["string", "integer"]},
        "hosts": {"type": "array", "items": {"$ref": "#/$defs/host"}},
    },
    "$defs": {"host": {"type": "object", "properties": {"port": {"default": 80}}}},
}
DB = '{"host":"here","port":5432}'


def settled(texts: dict[str, str] | None = None, *json: str, schema: Any = SCHEMA, **values: Any) -> Settled:
    return settle(RunConfig(parameters=schema, parameter_values=values), texts or {}, json)


def test_defaults_are_filled_in_at_any_depth() -> None:
    """An object that is left out is made of the defaults inside it."""
    assert settled().texts == {"rows": "100", "mode": "quick", "db": DB}
    assert settled({"db": '{"port":1}'}, "db").texts["db"] == '{"port":1,"host":"here"}'
    assert settled({"hosts": '[{},{"port":1}]'}, "hosts").texts["hosts"] == '[{"port":80},{"port":1}]'


def test_an_object_that_needs_more_than_its_defaults_is_not_made() -> None:
    member = {"type": "object", "properties": {"a": {"default": 1}, "b": {}}, "required": ["b"]}
    schema = {"type": "object", "properties": {"x": member}}
    assert settled(schema=schema).texts == {}
    with pytest.raises(BadParameters, match="/x: is missing; it must be an object"):
        settled(schema={**schema, "required": ["x"]})


def test_a_required_object_of_nothing_but_defaults_need_not_be_given() -> None:
    """A form that leaves out what is at its default starts the run."""
    assert settled(schema={**SCHEMA, "required": ["db"]}).texts["db"] == DB


def test_defaults_come_through_references_and_all_of() -> None:
    part = {"$ref": "#/$defs/a"}
    definitions = {"a": {"type": "integer", "default": 3}, "b": {"properties": {"y": {"default": 4}}}}
    schema = {"type": "object", "properties": {"x": part}, "allOf": [{"$ref": "#/$defs/b"}], "$defs": definitions}
    assert settled(schema=schema).texts == {"y": "4", "x": "3"}


def test_a_schema_that_refers_to_itself_has_an_end() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "n": {"default": 1}}}
    schema = {"type": "object", "properties": {"tree": {"$ref": "#/$defs/tree"}}, "$defs": {"tree": tree}}
    assert '"n":1' in settled(schema=schema).texts["tree"]


@pytest.mark.parametrize(
    ("name", "text", "becomes"),
    [
        ("rows", "5", "5"),
        ("rows", "5.0", "5.0"),
        ("dry", "True", "true"),
        ("dry", "false", "false"),
        ("level", "2", "2"),
        ("maybe", "null", "null"),
        ("maybe", "0.5", "0.5"),
        ("db", '{"port": 1}', '{"port":1,"host":"here"}'),
    ],
)
def test_a_text_is_read_as_json_where_the_schema_wants_no_text(name: str, text: str, becomes: str) -> None:
    found = settled({name: text})
    assert (found.texts[name], name in found.json) == (becomes, True)


def test_a_text_stays_one_where_the_schema_takes_texts() -> None:
    found = settled({"text": "5", "mode": "full"})
    assert (found.texts["text"], found.texts["mode"]) == ("5", "full")
    assert not {"text", "mode"} & set(found.json)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rows": "many", "mode": "slow"}, '/mode: must be one of "quick", "full"; /rows: must be a whole number'),
        ({"rows": ""}, "/rows: must be a whole number"),
        ({"dry": "1"}, "/dry: must be true or false"),
        ({"maybe": "NaN", "rows": "1e999"}, "/maybe: must be one of: a number, null; /rows: must be a whole number"),
        ({"level": "3"}, "/level: must be one of 1, 2"),
        ({"db": "[" * 15_000}, "/db: must be an object"),
    ],
)
def test_all_that_is_wrong_is_said_at_once(given: dict[str, str], said: str) -> None:
    with pytest.raises(BadParameters) as caught:
        settled(given)
    assert str(caught.value) == f"parameters: {said}."


def test_values_of_the_schedule_count_and_a_start_wins_over_them() -> None:
    """Both win over defaults."""
    assert settled(rows=5).texts["rows"] == "5"
    assert settled({"rows": "6"}, rows=5).texts["rows"] == "6"
    assert settle(RunConfig(parameter_values={"a": 1, "b": "x"}), {"b": "y"}, ()) == Settled(
        {"a": "1", "b": "y"}, ("a",), ("a",)
    )


def test_a_run_knows_which_parameters_its_start_did_not_give() -> None:
    """So that a start again takes today's defaults."""
    assert settled({"rows": "5"}, mode="full").own == ("db", "mode")


def test_without_a_schema_parameters_are_as_they_came() -> None:
    assert settle(RunConfig(), {"a": "1", "b": "{}"}, ("b",)) == Settled({"a": "1", "b": "{}"}, ("b",), ())


def test_values_that_grow_too_long_by_their_defaults_are_refused() -> None:
    schema = {
        "type": "object",
        "properties": {"xs": {"type": "array", "items": {"properties": {"a": {"default": "y" * 1000}}}}},
    }
    with pytest.raises(BadParameters, match="characters with its defaults"):
        settled({"xs": "[" + ",".join(["{}"] * 20) + "]"}, "xs", schema=schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "strin"},
        {"required": 5},
        {"properties": 3, "allOf": 7},
        {"properties": {"n": {"type": 5}}},
        {"properties": {"n": {"$ref": "#/no/where"}}},
        {"properties": {"n": {"$ref": "https://example.com/"}}},
        {"properties": {"n": {"multipleOf": 0}}},
    ],
    ids=str,
)
def test_a_stored_schema_that_no_sync_has_checked_refuses_and_breaks_nothing(schema: Any) -> None:
    """Another version of the syncer may have stored it."""
    with pytest.raises(BadParameters):
        settled({"n": "1"}, "n", schema=schema)
