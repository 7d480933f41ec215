"""Commands that ask an installation, in this process, beside a real gateway and a real scheduler; no runner."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest
from msgspec.structs import replace

from fastflow_contracts.bus import subjects
from fastflow_contracts.bus.client import Bus
from fastflow_contracts.ids import check_run_id
from fastflow_contracts.runs.presence import PRESENCE
from fastflow_contracts.runs.state_machine import Cancel
from fastflow_contracts.runs.store import RunStore
from fastflow_gateway.readmodel import queries
from tests.support.command import fastflow
from tests.support.gateway import TOKEN, claim, finish, running_gateway, running_scheduler, say
from tests.support.installation import FASTFLOW, clean
from tests.support.records import a_bundle, a_presence, publish_pipeline

Done = subprocess.CompletedProcess[str]


class Command(Protocol):
    async def __call__(self, *arguments: str, data: str | None = None, **environ: str) -> Done: ...


@pytest.fixture
async def url(bus: Bus) -> AsyncIterator[str]:
    """The address of an installation with two pipelines."""
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"), schedule_cron="@daily", description="A demo")
    await publish_pipeline(bus, "demo_two", a_bundle(main_py="2"), max_instances=1)
    await bus.put(subjects.RUNNERS, subjects.runner_key("r1"), PRESENCE.encode(a_presence("r1", slots=4, busy=1)))
    async with running_scheduler(bus), running_gateway(bus) as gateway:
        yield gateway.url


@pytest.fixture
def command(url: str, tmp_path: Path) -> Command:
    """Runs `fastflow`, signed in by its environment, with its own configuration folder."""

    async def run(*arguments: str, data: str | None = None, **environ: str) -> Done:
        own = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "FASTFLOW_URL": url, "FASTFLOW_TOKEN": TOKEN} | environ
        return await asyncio.to_thread(partial(fastflow, *arguments, cwd=tmp_path, data=data, **own))

    return run


SIGNED_OUT = {"FASTFLOW_URL": "", "FASTFLOW_TOKEN": ""}


async def test_after_a_login_commands_need_no_address(command: Command, url: str, tmp_path: Path) -> None:
    """One login with the address of the login page, one with a name; logging out forgets both."""
    link = await command("login", f"{url}/login?code=used", data=f"{TOKEN}\n", **SIGNED_OUT)
    assert (link.returncode, f"Signed in to {url}; stored in {tmp_path / 'config'}" in link.stdout) == (0, True)
    assert TOKEN not in link.stdout + link.stderr
    named = await command("login", url, "--on", "prod", data=f"{TOKEN}\n", **SIGNED_OUT)
    assert (named.returncode, "as prod" in named.stdout) == (0, True)
    (file,) = (tmp_path / "config").rglob("*.json")
    assert file.stat().st_mode & 0o077 == 0
    for options in ([], ["--on", "prod"]):
        assert (await command("ps", *options, **SIGNED_OUT)).returncode == 0
    assert (await command("logout", "--on", "prod", **SIGNED_OUT)).stdout == f"Signed out of {url}.\n"
    assert (await command("ps", "--on", "prod", **SIGNED_OUT)).returncode == 3
    assert (await command("logout", "--all", **SIGNED_OUT)).returncode == 0
    assert not file.exists()
    gone = await command("ps", **SIGNED_OUT)
    assert (gone.returncode, "sign in with `fastflow login URL`" in gone.stderr) == (5, True)


async def test_a_wrong_token_is_not_stored(command: Command, url: str, tmp_path: Path) -> None:
    """Nor is one for an address that is not an installation. Each is an error of one sentence."""
    wrong = await command("login", url, "--token", "wrong", **SIGNED_OUT)
    assert (wrong.returncode, "refuses the token" in wrong.stderr) == (5, True)
    nobody = await command("login", "http://127.0.0.1:1", "--token", "t", **SIGNED_OUT)
    assert (nobody.returncode, "cannot be reached" in nobody.stderr) == (5, True)
    none = await command("login", url, data="\n", **SIGNED_OUT)
    assert (none.returncode, "there is no token" in none.stderr) == (2, True)
    bare = await command("ps", "--url", url, **SIGNED_OUT)
    assert (bare.returncode, f"sign in with `fastflow login {url}`" in bare.stderr) == (5, True)
    assert not (tmp_path / "config").exists()


async def test_the_status_shows_the_installation_and_its_state(command: Command, url: str) -> None:
    """For people and for scripts."""
    said = (await command("status")).stdout
    assert f"address    {url} (FASTFLOW_URL)" in said
    for line in ("gateway    ready", "pipelines  2, nothing was synced yet", "runners    1, 1 of 4 slots in use"):
        assert line in said
    shown = json.loads((await command("status", "--json")).stdout)
    assert (shown["url"], shown["status"], shown["pipelines"], shown["runners"][0]["id"]) == (url, "ok", 2, "r1")


async def test_schedules_are_switched_off_and_on(command: Command) -> None:
    """The list shows it, and when each is due."""
    off = await command("schedules", "off", "demo")
    assert (off.returncode, off.stdout) == (0, "schedule of demo is off.\n")
    assert "It is switched off." in (await command("schedules")).stdout
    on = await command("schedules", "on", "demo", "schedule")
    assert on.stdout.startswith("schedule of demo is on; next in ")
    (job,) = json.loads((await command("schedules", "--pipeline", "demo", "--json")).stdout)
    assert (job["pipeline"], job["enabled"]) == ("demo", True)


async def test_a_finished_run_is_run_again(command: Command, bus: Bus) -> None:
    """Also by its pipeline's name; a run that is not over stays as it is."""
    first = json.loads((await command("run", "demo", "-e", "A=1", "--json")).stdout)
    early = await command("retry", "demo")
    assert (early.returncode, "is not over yet" in early.stderr) == (1, True)
    store = RunStore(bus)
    run = (await store.find(check_run_id(first["id"]))).run
    await finish(bus, await claim(bus, run))
    again = json.loads((await command("retry", first["id"][:8], "--json")).stdout)
    assert (again["triggered_by"], again["env_vars"], again["id"] != first["id"]) == ("api", {"A": "***"}, True)


