"""The command as people and scripts use it, beside a running ``fastflow up`` with the example pipelines."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastflow_contracts.bus import streams
from tests.support.installation import FASTFLOW, Installation, clean, fastflow

EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for all tests of this file."""
    with Installation(tmp_path_factory.mktemp("cli"), pipelines=EXAMPLES) as made:
        made.start()
        yield made
        assert made.stop() == 0


def ended(there: Installation, pipeline: str) -> dict[str, Any]:
    """Return the newest run of *pipeline* as scripts see it."""
    return runs(there, pipeline)[0]


def runs(there: Installation, pipeline: str) -> list[dict[str, Any]]:
    """Return the runs of *pipeline*, newest first."""
    found = json.loads(there.command("ps", "-a", "--pipeline", pipeline, "--json").stdout)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    ("name", "options", "code", "expected"),
    [
        ("hello", ["-e", "NAME=you"], 0, "Hello, you!"),
        ("sales_report", ["-p", "TOP=1"], 0, "│ South"),
        ("stock_check", [], 0, "ORDER 5"),
        ("failing", [], 1, "Reading 3 records"),
        ("slow_progress", ["-e", "STEPS=3", "-e", "STEP_S=0.1"], 0, "100%  step 3 of 3"),
        ("flaky_download", ["-e", "FAIL_RATE=0"], 0, "200 OK"),
        ("memory_limit", [], 1, "holding 8 MiB"),
        ("sensor_report", [], 0, "°C"),
        ("event_consumer", [], 0, "No event arrived"),
        ("nightly", [], 0, "made by hand"),
        ("extract", [], 0, "3 orders extracted"),
        ("load", [], 0, "Started by manual"),
        ("notebook_report", ["-p", "days=3", "-p", "city=Oslo"], 0, "3 days in Oslo"),
    ],
)
def test_every_example_does_what_it_says(
    there: Installation, name: str, options: list[str], code: int, expected: str
) -> None:
    """Its output is the command's output, its end the command's exit code."""
    done = there.command("run", name, *options, "--follow")
    assert expected in done.stdout
    assert done.returncode == code


def test_the_example_that_names_its_python_gets_it_or_lists_the_choices(there: Installation) -> None:
    """If 3.11 is not installed and cannot be downloaded, a sentence names the installed versions."""
    done = there.command("run", "python_version", "--follow")
    if done.returncode == 0:
        assert "Python 3.11" in done.stdout
    else:
        own = ".".join(platform.python_version_tuple()[:2])
        assert "Python 3.11 is not installed here and could not be downloaded" in done.stderr
        assert own in done.stderr


def test_no_example_is_left_out() -> None:
    """The list above equals the folder."""
    tested = next(mark for mark in test_every_example_does_what_it_says.pytestmark).args[1]
    assert {"python_version", *(row[0] for row in tested)} == {
        folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()
    }


def test_the_second_of_a_chain_follows_the_first(there: Installation) -> None:
    """The first one's success starts it, and the record shows that."""
    first = json.loads(there.command("run", "extract", "--follow", "--json").stdout.splitlines()[-1])
    deadline = time.monotonic() + 30
    while not (follower := [run for run in runs(there, "load") if run["parent_run_id"] == first["id"]]):
        assert time.monotonic() < deadline
    assert follower[0]["triggered_by"] == "downstream"
    there.await_log(follower[0]["id"], "extract is done")


def test_output_goes_to_the_stream_that_the_script_used(there: Installation) -> None:
    """stdout holds only the script's output, so it can be piped on; tracebacks are plain Python's."""
    done = there.command("run", "failing", "--follow")
    assert done.stdout == "Reading 3 records\n"
    assert "ValueError: could not convert string to float: 'about twenty'" in done.stderr
    assert "The above exception was the direct cause" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("FAILED after")
    assert done.stderr.splitlines()[-1].endswith("exit code 1")


def test_a_script_over_its_memory_limit_reports_it(there: Installation) -> None:
    """The exit code is 137, and the reason is oom."""
    there.command("run", "memory_limit", "--follow")
    run = ended(there, "memory_limit")
    assert (run["status"], run["exit_code"], run["error_type"]) == ("FAILED", 137, "oom")
    assert "oom (exit code 137)" in there.command("ps", "-a", "--pipeline", "memory_limit").stdout


