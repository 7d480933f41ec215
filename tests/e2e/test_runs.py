"""Scripts from trigger to recorded end, the same ones through Docker and through processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fastflow_contracts.bus import subjects
from fastflow_contracts.pipelines.format.spec import FixedDelay
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.run import RunErrorType, RunStatus
from fastflow_contracts.runs.state_machine import Cancel
from tests.support.system import System, as_json, system

SANDBOXES = ["process", pytest.param("docker", marks=pytest.mark.docker)]


@pytest_asyncio.fixture(params=SANDBOXES)
async def fast(request: pytest.FixtureRequest, bus_url: str, tmp_path: Path) -> AsyncIterator[System]:
    """The system with one kind of sandbox."""
    async with system(bus_url, tmp_path / "data", sandbox=request.param) as made:
        yield made


@pytest.mark.promise("explains itself")
async def test_a_successful_script_has_its_whole_log(fast: System) -> None:
    """Start, output, exit code, times: the record and the log have everything."""
    await fast.pipeline("hello", "import sys\nprint('out')\nprint('err', file=sys.stderr)\n")
    run = await fast.run("hello")
    assert run.status is RunStatus.SUCCESS
    (attempt,) = run.attempts
    assert attempt.exit_code == 0
    assert attempt.started_at is not None
    assert attempt.claimed_at <= attempt.started_at <= attempt.finished_at
    assert await fast.text(run) == "out"
    assert await fast.text(run, "stderr") == "err"


async def test_a_script_runs_as_plain_python_would_run_it(fast: System) -> None:
    """Name, arguments, working directory, siblings, unbuffered output, real traceback, real exit code."""
    main = (
        "import json, os, sys, pathlib\n"
        "pathlib.Path('written.txt').write_text('x')\n"
        "print(json.dumps([__name__, sys.argv, os.path.basename(os.getcwd()), sorted(os.listdir())]))\n"
        "raise ValueError('boom')\n"
    )
    await fast.pipeline("plain", main)
    run = await fast.run("plain")
    assert run.status is RunStatus.FAILED
    (attempt,) = run.attempts
    assert (attempt.exit_code, attempt.error_type) == (1, RunErrorType.SCRIPT_ERROR)
    assert attempt.error_message == "ValueError: boom (exit code 1)"
    name, argv, cwd, files = as_json(await fast.text(run))
    assert (name, argv, cwd, files) == ("__main__", ["main.py"], "plain", ["main.py", "written.txt"])
    assert (await fast.text(run, "stderr")).startswith("Traceback (most recent call last):\n  File ")


async def test_variables_come_in_their_order_of_precedence(fast: System) -> None:
    """Pipeline, trigger, parameters; and the system's own."""
    await fast.pipeline(
        "env",
        "import json, os\nprint(json.dumps(dict(os.environ)))\n"
        "print(open(os.environ['FASTFLOW_EVENT_FILE'], 'rb').read())\n"
        "print(open(os.environ['FASTFLOW_EVENT_HEADERS_FILE']).read())",
        default_env={"A": "pipeline", "B": "pipeline", "C": "pipeline"},
    )
    run = await fast.run(
        "env",
        env_vars={"B": "trigger", "C": "trigger"},
        parameters={"C": "param"},
        event=b"\x00e",
        event_headers={"ce-type": "t", "cookie": "c"},
    )
    shown, event, headers = (await fast.text(run)).splitlines()
    env = as_json(shown)
    assert (env["A"], env["B"], env["C"]) == ("pipeline", "trigger", "param")
    assert env["FASTFLOW_RUN_ID"] == run.id
    assert (env["FASTFLOW_PIPELINE"], env["FASTFLOW_ATTEMPT"], env["FASTFLOW_TRIGGERED_BY"]) == ("env", "1", "bus")
    assert event == repr(b"\x00e")
    assert as_json(headers) == {"ce-type": "t"}