async def test_a_refused_start_says_why(command: Command) -> None:
    """With the scheduler's sentence, and a failure exit code."""
    assert (await command("run", "demo_two")).returncode == 0
    refused = await command("run", "demo_two")
    assert (refused.returncode, "max_instances" in refused.stderr) == (1, True)


async def test_a_refused_event_can_be_sent_again(command: Command, bus: Bus) -> None:
    """The same id means the same run, but none was started, so the second event is not a duplicate."""
    first = json.loads((await command("trigger", "demo_two", "{}", "--id", "k-1", "--json")).stdout)
    assert json.loads((await command("trigger", "demo_two", "{}", "--id", "k-1", "--json")).stdout)["id"] == first["id"]
    assert (await command("trigger", "demo_two", "{}", "--id", "k-2")).returncode == 1
    store = RunStore(bus)
    await store.change((await store.find(check_run_id(first["id"]))).run.ref, Cancel())
    event = '{"a": 1}'
    sent = await command("trigger", "demo_two", event, "--id", "k-2", "--type", "application/json", "--json")
    run = (await store.find(check_run_id(json.loads(sent.stdout)["id"]))).run
    given = await store.input(run)
    assert (given.event, given.event_type, run.order.triggered_by) == (event.encode(), "application/json", "bus")


async def test_a_cloud_event_brings_its_own_identity(command: Command) -> None:
    """Sent twice, it starts one run; without a source and an id it is an error of the sender."""
    event, kind = json.dumps({"specversion": "1.0", "source": "/s", "id": "7"}), "application/cloudevents+json"
    ids = {json.loads((await command("trigger", "demo", event, "--type", kind, "--json")).stdout)["id"] for _ in "12"}
    assert len(ids) == 1
    bad = await command("trigger", "demo", "{}", "--type", kind)
    assert (bad.returncode, "source and an id" in bad.stderr) == (2, True)
    own = await command("trigger", "demo", "{}", "--type", "application/vnd.fastflow.start+json")
    assert (own.returncode, "is reserved" in own.stderr) == (2, True)


async def test_a_log_is_shown_so_far(command: Command, bus: Bus) -> None:
    """The command does not wait for a running run, nor for one without output."""
    first = json.loads((await command("run", "demo", "--json")).stdout)
    assert (await command("logs", "demo")).stdout == ""
    run = await claim(bus, (await RunStore(bus).find(check_run_id(first["id"]))).run)
    await say(bus, run, "one\nhalf a li", ("stderr", "careful\n"))
    done = await command("logs", first["id"])
    assert (done.stdout, done.stderr) == ("one\nhalf a li\n", "careful\n")


