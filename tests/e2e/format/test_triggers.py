"""Messages on any subject in a running installation: ``fastflow up``, its bus with its users, and real sandboxes."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import StreamConfig

from fastflow_contracts.bus.connection import connect
from fastflow_contracts.bus.permissions import ADMIN_INBOX
from tests.support.installation import Installation

MAIN = """
import os, pathlib
body = pathlib.Path(os.environ["FASTFLOW_EVENT_FILE"]).read_bytes()
print(os.environ["FASTFLOW_TRIGGERED_BY"], body, pathlib.Path(os.environ["FASTFLOW_EVENT_HEADERS_FILE"]).read_text())
"""


COUNTS = """
import json, os, pathlib
lines = pathlib.Path(os.environ["FASTFLOW_EVENT_FILE"]).read_text().splitlines()
print(len(lines), "orders of", sum(json.loads(line)["total"] for line in lines))
"""


async def _publish(url: str, subject: str, *bodies: bytes, make: bool = True) -> None:
    """Publish *bodies*; as the administrator, *make* the stream first."""
    async with connect(url, name="test", inbox=ADMIN_INBOX if make else "_INBOX") as bus:
        if make:
            await bus.js.add_stream(StreamConfig(name="ORDERS", subjects=["orders.>", "clicks"]))
        for body in bodies:
            await bus.js.publish(subject, body)


def _runs(there: Installation, name: str, count: int) -> list[dict[str, Any]]:
    """Return the runs once there are *count*, all over."""
    deadline = time.monotonic() + 120
    while True:
        runs: list[dict[str, Any]] = there.api(f"/api/runs?pipeline_name={name}")["runs"]
        if len(runs) >= count and all(run["finished_at"] for run in runs):
            return runs
        assert time.monotonic() < deadline, runs
        time.sleep(0.2)


def test_messages_and_batches_reach_scripts(tmp_path: Path) -> None:
    """The schedulers' user may read the stream; page, API and command show the trigger."""
    with Installation(tmp_path) as there:
        large = {"id": "large", "subject": "orders.>", "when": "event.total > 100"}
        there.add("each", MAIN, triggers=[large])
        there.add("many", MAIN, triggers=[{"id": "c", "subject": "clicks", "batch": {"max": 3}}])
        there.start("--sandbox", "process")
        deadline = time.monotonic() + 60
        while not (problem := there.api("/api/pipelines/each")["triggers"][0]["problem"]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert problem.startswith("no stream of the bus stores orders.>")
        assert "no stream" in there.command("pipelines").stdout
        url = there.command("bus", "url").stdout.strip()
        asyncio.run(_publish(url, "orders.eu", b'{"total": 1}', b'{"total": 101}'))
        asyncio.run(_publish(url, "clicks", b"1", b"2", b"3"))
        (run,) = _runs(there, "each", 1)
        assert (run["status"], run["triggered_by"]) == ("SUCCESS", "bus")
        assert (run["trigger_id"], run["event_subject"]) == ("large", "orders.eu")
        (batch,) = _runs(there, "many", 1)
        assert (batch["status"], batch["event_subject"]) == ("SUCCESS", "clicks")
        logs = [there.command("logs", each["id"]).stdout for each in (run, batch)]
        assert """bus b'{"total": 101}'""" in logs[0]
        assert '"nats-subject":"orders.eu"' in logs[0].replace(" ", "")
        assert r"b'1\n2\n3\n'" in logs[1]
        shown = there.api("/api/pipelines/each")["triggers"][0]
        assert (shown["stream"], shown["last_run_id"], shown["problem"]) == ("ORDERS", run["id"], None)
        listed = json.loads(there.command("pipelines", "--json").stdout)
        assert listed[0]["triggers"][0]["subject"] == "orders.>"


@pytest.mark.parametrize(
    "sandbox",
    [pytest.param("docker", marks=pytest.mark.docker), pytest.param("bubble", marks=pytest.mark.bubble)],
)
def test_a_script_in_a_sandbox_reads_the_batch_that_a_program_outside_published(tmp_path: Path, sandbox: str) -> None:
    """With the login that ``--publish`` lets do it, and no other."""
    with Installation(tmp_path) as there:
        there.add("sums", COUNTS, triggers=[{"id": "o", "subject": "orders.>", "batch": {"max": 4}}])
        there.start("--sandbox", sandbox, "--publish", "orders.>")
        asyncio.run(_publish(there.command("bus", "url").stdout.strip(), "orders.eu"))
        url = there.command("bus", "url", "--outside").stdout.strip()
        asyncio.run(_publish(url, "orders.eu", *(b'{"total": %d}' % number for number in range(4)), make=False))
        (run,) = _runs(there, "sums", 1)
        assert run["status"] == "SUCCESS"
        assert "4 orders of 6" in there.command("logs", run["id"]).stdout
