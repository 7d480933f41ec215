"""Environments in the process sandbox: real uv, real packages, no index."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from fastflow_runner.environments.environments import EnvironmentFailed, EnvironmentRequest, Environments
from fastflow_runner.environments.preparation import LAST_CHARACTERS_MAX, LINE_CHARACTERS_MAX
from fastflow_runner.environments.store import process_place
from fastflow_runner.environments.variables import Access
from fastflow_runner.sandbox.process import ProcessSandboxes
from tests.packages import copy_running_interpreter, make_sdist, make_wheel

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class Workshop:
    """A store, a directory of packages, and the environments under test."""

    def __init__(self, root: Path, sandboxes: ProcessSandboxes) -> None:
        self.store = root / "store"
        self.packages = root / "packages"
        self.packages.mkdir()
        self.sandboxes = sandboxes
        self.said: list[str] = []

    def environments(self) -> Environments:
        return Environments(
            self.sandboxes, process_place(self.store), runner="test", access=Access({"UV_OFFLINE": "1"})
        )

    def request(self, *packages: str, version: str = OWN_VERSION) -> EnvironmentRequest:
        lines = ["--no-index", f"--find-links {self.packages}", *packages]
        return EnvironmentRequest(version, "\n".join(lines).encode() if packages else b"")

    async def say(self, text: str) -> None:
        self.said += text.split("\n")


@pytest_asyncio.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    yield Workshop(tmp_path, sandboxes)
    assert await sandboxes.held() == ()
    await sandboxes.close()


def said_by(python: str | None, source: str) -> str:
    assert python is not None
    return subprocess.run([python, "-c", source], capture_output=True, check=True, text=True).stdout.strip()


async def test_an_environment_is_made_once_and_then_costs_nothing(workshop: Workshop) -> None:
    """The first preparation installs and compiles; later the same request is ready without waiting."""
    make_wheel(workshop.packages, "greeting", "1.0", "WORDS = 'hello'")
    environments, request = workshop.environments(), workshop.request("greeting")
    assert environments.ready(request) is None

    made = await environments.prepare(request, say=workshop.say)
    assert said_by(made.python, "import greeting; print(greeting.WORDS, greeting.__cached__)").startswith("hello /")
    assert list((workshop.store / "envs").glob("*/lib/python*/site-packages/__pycache__/greeting.*.pyc"))
    assert any("greeting==1.0" in line for line in workshop.said)

    told = len(workshop.said)
    assert environments.ready(request) is not None
    assert (await environments.prepare(request, say=workshop.say)).python == made.python
    assert len(workshop.said) == told


async def test_a_hashed_lock_and_packages_of_the_script_go_together(workshop: Workshop) -> None:
    """The hashes of the lock are still checked; packages named by the script need no hash."""
    locked = make_wheel(workshop.packages, "locked", "1.0", "WORDS = 'locked'")
    make_wheel(workshop.packages, "inline", "1.0", "WORDS = 'inline'")
    right = hashlib.sha256(locked.read_bytes()).hexdigest()
    asked = [
        structs.replace(workshop.request(f"locked==1.0 --hash=sha256:{digest}"), extras=("inline", "locked"))
        for digest in (right, "0" * 64)
    ]
    made = await workshop.environments().prepare(asked[0], say=workshop.say)
    said = said_by(made.python, "import locked, inline; print(locked.WORDS, inline.WORDS)")
    assert said == "locked inline"
    with pytest.raises(EnvironmentFailed, match="Hash mismatch"):
        await workshop.environments().prepare(asked[1], say=workshop.say)


async def test_a_script_does_not_see_the_runners_own_packages(workshop: Workshop) -> None:
    """Without requirements it gets a bare interpreter."""
    made = await workshop.environments().prepare(workshop.request(), say=workshop.say)
    found = said_by(made.python, "import importlib.util as u; print(u.find_spec('msgspec'), u.find_spec('pip'))")
    assert found == "None None"


async def test_a_package_without_a_wheel_is_built(workshop: Workshop) -> None:
    """The second step builds from source with its own cache, and leaves neither it nor a half tree behind."""
    make_sdist(workshop.packages, "built", "2.0", "def source(): return 'BY = \"source\"'")
    made = await workshop.environments().prepare(workshop.request("built"), say=workshop.say)
    assert said_by(made.python, "import built; print(built.BY)") == "source"
    assert "Some package has no wheel: building it from source." in workshop.said
    (tree,) = (workshop.store / "trees").iterdir()
    assert not (tree / ".cache").exists()
    assert not list((workshop.store / "cache").rglob("*built*"))


async def test_a_package_that_does_not_exist_fails_with_uvs_message(workshop: Workshop) -> None:
    """The error is uv's message, starting with its own ``error``; nothing is left in the store."""
    with pytest.raises(EnvironmentFailed, match=r"^error: (.|\n)*no-such-package"):
        await workshop.environments().prepare(workshop.request("no-such-package"), say=workshop.say)
    assert any("no-such-package" in line for line in workshop.said)
    assert not list((workshop.store / "trees").iterdir())
    assert not list((workshop.store / "envs").iterdir())


