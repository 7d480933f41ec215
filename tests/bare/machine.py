"""A container that acts as a user's fresh machine, with several terminals."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from types import TracebackType

PACKAGES = ("python3", "git", "make")
USER = "ada"
HOME = f"/home/{USER}/fast-flow"
PREPARE_S = 600.0
COMMAND_S = 120.0


class Machine:
    """A machine of the base image *base*, with ``PACKAGES`` and an ordinary user. A context manager."""

    def __init__(self, base: str) -> None:
        install = "apt-get update -qq && apt-get install -y -qq --no-install-recommends " + " ".join(PACKAGES)
        recipe = f"FROM {base}\nRUN {install} && useradd --create-home --shell /bin/bash {USER}\n"
        tag = f"fastflow-bare:{base.partition(':')[2]}"
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", tag, "-"], input=recipe.encode(), check=True, timeout=600
        )
        self._tag = tag
        self._id = ""

    def __enter__(self) -> Machine:
        command = ["docker", "run", "--detach", "--init", self._tag, "sleep", "infinity"]
        self._id = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        self.root("mkdir", HOME)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self._id], capture_output=True, check=True)

    def copy(self, archive: bytes) -> None:
        """Unpack a tar archive into the user's checkout."""
        unpack = ["docker", "exec", "--interactive", self._id, "tar", "--extract", "--directory", HOME]
        subprocess.run(unpack, input=archive, check=True)
        self.root("chown", "--recursive", f"{USER}:", HOME)

    def root(self, *command: str) -> str:
        """Run a command as root; return its output."""
        done = subprocess.run(["docker", "exec", self._id, *command], capture_output=True, text=True, check=True)
        return done.stdout

    def type(self, lines: str, *, within_s: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """Type into a new terminal; return the result, with both outputs in ``stdout``."""
        return subprocess.run(
            self._shell(lines),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within_s,
            check=False,
        )

    def open(self, lines: str) -> Terminal:
        """Open a new terminal in which *lines* keep running."""
        return Terminal(self, self._shell(f"echo $$ > /tmp/terminal; {lines}"))

    def _shell(self, lines: str) -> list[str]:
        # In its own session, as a terminal gives it.
        shell = ["docker", "exec", "--user", USER, "--workdir", HOME, self._id, "setsid", "--wait", "bash", "-c"]
        return [*shell, lines]


class Terminal:
    """A running command, and its output line by line."""

    def __init__(self, machine: Machine, command: list[str]) -> None:
        self._machine = machine
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.printed: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def until(self, text: str, *, within_s: float) -> str:
        """Return the first line with *text*."""
        deadline = time.monotonic() + within_s
        while (line := self._lines.get(timeout=max(0.01, deadline - time.monotonic()))) is not None:
            self.printed.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}:\n" + "".join(self.printed))

    def press_ctrl_c(self) -> None:
        """Send SIGINT to everything in the terminal, as the kernel does, and wait for the end."""
        self._machine.root("bash", "-c", "kill -INT -- -$(cat /tmp/terminal)")
        self._process.wait(60)
        while (line := self._lines.get(timeout=10)) is not None:
            self.printed.append(line)
        self.close()

    def close(self) -> None:
        """Stop reading its output."""
        self._process.kill()
        self._process.wait()
        self._reading.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)
