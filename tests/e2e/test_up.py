"""``fastflow up``: everything in one process, from the first start to the kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastflow.local.nats_server import embedded_bus
from tests.git_repository import Repository
from tests.support.installation import DEAF, HELLO, SLEEPS, Installation, fastflow


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with Installation(tmp_path) as made:
        made.add("hello", HELLO)
        yield made


@pytest.mark.promise("one command")
def test_it_is_ready_when_it_reports_so_and_leaves_nothing_behind(installation: Installation) -> None:
    """A run starts right after the message; after Ctrl-C there is no process, no lock, and no error."""
    installation.start()
    done = installation.command("run", "hello", "--follow")
    assert (done.returncode, done.stdout) == (0, "Hello, world!\n")
    assert installation.stop() == 0
    assert installation.printed[-1] == "Stopped.\n"
    assert not (installation.data_dir / "up.pid").exists()
    installation.await_silence()


def test_what_it_prints_says_where_everything_is(installation: Installation) -> None:
    """Bus, pipelines, sandbox with the limits it does not enforce, and a login address that opens."""
    installation.add("broken", "", timeout="soon")
    (installation.pipelines / "linked").symlink_to("hello")
    installation.start()
    printed = "".join(installation.printed)
    assert ".fastflow/bus.url" in printed
    assert "2 in" in printed
    assert "with problems: broken, linked (see" in printed
    assert "plain processes, as requested" in printed
    assert "network is not isolated" in printed
    assert "/login?code=" in installation.address
    assert installation.token not in printed
    for status in (200, 401):
        assert _opened(installation.address) == status
    assert "\x1b[" not in printed
    installation.stop()


def _opened(address: str) -> int:
    """Open *address* as a new browser does; return the status."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    try:
        with browser.open(address, timeout=30) as page:
            return int(page.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_requested_sync_is_answered(installation: Installation) -> None:
    """By a syncer that may answer the gateway, but no other service."""
    installation.start()
    assert installation.api("/api/sync", {})["pipelines"] >= 1
    assert installation.stop() == 0


def test_secrets_in_the_data_folder_are_its_owners(installation: Installation) -> None:
    """No other user of the machine can read the token and the bus address."""
    installation.start()
    for name in ("token", "bus.url", "bus.conf"):
        assert (installation.data_dir / name).stat().st_mode & 0o077 == 0
    installation.stop()


def test_a_second_start_continues_where_it_was(installation: Installation) -> None:
    """Runs, logs, token and the bus's address are still there."""
    installation.start()
    token = installation.token
    url = installation.command("bus", "url").stdout
    installation.command("run", "hello", "--follow")
    installation.stop()
    installation.start()
    assert installation.token == token
    assert installation.command("bus", "url").stdout == url
    assert installation.command("logs", "hello").stdout == "Hello, world!\n"
    (run,) = json.loads(installation.command("ps", "--all", "--json").stdout)
    assert run["status"] == "SUCCESS"
    installation.stop()


def test_two_cannot_use_one_data_folder(installation: Installation) -> None:
    """The second one names the process that holds it, and disturbs nothing."""
    installation.start()
    assert installation.process is not None
    second = installation.command("up", str(installation.pipelines), "--port", "0")
    assert second.returncode == 1
    assert f"process {installation.process.pid}" in second.stderr
    assert installation.command("run", "hello", "-f").returncode == 0
    installation.stop()


def test_a_port_in_use_is_reported_before_anything_starts(installation: Installation) -> None:
    """One line with what to do; no process and no lock is left."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = installation.command("up", str(installation.pipelines), "--port", port)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (installation.data_dir / "up.pid").exists()
    assert installation.processes() == []


def test_ctrl_c_ends_what_runs(installation: Installation) -> None:
    """Within seconds, with no process left, and it names them; the run is over, and its record gives the reason.

    If nothing runs, it prints nothing.
    """
    installation.add("sleeps", SLEEPS)
    installation.start()
    run_id = json.loads(installation.command("run", "sleeps", "--json").stdout)["id"]
    installation.await_log(run_id, "asleep")
    assert installation.stop() == 0
    assert f"Stopping 1 run: sleeps ({run_id[:8]}).\n" in installation.printed
    installation.await_silence()
    installation.start()
    (run,) = json.loads(installation.command("ps", "--all", "--json").stdout)
    assert run["status"] in ("FAILED", "INTERRUPTED")
    assert installation.stop() == 0
    assert not [line for line in installation.printed if " run" in line and line.startswith("Stopping")]


def test_ctrl_c_while_it_starts_is_handled(installation: Installation) -> None:
    """It does not wait for parts that have not started, and nothing is left."""
    installation.launch()
    installation.await_line("bus.url")
    assert installation.stop() == 0
    installation.await_silence()


def test_a_second_ctrl_c_does_not_wait(installation: Installation) -> None:
    """Not even for a script that ignores the signal; nothing outlives it for long."""
    installation.add("deaf", DEAF)
    installation.start()
    run_id = json.loads(installation.command("run", "deaf", "--json").stdout)["id"]
    installation.await_log(run_id, "deaf")
    installation.signal(signal.SIGINT)
    installation.await_line("Stopping")
    installation.signal(signal.SIGINT)
    assert installation.process is not None
    assert installation.process.wait(2) == 130
    installation.wait()
    installation.await_silence()


def test_a_kill_leaves_no_process_and_the_next_start_works(installation: Installation) -> None:
    """The bus and the scripts die with it; the active run ends once, the next one runs."""
    installation.add("sleeps", SLEEPS)
    installation.start()
    run_id = json.loads(installation.command("run", "sleeps", "--json").stdout)["id"]
    installation.await_log(run_id, "asleep")
    installation.kill()
    installation.await_silence()
    installation.start()
    assert installation.command("run", "hello", "-f").stdout == "Hello, world!\n"
    followed = installation.command("logs", run_id, "--follow")
    assert (followed.returncode, followed.stdout) == (0, "asleep\n")
    (lost,) = json.loads(installation.command("ps", "-a", "--pipeline", "sleeps", "--json").stdout)
    assert (lost["status"], lost["error_type"]) == ("FAILED", "lost")
    installation.stop()


def test_a_bus_that_dies_is_started_again(installation: Installation) -> None:
    """The services reconnect by themselves."""
    installation.start()
    pid = int((installation.data_dir / "bus.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    installation.await_line("embedded bus stopped")
    assert installation.command("run", "hello", "-f").stdout == "Hello, world!\n"
    installation.stop()


def test_the_next_run_uses_saved_code(installation: Installation) -> None:
    """No restart, no command: a changed file and a new folder are live within seconds."""
    installation.start()
    (installation.pipelines / "hello" / "main.py").write_text("print('changed')\n")
    installation.add("fresh", "print('new')\n")
    deadline = time.monotonic() + 60
    while installation.command("run", "fresh", "-f").stdout != "new\n":
        assert time.monotonic() < deadline
    assert installation.command("run", "hello", "-f").stdout == "changed\n"
    installation.stop()


@pytest.mark.promise("from git")
def test_pipelines_come_from_a_configured_repository(installation: Installation, tmp_path: Path) -> None:
    """GIT_REPO_URL replaces the folder; a run knows its commit."""
    repository = Repository(tmp_path / "repository")
    (repository.path / "from_git").mkdir()
    (repository.path / "from_git" / "main.py").write_text(HELLO)
    repository.git("add", ".")
    repository.git("commit", "-q", "-m", "first")
    shutil.rmtree(installation.pipelines)
    installation.start(source=False, GIT_REPO_URL=repository.url)
    assert installation.command("run", "from_git", "-f").stdout == "Hello, world!\n"
    (run,) = json.loads(installation.command("ps", "-a", "--json").stdout)
    assert run["commit"] == repository.git("rev-parse", "HEAD").strip()
    installation.stop()


@pytest.mark.promise("nothing shared")
async def test_another_nats_server_may_be_the_bus(installation: Installation, tmp_path: Path) -> None:
    """It gets its streams, none is embedded, and commands in the folder find it."""
    async with embedded_bus(tmp_path / "elsewhere") as url:
        installation.start("--nats-url", url)
        assert not (installation.data_dir / "bus.pid").exists()
        assert installation.command("run", "hello", "-f").stdout == "Hello, world!\n"
        assert installation.command("bus", "url").stdout == url + "\n"
        installation.stop()


def test_http_and_the_command_see_the_same(installation: Installation) -> None:
    """A run started over HTTP is followed from the command line; the printed token opens the API."""
    installation.start()
    (pipeline,) = installation.api("/api/pipelines")
    assert pipeline["name"] == "hello"
    run = installation.api("/api/pipelines/hello/run?allow_undeclared=true", {"env_vars": {"NAME": "HTTP"}})
    assert installation.command("logs", run["id"], "-f").stdout == "Hello, HTTP!\n"
    assert installation.api(f"/api/runs/{run['id']}")["status"] == "SUCCESS"
    installation.stop()


def test_a_configured_token_is_not_printed(installation: Installation) -> None:
    """The user who set it knows it."""
    installation.start(FASTFLOW_ADMIN_TOKEN="a-token-of-my-own-choice")
    assert "login" not in installation.address
    assert not (installation.data_dir / "token").exists()
    installation.stop()


@pytest.mark.parametrize(
    ("environ", "arguments", "code", "says"),
    [
        ({}, [], 3, "mkdir -p pipelines/hello"),
        ({}, ["nowhere"], 3, "there is no folder nowhere"),
        ({}, ["one"], 2, "folder above"),
        ({"FASTFLOW_PROT": "1"}, ["."], 2, "did you mean FASTFLOW_PORT"),
        ({"RUNNER_SLOTS": "many"}, ["."], 2, "RUNNER_SLOTS"),
        ({"FASTFLOW_PORT": "http"}, ["."], 2, "FASTFLOW_PORT"),
        ({"FASTFLOW_ADMIN_TOKEN": "short"}, ["."], 2, "at least 16 characters"),
        ({}, [".", "--nats-url", "nats://127.0.0.1:1"], 5, "no NATS server answers"),
        ({}, [".", "--host", "256.1.1.1"], 2, "--host"),
        ({}, [".", "--data-dir", "one/main.py"], 2, "--data-dir"),
    ],
)
def test_an_impossible_start_is_explained(
    tmp_path: Path, environ: dict[str, str], arguments: list[str], code: int, says: str
) -> None:
    """The reason and what to do, no traceback, the documented exit code, and no process left."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "main.py").write_text("")
    done = fastflow("up", *arguments, cwd=tmp_path, **environ)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code
    Installation(tmp_path).await_silence()


def test_a_drained_runner_leaves_and_the_rest_stays(installation: Installation) -> None:
    """Running scripts finish; the dashboard and the schedules continue, and new runs wait for the next start."""
    installation.add("sleeps", "import time\nprint('asleep', flush=True)\ntime.sleep(2)\n")
    installation.start()
    run = installation.api("/api/pipelines/sleeps/run", {})["id"]
    installation.await_log(run, "asleep")
    (runner,) = installation.api("/api/runners")["runners"]
    assert installation.command("runners", "drain", runner["id"]).returncode == 0
    installation.await_line("runner left")
    assert installation.api(f"/api/runs/{run}")["status"] == "SUCCESS"
    waiting = installation.api("/api/pipelines/sleeps/run", {})["id"]
    assert installation.api(f"/api/runs/{waiting}")["status"] == "PENDING"
    assert installation.api("/api/runners")["runners"] == []
    assert installation.stop() == 0
    installation.start()
    installation.await_log(waiting, "asleep")
    assert installation.stop() == 0
