"""A start is admitted with the parameters that the pipeline's schema makes of it."""

from __future__ import annotations

from typing import Any

from fastflow_contracts.clock import now
from fastflow_contracts.ids import run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.pipelines.format.spec import PipelineSpec, ScheduleEntry
from fastflow_contracts.pipelines.records import PipelineRecord, Version
from fastflow_contracts.runs.messages import Skipped, Trigger
from fastflow_contracts.runs.run import RunInput, RunRecord
from fastflow_contracts.starting.admission import Admitted, Cause, Defaults, admit, again, with_input_of
from fastflow_contracts.starting.followups import _restart
from fastflow_scheduler.starting.edits import edited

NAME = PipelineName("report")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"rows": {"type": "integer", "default": 100}, "day": {"type": "string"}},
    "required": ["day"],
}


def record(**spec: Any) -> PipelineRecord:
    at = now()
    live = Version(bundle="0" * 64, spec=PipelineSpec(**{"parameters": SCHEMA, **spec}), live_since=at)
    return PipelineRecord(name=NAME, live=live, seen_at=at)


def admitted(of: PipelineRecord, trigger: Trigger, cause: Cause | None = None) -> Admitted | Skipped:
    run_id = run_id_for_key(NAME, "k")
    return admit(NAME, of, trigger, run_id=run_id, cause=cause or Cause(), defaults=Defaults(), now=now())


def run_of(of: PipelineRecord, trigger: Trigger) -> tuple[RunRecord, Any]:
    found = admitted(of, trigger)
    assert isinstance(found, Admitted), found
    return found.run, found.given


def test_a_run_has_the_parameters_of_its_start_and_the_defaults() -> None:
    """A start from outside may set what the schema names."""
    run, given = run_of(record(), Trigger(parameters={"day": "monday"}))
    assert given.overrides == {"day": "monday", "rows": "100"}
    assert (run.order.parameter_names, run.order.json_parameters) == (("day", "rows"), ("rows",))
    assert (run.order.own_parameters, run.given_parameters, given.not_variables) == (("rows",), ("day",), ())


def test_what_the_schema_excludes_is_named_beside_every_other_fault() -> None:
    """Declaring it elsewhere would not help, so nothing advises that; what the schema leaves open is another matter."""
    strict = record(parameters=SCHEMA | {"additionalProperties": False})
    for kind in ("bus", "webhook", "api"):
        found = admitted(strict, Trigger(triggered_by=kind, parameters={"rows": "x", "dya": "monday"}))
        assert isinstance(found, Skipped)
        assert "/day: is missing" in found.reason
        assert "/dya: is unknown; known are day, rows" in found.reason
        assert "/rows: must be a whole number" in found.reason
        assert "accepts_env" not in found.reason
    found = admitted(record(), Trigger(triggered_by="bus", parameters={"day": "monday", "dya": "x"}))
    assert isinstance(found, Skipped)
    assert "accepts_env" in found.reason


def test_a_notebook_takes_no_text_that_its_cell_cannot_take() -> None:
    """The run could only fail; a number of another type reaches the cell."""
    shown = {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}}
    live = Version(bundle="0" * 64, spec=PipelineSpec(type="notebook"), live_since=now(), inferred_parameters=shown)
    notebook = PipelineRecord(name=NAME, live=live, seen_at=now())
    for kind in ("bus", "api"):
        found = admitted(notebook, Trigger(triggered_by=kind, parameters={"n": "hello"}))
        assert isinstance(found, Skipped)
        assert found.status == 422
        assert found.reason.startswith("parameters: /n: must be a number")
    for text, names in (("5", ()), ("0.5", ("n",)), ("[1]", ("n",))):
        assert isinstance(admitted(notebook, Trigger(parameters={"n": text}, json_parameters=names)), Admitted)


def test_every_kind_of_start_is_checked() -> None:
    """Bus, webhook, chain and schedule alike; the reason names the field."""
    for kind in ("bus", "webhook", "api", "manual", "downstream", "schedule", "daemon_restart"):
        found = admitted(record(), Trigger(triggered_by=kind, parameters={"rows": "x"}))
        assert isinstance(found, Skipped)
        assert (found.status, found.reason) == (
            422,
            "parameters: /day: is missing; it must be a text; /rows: must be a whole number.",
        )


