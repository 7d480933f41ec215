"""Parameters with a schema in a running installation: each way to start is checked, and gets the defaults."""

from __future__ import annotations

import asyncio
import json

from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow_contracts.bus.connection import connect
from tests.support.rules import Rules

HOOK = "/api/webhooks/asked/key-of-the-asked-one"


def test_a_script_finds_what_was_given_and_the_defaults(there: Rules) -> None:
    """Also from outside: what the schema names is declared."""
    answer = there.ask("POST", HOOK, {"parameters": {"day": "2026-02-01", "rows": 5}}, anonymous=True)
    assert answer.status == 200, answer.json
    assert there.text(there.end(answer.json)) == 'day=2026-02-01\nrows=5\nmode=quick\nlimits={"cpu":1}'


def test_each_way_to_start_is_checked(there: Rules) -> None:
    """With a 422 that names the fields over HTTP, and a skip on the bus."""
    wrong, said = {"parameters": {"rows": 0}}, "/day: is missing; it must be a date such as 2026-01-31; /rows: must be"
    for path in ("/api/pipelines/asked/run", "/api/pipelines/asked/events", HOOK):
        answer = there.ask("POST", path, wrong, Content_Type="application/json")
        assert (answer.status, said in answer.json["detail"]) == (422, True), answer.json
    asyncio.run(publish(there, json.dumps(wrong).encode()))
    skip = there.wait(lambda: next(iter(there.get("/api/skipped?pipeline=asked&triggered_by=bus")["skips"]), None))
    assert said in skip["reason"]


async def publish(there: Rules, body: bytes) -> None:
    async with connect((there.there.data_dir / OUTSIDE_URL_FILE).read_text().strip(), name="outside") as bus:
        await bus.publish("ff.trigger.asked", body)


def test_a_run_configuration_brings_its_parameters(there: Rules) -> None:
    run = there.done("asked", run_config_id="often")
    assert there.text(run).splitlines()[:2] == ["day=2026-01-31", "rows=7"]


def test_the_command_lists_them_and_reads_texts(there: Rules) -> None:
    """``-p rows=5`` is a number for the schema."""
    shown = there.there.command("run", "asked", "--help-parameters")
    assert shown.returncode == 0, shown.stderr
    for words in ("day", "a date such as 2026-01-31", "required", "The day to report.", 'one of "quick", "full"'):
        assert words in shown.stdout
    started = there.there.command("run", "asked", "-p", "day=2026-02-01", "-p", "rows=5", "-f")
    assert (started.returncode, "rows=5" in started.stdout) == (0, True), started.stderr
    refused = there.there.command("run", "asked", "-p", "day=today")
    assert (refused.returncode != 0, "/day: must be a date such as 2026-01-31" in refused.stderr) == (True, True)


def test_a_notebook_shows_the_parameters_of_its_tagged_cell(there: Rules) -> None:
    """They describe, as with papermill: another type arrives as it is."""
    assert there.get("/api/pipelines/asked_notebook")["parameters"] == {
        "type": "object",
        "properties": {
            "rows": {"type": "integer", "default": 100, "description": "How many rows"},
            "mode": {"type": "string", "default": "quick", "description": "How"},
        },
    }
    hook = "/api/webhooks/asked_notebook/key-of-the-asked-notebook"
    answer = there.ask("POST", hook, {"parameters": {"rows": 0.5}}, anonymous=True)
    assert answer.status == 200, answer.json
    assert "0.5 quick" in there.text(there.end(answer.json))


def test_a_schema_that_cannot_be_used_keeps_the_last_good_version(there: Rules) -> None:
    """The problem has its line and column."""
    good = there.get("/api/pipelines/asked_notebook")["metadata"]
    there.rewrite("asked_notebook", parameters={"type": "object", "properties": {"n": {"pattern": "(?=a)"}}})
    shown = there.get("/api/pipelines/asked_notebook")
    (problem,) = shown["problems"]
    assert (problem["field"], shown["metadata"]) == ("parameters.properties.n.pattern", good)
    assert problem["line"] == 1
    assert problem["column"] > 1
    there.rewrite("asked_notebook", parameters=None)
