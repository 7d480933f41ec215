"""The README's first sections, word for word, on bare machines. Each test continues where the previous one stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bare.machine import PREPARE_S, Machine, Terminal

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("bare")]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BROWSE = """\
import re, sys, urllib.parse, urllib.request
jar = urllib.request.HTTPCookieProcessor()
browser = urllib.request.build_opener(jar)
with browser.open(sys.argv[1]) as page:
    assert "<h1" in (text := page.read().decode()) and "hello" in text, text
with browser.open(sys.argv[1].partition("/login")[0] + "/pipelines/hello/start") as page:
    text = page.read().decode()
form = re.search(r'<form[^>]* action="([^"]*/start)".*?</form>', text, re.S)
fields = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', form[0]))
address = urllib.parse.urljoin(page.url, form[1])
origin = {"Origin": address.partition("/pipelines")[0]}
request = urllib.request.Request(address, urllib.parse.urlencode(fields).encode(), origin)
with browser.open(request) as page:
    print("started", page.url)
"""
"""A browser of 1995: opens the address, presses *Start* on the page of the pipeline hello."""


def blocks(section: str) -> list[str]:
    """Return the commands under a heading of the README."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## )", README, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


(RUN, TEST) = blocks("Two commands")
(OWN, START, METADATA) = blocks("Your own pipeline")


@pytest.fixture(scope="module")
def running(machine: Machine) -> Iterator[Terminal]:
    """``make run``, as the first command on the machine."""
    assert RUN == "make run\n"
    terminal = machine.open(RUN)
    yield terminal
    terminal.close()


def address_in(terminal: Terminal, *, within_s: float) -> str:
    terminal.until("dashboard", within_s=within_s)
    terminal.until("Ready", within_s=30)
    found = re.search(r"http://\S+", "".join(terminal.printed))
    assert found
    return found[0]


def test_make_run_starts_everything_and_names_the_address(machine: Machine, running: Terminal) -> None:
    """From nothing: the virtual environment, all packages, the bus, the services, and an example by the dashboard."""
    address = address_in(running, within_s=PREPARE_S)
    assert "plain processes, because there is no Docker on this machine" in "".join(running.printed)
    opened = machine.type(f"python3 - '{address}' <<'PY'\n{BROWSE}\nPY")
    assert "started http://127.0.0.1:8000/runs/" in opened.stdout, opened.stdout


@pytest.mark.parametrize(
    ("example", "says"),
    [("hello", "Hello, world!"), ("sales_report", "│ South"), ("notebook_report", "days in")],
)
def test_examples_run(machine: Machine, running: Terminal, example: str, says: str) -> None:
    """A script, one with packages, and a notebook, on the only installed Python."""
    done = machine.type(f"{START.splitlines()[0]}\nfastflow run {example} --follow", within_s=PREPARE_S)
    assert says in done.stdout
    assert done.returncode == 0, done.stdout


def test_an_unavailable_python_is_a_sentence_with_the_choices(machine: Machine, running: Terminal) -> None:
    """A version that is neither installed nor, here, available for download."""
    done = machine.type(
        "mkdir -p examples/pipelines/pinned; echo 'print(1)' > examples/pipelines/pinned/main.py\n"
        """echo '{"python_version": "3.10"}' > examples/pipelines/pinned/pipeline.json\n"""
        f"{START.splitlines()[0]}\n"
        "for _ in $(seq 50); do fastflow pipelines | grep -q pinned && break; sleep 0.2; done\n"
        "UV_OFFLINE=1 fastflow run pinned --follow",
        within_s=PREPARE_S,
    )
    own = machine.type("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'").stdout.strip()
    if done.returncode != 0:  # otherwise it was downloaded
        assert f"Python 3.10 is not installed here and could not be downloaded (installed: {own})" in done.stdout


def test_ctrl_c_stops_it(running: Terminal) -> None:
    """As the README says, before the next section."""
    running.press_ctrl_c()
    assert "Stopped.\n" in running.printed
    assert "Traceback" not in "".join(running.printed)


def test_an_own_folder_is_saved_and_run(machine: Machine) -> None:
    """The section *Your own pipeline*, block by block, each in its own terminal."""
    terminal = machine.open(OWN)
    address_in(terminal, within_s=60)
    started = machine.type(START)
    assert "Hello, Ada!\n" in started.stdout
    assert started.returncode == 0
    checked = machine.type(f"{START.splitlines()[0]}\n{METADATA}")
    assert checked.returncode == 0, checked.stdout
    saved = "for _ in $(seq 50); do fastflow pipelines | grep -q politely && break; sleep 0.2; done"
    again = machine.type(f"{START.splitlines()[0]}\n{saved}\nfastflow run greet --follow")
    assert "Hello, Ada!\n" in again.stdout, again.stdout
    terminal.press_ctrl_c()
    assert "Stopped.\n" in terminal.printed
