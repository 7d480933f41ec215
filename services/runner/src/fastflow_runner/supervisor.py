#!/usr/bin/python3
"""Process 1 of every sandbox: it takes one job, runs it as its child and reports, all in frames.

One file, standard library only, Python 3.9 or newer, so that a bare image can run it. Here live the frame
codec (which the runner imports), the window of unacknowledged output, and the process itself. The bus, Docker
and everything else about a run may not.

**The border.** Descriptor 0 brings frames from the runner, descriptor 1 takes frames to it, descriptor 2 takes
this process's own complaints. User code gets none of the three: its output arrives through pipes, and this
process is not dumpable, so user code of the same user cannot open it through /proc either; nor can user code that
is root, because it is started without the capability for that. Hence a script cannot forge a frame.

**A frame** is a kind (1 byte), the payload's length (4 bytes, big endian) and the payload, at most
``FRAME_BYTES_MAX``. Control payloads are JSON objects; OUTPUT and EVENT carry a binary header.

**A mark** is ``MAGIC`` and 16 random bytes. In either direction the stream starts at its mark, wherever it
appears: everything before it is dropped, even half a frame. Towards this process the mark holds the sandbox's
token, repeated by each new runner. Towards the runner it holds the nonce of its ATTACH.

==========  ===========  =========================================================================================
direction   kind         payload
==========  ===========  =========================================================================================
to process  ATTACH       nonce (hex), acked {stdout, stderr, events}; first after every mark
1           JOB          argv, cwd, python, holds [{path, byte, python}], env, timeout_s, grace_s, dead_after_s,
                         sample_s, memory_bytes, cell_events, files [{env, name, size_bytes}],
                         bundle {sha256, size_bytes} or null
            DATA         the files' bytes in their order, then the bundle's, cut anywhere
            BEAT         dead_after_s: without another beat in this time the job is stopped as orphaned, and
                         a sandbox that still waits for one ends
            ACK          stdout, stderr (bytes), events (count): all below may be forgotten
            STOP         reason, grace_s
to runner   SYNC         version, phase; first after every mark, then all that is unacknowledged once more
            STARTED      pid, at
            OUTPUT       stream (1 byte), offset of the first byte (8), unix time (8, double), bytes
            EVENT        number, from 0 (8), unix time (8, double), JSON as the script wrote it
            SAMPLE       at, cpu_cores, memory_bytes, memory_peak_bytes, memory_limit_bytes or null
            EXIT         exit_code, reason, oom, message, at, memory_peak_bytes, cpu_s; after all output
==========  ===========  =========================================================================================

**Back-pressure.** At most ``WINDOW_BYTES`` of output are unacknowledged; then the pipes are not read and the
script blocks, as on any full pipe.

**The end.** When the script ends, whatever it left running is killed, the rest of its output is read, and EXIT
is sent; it is sent again to every runner that attaches, until one removes the sandbox. Without beats the job is
stopped and this process ends with ``ORPHANED_EXIT_CODE``; so does one that waits for a job and hears nothing for
``IDLE_S``.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import resource
import select
import signal
import struct
import sys
import tarfile
import time
from collections import deque
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

# --- The codec. Pure; imported by the runner. ---------------------------------------------------------------------

PROTOCOL_VERSION = 1
FRAME_BYTES_MAX = 8 * 1024 * 1024  # a job with all the environment that the bus takes, more than exec does
WINDOW_BYTES = 1024 * 1024

MAGIC = b"\xff\xf5FASTFL"  # its first byte is no frame kind, so a foreign mark is seen for what it is
NONCE_BYTES = 16
MARK_BYTES = len(MAGIC) + NONCE_BYTES

ATTACH, JOB, DATA, BEAT, ACK, STOP = b"AJDBKS"
SYNC, STARTED, OUTPUT, EVENT, SAMPLE, EXIT = b"YTOEMX"

STDOUT, STDERR, EVENTS = 1, 2, 3

WAITING, PREPARING, RUNNING, DRAINING, EXITED = "waiting", "preparing", "running", "draining", "exited"

ORPHANED_EXIT_CODE = 87

_HEADER = struct.Struct(">BI")
OUTPUT_HEADER = struct.Struct(">BQd")
EVENT_HEADER = struct.Struct(">Qd")


class ProtocolError(Exception):
    """The other side's bytes are no frames of this protocol."""


