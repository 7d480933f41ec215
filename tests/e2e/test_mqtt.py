"""The how-to of docs/mqtt.md as it is written: its stream, its device and its pipeline on a running installation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.installation import Installation
from tests.support.ports import free_port

PAGE = (Path(__file__).parents[2] / "docs/mqtt.md").read_text()
MAIN = """
import os, pathlib
print("got", pathlib.Path(os.environ["FASTFLOW_EVENT_FILE"]).read_text())
"""
ODD = """
from pathlib import Path
from paho.mqtt import publish

password = Path(".fastflow/bus.users/mqtt.password").read_text().strip()
for topic, celsius, qos, retain in (
    ("sensors/*/temperature", 41, 0, False),
    ("sensors/a.b/temperature", 42, 2, False),
    ("sensors//temperature", 43, 1, True),
    ("sensors/other/humidity", 44, 1, False),
    ("ff/trigger/hot", 45, 1, False),
    ("ff/start/hot", 45, 1, False),
    ("sensors/kitchen/temperature", 46, 1, False),
):
    publish.single(
        topic, f'{"{"}"celsius": {celsius}.0{"}"}', qos=qos, retain=retain, client_id=f"odd-{celsius}",
        hostname="127.0.0.1", port=1883, auth={"username": "mqtt", "password": password},
    )
publish.single(
    "sensors/kitchen/temperature", "not JSON", qos=1,
    hostname="127.0.0.1", port=1883, auth={"username": "mqtt", "password": password},
)
"""
WAIT_S = 120.0


def _example(language: str, words: str) -> str:
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if words in text)
    return str(found)


def _python(there: Installation, text: str, port: int) -> None:
    code = text.replace("1883", str(port))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=there.folder, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, done.stderr


def _runs(there: Installation, count: int) -> dict[str, dict[str, Any]]:
    """Return the runs by subject once there are *count*, all over."""
    deadline = time.monotonic() + WAIT_S
    while True:
        runs = there.api("/api/runs?pipeline_name=hot")["runs"]
        if len(runs) >= count and all(run["finished_at"] for run in runs):
            assert len(runs) == count, runs
            return {run["event_subject"]: run for run in runs}
        assert time.monotonic() < deadline, runs
        time.sleep(0.2)


def test_a_message_of_a_device_starts_a_run(tmp_path: Path) -> None:
    """Odd topics and bodies reach the bus as the page says, and no topic is a subject of Fast-Flow's."""
    port = free_port()
    with Installation(tmp_path) as there:
        there.add("hot", MAIN, **json.loads(_example("json", "triggers")))
        there.start("--mqtt-port", str(port))
        assert any(f"127.0.0.1:{port}, user mqtt" in line for line in there.printed)
        _python(there, _example("python", "add_stream"), port)
        _python(there, _example("python", "publish.single"), port)
        (run,) = _runs(there, 1).values()
        assert (run["status"], run["event_subject"]) == ("SUCCESS", "mqtt.sensors.kitchen.temperature")
        assert 'got {"celsius": 31.0}' in there.command("logs", run["id"]).stdout
        _python(there, ODD, port)
        deadline = time.monotonic() + WAIT_S
        while not (skipped := there.api("/api/skipped?pipeline=hot")["skips"]):  # the last message was read
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert len(skipped) == 1
        runs = _runs(there, 5)
        assert set(runs) == {
            "mqtt.sensors.kitchen.temperature",
            "mqtt.sensors.*.temperature",
            "mqtt.sensors.a//b.temperature",
            "mqtt.sensors./.temperature",
        }
        assert {run["triggered_by"] for run in runs.values()} == {"bus"}
        there.stop()