async def test_a_failed_attempt_is_tried_again_under_the_same_id_with_a_log_of_its_own(fast: System) -> None:
    """The second attempt sees its number and succeeds."""
    await fast.pipeline(
        "retry",
        "import os, sys\nprint('attempt', os.environ['FASTFLOW_ATTEMPT'])\n"
        "sys.exit(3 if os.environ['FASTFLOW_ATTEMPT'] == '1' else 0)",
        retry_attempts=2,
        retry_strategy=FixedDelay(delay=0.2),
    )
    run = await fast.run("retry")
    assert run.status is RunStatus.SUCCESS
    assert [(a.number, a.exit_code) for a in run.attempts] == [(1, 3), (2, 0)]
    assert await fast.text(run) == "attempt 1\nattempt 2"


async def test_a_running_script_is_cancelled(fast: System) -> None:
    """SIGTERM first; the run is INTERRUPTED, and its output so far is kept."""
    main = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('got TERM'), sys.exit(0)))\n"
        "print('up')\ntime.sleep(60)\n"
    )
    await fast.pipeline("long", main)
    ref = await fast.start("long")
    await fast.first_output(ref)
    await fast.bus.publish(subjects.command(ref), messages.CANCEL.encode(Cancel()))
    run = await fast.end(ref)
    assert run.status is RunStatus.INTERRUPTED
    assert await fast.text(run) == "up\ngot TERM"


async def test_a_script_over_its_time_is_stopped(fast: System) -> None:
    """FAILED, with the reason."""
    await fast.pipeline("slow", "import time\ntime.sleep(60)\n", timeout=1.0)
    run = await fast.run("slow")
    assert run.status is RunStatus.FAILED
    assert run.attempts[0].error_type is RunErrorType.TIMEOUT
    assert run.attempts[0].error_message == "stopped after its timeout of 1 s"


async def test_a_script_over_its_memory_is_killed(fast: System) -> None:
    """Exit code 137, error type oom."""
    main = "import time\nkept = []\nwhile True:\n    kept.append(b'x' * 4_000_000)\n    time.sleep(0.02)\n"
    await fast.pipeline("greedy", main, mem_hard_limit=100 * 1024**2)
    run = await fast.run("greedy")
    assert (run.attempts[0].exit_code, run.attempts[0].error_type) == (137, RunErrorType.OOM)
    assert "100 MiB" in str(run.attempts[0].error_message)


async def test_a_child_killed_for_memory_is_a_warning_on_the_run(fast: System) -> None:
    """The script continues and succeeds; the run says what happened."""
    main = (
        "import subprocess, sys\nhoard = 'import time; x = bytearray(400 << 20); x[::4096] = b\"1\" * len(x[::4096])'\n"
        "print(subprocess.run([sys.executable, '-c', hoard + '; time.sleep(600)']).returncode)\n"
    )
    await fast.pipeline("child", main, mem_hard_limit=100 * 1024**2)
    run = await fast.run("child")
    assert (run.status, await fast.text(run)) == (RunStatus.SUCCESS, "-9")
    (warning,) = run.attempts[0].warnings
    assert warning.startswith(
        "a process that the script started was killed: it needed more memory than its limit of 100"
    )


async def test_a_requirement_that_does_not_exist_fails_with_uvs_message(fast: System) -> None:
    """environment_error, no user code, within seconds."""
    await fast.pipeline("nodep", "print('never')", requirements="no-such-package-at-all-xyz==1\n")
    run = await fast.run("nodep")
    (attempt,) = run.attempts
    assert (attempt.error_type, attempt.started_at) == (RunErrorType.ENVIRONMENT_ERROR, None)
    assert "no-such-package-at-all-xyz" in str(attempt.error_message)
    assert await fast.text(run) == ""


@pytest.mark.promise("nothing to build")
async def test_packages_are_there_and_the_second_run_finds_them_ready(fast: System) -> None:
    """The environment is prepared once."""
    await fast.pipeline("dep", "import six\nprint(six.__version__)", requirements="six==1.16.0\n")
    first = await fast.run("dep")
    assert await fast.text(first) == "1.16.0"
    second = await fast.run("dep")
    assert await fast.text(second, "system") == ""
    assert await fast.text(second) == "1.16.0"


