"""Lists for people and as JSON, and the state of the bus."""

from __future__ import annotations

import json
from pathlib import Path

from fastflow_contracts.bus import streams
from tests.e2e.cli.commands import EXAMPLES
from tests.support.installation import Installation, fastflow


def test_the_list_shows_what_is_active_unless_all_is_asked_for(there: Installation) -> None:
    """Both for people and as JSON, for one pipeline or all, newest first."""
    there.command("run", "hello", "-f")
    there.command("run", "stock_check", "-f")
    assert "hello" not in there.command("ps").stdout
    everything = json.loads(there.command("ps", "--all", "--json").stdout)
    assert everything[0]["pipeline_name"] == "stock_check"
    assert [run["created_at"] for run in everything] == sorted((run["created_at"] for run in everything), reverse=True)
    table = there.command("ps", "-a", "--pipeline", "hello").stdout.splitlines()
    assert table[0].split() == ["RUN", "PIPELINE", "STATUS", "TRIGGER", "CREATED", "TOOK", "NOTE"]
    assert {line.split()[1] for line in table[1:]} == {"hello"}


def test_pipelines_are_listed_with_their_schedules_and_last_runs(there: Installation) -> None:
    """Both for people and as JSON."""
    there.command("run", "failing", "-f")
    head, *lines = there.command("pipelines").stdout.splitlines()
    assert head.split() == ["PIPELINE", "SCHEDULE", "NEXT", "LAST", "RUN", "NOTE"]
    told = {line.split()[0]: line for line in lines}
    assert told.keys() == {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()}
    assert "cron 0 3 * * *  in " in told["nightly"]
    assert "FAILED " in told["failing"]
    listed = {row["name"]: row for row in json.loads(there.command("pipelines", "--json").stdout)}
    assert listed["failing"]["last_run"]["status"] == "FAILED"
    assert listed["nightly"]["next_run_time"] == listed["nightly"]["schedules"][0]["next_run_time"] is not None
    assert listed["hello"]["problems"] == listed["hello"]["schedules"] == []


def test_the_bus_can_be_prepared_and_its_address_printed(there: Installation) -> None:
    """Repeating it does no harm; the address works for any client."""
    done = there.command("bus", "ensure")
    assert (done.returncode, "are ready" in done.stdout) == (0, True)
    url = there.command("bus", "url").stdout.strip()
    assert url.startswith("nats://fastflow:")
    elsewhere = fastflow("bus", "status", cwd=Path("/"), FASTFLOW_NATS_URL=url)
    assert elsewhere.returncode == 0


def test_the_size_of_the_bus_is_shown(there: Installation) -> None:
    """Each stream, with its size and its limit."""
    done = there.command("bus", "status")
    assert done.returncode == 0
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["STREAM", "FULL", "MESSAGES", "COPIES"]
    shown = {line.split()[0]: line.split()[1:] for line in lines}
    assert shown.keys() == {stream.name for stream in streams.STREAMS}
    full, messages, copies = shown["KV_ff_pipelines"]
    assert float(full.rstrip("%")) < 1
    assert int(messages) > 0
    assert copies == "1"
