"""``fastflow trigger``: an event for a script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.installation import Installation


@pytest.mark.parametrize("form", ["argument", "file", "stdin"])
def test_an_event_reaches_the_script_as_it_was_sent(there: Installation, tmp_path: Path, form: str) -> None:
    """By name or by subject, from the command line, a file, or a pipe."""
    event = '{"order": 7, "text": "grün"}'
    (tmp_path / "event.json").write_text(event)
    target, argument, data = {
        "argument": ("event_consumer", event, None),
        "file": ("ff.trigger.event_consumer", f"@{tmp_path / 'event.json'}", None),
        "stdin": ("event_consumer", "-", event),
    }[form]
    done = there.command("trigger", target, argument, "--json", data=data)
    run = json.loads(done.stdout)
    assert run["triggered_by"] == "bus"
    text = there.command("logs", run["id"], "-f").stdout
    assert text.startswith("Started by: bus\n")
    assert '"text": "grün"' in text


def test_an_event_with_a_key_starts_one_run(there: Installation) -> None:
    """Sent twice, it is the same run."""
    first, again = (
        json.loads(there.command("trigger", "event_consumer", "{}", "--id", "k-1", "--json").stdout) for _ in range(2)
    )
    assert first["id"] == again["id"]
