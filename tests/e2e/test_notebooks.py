"""Notebooks from trigger to recorded end, the same ones through Docker and through processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from fastflow_contracts.bus import subjects
from fastflow_contracts.pipelines.format.spec import CellRetry
from fastflow_contracts.runs import messages
from fastflow_contracts.runs.cells import (
    INJECTED,
    Began,
    Injected,
    Noted,
    Opened,
    Part,
    Raised,
    Showed,
    Wrote,
)
from fastflow_contracts.runs.run import RunErrorType, RunStatus
from fastflow_contracts.runs.state_machine import Cancel
from tests.support.notebooks import (
    await_event,
    code,
    events_of,
    markdown,
    only,
    publish_notebook,
    statuses,
    text_of,
    written,
)
from tests.support.system import RUN_S, System, system

SANDBOXES = ["process", pytest.param("docker", marks=pytest.mark.docker)]
IR = {"name": "ir", "display_name": "R", "language": "R"}
KEY = Fernet.generate_key()


@pytest_asyncio.fixture(params=SANDBOXES)
async def fast(request: pytest.FixtureRequest, bus_url: str, kept_data: Path) -> AsyncIterator[System]:
    """The system with one kind of sandbox."""
    async with system(bus_url, kept_data, sandbox=request.param, encryption_key=KEY.decode()) as made:
        yield made


@pytest.mark.promise("notebooks")
async def test_cells_run_in_order_in_one_kernel_as_a_script_would(fast: System) -> None:
    """Cells share state; folder, siblings and variables are a script's; the log has headings."""
    await publish_notebook(
        fast.bus,
        "book",
        markdown("# Title"),
        "import os, helper\nx = helper.value",
        "print(x, os.environ['NAME'], os.path.basename(os.getcwd()))\nimport sys\nprint('oops', file=sys.stderr)",
        "x + 1",
        files={"helper.py": "value = 41", "nbclient.py": "raise SystemExit('a sibling must not be taken for it')"},
        default_env={"NAME": "value"},
    )
    run = await fast.run("book")
    assert run.status is RunStatus.SUCCESS, (run.attempts, await fast.lines(run))
    events = await events_of(fast.bus, run)
    assert statuses(events) == [(0, "SUCCESS"), (1, "SUCCESS"), (2, "SUCCESS")]
    assert only(Opened, events)[0].cells == 3
    assert (text_of(events), text_of(events, "stderr")) == ("41 value book\n", "oops\n")
    (shown,) = only(Showed, events)
    assert (shown.cell, shown.is_result, shown.data) == (2, True, {"text/plain": "42"})
    assert [line.text for line in await fast.lines(run) if line.stream != "system"] == [
        "── Cell 1 of 3: import os, helper ──",
        "── Cell 2 of 3: print(x, os.environ['NAME'], os.path.basename(os.getcwd())) ──",
        "41 value book",
        "oops",
        "── Cell 3 of 3: x + 1 ──",
        "42",
    ]


async def test_a_cell_is_tried_again_and_every_attempt_is_kept(fast: System) -> None:
    """``cells`` counts code cells; the cell's own metadata win field by field; a cell without retries ends the run."""
    flaky = "n = globals().get('n', 0) + 1\nprint('attempt', n)\nif n < 3:\n    raise ValueError(f'not yet {n}')"
    await publish_notebook(
        fast.bus,
        "retry",
        markdown("text"),
        "1",
        code(flaky, retries=2),
        "raise KeyError('end')",
        "print('never')",
        cells=(CellRetry(retries=9), CellRetry(retries=0, delay_seconds=0.1)),
    )
    run = await fast.run("retry")
    assert run.status is RunStatus.FAILED
    (attempt,) = run.attempts
    assert (attempt.exit_code, attempt.error_type) == (1, RunErrorType.SCRIPT_ERROR)
    assert attempt.error_message == "Cell 3 of 4 failed: KeyError: 'end' (exit code 1)"
    events = await events_of(fast.bus, run)
    assert statuses(events) == [(0, "SUCCESS"), (1, "RETRYING"), (1, "RETRYING"), (1, "SUCCESS"), (2, "FAILED")]
    assert [(raised.cell, raised.value) for raised in only(Raised, events)] == [
        (1, "not yet 1"),
        (1, "not yet 2"),
        (2, "'end'"),
    ]
    assert [began.attempt for began in only(Began, events) if began.cell == 1] == [1, 2, 3]
    assert text_of(events) == "attempt 1\nattempt 2\nattempt 3\n"
    log = await fast.text(run, "stderr")
    assert "Cell 2 of 4 failed: ValueError: not yet 1; attempt 2 starts in 0.1 s." in log


