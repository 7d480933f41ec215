"""Parameters that are JSON values stay so in each run that is started again."""

from __future__ import annotations

from fastflow_contracts.runs.messages import Trigger
from fastflow_contracts.runs.run import RunInput
from fastflow_contracts.starting.admission import with_input_of
from fastflow_contracts.starting.followups import _restart
from tests.support.records import a_run

RUN = a_run(parameter_names=("half", "text"), json_parameters=("half",), has_input=True)
GIVEN = RunInput(overrides={"half": "0.5", "text": "0.5"})


def test_a_retry_with_the_current_code_keeps_them() -> None:
    """The new trigger says which texts are JSON."""
    again = with_input_of(RUN, GIVEN, Trigger())
    assert (again.parameters, again.json_parameters) == ({"half": "0.5", "text": "0.5"}, ("half",))


def test_a_restart_of_a_daemon_keeps_them() -> None:
    """So does the trigger of a restart."""
    trigger = _restart(RUN, GIVEN, wait_s=0).trigger
    assert (trigger.parameters, trigger.json_parameters) == ({"half": "0.5", "text": "0.5"}, ("half",))
