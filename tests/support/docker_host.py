"""A second Docker host on this machine: a daemon with its own store, network, processes and mounts.

All of it lives in the namespaces of one process, so killing that process is a power cut: daemon, containers, mounts and
network disappear at once, and the files in the store's directory are still there after a restart. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.support.processes import _die_with_parent

START_S = 60.0
LOOK_S = 0.05
CALL_S = 120.0
GONE_S = 10.0

_APART = ("unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc")
_BOOT = """\
set -e
mkdir -p /etc/docker /run/containerd "$1/etc" "$1/exec"
mount --bind "$1/etc" /etc/docker  # the daemon's identity and settings
for volatile in /run/containerd "$1/exec"; do mount -t tmpfs none "$volatile"; done
ip link set lo up
exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/sock" \
  --cgroup-parent "/$2"
"""


def missing(*more: str) -> str:
    """Return why no second host is possible here, or "" if it is. *more*: further commands that it needs."""
    if os.geteuid() != 0:
        return "a second Docker daemon needs root"
    absent = [name for name in ("dockerd", "unshare", "nsenter", "ip", "mount", *more) if shutil.which(name) is None]
    return f"no {', '.join(absent)} here" if absent else ""


class DockerHost:
    """Call ``start`` and ``kill`` any number of times, ``remove`` once."""

    def __init__(self, *, runtimes: Mapping[str, str] | None = None) -> None:
        """*runtimes*: paths of more container runtimes, by the name that the daemon knows them by."""
        self._runtimes = {name: {"path": path} for name, path in (runtimes or {}).items()}
        self._folder = Path(tempfile.mkdtemp(prefix="ff-host-"))  # short, because a socket's path is
        self.url = f"unix://{self._folder}/sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Boot it and wait until its daemon answers."""
        (self._folder / "etc").mkdir(exist_ok=True)
        (self._folder / "etc" / "daemon.json").write_text(json.dumps({"runtimes": self._runtimes}))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_APART, "bash", "-c", _BOOT, "boot", str(self._folder), self._folder.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            is_late = self._process.poll() is not None or time.monotonic() > deadline
            assert not is_late, f"no second Docker daemon: {(self._folder / 'log').read_text()[-3000:]}"
            time.sleep(LOOK_S)

    def load(self, image: str) -> None:
        """Copy *image* from the machine's own daemon, unless it has it."""
        if self.docker("images", "--quiet", image):
            return
        with subprocess.Popen(("docker", "save", image), stdout=subprocess.PIPE) as saving:
            loading = ("docker", "--host", self.url, "load", "--quiet")
            subprocess.run(loading, stdin=saving.stdout, stdout=subprocess.DEVNULL, check=True, timeout=CALL_S)

    @property
    def is_up(self) -> bool:
        """Whether it was started and runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def network(self) -> str:
        """Its network namespace, for ``nsenter``."""
        return f"/proc/{self._first}/ns/net"

    def docker(self, *words: str) -> str:
        """Run the docker command against this daemon; return its output."""
        done = self._docker(*words)
        assert done.returncode == 0, f"docker {words[0]}: {done.stderr}"
        return done.stdout

    def names(self, addresses: Mapping[str, str]) -> None:
        """Let its programs find *addresses* by name."""
        more = "".join(f"{at} {name}\n" for name, at in addresses.items())
        (self._folder / "hosts").write_text(Path("/etc/hosts").read_text() + more)
        mount = ("mount", "--bind", str(self._folder / "hosts"), "/etc/hosts")
        subprocess.run(("nsenter", f"--mount=/proc/{self._first}/ns/mnt", *mount), check=True, timeout=CALL_S)

    def clear(self) -> None:
        """Remove all containers."""
        for left in self.docker("ps", "--all", "--quiet").split():
            self.docker("rm", "--force", "--volumes", left)

    def kill(self) -> None:
        """Cut the power. Returns when only its disk is left."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        # The first process of its namespace takes all others with it, and ends after them.
        with suppress(ProcessLookupError, FileNotFoundError, ValueError):
            os.kill(self._first_of(process.pid), signal.SIGKILL)
        process.wait(GONE_S)
        (self._folder / "pid").unlink(missing_ok=True)
        self._remove_cgroups()

    def remove(self) -> None:
        """Kill it and delete its disk."""
        self.kill()
        shutil.rmtree(self._folder)

    @property
    def _first(self) -> int:
        assert self._process is not None
        return self._first_of(self._process.pid)

    def _first_of(self, pid: int) -> int:
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def _answers(self) -> bool:
        return (self._folder / "sock").exists() and self._docker("version").returncode == 0

    def _docker(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = ("docker", "--host", self.url, *words)
        return subprocess.run(command, capture_output=True, text=True, timeout=CALL_S, check=False)

    def _remove_cgroups(self) -> None:
        """Remove its cgroups: the kernel keeps them, empty."""
        for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
            for folder, _, _ in os.walk(root / self._folder.name, topdown=False):
                with suppress(OSError):
                    os.rmdir(folder)
