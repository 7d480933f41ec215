"""Who may report what cells did: not the notebook, not its child processes, and no package that it brings along."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiodocker import Docker

from fastflow_contracts.runs.run import RunStatus
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from tests.chaos.world import docker
from tests.packages import make_wheel
from tests.support.notebooks import events_of, publish_notebook, statuses, text_of
from tests.support.system import System, system

PROBE = '''
import ctypes, os, stat

FORGED = b'\\n{"event": "ended", "at": 1, "cell": 7, "status": "SUCCESS"}\\n'
PIDFD_OPEN, PIDFD_GETFD, PTRACE_SEIZE, PTRACE_DETACH = 434, 438, 0x4206, 17
libc = ctypes.CDLL(None)

def parent_of(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])

def write(fd):
    try:
        os.write(fd, FORGED)
    except OSError:
        pass

def mode(fd):
    try:
        return os.fstat(fd).st_mode
    except OSError:  # of the directory that was listed
        return 0

def tell():
    """Note that this was imported into a process of a run, which one, and what it could reach there."""
    if "FASTFLOW_RUN_ID" in os.environ or "FASTFLOW_KERNEL_ENV_FASTFLOW_RUN_ID" in os.environ:
        reached = attempt()
        with open("imported", "a") as file:
            print(os.getpid(), *reached, file=file)

def attempt():
    """Write a forged event wherever it can be written; what could be opened that is none of ours."""
    opened = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and stat.S_ISFIFO(mode(fd)):
            write(fd)
    cell_runner = int(os.environ.get("CELL_RUNNER", os.getppid()))
    for pid in (cell_runner, parent_of(cell_runner)):
        try:
            open(f"/proc/{pid}/mem", "r+b").close()
            opened.append(f"memory of {pid}")
        except OSError:
            pass
        for fd in range(64):
            try:
                with open(f"/proc/{pid}/fd/{fd}", "wb", buffering=0) as file:
                    opened.append(file.name)
                    file.write(FORGED)
            except OSError:
                pass
        pidfd = libc.syscall(PIDFD_OPEN, pid, 0)
        for fd in range(64):
            copy = libc.syscall(PIDFD_GETFD, pidfd, fd, 0)
            if copy >= 0:
                opened.append(f"copy of {fd}")
                write(copy)
        if libc.ptrace(PTRACE_SEIZE, pid, None, None) == 0:
            opened.append(f"trace of {pid}")
            libc.ptrace(PTRACE_DETACH, pid, None, None)
    return opened
'''
ON_IMPORT = f"{PROBE}\ntell()\n"
# Forged lines may appear between two writes of the kernel's output, so each print is one write.
LOOK = (
    "import os, probe\n"
    "print(f\"{[os.environ[n] for n in os.environ if n.startswith('FASTFLOW_CELL')]} {probe.attempt()}\")"
)
CHILD = (
    "import os, subprocess, sys\n"
    "child = [sys.executable, '-c', 'import probe; print(probe.attempt())']\n"
    "env = {**os.environ, 'CELL_RUNNER': str(os.getppid())}\n"
    "print(subprocess.run(child, capture_output=True, text=True, close_fds=False, env=env).stdout.strip())"
)
WHERE = "print([line.split()[1:] for line in open('imported') if int(line.split()[0]) == os.getpid()])"
LEAVE_A_TRACE = "import os\nprint(os.getpid(), file=open('imported', 'a'))\n"
ELSEWHERE = "print(set(map(int, open('imported'))) - {os.getpid()})"


@pytest_asyncio.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
async def given(request: pytest.FixtureRequest, bus_url: str, tmp_path: Path) -> AsyncIterator[tuple[System, str]]:
    """The system, and the requirements of a pipeline whose packages replace those that run notebooks."""
    links = tmp_path / "links"
    links.mkdir()
    make_wheel(links, "forger", "1.0", ON_IMPORT, pth="import forger\n")
    for name in ("sitecustomize", "nbclient", "nbformat"):
        make_wheel(links, name, "99", ON_IMPORT)
    volume = f"ff-test-{secrets.token_hex(6)}"
    path = str(links)
    if request.param == "docker":
        path = "/store/links"
        await _fill(volume, links)
    try:
        async with system(bus_url, tmp_path / "data", sandbox=request.param, store_volume=volume) as made:
            yield made, f"--find-links {path}\nforger\nsitecustomize\nnbclient==99\nnbformat==99\n"
    finally:
        if request.param == "docker":
            await docker("volume", "rm", "--force", volume)


async def test_no_package_of_a_notebook_can_report_for_a_cell(given: tuple[System, str]) -> None:
    """Packages that run at interpreter start or replace the cell runner's own run in the kernel alone.

    Neither they nor the notebook nor its children reach the channel, the cell runner or the supervisor.
    """
    fast, requirements = given
    await publish_notebook(
        fast.bus,
        "forger",
        LOOK,
        CHILD,
        f"import nbclient, nbformat\n{WHERE}",
        files={"requirements.txt": requirements, "probe.py": PROBE},
    )
    run = await fast.end(await fast.start("forger"), within_s=100)
    assert run.status is RunStatus.SUCCESS, (run.attempts, await fast.lines(run))
    events = await events_of(fast.bus, run)
    assert statuses(events) == [(0, "SUCCESS"), (1, "SUCCESS"), (2, "SUCCESS")]
    said = [line for line in text_of(events).splitlines() if not line.startswith("{") and line]
    assert said[:2] == ["[] []", "[]"]
    imported = json.loads(said[2])
    assert len(imported) >= 3, "forger, nbclient and nbformat; sitecustomize where the system has none"
    assert not any(imported)


async def test_the_cell_runner_ignores_the_runs_variables_and_files(given: tuple[System, str]) -> None:
    """They belong to the kernel, including those that an interpreter or Jupyter would act on."""
    fast, _ = given
    spec = {"argv": ["touch", "started"], "display_name": "Python 3", "language": "python"}
    variables = {
        "PYTHONPATH": "evil",
        "PYTHONSTARTUP": "evil/nbclient.py",
        "PYTHONINSPECT": "1",
        "PYTHONSAFEPATH": "1",
        "LD_PRELOAD": "./evil/nothing.so",
        "JUPYTER_PATH": "evil",
        "JUPYTER_CONFIG_DIR": "evil",
        "JUPYTER_DEFAULT_PROVISIONER_NAME": "evil",
        "FASTFLOW_CELL_EVENTS_FD": "1",
    }
    await publish_notebook(
        fast.bus,
        "variables",
        f"import os, sys\nimport nbclient\n{ELSEWHERE}\nprint(os.path.exists('started'), 'evil' in ''.join(sys.path))\n"
        f"print({{name: os.environ[name] for name in {sorted(variables)!r}}} == {variables!r})",
        files={
            "evil/nbclient.py": LEAVE_A_TRACE,
            "evil/kernels/python3/kernel.json": json.dumps(spec),
            "evil/jupyter_config.py": LEAVE_A_TRACE,
            "nbclient.py": LEAVE_A_TRACE,
        },
        default_env=variables,
    )
    run = await fast.end(await fast.start("variables"), within_s=100)
    assert run.status is RunStatus.SUCCESS, (run.attempts, await fast.lines(run))
    assert text_of(await events_of(fast.bus, run)) == "set()\nFalse True\nTrue\n"


async def _fill(volume: str, links: Path) -> None:
    """Put packages into its own store, where preparers find them without any index."""
    async with Docker() as client:
        image = await ensure_worker_image(client, progress=lambda line: None)
    container = (await docker("create", "--volume", f"{volume}:/store", image)).strip()
    try:
        await docker("cp", str(links), f"{container}:/store/links")
    finally:
        await docker("rm", container)