class Superseded(ProtocolError):
    """A foreign mark: another runner has attached to this sandbox and owns it now."""


def mark(nonce: bytes) -> bytes:
    """The mark of a 16-byte nonce or token."""
    assert len(nonce) == NONCE_BYTES
    return MAGIC + nonce


def frame(kind: int, payload: bytes) -> bytes:
    """One frame. Raises ``ProtocolError`` for a payload above ``FRAME_BYTES_MAX``."""
    if len(payload) > FRAME_BYTES_MAX:
        raise ProtocolError(f"a frame of {len(payload)} bytes; at most {FRAME_BYTES_MAX} are allowed")
    return _HEADER.pack(kind, len(payload)) + payload


def message(kind: int, **fields: Any) -> bytes:
    """One control frame, in UTF-8. Half a surrogate pair cannot be that, and is escaped: Python's way is JSON's."""
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return frame(kind, text.encode(errors="backslashreplace"))


class Decoder:
    """Bytes in, frames out, from the mark on; what comes before a mark is dropped wherever the mark appears.

    Without a mark given, the stream must begin with one, and that one is adopted. A mark is recognised inside a
    torn frame too; only one cut by a read exactly where a torn frame happens to end would be missed.
    """

    def __init__(self, mark: bytes = b"") -> None:
        self._mark = mark
        self._buffer = bytearray()
        self._in_step = False

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Every frame now complete, as (kind, payload). Must be exhausted.

        Raises ``Superseded`` or ``ProtocolError``; afterwards everything up to the next mark is dropped.
        """
        buffer = self._buffer
        buffer += data
        if not self._mark:
            if len(buffer) < MARK_BYTES:
                return
            if not buffer.startswith(MAGIC):
                buffer.clear()
                raise ProtocolError("the stream does not begin with a mark")
            self._mark = bytes(buffer[:MARK_BYTES])
        while (at := buffer.find(self._mark)) >= 0:
            try:
                if self._in_step:
                    yield from self._frames(at)
            finally:
                del buffer[: buffer.find(self._mark) + MARK_BYTES]
                self._in_step = True
        if self._in_step:
            yield from self._frames(len(buffer))
        else:
            del buffer[: 1 - MARK_BYTES]

    def _frames(self, end: int) -> Iterator[tuple[int, bytes]]:
        """The frames that end at or before *end*, removed from the buffer."""
        buffer, at = self._buffer, 0
        try:
            while end - at >= _HEADER.size:
                kind, size = _HEADER.unpack_from(buffer, at)
                if kind == MAGIC[0]:
                    raise Superseded("another runner has attached to this sandbox")
                if size > FRAME_BYTES_MAX:
                    raise ProtocolError(f"a frame of {size} bytes; at most {FRAME_BYTES_MAX} are allowed")
                if end - at - _HEADER.size < size:
                    break
                at += _HEADER.size + size
                yield kind, bytes(buffer[at - size : at])
        except ProtocolError:
            self._in_step = False
            raise
        finally:
            del buffer[:at]


class Window:
    """Frames sent and not yet acknowledged, in their order. Pure."""

    # What a small frame costs beside its bytes, so that one-byte writes cannot fill the memory.
    FRAME_COST_BYTES = 256

    def __init__(self, bytes_max: int = WINDOW_BYTES) -> None:
        self._bytes_max = bytes_max
        self._frames: deque[tuple[int, int, bytes]] = deque()
        self._used_bytes = 0

    @property
    def full(self) -> bool:
        """Whether nothing more may be read from the script."""
        return self._used_bytes >= self._bytes_max

    def push(self, stream: int, end: int, frame: bytes) -> None:
        """Keep the frame that ends at offset (or number) *end* of its stream."""
        self._frames.append((stream, end, frame))
        self._used_bytes += len(frame) + self.FRAME_COST_BYTES

    def acknowledge(self, ends: Mapping[int, int]) -> None:
        """Forget every frame that ends at or below its stream's acknowledged offset."""
        self._frames = deque(kept for kept in self._frames if kept[1] > ends.get(kept[0], 0))
        self._used_bytes = sum(len(kept[2]) + self.FRAME_COST_BYTES for kept in self._frames)

    def __iter__(self) -> Iterator[bytes]:
        return (kept[2] for kept in self._frames)


# --- Preparing: the job's bytes become a directory; its environment is held. --------------------------------------


