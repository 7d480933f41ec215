"""What a run in the process sandbox finds on its PATH, and what it cannot write. Real uv, real processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from msgspec import structs

from fastflow_contracts.pipelines.folder.bundle import pack
from fastflow_runner.environments.environments import EnvironmentRequest, Environments
from fastflow_runner.environments.store import process_place
from fastflow_runner.environments.variables import Access
from fastflow_runner.sandbox import SandboxSpec
from fastflow_runner.sandbox.events import Exited, ScriptOutput
from fastflow_runner.sandbox.job import SandboxJob
from fastflow_runner.sandbox.process import ProcessSandboxes
from fastflow_runner.sandbox.session import Session
from tests.packages import make_wheel
from tests.support.folders import contents

IS_ROOT = os.geteuid() == 0


class Workshop:
    """A store and sandboxes."""

    def __init__(self, root: Path, sandboxes: ProcessSandboxes) -> None:
        self.root = root
        self.sandboxes = sandboxes
        self.place = process_place(root / "store")
        env = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(root), "UV_OFFLINE": "1"}
        self.environments = Environments(sandboxes, self.place, runner="test", access=Access(env))

    async def run(self, request: EnvironmentRequest, **files: str) -> str:
        """Return what main.py prints as a run."""

        async def quiet(text: str) -> None:
            pass

        prepared = await self.environments.prepare(request, say=quiet)
        bundle = pack(contents({name.replace("_", "."): text for name, text in files.items()}))
        spec = SandboxSpec(name=f"ff-{uuid4()}", mounts=self.place.readable)
        channel = await self.sandboxes.open(spec)
        assert prepared.hold is not None
        job = SandboxJob(
            argv=("{python}", "-u", "main.py"), cwd="run", python=prepared.python, holds=(prepared.hold,), sample_s=0
        )
        printed = b""
        try:
            async for event in await Session.start(channel, job, bundle):
                if isinstance(event, ScriptOutput):
                    printed += event.data
                elif isinstance(event, Exited):
                    assert event.exit_code == 0, (event, printed.decode())
        finally:
            await channel.close()
            await self.sandboxes.remove(spec.name)
        return printed.decode()


@pytest_asyncio.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    sandboxes = ProcessSandboxes(tmp_path / "sandboxes")
    yield Workshop(tmp_path, sandboxes)
    assert await sandboxes.held() == ()
    await sandboxes.close()


PYTHONS = """\
import os, shutil, subprocess, sys
open("tool", "w").write("#!/usr/bin/env python\\nimport sys; print(sys.prefix)")
os.chmod("tool", 0o755)
print(sys.prefix)
for command in (["python", "helper.py"], ["./tool"], ["sh", "-c", "python helper.py"], ["python3", "helper.py"]):
    print(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
"""


async def test_python_is_the_interpreter_of_the_run(workshop: Workshop) -> None:
    """By name, by shebang and in shells, without requirements, too."""
    printed = await workshop.run(EnvironmentRequest(""), main_py=PYTHONS, helper_py="import sys; print(sys.prefix)")
    assert len(set(printed.split())) == 1, printed
    assert str(workshop.root) in printed


async def test_tools_of_the_runners_path_are_found(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the commands of the run's own packages."""
    tools = workshop.root / "tools"
    tools.mkdir()
    for name in ("mytool", "python"):
        (tools / name).write_text("#!/bin/sh\necho tool\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    ask = "import shutil; print(shutil.which('mytool'), shutil.which('python'))"
    tool, python = (await workshop.run(EnvironmentRequest(""), main_py=ask)).split()
    assert tool == str(tools / "mytool")
    assert python.startswith(str(workshop.root / "store"))


INSTALL = """\
import subprocess, sys
print(subprocess.run([sys.executable, "-m", "ensurepip"], capture_output=True).returncode != 0)
"""


async def test_a_run_cannot_install_packages_for_others(workshop: Workshop) -> None:
    """Its environment cannot be written: an install fails, and the next run finds nothing of it."""
    assert await workshop.run(EnvironmentRequest(""), main_py=INSTALL) == "True\n"
    ask = "import importlib.util as u; print(u.find_spec('pip'))"
    assert await workshop.run(EnvironmentRequest(""), main_py=ask) == "None\n"


def may_mount() -> bool:
    return IS_ROOT and subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="only root may make mounts, and not in every container")
async def test_not_even_root_writes_to_the_store(workshop: Workshop) -> None:
    """Nothing in it, by any path; what is outside stays writable."""
    make_wheel(workshop.root, "one", "1.0", "WORDS = 1")
    request = EnvironmentRequest("", b"one")
    write = """\
import errno, one, os
for path in (one.__file__, os.path.dirname(one.__file__) + "/new", STORE + "/envs/new", STORE + "/locks"):
    try:
        open(path, "a")
        print("written", path)
    except OSError as error:
        print(errno.errorcode[error.errno])
open("here", "w").write("x")
open(OUT, "w").write("x")
""".replace("STORE", repr(str(workshop.root / "store"))).replace("OUT", repr(str(workshop.root / "out")))
    assert (await workshop.run(request, main_py=write)).split() == ["EROFS"] * 4
    assert (workshop.root / "out").exists()
    again = structs.replace(request, extras=("one",))
    assert await workshop.run(again, main_py="import one; print(one.WORDS)") == "1\n"


async def test_a_run_can_be_one_of_many_at_once(workshop: Workshop) -> None:
    """Each has its own view of the store."""
    asked = [workshop.run(EnvironmentRequest(""), main_py="print(1)") for _ in range(5)]
    assert await asyncio.gather(*asked) == ["1\n"] * 5
