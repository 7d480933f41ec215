"""Starting, following and cancelling runs; their output and exit codes."""

from __future__ import annotations

import json
import signal
import subprocess

from tests.e2e.cli.commands import ended
from tests.support.installation import FASTFLOW, Installation, clean


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
    assert "Attempt 1 failed: exit code 1. The next one in 1.0 s.\n" in told
    assert "Attempt 2 failed: exit code 1. The next one in 2.0 s.\n" in told
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
    assert (run["status"], run["pipeline_name"], run["triggered_by"]) == ("SUCCESS", "hello", "api")


def test_a_variable_can_be_passed_on_from_the_caller(there: Installation) -> None:
    """`-e NAME` takes the caller's own value, as docker does."""
    assert "Hello, caller!" in there.command("run", "hello", "-e", "NAME", "-f", NAME="caller").stdout