async def test_without_a_scheduler_the_trigger_waits_and_its_run_is_known(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost: the run will have the printed id."""
    monkeypatch.setattr("fastflow_gateway.actions.trigger_client.DECISION_S", 0.2)
    await publish_pipeline(bus, "demo", a_bundle(main_py="1"))
    async with running_gateway(bus) as gateway:
        where = {"FASTFLOW_URL": gateway.url, "FASTFLOW_TOKEN": TOKEN}
        done = await asyncio.to_thread(partial(fastflow, "run", "demo", cwd=tmp_path, **where))
        assert (done.returncode, "no scheduler has answered yet" in done.stderr) == (0, True)
        run_id = done.stderr.split("Run ")[1].split()[0]
        following = asyncio.create_task(
            asyncio.to_thread(partial(fastflow, "run", "demo", "--follow", cwd=tmp_path, **where))
        )
        async with running_scheduler(bus):
            store = RunStore(bus)
            async with asyncio.timeout(30):
                while len(runs := (await gateway.get("/api/runs?status=PENDING")).json["runs"]) < 2:
                    await asyncio.sleep(0.05)
            assert run_id in {run["id"] for run in runs}
            for each in runs:
                await finish(bus, await claim(bus, (await store.find(check_run_id(each["id"]))).run))
            assert (await following).returncode == 0


async def test_an_ambiguous_run_is_an_error_with_candidates(command: Command, bus: Bus) -> None:
    """A pipeline without runs, a prefix that is too short, and an ambiguous prefix are different errors."""
    known = json.loads((await command("run", "demo", "--json")).stdout)
    store = RunStore(bus)
    run = (await store.find(check_run_id(known["id"]))).run

    for number in range(2):
        assert await store.create(replace(run, id=check_run_id(f"abcd0000-0000-4000-8000-00000000000{number}")), None)
    for wanted, says in (
        ("abcd", "2 run ids start with 'abcd': abcd0000-0000-4000-8000-000000000000"),
        ("demo_two", "has no runs yet; start one with `fastflow run demo_two`"),
        ("demo_tw", "did you mean demo_two or demo?"),
        ("abc", "fastflow ps --all"),
    ):
        done = await command("logs", wanted)
        assert (done.returncode, says in done.stderr) == (3, True), done.stderr


async def test_the_list_is_fetched_in_pages(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs exist, no response has more than the command shows."""
    asked: list[int] = []
    page = queries.run_page

    def noting(*arguments: object, limit: int, **rest: object) -> object:
        asked.append(limit)
        return page(*arguments, limit=limit, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(queries, "run_page", noting)
    ids = [json.loads((await command("run", "demo", "--json")).stdout)["id"] for _ in range(3)]
    for options in (["-n", "2"], ["-a", "-n", "2"]):
        assert [run["id"] for run in json.loads((await command("ps", *options, "--json")).stdout)] == ids[:0:-1]
    assert asked == [2, 2, 2]


async def test_the_dashboards_address_is_printed(command: Command, url: str) -> None:
    """With a code that works once if there is no browser, never with the token."""
    done = await command("open", "--no-browser")
    assert done.stdout.startswith(f"{url}/login?code=")
    assert TOKEN not in done.stdout
    async with aiohttp.ClientSession() as browser:
        for status in (303, 401):
            async with browser.get(done.stdout.strip(), allow_redirects=False) as answer:
                assert answer.status == status


async def test_without_a_key_here_the_installation_encrypts(command: Command) -> None:
    """If it has no key either, that is an error."""
    done = await command("encrypt", "hunter2")
    assert (done.returncode, "this gateway has no ENCRYPTION_KEY" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("fastflow sch", ["schedules", "schema"]),
        ("fastflow run de", ["demo", "demo_two"]),
        ("fastflow logs demo_", ["demo_two"]),
        ("fastflow ps --pipeline demo_", ["demo_two"]),
        ("fastflow run --fo", ["--follow"]),
    ],
)
async def test_a_shell_completes_commands_options_and_pipelines(
    url: str, tmp_path: Path, words: str, offers: list[str]
) -> None:
    """As bash asks; without an installation there is no completion and no output."""
    parts = words.split()
    asking = {"_FASTFLOW_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}

    def asked(**environ: str) -> Done:
        return subprocess.run(
            FASTFLOW, cwd=tmp_path, env=clean(asking | environ), capture_output=True, text=True, check=False
        )

    done = await asyncio.to_thread(partial(asked, FASTFLOW_URL=url, FASTFLOW_TOKEN=TOKEN))
    assert [line.partition(",")[2] for line in done.stdout.splitlines()] == offers
    alone = await asyncio.to_thread(asked)
    assert alone.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(tmp_path: Path, shell: str) -> None:
    """The script calls the command by its name."""
    done = fastflow("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert "_FASTFLOW_COMPLETE" in done.stdout
    assert "fastflow" in done.stdout


def test_an_http_command_loads_no_service_and_no_bus_client(tmp_path: Path) -> None:
    """So that it starts fast."""
    code = (
        "import sys\n"
        "from fastflow.commands import installations, pipelines, runners, runs, schedules, start\n"
        "heavy = {'nats', 'aiohttp', 'croniter', 'fastflow_gateway', 'fastflow_syncer'}\n"
        "heavy |= {'urllib.request', 'platformdirs', 'secrets', 'difflib'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