async def test_a_failed_build_fails_with_its_traceback(workshop: Workshop) -> None:
    """The build's output is in the error and in the log."""
    make_sdist(workshop.packages, "broken", "1.0", "def source(): raise RuntimeError('no compiler today')")
    with pytest.raises(EnvironmentFailed, match="no compiler today"):
        await workshop.environments().prepare(workshop.request("broken"), say=workshop.say)
    assert not list((workshop.store / "trees").iterdir())


async def test_a_verbose_build_fails_with_a_short_error(workshop: Workshop) -> None:
    """However long the lines of a build are, its error fits into the run's record and says why it failed."""
    fail = "def source():\n for _ in range(30): print('x' * 300_000)\n raise RuntimeError('no compiler today')"
    make_sdist(workshop.packages, "broken", "1.0", fail)
    with pytest.raises(EnvironmentFailed, match="no compiler today") as failed:
        await workshop.environments().prepare(workshop.request("broken"), say=workshop.say)
    assert len(str(failed.value)) <= LAST_CHARACTERS_MAX
    assert max(map(len, workshop.said)) <= LINE_CHARACTERS_MAX


async def test_a_version_that_the_store_has_comes_from_there(workshop: Workshop) -> None:
    """uv finds an interpreter that it manages in the store, and its library is compiled for read-only use."""
    interpreter = copy_running_interpreter(workshop.store / "python")
    version = platform.python_version()
    made = await workshop.environments().prepare(workshop.request(version=version), say=workshop.say)
    assert said_by(made.python, "import platform; print(platform.python_version())") == version
    assert said_by(made.python, "import sys; print(sys.base_prefix)") == str(interpreter)
    assert list(interpreter.glob("lib/python*/json/__pycache__/decoder.*.pyc"))


async def test_a_version_that_is_not_available_fails_with_the_choices(workshop: Workshop) -> None:
    """Offline, the error is a sentence that names the installed versions; uv's own message is in the log."""
    with pytest.raises(EnvironmentFailed) as failed:
        await workshop.environments().prepare(workshop.request(version="3.7"), say=workshop.say)
    (sentence,) = str(failed.value).splitlines()
    assert sentence.startswith("error: Python 3.7 is not installed here and could not be downloaded (installed: ")
    assert OWN_VERSION in sentence
    assert "python_version" in sentence
    assert any(line.startswith("uv: ") and "No interpreter found" in line for line in workshop.said)


async def test_two_runs_that_need_the_same_environment_share_one_preparation(workshop: Workshop) -> None:
    """Both get every line of the output from the first one on, also the later one, and the same interpreter."""
    make_wheel(workshop.packages, "greeting", "1.0", "")
    environments, request = workshop.environments(), workshop.request("greeting")
    first_words, late = asyncio.Event(), list[str]()

    async def say_first(text: str) -> None:
        workshop.said.extend(text.split("\n"))
        first_words.set()

    async def say_late(text: str) -> None:
        late.extend(text.split("\n"))

    async def come_late() -> str | None:
        await first_words.wait()
        return (await environments.prepare(request, say=say_late)).python

    first, second = await asyncio.gather(environments.prepare(request, say=say_first), come_late())
    assert first.python == second
    assert late in (workshop.said, [])  # [] if it was over before the late one asked
    assert len(list((workshop.store / "trees").iterdir())) == 1