def test_attempts_are_reported_as_they_fail(there: Installation) -> None:
    """Each failure, its reason and the growing pause; cancelling ends the wait."""
    with subprocess.Popen(
        [*FASTFLOW, "run", "flaky_download", "-e", "FAIL_RATE=1", "-f"],
        cwd=there.folder,
        env=clean({}),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as following:
        assert following.stderr is not None
        told = []
        for line in following.stderr:
            told.append(line)
            if "Attempt 2 failed" in line:
                done = there.command("cancel", "flaky_download")
                assert "INTERRUPTED" in done.stdout
                assert done.returncode == 0
        assert following.wait(10) == 1
    assert "Attempt 1 failed: exit code 1. The next one in 1.00 s.\n" in told
    assert "Attempt 2 failed: exit code 1. The next one in 2.00 s.\n" in told
    assert told[-1].startswith("INTERRUPTED")


def test_a_running_script_is_cancelled_with_sigterm(there: Installation) -> None:
    """It gets SIGTERM and may clean up; cancelling an ended run is a clear error."""
    run_id = json.loads(there.command("run", "slow_progress", "--json").stdout)["id"]
    there.await_log(run_id, "step 1 of 20")
    done = there.command("cancel", run_id[:8])
    assert (done.returncode, "INTERRUPTED" in done.stdout) == (0, True)
    assert "cleaning up" in there.command("logs", run_id).stdout
    again = there.command("cancel", run_id)
    assert again.returncode == 1
    assert "already over: INTERRUPTED" in again.stderr


def test_ctrl_c_while_following_leaves_the_run_alone(there: Installation) -> None:
    """The exit code is 130, and a hint says how to stop the run itself."""
    with subprocess.Popen(
        [*FASTFLOW, "run", "slow_progress", "-f"],
        cwd=there.folder,
        env=clean({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert "step 1 of 20" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130
        assert "fastflow cancel" in following.stderr.read()
    assert "RUNNING" in there.command("ps").stdout
    assert there.command("cancel", "slow_progress").returncode == 0


def test_a_log_is_followed_to_its_end_by_anyone(there: Installation) -> None:
    """A late follower reads the same lines; JSON lines name stream, attempt and time."""
    run_id = json.loads(there.command("run", "slow_progress", "-e", "STEPS=4", "-e", "STEP_S=0.3", "--json").stdout)[
        "id"
    ]
    followed = there.command("logs", run_id, "-f")
    assert followed.stdout.splitlines()[-1] == "Done."
    assert followed.stdout == there.command("logs", "slow_progress").stdout
    lines = [json.loads(line) for line in there.command("logs", run_id, "--json").stdout.splitlines()]
    assert [line["line"] for line in lines] == followed.stdout.splitlines()
    assert {(line["stream"], line["attempt"]) for line in lines} == {("stdout", 1)}
    assert [line["ts"] for line in lines] == sorted(line["ts"] for line in lines)


def test_json_of_a_followed_run_ends_with_the_run(there: Installation) -> None:
    """Every line is an object; the last one is the run as the API shows it."""
    done = there.command("run", "hello", "--follow", "--json")
    *lines, run = map(json.loads, done.stdout.splitlines())
    assert [line["line"][:6] for line in lines] == ["Hello,"]
    assert (run["status"], run["pipeline_name"], run["triggered_by"]) == ("SUCCESS", "hello", "manual")


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


def test_a_refusing_server_is_not_reported_as_unreachable(there: Installation) -> None:
    """The server answers: the password or the token is wrong."""
    url = there.command("bus", "url").stdout.strip()
    wrong = re.sub(r":[^:@/]+@", ":wrong@", url)
    done = there.command("bus", "status", "--nats-url", wrong)
    assert done.returncode == 5
    assert "refuses these credentials" in done.stderr
    assert "no NATS server answers" not in done.stderr
    done = there.command("ps", "--token", "wrong")
    assert done.returncode == 5
    assert "refuses the token: the token is not this installation's" in done.stderr


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


def test_a_variable_can_be_passed_on_from_the_caller(there: Installation) -> None:
    """`-e NAME` takes the caller's own value, as docker does."""
    assert "Hello, caller!" in there.command("run", "hello", "-e", "NAME", "-f", NAME="caller").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "nosuch"], 3, "no pipeline nosuch. `fastflow pipelines` lists them"),
        (["run", "helo"], 3, "did you mean hello?"),
        (["trigger", "helo"], 3, "did you mean hello?"),
        (["ps", "-a", "--pipeline", "helo"], 3, "there is no pipeline helo; did you mean hello?"),
        (["run", "no such"], 2, "cannot be a pipeline's name"),
        (["run", "hello", "-e", "NOTHING_SET"], 2, "NAME=value"),
        (["run", "hello", "-e", "=x"], 2, "before the ="),
        (["run", "hello", "--config", "prod"], 2, "prod"),
        (["run"], 2, "Missing argument"),
        (["logs", "ffffffff"], 3, "ps --all"),
        (["logs", "python_versio"], 3, "did you mean python_version?"),
        (["cancel", "00000000-0000-4000-8000-000000000000"], 3, "no run"),
        (["trigger", "ff.log.x"], 2, "ff.trigger.<pipeline>"),
        (["trigger", "event_consumer", "@/nowhere"], 3, "/nowhere"),
        (["trigger", "event_consumer", '{"env_vars": 1}'], 2, "env_vars"),
        (["ps", "--pipeline", "a b"], 2, "cannot be a pipeline's name"),
        (["bus", "status", "--nats-url", "nats://127.0.0.1:1"], 5, "no NATS server answers at nats://127.0.0.1:1"),
        (["ps", "--url", "http://127.0.0.1:1"], 5, "http://127.0.0.1:1 cannot be reached"),
        (["ps", "--url", "nats://127.0.0.1:1"], 2, "write it as http://host:port"),
        (["ps", "--url", "http://127.0.0.1:1", "--on", "prod"], 2, "give only one of them"),
        (["ps", "--on", "prod"], 3, "`fastflow login URL --on prod` stores it"),
        (["retry", "ffffffff"], 3, "ps --all"),
        (["schedules", "off", "hello"], 3, "hello has no schedules"),
        (["runners", "drain", "nobody"], 3, "there is no runner nobody; there are: "),
        (["ps", "--data-dir", "elsewhere"], 5, "fastflow up"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do(there: Installation, arguments: list[str], code: int, says: str) -> None:
    """One clear message, the documented exit code, never a traceback."""
    done = there.command(*arguments)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [["run", "sensor_report", "-f"], ["logs", "sensor_report"], ["ps", "-a"]])
def test_a_reader_that_stops_early_is_not_an_error(there: Installation, arguments: list[str]) -> None:
    """As in ``fastflow logs x | head``: the command ends without a message."""
    assert there.command("run", "sensor_report", "-f").returncode == 0
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as closed:
        done = subprocess.run(
            [*FASTFLOW, *arguments],
            cwd=there.folder,
            env=clean({}),
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=30,
        )
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert done.returncode == 1


def test_the_bus_can_be_made_ready_and_named(there: Installation) -> None:
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


def test_colour_is_for_terminals_that_want_it(there: Installation) -> None:
    """None in a pipe; none on a terminal with NO_COLOR."""
    there.command("run", "failing", "-f")
    assert "\x1b[" not in there.command("ps", "-a").stdout
    assert "\x1b[" in on_a_terminal(there, "ps", "-a")
    assert "\x1b[" not in on_a_terminal(there, "ps", "-a", NO_COLOR="1")


def test_help_answers_at_once(tmp_path: Path) -> None:
    """It imports nothing heavy: no service, no bus client, no message codec."""
    code = (
        "import sys; sys.argv = ['fastflow', '--help']\n"
        "from fastflow.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'nats', 'aiohttp', 'msgspec'} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [FASTFLOW[0], "-c", code], cwd=tmp_path, env=clean({}), capture_output=True, text=True, check=True
    )
    assert "fastflow up" in done.stdout
    assert done.stderr == "[]\n"


def test_ctrl_c_is_130_also_before_a_command_has_begun(tmp_path: Path) -> None:
    """Also while its modules are still being imported; without a message."""
    code = (
        "import signal, sys, fastflow.cli as cli\n"
        "cli.importlib.import_module = lambda name: signal.raise_signal(signal.SIGINT)\n"
        "sys.argv = ['fastflow', 'ps']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [FASTFLOW[0], "-c", code], cwd=tmp_path, env=clean({}), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (130, "")


def on_a_terminal(there: Installation, *arguments: str, **environ: str) -> str:
    """Return what the command prints on a terminal."""
    leader, follower = os.openpty()
    try:
        subprocess.run(
            [*FASTFLOW, *arguments], cwd=there.folder, env=clean(environ), stdout=follower, check=True, timeout=30
        )
        return os.read(leader, 65_536).decode()
    finally:
        os.close(leader)
        os.close(follower)
