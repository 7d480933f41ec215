"""Attack on a running installation: variables of a start that make Python run a command as it loads."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from fastflow.local.connection import OUTSIDE_URL_FILE
from fastflow_contracts.bus.connection import connect
from tests.support.rules import Rules

HOOK = "/api/webhooks/steered/key-of-the-steered-one"


def attack(marker: Path) -> dict[str, str]:
    """Python imports `antigravity` for the category of the warning, which opens the browser: this command."""
    return {"PYTHONWARNINGS": "all:0:antigravity.x:0:0", "BROWSER": f"touch {marker} %s"}


@pytest.mark.promise("starts from anywhere")
def test_variables_that_make_python_run_a_command_start_nothing_from_outside(there: Rules, tmp_path: Path) -> None:
    """Webhook, API, an operator's start, and the bus with the credentials that programs outside get."""
    marker = tmp_path / "ran"
    body = {"env_vars": attack(marker)}
    for path in ("/api/pipelines/steered/run", "/api/pipelines/steered/run?allow_undeclared=true", HOOK):
        answer = there.ask("POST", path, body, Content_Type="application/json")
        assert (answer.status, "BROWSER changes how programs load" in answer.json["detail"]) == (422, True)
    asyncio.run(publish(there.there.data_dir / OUTSIDE_URL_FILE, json.dumps(body).encode()))
    skip = there.wait(lambda: next(iter(there.get("/api/skipped?pipeline=steered&triggered_by=bus")["skips"]), None))
    assert "BROWSER changes how programs load" in skip["reason"]
    assert there.ask("POST", f"/api/skipped/{skip['id']}/redrive", {}).status == 422
    assert (there.runs("steered"), marker.exists()) == ([], False)


async def publish(address: Path, body: bytes) -> None:
    async with connect(address.read_text().strip(), name="outside") as bus:
        await bus.publish("ff.trigger.steered", body)


def test_the_author_of_a_pipeline_may_set_them(there: Rules, tmp_path: Path) -> None:
    """So the attack is one: with these variables the command does run."""
    marker = tmp_path / "ran"
    there.rewrite("author", default_env=attack(marker))
    assert there.done("author")["status"] == "SUCCESS"
    assert marker.exists()


def test_a_webhook_sets_what_the_pipeline_declares_and_nothing_else(there: Rules) -> None:
    """Names of default_env, and those that accepts_env matches."""
    given = {"env_vars": {"MODE": "real"}, "parameters": {"CUSTOMER_ID": 7}}
    answer = there.ask("POST", HOOK, given, anonymous=True, Content_Type="application/json")
    assert answer.status == 200
    assert there.text(there.end(answer.json)) == "real 7"
    refused = there.ask("POST", HOOK, {"env_vars": {"DATABASE_URL": "x"}}, anonymous=True)
    assert (refused.status, "DATABASE_URL is not declared" in refused.json["detail"]) == (422, True)
    assert there.done("steered", env_vars={"DATABASE_URL": "x"})["status"] == "SUCCESS"
