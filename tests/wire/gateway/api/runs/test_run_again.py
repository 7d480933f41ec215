"""A run again with changes: what is named is replaced or left out, all else is kept, and no value is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.pipelines.format.concurrency import ConcurrencySpec
from fastflow_contracts.runs.run import RunInput, RunRecord
from tests.support.gateway import Client, claim, finish, stored_run
from tests.support.records import a_bundle, list_version, publish_pipeline

OPERATOR = "?allow_undeclared=true"
GIVEN: dict[str, Any] = {"env_vars": {"MODE": "wet", "CUSTOMER": "7"}, "parameters": {"day": "monday", "share": 0.5}}


async def ended(bus: Bus, client: Client, body: dict[str, Any], name: str = "demo", query: str = OPERATOR) -> RunRecord:
    started = await client.post(f"/api/pipelines/{name}/run{query}", json=body)
    assert started.status == 200, started.json
    run, _ = await stored_run(bus, started.json["id"])
    await finish(bus, await claim(bus, run), exit_code=1)
    return run


async def again(bus: Bus, client: Client, run: RunRecord, **body: Any) -> tuple[RunRecord, RunInput]:
    started = await client.post(f"/api/runs/{run.id}/retry{OPERATOR}", json=body)
    assert started.status == 200, started.json
    return await stored_run(bus, started.json["id"])


@pytest.mark.parametrize("code", ["same", "current"])
async def test_what_is_named_is_replaced_or_left_out_and_the_rest_is_kept(bus: Bus, client: Client, code: str) -> None:
    run = await ended(bus, client, GIVEN)
    changed, given = await again(
        bus, client, run, code=code, env_vars={"MODE": "dry", "MORE": ""}, parameters={"share": 1}, without=["CUSTOMER"]
    )
    assert given.overrides == {"MODE": "dry", "MORE": "", "day": "monday", "share": "1"}
    assert changed.order.env_names == ("MODE", "MORE")
    assert (changed.order.parameter_names, changed.order.json_parameters) == (("day", "share"), ("share",))
    assert changed.order.parent_run_id == run.id
    repeated, given_again = await again(bus, client, (await finished(bus, changed)))
    assert (repeated.order.env_names, given_again.overrides) == (changed.order.env_names, given.overrides)


async def finished(bus: Bus, run: RunRecord) -> RunRecord:
    await finish(bus, await claim(bus, run), exit_code=0)
    return run


async def test_a_value_as_answers_show_it_is_kept(bus: Bus, client: Client) -> None:
    """A client that sends back what it read changes nothing by it."""
    run = await ended(bus, client, GIVEN)
    shown = (await client.get(f"/api/runs/{run.id}")).json
    assert shown["env_vars"] == {"CUSTOMER": "***", "MODE": "***"}
    body = {"env_vars": shown["env_vars"] | {"MODE": "dry"}, "parameters": shown["parameters"]}
    _, given = await again(bus, client, run, **body)
    assert given.overrides == {"MODE": "dry", "CUSTOMER": "7", "day": "monday", "share": "0.5"}
    unknown = await client.post(f"/api/runs/{run.id}/retry", json={"env_vars": {"OTHER": "***"}})
    assert (unknown.status, "'OTHER'" in unknown.json["detail"]) == (422, True)


async def test_a_name_that_changes_its_kind_is_given_once(bus: Bus, client: Client) -> None:
    run = await ended(bus, client, GIVEN)
    changed, given = await again(bus, client, run, env_vars={"day": "tuesday"})
    assert (changed.order.env_names, changed.order.parameter_names) == (("CUSTOMER", "MODE", "day"), ("share",))
    assert given.overrides["day"] == "tuesday"


async def test_without_all_it_was_given_the_run_has_what_the_pipeline_sets(bus: Bus, client: Client) -> None:
    run = await ended(bus, client, {"env_vars": {"A": "1"}})
    changed, given = await again(bus, client, run, without=["A"])
    assert (given.overrides, changed.order.env_names, changed.order.by_operator) == ({}, (), True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"env_vars": {"LD_PRELOAD": "x"}}, "LD_PRELOAD changes how programs load"),
        ({"env_vars": {"API_KEY": "x"}}, "API_KEY is a secret of the pipeline"),
        ({"env_vars": {"A=B": "x"}}, "cannot be the name of a variable"),
        ({"env_vars": {"A": "x" * 16_385}}, "at most 16,384 are accepted"),
        ({"env_vars": {f"N{number}": "x" for number in range(49)}}, "env_vars would have 51 entries; at most 50"),
        ({"env_vars": {"A": 1}}, "Expected `str`, got `int` - at `$.env_vars[...]`"),
        ({"without": ["NOPE"]}, "was not given 'NOPE'; it was given CUSTOMER, MODE, day, share"),
        ({"code": "newest"}, "Invalid enum value 'newest' - at `$.code`"),
        ({"env": {}}, "unknown field `env`"),
    ],
)
@pytest.mark.parametrize("code", ["same", "current"])
async def test_a_change_that_may_not_be_is_refused_with_the_name(
    bus: Bus, client: Client, body: dict[str, Any], said: str, code: str
) -> None:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), encrypted_env={"API_KEY": "token"})
    run = await ended(bus, client, GIVEN)
    refused = await client.post(f"/api/runs/{run.id}/retry{OPERATOR}", json={"code": code} | body)
    assert (refused.status, said in refused.json["detail"]) == (422, True), refused.json


async def test_a_body_that_is_no_text_is_refused(bus: Bus, client: Client) -> None:
    run = await ended(bus, client, {})
    for body in (b"\xff\xfe{}", b"[]", b"{"):
        assert (await client.post(f"/api/runs/{run.id}/retry", data=body)).status == 422


async def test_a_change_from_outside_sets_only_what_is_declared(bus: Bus, client: Client) -> None:
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), accepts_env=("CUSTOMER*",))
    run = await ended(bus, client, {"env_vars": {"CUSTOMER": "7"}}, query="")
    refused = await client.post(f"/api/runs/{run.id}/retry", json={"env_vars": {"BROWSER2": "x"}})
    assert (refused.status, "BROWSER2 is not declared" in refused.json["detail"]) == (422, True)
    taken = await client.post(f"/api/runs/{run.id}/retry", json={"env_vars": {"CUSTOMER": "8"}})
    assert (await stored_run(bus, taken.json["id"]))[1].overrides == {"CUSTOMER": "8"}


@pytest.mark.parametrize("code", ["same", "current"])
async def test_an_operators_change_makes_no_variable_of_a_value_from_outside(
    bus: Bus, client: Client, code: str
) -> None:
    """What reached a notebook as a value only stays one, also when that run is run again in turn."""
    await publish_pipeline(bus, "report", a_bundle(main_py="1"), type="notebook")
    run = await ended(bus, client, {"parameters": {"path": "/x", "day": 1}}, name="report", query="")
    changed, given = await again(bus, client, run, code=code, parameters={"day": 2})
    assert given.not_variables == ("path",)
    _, once_more = await again(bus, client, await finished(bus, changed), code=code)
    assert once_more.not_variables == ("path",)
    _, taken = await again(bus, client, run, code=code, parameters={"path": "/y"})
    assert taken.not_variables == ("day",)


async def test_the_same_key_is_the_same_run(bus: Bus, client: Client) -> None:
    run = await ended(bus, client, GIVEN)
    body = json.dumps({"env_vars": {"MODE": "dry"}})
    ids = {
        (await client.post(f"/api/runs/{run.id}/retry{OPERATOR}", data=body, headers={"Idempotency-Key": "k"})).json[
            "id"
        ]
        for _ in range(2)
    }
    assert len(ids) == 1


async def test_a_changed_parameter_is_checked_and_wins_over_a_default(bus: Bus, client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "maximum": 9}, "color": {"enum": ["red", "green"], "default": "red"}},
        "required": ["n"],
    }
    await publish_pipeline(bus, "paint", a_bundle(main_py="1"), parameters=schema)
    run = await ended(bus, client, {"parameters": {"n": 3}}, "paint", query="")
    for code in ("same", "current"):
        _, given = await again(bus, client, run, code=code, parameters={"color": "green"})
        assert given.overrides == {"n": "3", "color": "green"}
        for body in ({"parameters": {"color": "blue"}}, {"parameters": {"n": 50}}, {"without": ["n"]}):
            refused = await client.post(f"/api/runs/{run.id}/retry{OPERATOR}", json={"code": code, **body})
            name = "color" if "blue" in str(body) else "n"
            assert (refused.status, f"/{name}: " in refused.json["detail"]) == (422, True), refused.json


async def test_a_start_again_has_todays_limit_and_the_key_of_what_it_is_given(bus: Bus, client: Client) -> None:
    """Also one from before the limit, and on an older version: no way leads around it."""
    older = a_bundle(main_py="0")
    await publish_pipeline(bus, "shop", older)
    await list_version(bus, "shop", older)
    former = await ended(bus, client, {"env_vars": {"CUSTOMER": "A"}}, "shop")
    limit = ConcurrencySpec(limit=2, key="env.CUSTOMER")
    await publish_pipeline(bus, "shop", a_bundle(main_py="1"), concurrency=limit)
    first = await ended(bus, client, {"env_vars": {"CUSTOMER": "A"}}, "shop")
    other = await ended(bus, client, {"env_vars": {"CUSTOMER": "B"}}, "shop")
    assert first.order.turn is not None
    assert first.order.turn != other.order.turn
    for run in (former, first):
        assert (await again(bus, client, run))[0].order.turn == first.order.turn
        assert (await again(bus, client, run, env_vars={"CUSTOMER": "B"}))[0].order.turn == other.order.turn
    body = {"version": older.sha256, "env_vars": {"CUSTOMER": "B"}}
    assert (await ended(bus, client, body, "shop")).order.turn == other.order.turn
    refused = await client.post(f"/api/runs/{former.id}/retry{OPERATOR}", json={"without": ["CUSTOMER"]})
    assert (refused.status, "env.CUSTOMER" in refused.json["detail"]) == (422, True)