@pytest.mark.parametrize(
    ("cell", "stream", "last", "raised"),
    [
        ("print('a line')\nprint('no end', end='')\nwhile True:\n    pass", "stdout", "no end", "KeyboardInterrupt"),
        ("import sys\nprint(1)\nprint('2', file=sys.stderr)\nsum(range(10**12))", "stderr", "2", "Stopped"),
    ],
    ids=["at work in Python", "at work under the interpreter's lock"],
)
async def test_output_of_a_running_cell_arrives_while_it_works(
    fast: System, cell: str, stream: str, last: str, raised: str
) -> None:
    """Nothing is flushed, and the cell never pauses: its output is on the bus while it continues."""
    await publish_notebook(fast.bus, "live", cell)
    ref = await fast.start("live")

    def is_last(event: object) -> bool:
        return isinstance(event, Wrote) and event.stream == stream and last in event.text

    async with asyncio.timeout(RUN_S):
        await await_event(fast.bus, ref, is_last)
    await fast.bus.publish(subjects.command(ref), messages.CANCEL.encode(Cancel()))
    run = await fast.end(ref)
    assert run.status is RunStatus.INTERRUPTED
    events = await events_of(fast.bus, run)
    assert statuses(events) == [(0, "FAILED")]
    assert only(Raised, events)[0].name == raised


async def test_parameters_follow_the_cell_that_is_tagged_for_them(fast: System) -> None:
    """Each takes its default's type, is an environment variable too, and is shown in its own cell."""
    await publish_notebook(
        fast.bus,
        "params",
        code("n = 3\nname = 'nobody'\nrate = 0.5\nother = 1", "parameters"),
        "import os\nprint([n + 1, name, rate, other, fresh, os.environ['n']])",
    )
    parameters = {"n": "41", "name": "007", "rate": "2", "fresh": "x"}
    run = await fast.run("params", parameters=parameters)
    events = await events_of(fast.bus, run)
    assert text_of(events) == "[42, '007', 2.0, 1, 'x', '41']\n"
    (injected,) = only(Injected, events)
    assert (injected.after, "n = 41" in injected.source) == (0, True)
    assert statuses(events) == [(0, "SUCCESS"), (INJECTED, "SUCCESS"), (1, "SUCCESS")]
    bad = await fast.run("params", parameters={"n": "many"})
    assert "parameter n is 'many'" in str(bad.attempts[0].error_message)


async def test_a_dead_kernel_is_restarted_with_a_notice(fast: System) -> None:
    """The retry runs in a fresh kernel, with a notice that the state is gone."""
    dies = "import os\nif not os.path.exists('died'):\n    open('died', 'w').close()\n    os.kill(os.getpid(), 9)"
    await publish_notebook(fast.bus, "dies", "x = 1", code(dies, retries=1, delay_seconds=0), "print(x)")
    run = await fast.run("dies")
    assert run.status is RunStatus.FAILED
    events = await events_of(fast.bus, run)
    assert statuses(events) == [(0, "SUCCESS"), (1, "RETRYING"), (1, "SUCCESS"), (2, "FAILED")]
    assert [raised.name for raised in only(Raised, events)] == ["KernelDied", "NameError"]
    assert "variables and imports of earlier cells are gone" in only(Noted, events)[0].text


async def test_a_cell_over_its_time_fails_and_the_kernel_lives(fast: System) -> None:
    """The cell is interrupted; its retry finds the state. A cell that does not react costs the kernel."""
    slow = "import time\nn = globals().get('n', 0) + 1\nif n < 2:\n    time.sleep(60)\nprint('second', n)"
    deaf = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        pass"
    await publish_notebook(fast.bus, "slow", code(slow, timeout=0.5, retries=1, delay_seconds=0), code(deaf, timeout=1))
    run = await fast.run("slow")
    assert "CellTimeout: it took longer than its timeout of 1 s" in str(run.attempts[0].error_message)
    events = await events_of(fast.bus, run)
    assert statuses(events) == [(0, "RETRYING"), (0, "SUCCESS"), (1, "FAILED")]
    assert text_of(events) == "second 2\n"
    assert "did not react to the interrupt" in only(Noted, events)[0].text
    assert [raised.name for raised in only(Raised, events)] == ["KeyboardInterrupt", "CellTimeout", "CellTimeout"]


async def test_an_endless_loop_ends_at_the_timeout_of_the_run(fast: System) -> None:
    """The run is stopped like a script, and the cell's output is kept.

    The start of a kernel, which takes longer than that, does not count.
    """
    await publish_notebook(fast.bus, "endless", "print('going')\nwhile True:\n    pass", timeout=1.0)
    run = await fast.run("endless")
    assert run.attempts[0].error_type is RunErrorType.TIMEOUT
    events = await events_of(fast.bus, run)
    assert (text_of(events), statuses(events)) == ("going\n", [(0, "FAILED")])


