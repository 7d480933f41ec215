"""A script in a container tries to reach our services and other runs, and fails."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import uuid4

import pytest
from aiodocker import Docker

from fastflow.local.nats_server import embedded_bus
from fastflow_runner.sandbox import Mount, SandboxSpec
from fastflow_runner.sandbox.docker.image import ensure_worker_image
from fastflow_runner.sandbox.docker.sandboxes import DockerSandboxes
from tests.sandbox_contract import Place, listen

pytestmark = pytest.mark.docker

SECRET = "canary-of-another-run"
HOSTILE = """
import glob, json, os, socket
def reaches(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False
def writes(path):
    try:
        open(path, "w").close()
        return True
    except OSError:
        return False
def reads(path):
    try:
        return open(path, "rb").read()
    except OSError:
        return b""
gateway = next(
    socket.inet_ntoa(bytes.fromhex(words[2])[::-1])
    for words in map(str.split, open("/proc/net/route").read().splitlines()[1:]) if words[1] == "00000000"
)
print(json.dumps({
    "bus": [host for host in (gateway, "127.0.0.1", "nats") if reaches(host, PORT)],
    "neighbour": reaches("NEIGHBOUR", 4242),
    "sockets": [path for path in ("/var/run/docker.sock", "/run/docker.sock") if os.path.exists(path)],
    "written": [path for path in ("/store/x", "/opt/fastflow/x", "/etc/x", "/x") if writes(path)],
    "processes": sum(path != "/proc/1" for path in glob.glob("/proc/[0-9]*")),
    "canaries": [p for p in glob.glob("/proc/[0-9]*/environ") + glob.glob("/work/*") if b"CANARY" in reads(p)],
}))
"""
OPEN_DOOR = """
import os, socket, time
door = socket.create_server(("0.0.0.0", 4242))
open("/work/note", "w").write(os.environ["SECRET"])
print(socket.gethostbyname(socket.gethostname()), flush=True)
time.sleep(60)
"""


@pytest.mark.promise("isolated")
async def test_a_script_reaches_nothing_of_ours_and_nothing_of_another_run(docker: Docker, tmp_path: Path) -> None:
    """It reaches no bus, no Docker socket, and nothing of another container. It writes only its own files."""
    image = await ensure_worker_image(docker, progress=lambda line: None)
    network, volume = f"ff-test-{uuid4()}", f"ff-test-{uuid4()}"
    store = (Mount(source=volume, target="/store"),)
    place = Place(
        DockerSandboxes(scope=f"test-{uuid4()}"), SandboxSpec(name="", image=image, network=network, mounts=store)
    )
    async with embedded_bus(tmp_path, sync="2m") as url:
        try:
            session, neighbour = await place.start(OPEN_DOOR, env={"SECRET": SECRET})
            heard = await listen(session, until=lambda t: t.stdout.endswith(b"\n"))
            hostile = HOSTILE.replace("PORT", url.rpartition(":")[2])
            hostile = hostile.replace("NEIGHBOUR", heard.stdout.decode().strip()).replace("CANARY", SECRET[:-1])
            transcript = await place.run(hostile)
            found = json.loads(transcript.stdout)
            await neighbour.close()
        finally:
            await place.clear()
            await place.sandboxes.close()
            await (await docker.networks.get(network)).delete()
            process = await asyncio.create_subprocess_exec("docker", "volume", "rm", "--force", volume)
            await process.wait()
    assert found.pop("processes") <= 3
    assert found == {"bus": [], "neighbour": False, "sockets": [], "written": [], "canaries": []}
