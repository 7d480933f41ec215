"""Notebooks that were written for Jupyter and papermill, through Docker and through processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow_contracts.bus import subjects
from fastflow_contracts.ids import run_id_for_key
from fastflow_contracts.names import PipelineName
from fastflow_contracts.runs.cells import Raised
from fastflow_contracts.runs.run import RunErrorType, RunStatus
from tests.support.notebooks import code, events_of, only, publish_notebook, statuses, text_of
from tests.support.system import System, system

SANDBOXES = ["process", pytest.param("docker", marks=pytest.mark.docker)]


@pytest_asyncio.fixture(params=SANDBOXES)
async def fast(request: pytest.FixtureRequest, bus_url: str, kept_data: Path) -> AsyncIterator[System]:
    """The system with one kind of sandbox."""
    async with system(bus_url, kept_data, sandbox=request.param) as made:
        yield made


async def test_json_parameters_arrive_as_such_and_the_notebook_ends_where_it_says(fast: System) -> None:
    """A number, a boolean, null and a list from a plain message on the bus; then ``exit()``.

    Those that the pipeline accepts are variables, too.
    """
    name = PipelineName("json")
    await publish_notebook(
        fast.bus,
        name,
        code("alpha = 1\nname = 'x'\nflag = False\nwhen = None\nitems = [1]\ncount = 1", "parameters"),
        "import os\nprint(repr((alpha, name, flag, when, items, count)), os.environ['items'], os.environ['flag'])\n"
        "print('alpha' in os.environ)",
        "exit()",
        "raise ValueError('never')",
        accepts_env=("items", "fla?"),
    )
    body = b'{"parameters": {"alpha": 0.5, "name": null, "flag": true, "when": 2, "items": ["a", 2], "count": "7"}}'
    await fast.bus.publish(subjects.trigger(name), body, headers={"Nats-Msg-Id": "one"})
    run = await fast.end(subjects.RunRef(name, run_id_for_key(name, "one")))
    assert (run.status, run.attempts[0].exit_code) == (RunStatus.SUCCESS, 0), await fast.lines(run)
    events = await events_of(fast.bus, run)
    assert text_of(events) == "(0.5, None, True, 2, ['a', 2], 7) [\"a\",2] true\nFalse\n"
    assert statuses(events)[-1] == (2, "SUCCESS")


async def test_packages_belong_in_requirements_and_exit_codes_are_kept(fast: System) -> None:
    """The cell that installs says so; ``sys.exit`` gives the run its exit code."""
    install = (
        "try:\n    %pip install --quiet certifi\nexcept Exception as error:\n    print(error)\n    raise SystemExit(3)"
    )
    await publish_notebook(fast.bus, "pip", install, "import certifi")
    run = await fast.run("pip")
    (attempt,) = run.attempts
    assert (attempt.exit_code, attempt.error_type) == (3, RunErrorType.SCRIPT_ERROR)
    events = await events_of(fast.bus, run)
    assert text_of(events) == "a run installs no packages; name certifi in requirements.txt\n"
    assert [each.name for each in only(Raised, events)] == ["SystemExit"]
