"""Notebooks do in the cell runner what they do under Jupyter and papermill."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow_contracts.runs.cells import Raised, Showed
from tests.process.runner.guest.test_cell_runner import running
from tests.support.notebooks import code, only, statuses, text_of


@pytest.mark.parametrize("ends", ["quit()", "exit", "import sys; sys.exit(0)"])
async def test_a_cell_can_end_the_notebook_successfully(tmp_path: Path, ends: str) -> None:
    """Nothing after it runs, neither in its cell nor later; no error is shown."""
    async with running(tmp_path, "print('a')", f"{ends}\nprint('b')" if ends != "exit" else ends, "print('c')") as run:
        output, events = await run.read()
    assert statuses(events) == [(0, "SUCCESS"), (1, "SUCCESS")]
    assert (text_of(events), text_of(events, "stderr"), only(Raised, events)) == ("a\n", "", [])
    assert "[fastflow] The notebook was ended here: later cells do not run." in output


@pytest.mark.parametrize(
    ("ends", "exit_code"),
    [("exit(3)", 3), ("import sys; sys.exit(4)", 4), ("quit('because')", 1), ("raise SystemExit(-1)", 255)],
)
async def test_another_exit_code_fails_the_notebook_with_it(tmp_path: Path, ends: str, exit_code: int) -> None:
    """As for a script; a text is shown and means 1."""
    async with running(tmp_path, ends, "print('later')") as run:
        output, events = await run.read(exit_code=exit_code)
    assert statuses(events) == [(0, "FAILED")]
    assert output[-1].startswith("Cell 1 of 2 failed: SystemExit: ")
    assert [raised.name for raised in only(Raised, events)] == ["SystemExit"]


async def test_arguments_look_as_under_jupyter(tmp_path: Path) -> None:
    """What notebooks do about Jupyter's own arguments works."""
    asks = (
        "import sys, os, argparse\nprint(os.path.basename(sys.argv[0]), sys.argv[1])\n"
        "p = argparse.ArgumentParser(); p.add_argument('--n', default=1)\n"
        "print(p.parse_args([]), p.parse_known_args()[0])\n"
        "if 'ipykernel' in sys.argv[0]: sys.argv = ['']\nprint(p.parse_args())"
    )
    async with running(tmp_path, asks) as run:
        _, events = await run.read()
    assert text_of(events).splitlines() == [
        "ipykernel_launcher.py -f",
        "Namespace(n=1) Namespace(n=1)",
        "Namespace(n=1)",
    ]


INSTALLS = [
    "%pip install --quiet no-such-package-xyz",
    "!pip install no-such-package-xyz",
    "!{sys.executable} -m pip install -q -i https://example.invalid/ no-such-package-xyz > /dev/null 2>&1",
    "x = !python3 -m pip install no-such-package-xyz | tail -1",
    "if True:\n    !pip3 install no-such-package-xyz",
    "%pip install msgspec 'no-such-package-xyz>=2'",
    "%pip install msgspec==0.0.1",
    "%pip install -r wanted.txt",
    "%conda install -y no-such-package-xyz",
    "%uv pip install no-such-package-xyz",
    "!uv pip install no-such-package-xyz",
]


async def test_a_cell_that_installs_packages_fails_and_says_where_they_belong(tmp_path: Path) -> None:
    """In that very cell, not later where the package is missing."""
    wanted = "# all\\nmsgspec\\nno-such-package-xyz ; python_version > '3'\\n"
    write = f'import sys; open("wanted.txt", "w").write("{wanted}")'
    tagged = [code(source, "raises-exception") for source in INSTALLS]  # all of them in one kernel
    async with running(
        tmp_path, write, *tagged, "%pip install no-such-package-xyz", "import no_such_package_xyz"
    ) as run:
        _, events = await run.read(exit_code=1)
    assert statuses(events)[-1] == (len(INSTALLS) + 1, "FAILED")
    raised = only(Raised, events)
    assert [each.cell for each in raised] == [*range(1, len(INSTALLS) + 1), len(INSTALLS) + 1]
    for each in raised:
        assert each.name == "NotInstalled"
        assert each.value.startswith("a run installs no packages; name ")
        assert each.value.endswith(" in requirements.txt")
        assert list(each.traceback) == [f"NotInstalled: {each.value}"]


async def test_installing_what_is_there_already_does_no_harm(tmp_path: Path) -> None:
    """Many notebooks begin with it. A text that looks like such a line stays a text."""
    cells = [
        "%pip install -q -U msgspec 'pytest>=1'",
        "!pip install msgspec && echo done",
        "%pip install \"not-needed; python_version < '3'\"",
        'print("""\n!pip install no-such-package-xyz\n""")',
    ]
    async with running(tmp_path, *cells) as run:
        _, events = await run.read()
    assert text_of(events).count("Everything is there already") == 3
    assert "\n!pip install no-such-package-xyz\n" in text_of(events)


async def test_magics_and_loops_work(tmp_path: Path) -> None:
    """Shell lines, cell magics, top-level await, progress bars, display."""
    cells = [
        "%who",
        "%%bash\necho from bash",
        "!echo from shell {1 + 1}\nlines = !printf 'x\\ny'\nprint(lines)",
        "def f(word):\n    !echo {word} $word\nf('local')",
        "%%time\nprint('timed')",
        "import asyncio\nawait asyncio.sleep(0)\nprint(await asyncio.gather(asyncio.sleep(0, 'awaited')))",
        "async def main(): return 'task'\nprint(await asyncio.create_task(main()))",
        "import sys, time\nfor n in range(3):\n    sys.stderr.write(f'\\r{n}/2'); sys.stderr.flush()",
        "from IPython.display import display, HTML\ndisplay(HTML('<b>x</b>'))\n1 + 1",
        "%env NAME=value\nimport os; print(os.environ['NAME'])",
        "%%writefile made.py\nvalue = 7",
        "%run made.py\nprint(value)",
        "%%capture caught\nprint('hidden')",
        "print(caught.stdout)",
        "%load_ext autoreload\n%autoreload 2",
    ]
    async with running(tmp_path, *cells) as run:
        output, events = await run.read()
    assert {status for _, status in statuses(events)} == {"SUCCESS"}
    text = text_of(events)
    for said in (
        "from bash",
        "from shell 2",
        "['x', 'y']",
        "local local",
        "timed",
        "['awaited']",
        "task",
        "value",
        "7",
    ):
        assert said in text.splitlines(), said
    assert text.splitlines().count("hidden") == 1
    assert "\r0/2\r1/2\r2/2" in text_of(events, "stderr")
    assert [set(shown.data) for shown in only(Showed, events)] == [{"text/html", "text/plain"}, {"text/plain"}]
    assert output
