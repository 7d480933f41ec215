"""Bad moments of a sandbox without a daemon: kills while it is made, a full disk, folders that are deleted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastflow_runner.sandbox import SandboxSpec
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes
from tests.sandbox_contract import Place, listen
from tests.support import bubble

ROOT = Path(__file__).parents[4]
SEED = 20_26

pytestmark = [pytest.mark.bubble, pytest.mark.slow]

FULL = """
import asyncio, os, sys
from pathlib import Path
from fastflow_runner.sandbox import SandboxError, SandboxSpec
from tests.process.runner.sandbox.test_bubble import bubble_sandboxes

async def main():
    folder = Path(sys.argv[1])
    sandboxes = bubble_sandboxes(folder / "sandboxes")
    with open(folder / "full", "wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)): pass
        except OSError: pass
    for number in range(200):  # inodes and names need room too
        try: (folder / f"name-{number}").mkdir()
        except OSError: break
    try:
        await sandboxes.open(SandboxSpec(name="ff-full"))
        print("opened")
    except SandboxError as error:
        print(error)
    (folder / "full").unlink()
    channel = await sandboxes.open(SandboxSpec(name="ff-full"))
    await channel.close()
    await sandboxes.remove("ff-full")
    print(await sandboxes.held())

asyncio.run(main())
"""


@pytest.mark.parametrize(("victim", "rounds"), [("runner", 25), ("bwrap", 5), ("slirp4netns", 10), ("python3", 10)])
def test_a_kill_while_a_sandbox_is_made_leaves_nothing(tmp_path: Path, victim: str, rounds: int) -> None:
    """Of the runner, bubblewrap, the network's helper or the first process, at any moment.

    What is left goes with the next runner's sweep: no process, file, group or mount stays.
    """
    bubble.required("bwrap", "slirp4netns", "nft")
    command = (sys.executable, "-m", "tests.support.bubble_moments", str(tmp_path), victim, str(rounds), str(SEED))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["left"] == [], found
    assert any(what.startswith("killed") for what in found["came"]), found


def test_where_the_disk_is_full_it_is_an_error_and_then_goes_on(tmp_path: Path) -> None:
    """Nothing is left of the one that did not fit, and its name is free."""
    own = () if os.geteuid() == 0 else ("--map-root-user",)
    mount = 'mount -t tmpfs -o size=256k,mode=0755 tmpfs "$1"; shift; exec "$@"'
    around = ("unshare", "--mount", *own, "sh", "-ec", mount, "sh", str(tmp_path))
    command = (*around, sys.executable, "-c", FULL, str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    refused, left = done.stdout.splitlines()
    assert "No space left on device" in refused
    assert left == "()"


@pytest.mark.parametrize("deleted", ["sandboxes", "sandboxes/{name}"])
async def test_a_folder_that_is_deleted_under_a_run_does_not_end_it(tmp_path: Path, deleted: str) -> None:
    """The runner still hears the end of the script, removes all processes, and can make others."""
    sandboxes = bubble_sandboxes(tmp_path / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    session, channel = await place.start("print('up'); import time; time.sleep(1); print('done')")
    heard = await listen(session, until=lambda each: each.stdout == b"up\n")
    process = sandboxes._processes[place.name(channel)]
    shutil.rmtree(tmp_path / deleted.format(name=place.name(channel)))
    await listen(session, heard)
    assert (heard.stdout, heard.exited.exit_code) == (b"up\ndone\n", 0)
    await channel.close()
    await sandboxes.remove(place.name(channel))
    assert process.poll() is not None
    assert (await place.run("print(1)")).stdout == b"1\n"
    await place.clear()
    await sandboxes.close()


async def test_a_sandbox_whose_folder_is_gone_is_ended_by_the_runner_that_made_it(tmp_path: Path) -> None:
    """Although nothing says any more which process it was."""
    sandboxes = bubble_sandboxes(tmp_path / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    session, channel = await place.start("import time; print('up'); time.sleep(600)")
    await listen(session, until=lambda each: each.stdout == b"up\n")
    pid = channel.folder.pid()  # type: ignore[attr-defined]
    shutil.rmtree(channel.folder.path)  # type: ignore[attr-defined]
    await sandboxes.remove(place.name(channel))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await channel.close()
    await sandboxes.close()