class SetupFailed(Exception):
    """User code could not be started; the message is for the run's owner."""

    def __init__(self, message: str, exit_code: int = 126) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def hold(path: str, byte: int, python: str) -> bool:
    """Keep the environment of *python* from being collected for as long as this process lives, by a shared lock on
    its byte of the store's file *path*, which is never closed. False: it is gone, or going.
    """
    try:
        fcntl.lockf(os.open(path, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
    except (FileNotFoundError, PermissionError, BlockingIOError):
        return False
    except OSError:
        pass  # no locks on this file system; then nothing is collected either
    return os.path.exists(python)


class Intake:
    """Collects a job's DATA in an unnamed file and turns it into the job's files and directory."""

    def __init__(self, job: dict[str, Any], work: str) -> None:
        self.job = job
        self._work = work
        self._files_bytes = sum(entry["size_bytes"] for entry in job["files"])
        self._missing_bytes: int = self._files_bytes + (job["bundle"]["size_bytes"] if job["bundle"] else 0)
        self._received_bytes = 0
        self._sha256 = hashlib.sha256()
        path = os.path.join(work, ".intake")
        self._spool = open(path, "w+b")  # noqa: SIM115 - closed by prepare()
        os.unlink(path)

    @property
    def complete(self) -> bool:
        return self._missing_bytes == 0

    def take(self, data: bytes) -> None:
        """The next bytes. Raises ``SetupFailed`` for more than were announced, or a full disk."""
        if len(data) > self._missing_bytes:
            raise SetupFailed("The runner sent more bytes than it announced.")
        try:
            self._spool.write(data)
        except OSError as error:
            raise SetupFailed(f"The code does not fit into the sandbox: {error}.") from error
        self._sha256.update(data[max(0, self._files_bytes - self._received_bytes) :])
        self._received_bytes += len(data)
        self._missing_bytes -= len(data)

    def prepare(self) -> tuple[str, dict[str, str]]:
        """The working directory, and the variables that name the files. Raises ``SetupFailed``."""
        try:
            with self._spool as spool:
                spool.seek(0)
                variables = {}
                for entry in self.job["files"]:
                    path = os.path.join(self._work, ".files", safe_name(entry["name"]))
                    os.makedirs(os.path.dirname(path), exist_ok=True)
                    _write(path, spool.read(entry["size_bytes"]), 0o644)
                    variables[entry["env"]] = path
                directory = os.path.join(self._work, safe_name(self.job["cwd"]))
                os.mkdir(directory)
                if self.job["bundle"]:
                    if self._sha256.hexdigest() != self.job["bundle"]["sha256"]:
                        raise SetupFailed("The code that arrived is not the code that was announced.")
                    unpack(spool, directory)
                return directory, variables
        except OSError as error:
            raise SetupFailed(f"The code does not fit into the sandbox: {error}.") from error


def safe_name(name: str) -> str:
    """*name* when it is one visible part of a path. Raises ``SetupFailed``."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise SetupFailed(f"{name!r} is no name for a file.")
    return name


def unpack(tar: Any, directory: str) -> None:
    """Write the regular files of an uncompressed tar below a fresh directory. Raises ``SetupFailed``.

    Members are iterated and only their content is taken. Nothing in the directory is a link, since nothing but
    this function has written there; and no more is written than the tar is long, since sparse members are refused.
    """
    try:
        with tarfile.open(fileobj=tar, mode="r:", encoding="utf-8") as members:
            for member in members:
                parts = member.name.split("/")
                if member.type != tarfile.REGTYPE or member.issparse():
                    raise SetupFailed(f"The bundle holds {member.name!r}, which is no regular file.")
                if any(part in ("", ".", "..") or "\0" in part for part in parts):
                    raise SetupFailed(f"The bundle holds {member.name!r}, which is no safe path.")
                content = members.extractfile(member)
                assert content is not None
                path = os.path.join(directory, *parts)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                _write(path, content.read(), 0o755 if member.mode & 0o100 else 0o644)
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise SetupFailed(f"The bundle cannot be read: {error}.") from error


def _write(path: str, data: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(data)


# --- Processes. ---------------------------------------------------------------------------------------------------

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


def descendants(root: int) -> list[int]:
    """The pids of everything below *root*, by /proc."""
    found: list[int] = []
    pending = [root]
    while pending:
        try:
            tasks = f"/proc/{pending[-1]}/task"
            children = [int(pid) for task in os.listdir(tasks) for pid in _text(f"{tasks}/{task}/children").split()]
        except OSError:
            children = []
        pending.pop()
        pending += children
        found += children
    return found


# --- Measuring. ---------------------------------------------------------------------------------------------------


class Cgroup:
    """What this container uses and may use, by the files of cgroup v2 or v1."""

    def __init__(self, root: str = "/sys/fs/cgroup") -> None:
        self._v2 = os.path.exists(f"{root}/cgroup.controllers")
        self._memory = root if self._v2 else f"{root}/memory"
        self._cpu = root if self._v2 else f"{root}/cpuacct"
        text = _text(f"{self._memory}/{'memory.max' if self._v2 else 'memory.limit_in_bytes'}").strip()
        # Version 1 says "no limit" with a number near 2**63, version 2 with the word "max".
        self.memory_limit_bytes = int(text) if text.isdigit() and int(text) < 1 << 60 else None

    @property
    def usable(self) -> bool:
        return os.access(f"{self._memory}/memory.stat", os.R_OK)

    def cpu_s(self) -> float:
        if self._v2:
            return _field(f"{self._cpu}/cpu.stat", "usage_usec") / 1e6
        return int(_text(f"{self._cpu}/cpuacct.usage") or 0) / 1e9

    def memory_bytes(self) -> int:
        """Without the file cache that the kernel gives up first, as ``docker stats`` counts."""
        used = int(_text(f"{self._memory}/{'memory.current' if self._v2 else 'memory.usage_in_bytes'}") or 0)
        cache = _field(f"{self._memory}/memory.stat", "inactive_file" if self._v2 else "total_inactive_file")
        return max(0, used - cache)

    def oom_kills(self) -> int:
        return _field(f"{self._memory}/{'memory.events' if self._v2 else 'memory.oom_control'}", "oom_kill")


class Tree:
    """What the descendants of this process use, by /proc; for a sandbox without a cgroup of its own."""

    def __init__(self, reaped_cpu_s: Callable[[], float], memory_limit_bytes: int | None) -> None:
        self._reaped_cpu_s = reaped_cpu_s
        self.memory_limit_bytes = memory_limit_bytes

    def cpu_s(self) -> float:
        ticks = 0
        for pid in descendants(os.getpid()):
            # After the command's closing bracket: state is field 0, then utime 11, stime, cutime, cstime.
            fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return self._reaped_cpu_s() + ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Resident pages; where that sum exceeds the limit, with shared pages counted once."""
        pids = descendants(os.getpid())
        pages = sum(int((_text(f"/proc/{pid}/statm").split() or "00")[1]) for pid in pids)
        used = pages * os.sysconf("SC_PAGE_SIZE")
        if self.memory_limit_bytes is None or used <= self.memory_limit_bytes:
            return used
        return sum(_field(f"/proc/{pid}/smaps_rollup", "Pss:") for pid in pids) * 1024

    def oom_kills(self) -> int:
        return 0


def _text(path: str) -> str:
    """A small file, or nothing when it cannot be read (any more)."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _field(path: str, name: str) -> int:
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return int(words[1])
    return 0


# --- The process. -------------------------------------------------------------------------------------------------

READ_BYTES = 256 * 1024
# A script that writes line by line is read faster than it writes: without a pause each frame would hold a few lines,
# and what a frame costs, here, in Docker and in the runner, is most of what a flood costs.
GATHER_S = 0.001
GATHER_BYTES = 32 * 1024
EVENT_BYTES_MAX = 512 * 1024
ORPHAN_GRACE_S = 5.0
MEMORY_WATCH_S = 0.2
LAST_KILLS_S = 10.0
FAREWELL_S = 2.0
OPENING_S = 120.0
"""How long a cell runner may take to its first event, on top of the job's time."""
IDLE_S = 900.0
_OUT_FRAMES_MAX = 10_000


def now_s() -> float:
    """A clock that never jumps and, on Linux, goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Source:
    """One pipe from the script, and how far it has been read (bytes; events for the event pipe)."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.position = 0
        self.line = bytearray()


def _taken(descriptor: int) -> bytes | None:
    """What stands in a pipe, all of it if it is none of the largest; empty at its end, None if nothing is there yet."""
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None


class Supervisor:
    """One job from waiting to exited. Single-threaded around one ``poll``."""

    def __init__(self, work: str, eof_is_death: bool) -> None:
        self._work = work
        self._eof_is_death = eof_is_death
        self._alone = os.getpid() == 1  # in a container: every other process is the script's
        self._prctl = load_prctl()
        self._decoder = Decoder()
        self._listening = True
        self._poll = select.poll()
        self._polled: dict[int, int] = {}
        self._wake = -1

        self._out: deque[bytes] = deque()
        self._out_at = 0
        self._window = Window()
        self._acked = {STDOUT: 0, STDERR: 0, EVENTS: 0}
        self._sources: dict[int, Source] = {}

        self._phase = WAITING
        self._intake: Intake | None = None
        self._job: dict[str, Any] = {}
        self._child = 0
        self._childless = True
        self._exit_code = 0
        self._signal = 0  # which one ended it
        self._reason = ""
        self._orphaned = False
        self._started = b""
        self._exit = b""
        self._result: int | None = None  # this process' own exit code, once it is to end

        self._meter: Cgroup | Tree | None = None
        self._cpu_s = 0.0
        self._reaped_cpu_s = 0.0
        self._memory_peak_bytes = 0
        self._oom_kills = 0
        self._oom = False

        self._heard_at = now_s()
        self._dead_after_s = IDLE_S
        self._due_at = 0.0  # output is not to be read before
        self._timeout_at = float("inf")
        self._kill_at = float("inf")
        self._sample_at = float("inf")
        self._sampled_at = 0.0
        self._watch_at = float("inf")
        self._give_up_at = float("inf")

    def run(self) -> int:
        """Serve until orphaned, or killed; this process' exit code."""
        self._prepare_process()
        while True:
            self._flush()
            if self._result is not None and (not self._out or now_s() >= self._give_up_at):
                return self._result
            ready = {descriptor for descriptor, _ in self._wait()}
            if 0 in ready:
                self._listen()
            if self._wake in ready:
                os.read(self._wake, 4096)
            if ready & self._sources.keys():
                self._read_all()
            self._reap()
            self._tick(now_s())

    def _prepare_process(self) -> None:
        self._prctl(_PR_SET_DUMPABLE, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not self._alone:
            self._prctl(_PR_SET_CHILD_SUBREAPER, 1)
        # Stopping is a frame's business: a script in the same container can send signals, but no frames.
        for number in _IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        for descriptor in range(3, 64):  # whatever this process was given is not for the script
            with suppress(OSError):
                os.set_inheritable(descriptor, False)
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        os.set_blocking(1, False)
        if self._alone:  # else it is shared with the runner, whose own descriptor must not change
            os.set_blocking(2, False)

    # Waiting and writing.

    def _wait(self) -> list[tuple[int, int]]:
        wanted = {self._wake: select.POLLIN}
        if self._listening:
            wanted[0] = select.POLLIN
        if self._out:
            wanted[1] = select.POLLOUT
        now, next_at = now_s(), self._next_at()
        if not self._window.full:
            # Not polled at all when full: a pipe whose writer has gone would report that without end.
            for descriptor, source in self._sources.items():
                if self._due_at <= now or source.stream == EVENTS:
                    wanted[descriptor] = select.POLLIN
                else:
                    next_at = min(next_at, self._due_at)
        for descriptor in self._polled.keys() - wanted.keys():
            self._poll.unregister(descriptor)
        for descriptor in wanted.keys() - self._polled.keys():
            self._poll.register(descriptor, wanted[descriptor])
        self._polled = wanted
        wait_s = next_at - now
        return self._poll.poll(None if wait_s == float("inf") else max(0.0, wait_s * 1000 + 1))

    def _next_at(self) -> float:
        if self._result is not None:
            return self._give_up_at
        dead_at = self._heard_at + self._dead_after_s
        if self._phase in (WAITING, PREPARING):
            return dead_at
        if self._phase == RUNNING:
            return min(dead_at, self._timeout_at, self._kill_at, self._sample_at, self._watch_at)
        if self._phase == DRAINING and not self._childless:
            return now_s() + 0.05
        return float("inf")

    def _flush(self) -> None:
        try:
            while self._out:
                self._out_at += os.write(1, memoryview(self._out[0])[self._out_at :])
                if self._out_at == len(self._out[0]):
                    self._out.popleft()
                    self._out_at = 0
        except BlockingIOError:
            pass
        except BrokenPipeError:  # nobody can attach any more either
            self._out.clear()
            self._out_at = 0

    def _send(self, data: bytes) -> None:
        self._out.append(data)

    def _complain(self, text: str) -> None:
        with suppress(OSError):
            os.write(2, f"supervisor: {text}\n".encode(errors="replace")[:4096])

    # What the runner says.

    def _listen(self) -> None:
        data = os.read(0, READ_BYTES * 4)
        if not data:
            self._listening = False
            if self._eof_is_death:
                self._orphan("the runner has gone")
            return
        while True:
            try:
                for kind, payload in self._decoder.feed(data):
                    try:
                        self._obey(kind, payload)
                    except (ValueError, LookupError, TypeError, AttributeError) as error:
                        self._complain(f"ignoring a bad frame: {type(error).__name__}: {error}")
                return
            except ProtocolError as error:
                self._complain(f"dropping what the runner said up to its next mark: {error}")
                data = b""

    def _obey(self, kind: int, payload: bytes) -> None:
        if kind == DATA:
            self._take(payload)
            return
        fields = json.loads(payload)
        if kind == ATTACH:
            self._attach(bytes.fromhex(fields["nonce"]), fields["acked"])
        elif kind == JOB:
            self._accept(fields)
        elif kind == BEAT:
            self._heard_at = now_s()
            if fields.get("dead_after_s") is not None:
                self._dead_after_s = float(fields["dead_after_s"])
        elif kind == ACK:
            self._acknowledge(fields)
        elif kind == STOP:
            grace_s = fields.get("grace_s")
            self._stop("stopped", self._job.get("grace_s", 0.0) if grace_s is None else float(grace_s))
        else:
            self._complain(f"ignoring a frame of kind {chr(kind)!r} while {self._phase}")

    def _attach(self, nonce: bytes, acked: dict[str, int]) -> None:
        self._heard_at = now_s()
        self._acknowledge(acked)
        begun = [self._out[0]] if self._out_at else []
        again = [mark(nonce), message(SYNC, version=PROTOCOL_VERSION, phase=self._phase)]
        again += [self._started] if self._started else []
        again += self._window
        again += [self._exit] if self._exit else []
        self._out = deque(begun + again)

    def _acknowledge(self, acked: dict[str, int]) -> None:
        ends = {STDOUT: acked["stdout"], STDERR: acked["stderr"], EVENTS: acked["events"]}
        self._acked = {stream: max(end, self._acked[stream]) for stream, end in ends.items()}
        self._window.acknowledge(self._acked)

    def _accept(self, job: dict[str, Any]) -> None:
        if self._phase not in (WAITING, PREPARING):
            self._complain("ignoring a second job")
            return
        self._phase = PREPARING
        self._job = job
        self._heard_at = now_s()
        self._dead_after_s = float(job["dead_after_s"])
        try:
            self._intake = Intake(job, self._work)
            self._take(b"")
        except OSError as error:
            self._fail(SetupFailed(f"The sandbox cannot be written to: {error}."))

    def _take(self, data: bytes) -> None:
        if self._intake is None:
            return  # of a job that failed or was refused
        try:
            self._intake.take(data)
            if self._intake.complete:
                intake, self._intake = self._intake, None
                self._start(*intake.prepare())
        except SetupFailed as error:
            self._fail(error)
        except OSError as error:
            self._fail(SetupFailed(f"The sandbox has no room for the script: {error}."))

    # The script's life.

    def _start(self, directory: str, variables: dict[str, str]) -> None:
        job = self._job
        if not all(hold(**each) for each in job.get("holds", ())):  # an older runner does not know of them
            self._finish(127, "no_environment", "")
            return
        base = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": self._work,
            "LANG": "C.UTF-8",
            "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own
        }
        env = {**base, **os.environ, **job["env"], **variables}
        python = job["python"] or sys.executable
        argv = [python if word == "{python}" else word for word in job["argv"]]
        self._meter = Cgroup() if self._alone else None
        if self._meter is None or not self._meter.usable:
            self._meter = Tree(lambda: self._reaped_cpu_s, job["memory_bytes"])
            self._watch_at = float("inf") if job["memory_bytes"] is None else 0.0
        self._oom_kills = self._meter.oom_kills()
        self._cpu_s = self._meter.cpu_s()

        pipes = {STDOUT: os.pipe(), STDERR: os.pipe()}
        if job["cell_events"]:
            pipes[EVENTS] = os.pipe()
            env["FASTFLOW_CELL_EVENTS_FD"] = str(pipes[EVENTS][1])
        for stream, (read, _) in pipes.items():
            os.set_blocking(read, False)
            with suppress(OSError):  # a user may have only so many large ones
                fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, READ_BYTES)
            self._sources[read] = Source(stream)
        inherited = [pipes[EVENTS][1]] if job["cell_events"] else []
        try:
            self._child = spawn(argv, directory, env, (pipes[STDOUT][1], pipes[STDERR][1]), inherited, self._prctl)
        finally:
            for _, write in pipes.values():
                os.close(write)
        self._childless = False
        self._phase = RUNNING
        now = self._sampled_at = now_s()
        self._timeout_at = now + self._limit_s() + (OPENING_S if job["cell_events"] else 0)
        self._sample_at = now + job["sample_s"] if job["sample_s"] else float("inf")
        self._started = message(STARTED, pid=self._child, at=time.time())
        self._send(self._started)

    def _limit_s(self) -> float:
        return self._job["timeout_s"] or float("inf")

    def _read_all(self) -> None:
        """Take what stands in the pipes, and pass on stdout first: what a script printed before it failed comes before
        the traceback. Taken last, it holds all that was written before what was taken from stderr.
        """
        taken = [(descriptor, _taken(descriptor)) for descriptor in reversed(self._sources)]
        for descriptor, data in reversed(taken):
            self._pass_on(descriptor, data)

    def _pass_on(self, descriptor: int, data: bytes | None) -> bool:
        """One piece from a pipe, None if it was empty; whether there may be more."""
        source = self._sources[descriptor]
        if not data:
            if data is not None:
                self._drop(descriptor)
            return False
        if source.stream == EVENTS:
            self._read_events(source, data)
            return True
        if len(data) < GATHER_BYTES:
            self._due_at = now_s() + GATHER_S
        header = OUTPUT_HEADER.pack(source.stream, source.position, time.time())
        source.position += len(data)
        self._keep(source, frame(OUTPUT, header + data))
        return True

    def _drop(self, descriptor: int) -> None:
        del self._sources[descriptor]
        if self._polled.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)
        os.close(descriptor)

    def _read_events(self, source: Source, data: bytes) -> None:
        if source.position == 0:  # what comes before is the start of a kernel, and no code of the user's
            self._timeout_at = min(self._timeout_at, now_s() + self._limit_s())
        source.line += data
        *lines, rest = source.line.split(b"\n")
        for line in lines:
            if line and len(line) <= EVENT_BYTES_MAX:
                header = EVENT_HEADER.pack(source.position, time.time())
                source.position += 1
                self._keep(source, frame(EVENT, header + line))
            elif line:
                self._complain(f"dropping an event of {len(line)} bytes")
        # Of a line that is too long one byte above the limit is enough to know it by.
        source.line = bytearray(rest[: EVENT_BYTES_MAX + 1])

    def _keep(self, source: Source, data: bytes) -> None:
        self._window.push(source.stream, source.position, data)
        self._send(data)

    def _stop(self, reason: str, grace_s: float) -> None:
        """SIGTERM now, SIGKILL after *grace_s*. The first reason stays; a shorter grace is granted."""
        if self._phase in (WAITING, PREPARING):
            self._intake = None
            self._finish(128 + signal.SIGTERM, reason, "Stopped before user code was started.")
        elif self._phase == RUNNING:
            if not self._reason:
                self._reason = reason
                self._signal_group(signal.SIGTERM)
            self._kill_at = min(self._kill_at, now_s() + grace_s)

    def _orphan(self, why: str) -> None:
        """The dead-man's switch: nobody can record this run any more, so nothing of it may go on."""
        self._complain(f"stopping: {why}")
        self._orphaned = True
        self._dead_after_s = float("inf")
        if self._phase == RUNNING:
            self._stop("orphaned", min(ORPHAN_GRACE_S, self._job["grace_s"]))
        elif self._phase != DRAINING:
            self._end_orphaned()

    def _end_orphaned(self) -> None:
        self._result = ORPHANED_EXIT_CODE
        self._give_up_at = now_s() + FAREWELL_S

    def _signal_group(self, number: int) -> None:
        with suppress(OSError):
            os.killpg(self._child, number)

    def _kill_all(self) -> None:
        """SIGKILL to everything of the script's, whatever session it has made for itself."""
        if self._alone:
            targets = [-1]
        else:
            self._signal_group(signal.SIGKILL)
            targets = descendants(os.getpid())
        for pid in targets:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                return
            self._reaped_cpu_s += usage.ru_utime + usage.ru_stime
            self._memory_peak_bytes = max(self._memory_peak_bytes, usage.ru_maxrss * 1024)
            if pid == self._child and self._phase == RUNNING:
                code = os.waitstatus_to_exitcode(status)
                self._exit_code = code if code >= 0 else 128 - code
                self._signal = max(0, -code)
                self._phase = DRAINING
                self._give_up_at = now_s() + LAST_KILLS_S
                self._kill_all()

    def _tick(self, now: float) -> None:
        if self._phase in (WAITING, PREPARING, RUNNING) and now >= self._heard_at + self._dead_after_s:
            self._orphan(f"no runner for {self._dead_after_s:g} s")
        if self._phase == RUNNING:
            if now >= self._timeout_at:
                self._timeout_at = float("inf")
                self._stop("timeout", self._job["grace_s"])
            if now >= self._kill_at:
                self._kill_at = float("inf")
                self._kill_all()
            if now >= self._watch_at:
                self._watch_at = now + MEMORY_WATCH_S
                self._watch_memory()
            if now >= self._sample_at:
                self._sample_at = now + self._job["sample_s"]
                self._sample(now)
        elif self._phase == DRAINING:
            self._drain(now)

    def _drain(self, now: float) -> None:
        """Once nothing of the script's is alive, what its pipes still hold is all there will be."""
        if not self._childless and now < self._give_up_at:
            self._kill_all()
            return
        for descriptor in list(self._sources):
            while not self._window.full and self._pass_on(descriptor, _taken(descriptor)):
                pass
            if self._window.full and not self._orphaned:  # else nobody will make room
                return
            if descriptor in self._sources:
                self._drop(descriptor)
        self._finish(self._exit_code, self._reason or "exited", "")

    def _finish(self, exit_code: int, reason: str, text: str) -> None:
        self._phase = EXITED
        oom = self._oom
        if self._meter is not None:
            oom = oom or self._meter.oom_kills() > self._oom_kills
            if oom and self._meter.memory_limit_bytes is not None:  # it was reached between two samples
                self._memory_peak_bytes = max(self._memory_peak_bytes, self._meter.memory_limit_bytes)
        self._exit = message(
            EXIT,
            exit_code=exit_code,
            signal=self._signal,
            reason=reason,
            oom=oom,
            message=text,
            at=time.time(),
            memory_peak_bytes=self._memory_peak_bytes,
            cpu_s=round(self._reaped_cpu_s, 6),
        )
        self._send(self._exit)
        if self._orphaned:
            self._end_orphaned()

    def _fail(self, error: SetupFailed) -> None:
        self._intake = None
        for descriptor in list(self._sources):
            self._drop(descriptor)
        self._finish(error.exit_code, "setup_error", str(error))

    # Measuring.

    def _sample(self, now: float) -> None:
        assert self._meter is not None
        cpu_s = self._meter.cpu_s()
        memory_bytes = self._meter.memory_bytes()
        self._memory_peak_bytes = max(self._memory_peak_bytes, memory_bytes)
        sample = message(
            SAMPLE,
            at=time.time(),
            cpu_cores=round(max(0.0, cpu_s - self._cpu_s) / max(1e-3, now - self._sampled_at), 4),
            memory_bytes=memory_bytes,
            memory_peak_bytes=self._memory_peak_bytes,
            memory_limit_bytes=self._meter.memory_limit_bytes,
        )
        self._cpu_s, self._sampled_at = cpu_s, now
        if len(self._out) < _OUT_FRAMES_MAX:  # while nobody reads, samples must not pile up
            self._send(sample)

    def _watch_memory(self) -> None:
        assert self._meter is not None
        used = self._meter.memory_bytes()
        self._memory_peak_bytes = max(self._memory_peak_bytes, used)
        if self._meter.memory_limit_bytes is not None and used > self._meter.memory_limit_bytes:
            self._oom = True
            self._kill_all()


def main(argv: Sequence[str]) -> int:
    """``supervisor.py [--work DIR] [--eof-is-death]``"""
    work = argv[argv.index("--work") + 1] if "--work" in argv else "/work"
    return Supervisor(work, eof_is_death="--eof-is-death" in argv).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
