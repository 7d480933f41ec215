"""A machine with a bus, secrets, and two runs: one that is looked for, and one that runs ``attempts``.

A program, so that it can be the runner of root or of an ordinary user. Its arguments are an empty folder of that user
and what to try; it prints what came back, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fastflow_runner.backend.bubble import bubble_backend
from fastflow_runner.guest.firewall.lookup import own_addresses
from fastflow_runner.sandbox.bubble.folder import SandboxFolder
from fastflow_runner.settings import RunnerSettings
from tests.sandbox_contract import Place, listen
from tests.support.escapes import attempts, excess

SOURCE = Path(attempts.__file__).read_text()
PROCESSES_MAX = 50
FILE_SYSTEM_BYTES = 8 << 20
MEMORY_BYTES = 64 << 20
VICTIM = """
import ctypes, socket, sys, time
doors = [socket.socket(socket.AF_UNIX) for _ in range(2)]
for door, name in zip(doors, ("\\0of-another-run", "/tmp/of-another-run.sock")):
    door.bind(name)
    door.listen()
for folder in ("/tmp", "/work", "/dev/shm"):
    open(f"{folder}/of-another-run", "w").close()
assert ctypes.CDLL(None).syscall(29, 0x51515151, 4096, 0o1666) >= 0
print("up", flush=True)
sys.stdin.read()
time.sleep(600)
"""


def prepare(root: Path, stack: ExitStack) -> dict[str, Any]:
    """Make what there is to find, and return what an attacker may know of it."""
    data = root / "data"
    for path in (data / "bus" / "store", root / "home" / ".ssh" / "id_of-another-run", data / "credentials"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a secret")
    bus = stack.enter_context(socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True))
    for name in ("\0of-the-machine", str(data / "socket")):
        door = stack.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(name)
        door.listen()
    address = next(each for each in own_addresses() if ":" not in each and not each.startswith("127."))
    return {
        "home": str(root / "home"),
        "key": str(root / "home" / ".ssh" / "id_of-another-run"),
        "store": str(data / "bus"),
        "credentials": str(data / "credentials"),
        "data": str(data),
        "sandboxes": str(data / "bubble" / "sandboxes"),
        "runner": os.getpid(),
        "abstract": "of-the-machine",
        "socket": str(data / "socket"),
        "port": bus.getsockname()[1],
        "address": address,
    }


async def exceed(place: Place) -> dict[str, Any]:
    """Use up what there is, and return how far that came."""
    forks = await place.run(excess.FORKS, channel=await place.open(processes_max=PROCESSES_MAX))
    sizes = {"tmp_bytes": FILE_SYSTEM_BYTES, "work_bytes": FILE_SYSTEM_BYTES}
    files = await place.run(excess.FILES, channel=await place.open(**sizes))
    memory = await place.run(
        excess.MEMORY, channel=await place.open(memory_bytes=MEMORY_BYTES), memory_bytes=MEMORY_BYTES
    )
    return {
        "forks": forks.stdout.decode().split(),
        "files": files.stdout.decode().splitlines(),
        "memory": [memory.stdout.decode(), memory.exited.exit_code, memory.exited.reason],
    }


async def trial(root: Path) -> dict[str, Any]:
    """Run both, and the harmless attempts once more without a sandbox."""
    with ExitStack() as stack:
        facts = prepare(root, stack)
        settings = RunnerSettings(data_dir=facts["data"])
        backend = await bubble_backend(settings, "runner-1", os.environ, "test")
        place = Place(backend.sandboxes, backend.blank)
        try:
            session, channel = await place.start(VICTIM)
            await listen(session, until=lambda heard: heard.stdout == b"up\n")
            folder = SandboxFolder(Path(facts["sandboxes"]) / place.name(channel))
            facts |= {"victim": folder.pid(), "record": str(folder.path / "record")}
            command = (sys.executable, attempts.__file__, json.dumps(facts | {"control": True}))
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=60, check=True)
            argv = ("{python}", "-u", "main.py", json.dumps(facts | {"control": False}))
            transcript = await place.run(SOURCE, argv=argv)
            assert transcript.exited.exit_code == 0, transcript.stderr.decode()
            used = await exceed(place)
            lives = folder.is_alive()
            return {
                "control": json.loads(done.stdout),
                "sandbox": json.loads(transcript.stdout),
                "excess": used,
                "the other run lives": lives,
                "unenforced": backend.sandboxes.unenforced,
            }
        finally:
            await place.clear()
            await backend.sandboxes.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(trial(Path(sys.argv[1])))))
