"""``runs_on`` and ``priority`` in a running installation, with two runners that have different labels."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from tests.support.processes import Service
from tests.support.rules import Rules

MISSING = "a runner with the labels gpu and zone-a: none is connected"


async def test_a_run_waits_for_a_runner_with_its_labels_and_says_which_is_missing(there: Rules) -> None:
    """The other runs go on meanwhile. Once a runner with the labels joins, it runs there, until that is drained."""
    run = await asyncio.to_thread(there.start, "labelled")
    assert (run["runs_on"], run["priority"]) == (["gpu", "zone-a"], 1)
    assert await asyncio.to_thread(lambda: there.wait(lambda: there.run(run)["waiting_on"])) == MISSING
    assert MISSING in await asyncio.to_thread(there.page, f"/runs/{run['id']}")
    assert (await asyncio.to_thread(there.done, "bare"))["status"] == "SUCCESS"
    data = there.there.data_dir
    runner = Service(
        "runner",
        {
            "FASTFLOW_NATS_URL": f"nats://{urlsplit((data / 'bus.url').read_text().strip()).netloc.rpartition('@')[2]}",
            "FASTFLOW_NATS_CREDENTIALS": str(data / "bus.users" / "runner.seed"),
            "FASTFLOW_RUNNER_ID": "labelled-runner",
            "FASTFLOW_SANDBOX": "process",
            "FASTFLOW_DATA_DIR": str(there.there.folder / "second-runner"),
            "RUNNER_LABELS": "big, gpu, zone-a",
        },
    )
    await runner.start()
    try:
        ended = await asyncio.to_thread(there.end, run)
        assert (ended["status"], ended["runner"]) == ("SUCCESS", "labelled-runner")
        shown = {each["id"]: each["labels"] for each in (await asyncio.to_thread(there.get, "/api/runners"))["runners"]}
        assert shown.pop("labelled-runner") == ["big", "gpu", "zone-a"]
        assert list(shown.values()) == [[]]
        assert "labels big, gpu, zone-a" in await asyncio.to_thread(there.page, "/runners")
        assert "labelled: its runs wait" not in (await asyncio.to_thread(there.there.command, "doctor")).stdout
        assert (await asyncio.to_thread(there.there.command, "runners", "drain", "labelled-runner")).returncode == 0
        assert await runner.ended() == 0
    finally:
        await runner.remove()
    await asyncio.to_thread(_after_the_last_runner_with_the_labels_has_left, there)


def _after_the_last_runner_with_the_labels_has_left(there: Rules) -> None:
    """A run waits, is not failed, and can be cancelled; the commands name the labels."""
    run = there.start("labelled")
    assert there.wait(lambda: there.run(run)["waiting_on"]) == MISSING
    assert MISSING in there.there.command("ps").stdout
    doctor = there.there.command("doctor").stdout
    assert "labelled: its runs wait, because no runner has gpu,zone-a: set RUNNER_LABELS=gpu,zone-a on one" in doctor
    assert there.cancel(run)["status"] == "INTERRUPTED"
