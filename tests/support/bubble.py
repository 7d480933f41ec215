"""A sandbox's namespaces without its backend: bubblewrap with a script, and a network from ``bubble.network``.

Run as a file with a JSON object it is a runner in a process of its own: of a machine that is a network namespace, or of
an ordinary user. It prints what the script printed, or the error.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import Any

import pytest

from fastflow_runner.sandbox import USER, SandboxError
from fastflow_runner.sandbox.bubble.network import BubbleNetworks, NetworkPlan
from fastflow_runner.sandbox.bubble.network_tools import Helper, NetworkTools, find_tools, program_path

PYTHON = "/usr/bin/python3"


def required(*programs: str) -> None:
    """Skip the test where *programs* are missing, or root, unless everything is required."""
    absent = [each for each in programs if shutil.which(each, path=program_path()) is None]
    if reason := "needs root" if os.geteuid() else f"no {', '.join(absent)} here" if absent else "":
        (pytest.fail if os.environ.get("FASTFLOW_REQUIRE_DOCKER") == "1" else pytest.skip)(reason)


def tools_of(name: str) -> NetworkTools:
    """Return the tools of this machine with *name* as the helper."""
    found = shutil.which(name, path=program_path())
    assert found is not None
    return NetworkTools(Helper(found, tells=name == "slirp4netns"), find_tools().lack)


class Blocked:
    """A sandbox that waits before its first instruction, a Python script."""

    def __init__(self, script: str, plan: NetworkPlan, *, stdout: int = subprocess.PIPE) -> None:
        info, its_info = os.pipe()
        its_block, self._block = os.pipe()
        files = []
        for path, content in (
            ("/etc/resolv.conf", plan.resolv_conf),
            (
                "/etc/hosts",
                "".join(f"{at} {name}\n" for name, _, at in (h.partition(":") for h in plan.hosts)).encode(),
            ),
            ("/etc/nsswitch.conf", b"hosts: files dns\n"),
        ):
            descriptor = os.memfd_create("file")
            os.write(descriptor, content)
            os.lseek(descriptor, 0, os.SEEK_SET)
            files += [(descriptor, path)]
        command = (
            *("bwrap", "--unshare-all", "--disable-userns", "--unshare-user", "--uid", str(USER), "--gid", str(USER)),
            *("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
            *(
                "--symlink",
                "usr/bin",
                "/bin",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "--tmpfs",
                "/tmp",
                "--cap-drop",
                "ALL",
            ),
            *(word for at, path in files for word in ("--perms", "0444", "--ro-bind-data", str(at), path)),
            *("--new-session", "--as-pid-1", "--info-fd", str(its_info), "--block-fd", str(its_block)),
            *(PYTHON, "-I", "-S", "-c", script),
        )
        as_user: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}
        passed = (its_info, its_block, *(at for at, _ in files))
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT, pass_fds=passed,
            start_new_session=True, **as_user,
        )  # fmt: skip
        for each in passed:
            os.close(each)
        with os.fdopen(info, "rb") as said:
            text = said.read()
        assert text, self.process.communicate()[0]
        self.pid: int = json.loads(text)["child-pid"]

    async def run(self) -> str:
        """Let it go on, and return what it prints until its end."""
        self.go()
        return (await asyncio.to_thread(self.process.communicate))[0].decode()

    def go(self) -> None:
        """Let it go on."""
        os.write(self._block, b"x")
        os.close(self._block)
        self._block = -1

    def kill(self) -> None:
        """End it."""
        if self._block >= 0:
            os.close(self._block)
        if self.process.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


async def run_script(networks: BubbleNetworks, script: str, network: str, reach: tuple[str, ...] | None) -> str:
    """Run *script* in a sandbox with this network, and return what it printed."""
    plan = await networks.plan(network, reach)
    sandbox = Blocked(script, plan)
    try:
        await networks.join(sandbox.pid, plan)
        return await sandbox.run()
    finally:
        sandbox.kill()


_NEW_MACHINE = """\
set -e
mount --make-rprivate /
mkdir -m 0755 "$1/net" && mount -t tmpfs -o mode=0755 none /dev/net && mknod -m 0666 /dev/net/tun c 10 200
mkdir "$1/root" && mount --rbind /root "$1/root"
mount -t tmpfs -o mode=0755 none /root
for name in .pyenv .local; do
  if [ -d "$1/root/$name" ]; then mkdir "/root/$name"; mount --rbind "$1/root/$name" "/root/$name"; fi
done
chmod 0755 "$1"
shift
exec "$@"
"""


def _remove(folder: str) -> None:
    """Remove the mount points of a machine; what is mounted on them is not seen here."""
    for name in ("net", "root", ""):
        with suppress(OSError):
            os.rmdir(os.path.join(folder, name))


def as_ordinary_user(*command: str, user: int = 4321) -> tuple[str, ...]:
    """Return *command* for an ordinary user of a usual machine, who may open ``tun`` and run this interpreter."""
    folder = tempfile.mkdtemp(prefix="ff-user-")
    atexit.register(_remove, folder)
    drop = ("setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--")
    return ("unshare", "--mount", "sh", "-c", _NEW_MACHINE, "machine", folder, *drop, *command)


async def _main(order: dict[str, Any]) -> None:
    networks = BubbleNetworks(opened=tuple(order.get("opened", ())), tools=tools_of(order.get("helper", "pasta")))
    reach = order.get("reach")
    try:
        said = await run_script(
            networks, order["script"], order.get("network", "fastflow"), None if reach is None else tuple(reach)
        )
        print(json.dumps({"said": said}), flush=True)
    except SandboxError as error:
        print(json.dumps({"error": str(error)}), flush=True)
    finally:
        await networks.close()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