async def test_cancelling_one_waiting_run_does_not_disturb_the_other(workshop: Workshop) -> None:
    """Each waits on its own; the preparation continues for the other."""
    environments, request, building = hanging_build(workshop)
    leaves = asyncio.create_task(environments.prepare(request, say=building.say))
    await building.begun.wait()
    stays = asyncio.create_task(environments.prepare(request, say=workshop.say))
    await building.heard_by(workshop)
    leaves.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaves
    building.let_go()
    assert said_by((await stays).python, "import slow") == ""


async def test_a_preparation_without_a_waiting_run_is_cancelled(workshop: Workshop) -> None:
    """When the last one is cancelled the preparer ends with it, and its sandbox is gone."""
    environments, request, building = hanging_build(workshop)
    alone = asyncio.create_task(environments.prepare(request, say=building.say))
    await building.begun.wait()
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    assert await workshop.sandboxes.held() == ()
    building.let_go()
    assert (await environments.prepare(request, say=workshop.say)).python


async def test_two_runners_may_make_the_same_environment(workshop: Workshop) -> None:
    """Both succeed independently; one tree is kept."""
    make_wheel(workshop.packages, "greeting", "1.0", "")
    request = workshop.request("greeting")
    runners = [workshop.environments() for _ in range(3)]
    made = await asyncio.gather(*(runner.prepare(request, say=workshop.say) for runner in runners))
    assert len({prepared.python for prepared in made}) == 1
    assert len(list((workshop.store / "trees").iterdir())) == 1


async def test_a_deleted_environment_is_noticed_and_made_again(workshop: Workshop) -> None:
    """A remembered environment that is gone is not ready; a broken link is repaired."""
    make_wheel(workshop.packages, "greeting", "1.0", "")
    environments, request = workshop.environments(), workshop.request("greeting")
    made = await environments.prepare(request, say=workshop.say)
    (tree,) = (workshop.store / "trees").iterdir()
    tree.chmod(0o755)  # like all of an environment, it is read-only for runs
    tree.rename(workshop.store / "lost")

    assert environments.ready(request) is None
    assert (await environments.prepare(request, say=workshop.say)).python == made.python
    assert said_by(made.python, "import greeting") == ""


async def test_a_new_runner_learns_what_the_store_holds(workshop: Workshop) -> None:
    """One look finds all environments, so the first run after a restart need not wait."""
    make_wheel(workshop.packages, "greeting", "1.0", "")
    request = workshop.request("greeting")
    await workshop.environments().prepare(request, say=workshop.say)
    restarted = workshop.environments()
    keeping = asyncio.create_task(restarted.keep())
    while restarted.ready(request) is None:
        await asyncio.sleep(0.01)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping


class Hanging:
    """A build that has started and waits until it is released."""

    def __init__(self, pipe: Path) -> None:
        self._pipe = pipe
        self.begun = asyncio.Event()

    async def say(self, text: str) -> None:
        if "Building" in text:
            self.begun.set()

    async def heard_by(self, workshop: Workshop) -> None:
        """Wait until *workshop* follows, too."""
        while not workshop.said:
            await asyncio.sleep(0.01)

    def let_go(self) -> None:
        self._pipe.unlink()


def hanging_build(workshop: Workshop) -> tuple[Environments, EnvironmentRequest, Hanging]:
    gate = workshop.packages / "gate"
    gate.touch()
    wait = f"import os, time\ndef source():\n    while os.path.exists({str(gate)!r}): time.sleep(0.01)\n    return ''"
    make_sdist(workshop.packages, "slow", "1.0", wait)
    assert os.path.exists(gate)
    return workshop.environments(), workshop.request("slow"), Hanging(gate)
