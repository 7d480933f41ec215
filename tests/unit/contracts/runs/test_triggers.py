"""What a message asks for: its forms, its identity, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastflow_contracts.pipelines.format.value_types import ENV_NAME_CHARACTERS_MAX, ID_CHARACTERS_MAX
from fastflow_contracts.runs.messages import TRIGGER, TRIGGER_TYPE, Trigger
from fastflow_contracts.runs.triggers import BadTrigger, read_run_body, read_trigger, read_webhook

LONG = "x" * 1_000_000
REASON_CHARACTERS_MAX = 300
OWN = {"Content-Type": TRIGGER_TYPE}


@pytest.mark.parametrize("field", ["env_vars", "parameters"])
def test_names_of_variables_have_the_bound_of_the_metadata(field: str) -> None:
    """Triggers and metadata have the same bound."""
    longest = "N" * ENV_NAME_CHARACTERS_MAX
    assert read_run_body({field: {longest: "1"}})
    body = json.dumps({field: {f"{longest}N": "1"}}).encode()
    for read in (
        lambda: read_trigger(body, {}),
        lambda: read_trigger(body, OWN),
        lambda: read_webhook(body, {}),
    ):
        with pytest.raises(BadTrigger, match=rf"^{field}: the name .* has 257 characters; at most 256 are accepted\.$"):
            read()


def test_parameters_may_be_any_json_values_and_are_text_for_scripts() -> None:
    """Which ones were no strings is kept, so that a notebook gets the values. Variables are strings, as before."""
    given = {"text": "0.5", "half": 0.5, "yes": True, "none": None, "list": [1, "é"], "big": 10**30}
    body = json.dumps({"parameters": given}).encode()
    texts = {"text": "0.5", "half": "0.5", "yes": "true", "none": "null", "list": '[1,"é"]', "big": str(10**30)}
    for trigger in (read_trigger(body, {}), read_webhook(body, {})):
        assert trigger.parameters == texts
        assert trigger.json_parameters == ("big", "half", "list", "none", "yes")
        assert read_trigger(TRIGGER.encode(trigger), OWN, by_service=True) == trigger
    with pytest.raises(BadTrigger, match=r"^env_vars\.half must be a string"):
        read_run_body({"env_vars": {"half": 0.5}})
    with pytest.raises(BadTrigger, match="'n' is not valid JSON: use finite numbers"):
        read_run_body({"parameters": {"n": float("nan")}})
    with pytest.raises(BadTrigger, match="has 16,385 characters"):
        read_run_body({"parameters": {"n": [int("1" * 4000), "x" * 12_380]}})


@pytest.mark.parametrize("parameters", [{}, {"n": "{"}, {"n": "text"}])
def test_a_message_of_ours_cannot_name_text_as_json_that_is_none(parameters: dict[str, str]) -> None:
    """A runner must be able to read it."""
    with pytest.raises(BadTrigger, match=r"^json_parameters: 'n' is no parameter with JSON text"):
        read_trigger(TRIGGER.encode(Trigger(parameters=parameters, json_parameters=("n",))), OWN)


def test_ids_of_run_configurations_have_the_bound_of_the_metadata() -> None:
    """A longer id cannot name an existing configuration."""
    longest = "c" * ID_CHARACTERS_MAX
    assert read_run_body({"run_config_id": longest}).run_config_id == longest
    for payload, headers in (
        (json.dumps({"run_config_id": f"{longest}c"}).encode(), {}),
        (TRIGGER.encode(Trigger(run_config_id=f"{longest}c")), OWN),
    ):
        with pytest.raises(BadTrigger, match=r"^run_config_id must be .* at most 128 characters"):
            read_trigger(payload, headers)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"env_vars": {LONG: "1"}}, {}),
        ({"env_vars": {f"={LONG}": "1"}}, {}),
        ({"parameters": {LONG: 1}}, {}),
        ({"run_config_id": LONG}, {}),
        ({"run_config_id": LONG}, OWN),
        ({"triggered_by": LONG}, OWN),
        ({"retry_of": LONG}, OWN),
    ],
)
def test_a_reason_is_short_even_if_it_names_something_long(body: dict[str, Any], headers: dict[str, str]) -> None:
    """It is stored with the pipeline and shown on pages."""
    with pytest.raises(BadTrigger) as refusal:
        read_trigger(json.dumps(body).encode(), headers)
    assert len(str(refusal.value)) <= REASON_CHARACTERS_MAX


def test_cloud_events_are_the_same_only_if_source_and_id_are_equal() -> None:
    """The boundary between source and id counts."""
    assert structured("s/a", "b").key == binary("s/a", "b").key
    assert len({structured(*event).key for event in [("s/a", "b"), ("s", "a/b"), ("s", "a\nb"), ("s\na", "b")]}) == 4


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_the_key_of_a_cloud_event_is_unique(source: str, name: str, other: str, another: str) -> None:
    """It differs from those of other events and from message ids, which are one line."""
    key = structured(source, name).key
    assert (key == structured(other, another).key) == ((source, name) == (other, another))
    assert key is not None
    assert "\n" in key


def test_a_long_unknown_field_is_named_in_part() -> None:
    """A response does not repeat the whole request."""
    with pytest.raises(BadTrigger, match=r"^unknown field 'x{64}'…; a run body has"):
        read_run_body({LONG: 1})


def structured(source: str, name: str) -> Trigger:
    event = json.dumps({"specversion": "1.0", "source": source, "id": name}).encode()
    return read_trigger(event, {"Content-Type": "application/cloudevents+json"})


def binary(source: str, name: str) -> Trigger:
    return read_trigger(b"", {"ce-specversion": "1.0", "ce-source": source, "ce-id": name})
