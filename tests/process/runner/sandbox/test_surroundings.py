"""What scripts find around them as plain processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import Channel, SandboxSpec
from fastflow_runner.sandbox.process import TMP_BASE_BYTES_MAX, ProcessSandboxes
from tests.sandbox_contract import Place
from tests.surroundings_contract import SurroundingsContract

SHOWS = "import os; open(os.environ['TMPDIR'] + '/mark', 'w').close(); print(os.environ['TMPDIR'])"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    sandboxes = ProcessSandboxes(tmp_path / ("far " * 20).strip() / "sandboxes")
    place = Place(sandboxes, SandboxSpec(name=""))
    try:
        yield place
    finally:
        await place.clear()
        await sandboxes.close()


class TestProcessSurroundings(SurroundingsContract):
    async def processes(self, place: Place, channel: Channel) -> int:
        sandboxes = place.sandboxes
        assert isinstance(sandboxes, ProcessSandboxes)
        return 1 + len(descendants(sandboxes._sandboxes[place.name(channel)].process.pid))


async def test_temporary_files_are_private_and_go_with_the_sandbox(place: Place) -> None:
    """Two sandboxes never share them."""
    channels = [await place.open(), await place.open()]
    found = [Path(os.fsdecode((await place.run(SHOWS, channel)).stdout.strip())) for channel in channels]
    assert found[0] != found[1]
    for tmp, channel in zip(found, channels, strict=True):
        assert tmp.is_relative_to(tempfile.gettempdir())
        assert tmp.stat().st_mode & 0o777 == 0o700
        await place.sandboxes.remove(place.name(channel))
        assert not tmp.exists()


async def test_temporary_files_of_a_killed_runner_are_removed_by_the_next(tmp_path: Path) -> None:
    """They lie outside its directory, and are found by the sandbox's name."""
    first, spec = ProcessSandboxes(tmp_path / "sandboxes"), SandboxSpec(name="ff-test-left")
    await first.open(spec)
    (sandbox,) = first._sandboxes.values()
    tmp = Path(_variable(sandbox.process.pid, "TMPDIR"))
    assert tmp.is_dir()
    sandbox.process.kill()
    await sandbox.process.wait()
    second = ProcessSandboxes(tmp_path / "sandboxes")
    assert await second.held() == ()
    assert not tmp.exists()


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_temporary_directory_is_made_elsewhere_if_need_be(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_taken: bool
) -> None:
    """A ``TMPDIR`` with a long path is ignored, and so is one that cannot be written."""
    far = tmp_path / ("y" * TMP_BASE_BYTES_MAX)
    far.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", "/proc" if is_taken else str(far))
    transcript = await place.run(SHOWS)
    tmp = os.fsdecode(transcript.stdout.strip())
    assert transcript.exited.exit_code == 0
    assert tmp.startswith(str(tmp_path) if is_taken else "/tmp/ff-")


def _variable(pid: int, name: str) -> str:
    lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(os.fsdecode(line.partition(b"=")[2]) for line in lines if line.startswith(f"{name}=".encode()))