@pytest.mark.promise("live")
async def test_two_hundred_thousand_lines_arrive_complete_and_in_order(fast: System) -> None:
    """No line lost, doubled or reordered."""
    await fast.pipeline("flood", "for n in range(200_000):\n    print(n, 'x' * 60)\n")
    run = await fast.run("flood")
    lines = await fast.lines(run)
    assert [line.text for line in lines] == [f"{n} {'x' * 60}" for n in range(200_000)]


@pytest.mark.parametrize(
    ("writes", "text"),
    [
        ("sys.stdout.write('x' * 20_000_000)", "x" * 20_000_000),
        ("sys.stdout.buffer.write(bytes(range(256)) * 40)", (bytes(range(256)) * 40).decode("utf-8", "replace")),
        ("sys.stdout.write('a\\nno newline')", "a\nno newline"),
    ],
    ids=["one line of 20 MB", "binary rubbish", "no final newline"],
)
async def test_odd_output_arrives_whole(fast: System, writes: str, text: str) -> None:
    """The log has everything that the script writes."""
    await fast.pipeline("odd", f"import sys\n{writes}\n")
    run = await fast.run("odd")
    assert run.status is RunStatus.SUCCESS
    assert await fast.text(run) == text


@pytest.mark.promise("starts fast")
async def test_ten_runs_at_once_do_not_see_each_other(fast: System) -> None:
    """Each has its own working directory."""
    main = (
        "import os, pathlib\np = pathlib.Path('mine')\nassert not p.exists()\n"
        "p.write_text(os.environ['FASTFLOW_RUN_ID'])\nprint(sorted(os.listdir('..')))"
    )
    await fast.pipeline("many", main)
    runs = await asyncio.gather(*(fast.run("many") for _ in range(10)))
    assert {run.status for run in runs} == {RunStatus.SUCCESS}
    assert {await fast.text(run) for run in runs} == {"['many']"}


async def test_packages_that_a_script_names_itself_are_installed(fast: System) -> None:
    """In a comment, as in PEP 723, in addition to its requirements."""
    main = "# /// script\n# dependencies = ['six==1.17.0']\n# ///\nimport iniconfig, six\nprint(six.__version__)"
    await fast.pipeline("inline", main, requirements="iniconfig\n")
    assert await fast.text(await fast.run("inline")) == "1.17.0"


async def test_a_block_that_was_never_checked_fails_its_runs_with_the_reason(
    bus_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The version went live before a sync read blocks; other pipelines' environments are unaffected."""
    caplog.set_level("INFO", "fastflow_runner.preheat")
    async with system(bus_url, tmp_path / "data", sandbox="process", pre_heat=True) as fast:
        await fast.pipeline("bad", "# /// script\n# dependencies = 'six'\n# ///\n")
        (attempt,) = (await fast.run("bad")).attempts
        assert attempt.error_type is RunErrorType.ENVIRONMENT_ERROR
        assert attempt.error_message is not None
        assert attempt.error_message.startswith("the block `# /// script` of main.py is not usable: Expected `array`")
        async with asyncio.timeout(60):
            while "environment not prepared" not in caplog.messages:
                await asyncio.sleep(0.05)


async def test_an_environment_is_prepared_when_its_pipeline_goes_live(
    bus_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is ready before any run, and the first run uses it: its log does not mention it."""
    caplog.set_level("INFO", "fastflow_runner.preheat")
    async with system(bus_url, tmp_path / "data", sandbox="process", pre_heat=True) as fast:
        await fast.pipeline("warm", "import six\nprint(six.__version__)", requirements="six==1.17.0\n")
        async with asyncio.timeout(60):
            while "environment prepared" not in caplog.messages:
                await asyncio.sleep(0.05)
        run = await fast.run("warm")
        assert await fast.text(run) == "1.17.0"
        assert await fast.text(run, "system") == ""
