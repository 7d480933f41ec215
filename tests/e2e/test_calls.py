"""Calls end to end, in every sandbox: a script is a function, over HTTP, on the bus, and in the terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import nats
import pytest

from fastflow.local.connection import OUTSIDE_URL_FILE
from tests.support.installation import SLEEPS, Installation
from tests.support.rules import WAIT_S, Rules

KEY = "a-webhook-key-of-some-length"
ADDS = """\
import json, os
from pathlib import Path
event = json.loads(Path(os.environ["FASTFLOW_EVENT_FILE"]).read_text())
print("adding")
Path(os.environ["FASTFLOW_RESULT_FILE"]).write_text(json.dumps({"sum": sum(event["numbers"])}))
"""
SEVEN = "import os\nopen(os.environ['FASTFLOW_RESULT_FILE'], 'w').write('7')\n"


@pytest.fixture(
    scope="module",
    params=[
        "process",
        pytest.param("bubble", marks=pytest.mark.bubble),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    """One installation for all tests of this file."""
    with Installation(tmp_path_factory.mktemp("calls")) as made:
        made.add("add", ADDS, webhook_key=KEY)
        made.add("seven", SEVEN)
        made.add("asleep", SLEEPS)
        made.start("--sandbox", request.param)
        yield Rules(made)
        assert made.stop() == 0


def request_on_bus(there: Rules, pipeline: str, *bodies: bytes, **headers: str) -> list[dict[str, Any]]:
    """Call once for each of *bodies*, all at once, as a program outside does."""

    async def ask() -> list[dict[str, Any]]:
        client = await nats.connect((there.there.data_dir / OUTSIDE_URL_FILE).read_text().strip())
        named = {name.replace("_", "-"): value for name, value in headers.items()} or None
        try:
            replies = await asyncio.gather(
                *(client.request(f"ff.call.{pipeline}", body, timeout=WAIT_S, headers=named) for body in bodies)
            )
        finally:
            await client.close()
        return [json.loads(reply.data) for reply in replies]

    return asyncio.run(ask())


def test_a_webhook_that_waits_gets_the_result(there: Rules) -> None:
    """The script is a function of its event."""
    answer = there.ask("POST", f"/api/webhooks/add/{KEY}?wait=60", {"numbers": [3, 4]}, anonymous=True)
    assert (answer.status, answer.json["status"], answer.json["result"]) == (200, "SUCCESS", {"sum": 7})


def test_requests_on_the_bus_get_their_results(there: Rules) -> None:
    """Each its own."""
    bodies = [json.dumps({"numbers": [number, 1]}).encode() for number in range(5)]
    replies = request_on_bus(there, "add", *bodies)
    assert [reply["result"] for reply in replies] == [{"sum": number + 1} for number in range(5)]
    assert len({reply["run_id"] for reply in replies}) == 5


def test_a_script_that_fails_says_so_in_the_reply(there: Rules) -> None:
    """It has no result."""
    (reply,) = request_on_bus(there, "add", b"no JSON")
    assert (reply["status"], reply["error_type"], reply["result"]) == ("FAILED", "script_error", None)


def test_a_run_that_takes_longer_is_named(there: Rules) -> None:
    """Over HTTP and on the bus; it goes on."""
    (reply,) = request_on_bus(there, "asleep", b"", Nats_Msg_Id="nap", Prefer="wait=1")
    answer = there.ask("POST", "/api/pipelines/asleep/run?wait=1")
    assert (reply["error_type"], answer.status) == ("not_over", 202)
    for run_id in (reply["run_id"], answer.json["id"]):
        assert there.ask("POST", f"/api/runs/{run_id}/cancel").status == 200


def test_the_command_prints_the_result(there: Rules) -> None:
    """And nothing else on stdout."""
    done = there.there.command("run", "seven", "--wait")
    assert (done.returncode, done.stdout) == (0, "7\n")
