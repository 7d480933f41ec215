"""The script as a child process: what it starts with, and what it may not have.

Standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import signal

from .intake import SetupFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Those, and what Python itself has changed: a script starts with none of it.
_OWN_SIGNALS = (*_IGNORED_SIGNALS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ)

# What Linux passes on to a program: in one variable, and in all, where it is a quarter of the stack's limit if that is
# less. With each string goes a pointer.
VARIABLE_BYTES_MAX = 128 * 1024

EXEC_BYTES_MAX = 6 * 1024 * 1024

_POINTER_BYTES = 8

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER = 1, 4, 24, 36

_CAP_SYS_PTRACE = 19


def load_prctl() -> Callable[[int, int], None]:
    """``prctl(option, value)``; does nothing on a system without it."""
    import ctypes

    function = getattr(ctypes.CDLL(None), "prctl", None)

    def prctl(option: int, value: int) -> None:
        if function is not None:
            function(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))

    return prctl


def spawn(
    argv: list[str],
    directory: str,
    env: Mapping[str, str],
    descriptors: tuple[int, int],
    inherited: Sequence[int],
    prctl: Callable[[int, int], None],
) -> int:
    """Start the script in a session of its own; its pid. Raises ``SetupFailed`` when exec does not succeed."""
    failure_read, failure_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            # A process that is not dumpable may not open its own oom_score_adj. exec makes it so again anyway.
            prctl(_PR_SET_DUMPABLE, 1)
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # Where it is root's: without this, not even root opens what is not dumpable.
            prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE)
            _sacrifice_me()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(descriptors[0], 1)
            os.dup2(descriptors[1], 2)
            for descriptor in inherited:
                os.set_inheritable(descriptor, True)
            signal.set_wakeup_fd(-1)
            for number in _OWN_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            os.chdir(directory)
            os.execvpe(argv[0], argv, env)  # noqa: S606 - no shell is the point
        except BaseException as error:  # this process must not return into the supervisor's code
            code = 127 if isinstance(error, FileNotFoundError) else 126
            is_too_large = isinstance(error, OSError) and error.errno == errno.E2BIG
            reason = _what_is_too_large(argv, env) if is_too_large else str(error)
            os.write(failure_write, json.dumps([code, reason[:1000]]).encode())
        finally:
            os._exit(126)
    os.close(failure_write)
    with open(failure_read, "rb") as failures:
        failure = failures.read()
    if failure:
        code, reason = json.loads(failure)
        raise SetupFailed(f"{argv[0]} cannot be started: {reason}", code)
    return pid


def _what_is_too_large(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """Why exec did not take these, which it has seen."""
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
    """When memory is short the kernel shall take the script, never the supervisor."""
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
    except OSError:
        pass  # another system than Linux