async def test_input_is_refused_with_a_sentence(fast: System) -> None:
    """No one can answer, and the cell does not wait."""
    await publish_notebook(fast.bus, "asks", "name = input('Who? ')")
    run = await fast.run("asks")
    assert "input() gets no answer" in str(run.attempts[0].error_message)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "main.ipynb is not JSON"),
        (b'{"nbformat": 3, "worksheets": []}', "main.ipynb is of format 3"),
        (written(*["1"] * 1_001), "main.ipynb has 1001 cells"),
        (written("1", metadata={"kernelspec": IR}), "asks for the kernel 'ir' (R)"),
    ],
    ids=["not JSON", "nbformat 3", "too many cells", "another kernel"],
)
async def test_a_file_that_is_not_a_notebook_fails_with_a_sentence(fast: System, raw: bytes, words: str) -> None:
    """Also if no sync has checked it before."""
    await publish_notebook(fast.bus, "bad", raw=raw)
    run = await fast.run("bad")
    assert run.status is RunStatus.FAILED
    assert words in str(run.attempts[0].error_message)
    assert await events_of(fast.bus, run) == []


async def test_a_hundred_megabytes_are_cut_with_a_notice(fast: System) -> None:
    """The cell runs to its end; the page shows the start and a mark, and the next cell is complete."""
    await publish_notebook(
        fast.bus,
        "flood",
        "for _ in range(1_000_000):\n    print('x' * 99)",
        "from IPython.display import HTML, display\ndisplay(HTML('y' * 9_000_000))\n'z' * 200_000",
        "print('after')",
    )
    run = await fast.end(await fast.start("flood"), within_s=180)
    assert run.status is RunStatus.SUCCESS
    events = await events_of(fast.bus, run)
    assert len(text_of(events)) == 1_000_000 + len("after\n")
    notes = [noted.text for noted in only(Noted, events)]
    assert [("is left out here; see the log" in note, "text/html" in note) for note in notes] == [
        (True, False),
        (False, True),
    ]
    assert sum(len(part.text) for part in only(Part, events) if part.mime == "text/plain") == 200_002
    assert text_of(events).endswith("after\n")


async def test_secrets_are_masked_in_everything_that_cells_show(fast: System) -> None:
    """Text, even if it comes in pieces; values; html; errors; and the log."""
    secret = "s3cr3t-value"
    await publish_notebook(
        fast.bus,
        "secret",
        "import os, time\ns = os.environ['TOKEN']\nprint(s[:5], end='', flush=True)\ntime.sleep(0.3)\nprint(s[5:])",
        "from IPython.display import HTML, display\ndisplay(HTML('x' * 65_530 + s))\ns",
        "raise ValueError(s)",
        encrypted_env={"TOKEN": Fernet(KEY).encrypt(secret.encode()).decode()},
    )
    run = await fast.run("secret")
    events = await events_of(fast.bus, run)
    assert statuses(events) == [(0, "SUCCESS"), (1, "SUCCESS"), (2, "FAILED")]
    joined = "".join(part.text for part in only(Part, events)) + repr(events)
    assert secret not in joined
    assert text_of(events) == "***\n"
    assert secret not in "\n".join(line.text for line in await fast.lines(run))


async def test_pictures_and_tables_of_real_packages_are_shown(fast: System) -> None:
    """pandas and matplotlib, named in requirements.txt, beside the Jupyter packages that it does not name."""
    await publish_notebook(
        fast.bus,
        "plots",
        "import pandas as pd\nframe = pd.DataFrame({'a': [1, 2], 'b': ['x', '<y>']})\nframe",
        "import matplotlib.pyplot as plt\nfor k in (1, 2):\n    plt.figure()\n    plt.plot([1, 4, 9])\nplt.show()",
        "%config InlineBackend.figure_format = 'svg'\nplt.plot([3, 1, 2]);",
        files={"requirements.txt": "pandas\nmatplotlib\n"},
    )
    run = await fast.end(await fast.start("plots"), within_s=300)
    assert run.status is RunStatus.SUCCESS, run.attempts
    events = await events_of(fast.bus, run)
    shown = only(Showed, events)
    assert "<table" in shown[0].data["text/html"]
    pictures: list[str] = []
    waiting: set[str] = set()
    for event in events:
        if isinstance(event, Part):
            waiting.add(event.mime)
        elif isinstance(event, Showed):
            pictures += [mime for mime in {*event.data, *waiting} if mime.startswith("image/")]
            waiting.clear()
    assert pictures == ["image/png", "image/png", "image/svg+xml"]


async def test_several_notebooks_at_once_do_not_see_each_other(fast: System) -> None:
    """Each has its own kernel."""
    await publish_notebook(fast.bus, "many", "import os\nprint(os.environ['FASTFLOW_RUN_ID'], sorted(os.listdir()))")
    runs = await asyncio.gather(*(fast.run("many") for _ in range(3)))
    for run in runs:
        assert text_of(await events_of(fast.bus, run)) == f"{run.id} ['main.ipynb']\n"
