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

import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from collections import deque
from contextlib import suppress

from .frames import (
    ACK,
    ATTACH,
    BEAT,
    DATA,
    DRAINING,
    EVENT,
    EVENT_HEADER,
    EVENTS,
    EXIT,
    EXITED,
    JOB,
    ORPHANED_EXIT_CODE,
    OUTPUT,
    OUTPUT_HEADER,
    PREPARING,
    PROTOCOL_VERSION,
    RUNNING,
    SAMPLE,
    STARTED,
    STDERR,
    STDOUT,
    STOP,
    SYNC,
    WAITING,
    Decoder,
    ProtocolError,
    Window,
    frame,
    mark,
    message,
)
from .intake import Intake, SetupFailed, hold
from .meters import Cgroup, Tree
from .processes import (
    _IGNORED_SIGNALS,
    _PR_SET_CHILD_SUBREAPER,
    _PR_SET_DUMPABLE,
    load_prctl,
    spawn,
)
from .procfs import descendants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


# --- Preparing: the job's bytes become a directory; its environment is held. --------------------------------------


# --- Processes. ---------------------------------------------------------------------------------------------------


# --- Measuring. ---------------------------------------------------------------------------------------------------


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
    """``supervisor [--work DIR] [--eof-is-death]``; *argv* without the program's name. The exit code."""
    work = argv[argv.index("--work") + 1] if "--work" in argv else "/work"
    return Supervisor(work, eof_is_death="--eof-is-death" in argv).run()
