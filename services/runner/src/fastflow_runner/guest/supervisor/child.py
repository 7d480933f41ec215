"""The script as a child process: its start, its signals, its end, and the wall between it and the supervisor.

Standard library only.
"""

from __future__ import annotations

import errno
import os
import resource
import sys

from .failure import SetupFailed
from .frames import EVENTS, STDERR, STDOUT
from .lean import dumps, loads, signal, suppress
from .meters import descendants, largest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .meters import Usage

_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Those, and what Python itself has changed: a script starts with the defaults.
_OWN_SIGNALS = (*_IGNORED_SIGNALS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)

# The most that Linux passes to a program, in one variable and in all. The total is a quarter of the stack's limit if
# that is less. Each string also needs a pointer.
VARIABLE_BYTES_MAX = 128 * 1024

EXEC_BYTES_MAX = 6 * 1024 * 1024

_POINTER_BYTES = 8

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 1, 4, 24, 36

_CAP_SYS_PTRACE = 19


class Child:
    """The script's process and all that it starts."""

    def __init__(self, usage: Usage, *, is_alone: bool, prctl: Callable[[int, int], None]) -> None:
        """Set up a child that has not started.

        Args:
            is_alone: Whether every other visible process belongs to the script, as in a container.
        """
        self.is_gone = True
        """Whether no process of the script is alive."""
        self.exit_code = 0
        self.signal = 0
        """The signal that ended it; 0 for none."""
        self._usage = usage
        self._is_alone = is_alone
        self._prctl = prctl
        self._pid = 0
        self._has_ended = False

    def start(self, argv: list[str], directory: str, env: Mapping[str, str], outputs: Mapping[int, int]) -> int:
        """Start the script and return its pid. See ``spawn``."""
        self._pid = spawn(argv, directory, env, outputs, self._prctl)
        self.is_gone = False
        return self._pid

    def terminate(self) -> None:
        """Ask the script and the rest of its process group to end."""
        self._signal_group(signal.SIGTERM)

    def kill_all(self) -> None:
        """Send SIGKILL to every process of the script, in any session."""
        if self._is_alone:
            _kill([-1])
        else:
            self._signal_group(signal.SIGKILL)
            _kill(descendants(os.getpid()))

    def kill_largest(self) -> None:
        """Send SIGKILL to the process that uses the most memory, as the kernel does. The others go on."""
        _kill(largest_of(descendants(os.getpid())))

    def reap(self) -> bool:
        """Collect every ended process; return whether the script itself is among them."""
        has_ended = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.is_gone = True
                return has_ended
            if pid == 0:
                return has_ended
            self._usage.add_reaped(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
            if pid == self._pid and not self._has_ended:  # its number may be reused
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code
                self.signal = max(0, -code)
                self._has_ended = has_ended = True

    def _signal_group(self, number: int) -> None:
        with suppress(OSError):
            os.killpg(self._pid, number)


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def command(job: Mapping[str, Any]) -> list[str]:
    """Return the words of a job's command, with the path of its interpreter or of our own."""
    python = job["python"] or sys.executable
    return [python if word == "{python}" else word for word in job["argv"]]


def environment(job: Mapping[str, Any], work: str, files: Mapping[str, str], events: int | None) -> dict[str, str]:
    """Build the script's variables; later ones win.

    Args:
        files: The variables that name files.
        events: The descriptor for events.
    """
    base = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": work,
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own
    }
    channel = {} if events is None else {"FASTFLOW_CELL_EVENTS_FD": str(events)}
    own = {**base, **os.environ}
    own.pop("PWD", None)  # of this process: the script starts elsewhere
    return {**own, **activated(job["python"], own["PATH"]), **job["env"], **files, **channel}


def activated(python: str | None, path: str) -> dict[str, str]:
    """Return the variables that activate the environment of an interpreter, as ``uv run`` sets them.

    Args:
        python: Its path; None for one that has no environment.
        path: The PATH so far, which stays behind the environment's own commands.
    """
    if python is None:
        return {}
    commands = os.path.dirname(python)
    return {"VIRTUAL_ENV": os.path.dirname(commands), "PATH": f"{commands}:{path}"}


def seclude(prctl: Callable[[int, int], None], *, is_alone: bool) -> None:
    """Keep this process's descriptors from the script, and the script's signals from this process."""
    prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not is_alone:
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Only a frame stops the job: a script in the same container can send signals, but no frames.
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for descriptor in range(3, 64):  # the script gets no descriptor that this process was given
        with suppress(OSError):
            os.set_inheritable(descriptor, False)


def spawn(
    argv: list[str],
    directory: str,
    env: Mapping[str, str],
    outputs: Mapping[int, int],
    prctl: Callable[[int, int], None],
) -> int:
    """Start the script in its own session and return its pid.

    Args:
        outputs: What the script writes to, by stream.

    Raises:
        SetupFailed: exec did not succeed.
    """
    failure_read, failure_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            # A process that is not dumpable may not open its own oom_score_adj. exec makes it dumpable again anyway.
            prctl(_PR_SET_DUMPABLE, 1)
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # Applies to root: without this capability, not even root can open a process that is not dumpable.
            prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE)
            _sacrifice_me()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(outputs[STDOUT], 1)
            os.dup2(outputs[STDERR], 2)
            if EVENTS in outputs:
                os.set_inheritable(outputs[EVENTS], True)
            signal.set_wakeup_fd(-1)
            for number in _OWN_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.chdir(directory)
            os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell is the point
        except BaseException as error:  # this process must not return into the supervisor's code
            code = 127 if isinstance(error, FileNotFoundError) else 126
            is_too_large = isinstance(error, OSError) and error.errno == errno.E2BIG
            reason = _what_is_too_large(argv, env) if is_too_large else str(error)
            os.write(failure_write, dumps([code, reason[:1000]]).encode())
        finally:
            os._exit(126)
    os.close(failure_write)
    with open(failure_read, "rb") as failures:
        failure = failures.read()
    if failure:
        code, reason = loads(failure)
        raise SetupFailed(f"{argv[0]} cannot be started: {reason}", code)
    return pid


def load_prctl() -> Callable[[int, int], None]:
    """Return ``prctl(option, value)``; it does nothing on a system without it."""
    import ctypes

    function = getattr(ctypes.CDLL(None), "prctl", None)

    def prctl(option: int, value: int) -> None:
        if function is not None:
            function(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))

    return prctl


def _what_is_too_large(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Say which arguments or variables were too large for exec."""
    sizes = {name: len(os.fsencode(f"{name}={value}")) + 1 for name, value in env.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    if sizes[largest] > VARIABLE_BYTES_MAX:
        what, bytes_max = f"the variable {largest[:100]} takes {sizes[largest]:,} bytes", VARIABLE_BYTES_MAX
    else:
        arguments = [len(os.fsencode(word)) + 1 for word in argv]
        size_bytes = sum(sizes.values()) + sum(arguments) + _POINTER_BYTES * (len(sizes) + len(arguments))
        bytes_max = min(os.sysconf("SC_ARG_MAX"), EXEC_BYTES_MAX)
        what = f"its {len(sizes)} variables and its arguments take {size_bytes:,} bytes"
    return f"{what}, and Linux accepts at most {bytes_max:,}; pass large values as files or fetch them from the script."


def _sacrifice_me() -> None:
    """Make the kernel kill the script, never the supervisor, when memory is short."""
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    except OSError:
        pass  # not Linux
