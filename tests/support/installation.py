"""``fastflow up`` as a process with its own data folder, driven through the command and HTTP."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.folders import unlock

FASTFLOW = [sys.executable, "-m", "fastflow"]
READY_S = 120.0
STOP_S = 60.0
COMMAND_S = 120.0
GONE_S = 30.0
DENIED = "bus permission denied"
"""The log of a service that its user does not permit an action: always an error."""

HELLO = "import os\nprint(f\"Hello, {os.environ.get('NAME', 'world')}!\")\n"
SLEEPS = "import time\nprint('asleep', flush=True)\ntime.sleep(600)\n"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\ntime.sleep(600)\n"


class Installation:
    """A folder with pipelines and a data folder. ``start`` and ``stop`` may be called again and again."""

    def __init__(self, folder: Path, *, pipelines: Path | None = None, around: Sequence[str] = ()) -> None:
        """*around*: the command that starts it, such as one that is another user."""
        self.folder = folder
        self._around = around
        self.pipelines = pipelines or folder / "pipelines"
        self.pipelines.mkdir(parents=True, exist_ok=True)
        self.data_dir = folder / ".fastflow"
        self.process: subprocess.Popen[str] | None = None
        self.printed: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()

    def add(self, name: str, main: str, **metadata: Any) -> None:
        """Write a pipeline's folder."""
        (self.pipelines / name).mkdir()
        (self.pipelines / name / "main.py").write_text(main)
        if metadata:
            (self.pipelines / name / "pipeline.json").write_text(json.dumps(metadata))

    def start(self, *options: str, source: bool = True, **environ: str) -> None:
        """Start it on a free port with process sandboxes; return when it reports that it is ready."""
        self.launch(*options, source=source, **environ)
        self.await_line("Ready")

    def launch(self, *options: str, source: bool = True, **environ: str) -> None:
        """Start it without waiting."""
        given = [str(self.pipelines)] if source else []
        command = [*self._around, *FASTFLOW, "up", *given, "--port", "0", "--sandbox", "process", *options]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=clean(environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.printed = []
        self._lines = queue.Queue()
        threading.Thread(target=_pass_on, args=(self.process, self._lines), daemon=True).start()

    def await_line(self, text: str, *, within_s: float = READY_S) -> None:
        """Wait until it has printed a line with *text*."""
        deadline = time.monotonic() + within_s
        while True:
            line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            if line is None:
                self._lines.put(None)  # for `wait`
                raise AssertionError("fastflow up ended:\n" + "".join(self.printed))
            self.printed.append(line)
            if text in line:
                return

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, *, within_s: float = STOP_S) -> int:
        """Wait until it has ended; return its exit code."""
        assert self.process is not None
        code = self.process.wait(within_s)
        assert self.process.stdout is not None
        while (line := self._lines.get(timeout=GONE_S)) is not None:
            self.printed.append(line)
        self.process.stdout.close()
        self.process = None
        assert not [line for line in self.printed if DENIED in line]
        return code

    def stop(self) -> int:
        """Press Ctrl-C; return its exit code."""
        self.signal(signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        """Kill this one process, as a power failure would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def __enter__(self) -> Installation:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.kill()
        unlock(self.folder)

    def command(self, *arguments: str, data: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``fastflow`` beside it."""
        return fastflow(*arguments, cwd=self.folder, data=data, **environ)

    def await_log(self, run: str, text: str) -> None:
        """Wait until the log of *run* has a line with *text*."""
        command = [*FASTFLOW, "logs", run, "--follow"]
        with subprocess.Popen(command, cwd=self.folder, env=clean({}), stdout=subprocess.PIPE, text=True) as following:
            assert following.stdout is not None
            try:
                assert any(text in line for line in following.stdout)
            finally:
                following.terminate()

    @property
    def address(self) -> str:
        """Return the login address that it printed."""
        match = re.search(r"http://[^/\s]+/\S*", "".join(self.printed))
        assert match
        return match[0]

    @property
    def url(self) -> str:
        """Return the address of the gateway, without a slash at the end."""
        return (self.data_dir / "gateway.url").read_text().strip().rstrip("/")

    @property
    def token(self) -> str:
        """Return the token of the installation."""
        return (self.data_dir / "token").read_text().strip()

    def api(self, path: str, body: Any = None) -> Any:
        """Call the API with the installation's token; *body* makes it a POST."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def processes(self) -> list[str]:
        """Return the command lines of all processes of this installation."""
        return [line for line in _command_lines() if str(self.folder) in line]

    def await_silence(self) -> None:
        """Wait until none of its processes is left: the last ones die a moment after their parent."""
        deadline = time.monotonic() + GONE_S
        while left := self.processes():
            assert time.monotonic() < deadline, f"left behind: {left}"
            time.sleep(0.02)


def fastflow(*arguments: str, cwd: Path, data: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*FASTFLOW, *arguments],
        cwd=cwd,
        env=clean(environ),
        input=data,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )


def clean(environ: dict[str, str]) -> dict[str, str]:
    """Return this process's environment without Fast-Flow's settings, plus *environ*."""
    names = ("FASTFLOW_", "ENCRYPTION_", "GIT_", "PIPELINES_", "LOG_", "NO_COLOR")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    # A user's login on this machine must not affect a test.
    return inherited | {"XDG_CONFIG_HOME": "/nowhere"} | environ


def _pass_on(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        except OSError:
            continue
    return found