def test_the_entry_of_a_schedule_gives_parameters_that_a_start_wins_over() -> None:
    entry = ScheduleEntry(id="nightly", parameters={"day": "today", "rows": 7})
    run, given = run_of(record(schedules=(entry,)), Trigger(run_config_id="nightly", parameters={"rows": "8"}))
    assert given.overrides == {"day": "today", "rows": "8"}
    assert run.given_parameters == ("rows",)


def test_a_start_again_on_todays_code_takes_todays_defaults() -> None:
    """A restart and a retry give what the first start gave, and no defaults of then."""
    run, given = run_of(record(), Trigger(parameters={"day": "monday"}))
    for trigger in (with_input_of(run, given, Trigger()), _restart(run, given, wait_s=0).trigger):
        assert (trigger.parameters, trigger.json_parameters) == ({"day": "monday"}, ())


def test_a_retry_of_the_same_code_keeps_all_even_when_the_schema_is_gone() -> None:
    run, given = run_of(record(), Trigger(parameters={"day": "monday"}))
    today = record(parameters=None, accepts_env=("day",))
    found = again(run, given, today, Trigger(), run_id=run_id_for_key(NAME, "2"), policy=Defaults().policy, now=now())
    assert isinstance(found, Admitted)
    assert found.given == given


def changed(run: RunRecord, given: RunInput, trigger: Trigger, own: Version | None = None) -> Admitted | Skipped:
    """A retry of the same code with the changes of *trigger*, while today's pipeline has no schema."""
    run, given = edited(run, given, trigger)
    today = record(parameters=None, accepts_env=("day", "rows"))
    policy, run_id = Defaults().policy, run_id_for_key(NAME, "2")
    return again(run, given, today, trigger, run_id=run_id, policy=policy, now=now(), own=own)


def test_a_changed_retry_is_checked_by_the_schema_of_its_version() -> None:
    """As its start was, even if today's has none; what is left out has its default again."""
    own = record().live
    run, given = run_of(record(), Trigger(parameters={"day": "monday", "rows": "7"}))
    found = changed(run, given, Trigger(parameters={"rows": "8"}), own)
    assert isinstance(found, Admitted)
    assert (found.given and found.given.overrides, found.run.order.own_parameters) == (
        {"day": "monday", "rows": "8"},
        (),
    )
    found = changed(run, given, Trigger(without=("rows",)), own)
    assert isinstance(found, Admitted)
    assert found.given is not None
    assert (found.given.overrides, found.run.given_parameters) == ({"day": "monday", "rows": "100"}, ("day",))
    for trigger, reason in (
        (Trigger(parameters={"rows": "many"}), "/rows: must be a whole number"),
        (Trigger(without=("day",)), "/day: is missing"),
        (Trigger(env_vars={"rows": "many"}, by_operator=True), "/rows: must be a whole number"),
    ):
        refused = changed(run, given, trigger, own)
        assert isinstance(refused, Skipped)
        assert (refused.status, reason in refused.reason) == (422, True)


def test_a_default_can_be_changed_on_todays_code() -> None:
    """The new value is given, not the default that it replaces."""
    run, given = run_of(record(), Trigger(parameters={"day": "monday"}))
    anew = with_input_of(*edited(run, given, Trigger(parameters={"rows": "8"})), Trigger())
    assert anew.parameters == {"day": "monday", "rows": "8"}


def test_a_variable_that_the_schema_describes_is_a_parameter() -> None:
    """From outside and from an operator: nothing reaches a script past the schema."""
    run, given = run_of(record(), Trigger(env_vars={"day": "monday", "rows": "7"}, parameters={"rows": "8"}))
    assert (run.order.env_names, run.order.parameter_names) == ((), ("day", "rows"))
    assert (given.overrides, run.order.json_parameters) == ({"day": "monday", "rows": "8"}, ("rows",))
    refused = admitted(record(), Trigger(env_vars={"rows": "x", "day": "monday"}, by_operator=True))
    assert isinstance(refused, Skipped)
    assert "/rows: must be a whole number" in refused.reason
