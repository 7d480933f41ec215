"""The supervisor itself: one job from waiting to exited. Single-threaded around one ``poll``.

This module decides what to do about a frame and what each phase allows; the parts do it. The package's docstring
explains the design. Standard library only.
"""

from __future__ import annotations

import binascii
import os
import resource

from . import frames
from .child import Child, command, environment, load_prctl, seclude
from .failure import SetupFailed
from .frames import DRAINING, EXITED, PREPARING, RUNNING, WAITING, ProtocolError
from .intake import JobIntake, answer_path, hold, read_answer, release
from .lean import loads, signal
from .link import RunnerLink, complain
from .meters import Usage
from .mounts import protect
from .pipes import ScriptPipes
from .wakeups import NEVER, Deadlines, Wakeups, now_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .collection import Collection

ORPHAN_GRACE_S = 5.0

LAST_KILLS_S = 10.0

KILL_AGAIN_S = 0.05

FAREWELL_S = 2.0

LOOK_S = 5.0
"""Between two looks whether anybody can still reach this process after its job."""

FILES_OPEN_MAX = 4096
"""As the runner asks of Docker."""


class Supervisor:
    """One job and its runner."""

    def __init__(self, work: str, *, eof_is_death: bool, read_only: Sequence[str] = ()) -> None:
        """Set up a supervisor that waits for a job.

        Args:
            work: The directory for the job.
            eof_is_death: Whether the end of descriptor 0 means that the runner is gone.
            read_only: Directories that the job cannot write, if this user may make mounts.
        """
        self._work = work
        self._read_only = read_only
        self._eof_is_death = eof_is_death
        self._is_alone = os.getpid() == 1  # in a container every other process belongs to the script
        self._prctl = load_prctl()
        self._deadlines = Deadlines()
        self._wakeups = Wakeups()
        self._link = RunnerLink()
        self._pipes = ScriptPipes(self._link, began=self._deadlines.began)
        self._usage = Usage()
        self._child = Child(self._usage, is_alone=self._is_alone, prctl=self._prctl)
        self._phase = WAITING
        self._job: dict[str, Any] = {}
        self._intake: JobIntake | None = None
        self._collection: Collection | None = None
        self._stopped_by = ""
        self._orphaned = False
        self._result: int | None = None  # this process's own exit code, once it should end

    def run(self) -> int:
        """Serve until orphaned or killed, and return this process's exit code."""
        seclude(self._prctl, is_alone=self._is_alone)
        protect(self._read_only)
        self._link.open(complaints_are_ours=self._is_alone)
        self._wakeups.open()
        while True:
            self._link.flush()
            if self._result is not None and (not self._link.has_unsent or now_s() >= self._deadlines.give_up_at):
                return self._result
            ready = self._wait()
            if 0 in ready:
                self._listen()
            if any(descriptor in self._pipes for descriptor in ready):
                self._pipes.read()
            if self._child.reap() and self._phase == RUNNING:
                self._end_script()
            self._tick(now_s())

    def _wait(self) -> set[int]:
        now = now_s()
        readable, more_at = self._pipes.awaited(now)
        if self._link.listening:
            readable.append(0)
        wait_s = min(self._next_at(now), more_at) - now
        return self._wakeups.wait(readable, (1,) if self._link.has_unsent else (), wait_s)

    def _next_at(self, now: float) -> float:
        if self._result is not None:
            return self._deadlines.give_up_at
        if self._phase in (WAITING, PREPARING):
            return self._deadlines.dead_at
        if self._phase == RUNNING:
            return self._deadlines.next_at
        if self._phase == DRAINING and not self._child.is_gone:
            return now + KILL_AGAIN_S
        return now + LOOK_S if self._phase == EXITED else NEVER

    # Frames from the runner.

    def _listen(self) -> None:
        for kind, payload in self._link.receive():
            try:
                self._obey(kind, payload)
            except (ProtocolError, ValueError, LookupError, TypeError, AttributeError) as error:
                complain(f"ignoring a bad frame: {type(error).__name__}: {error}")
        if not self._link.listening and self._eof_is_death:
            self._orphan("the runner has gone")

    def _obey(self, kind: int, payload: bytes) -> None:
        if kind == frames.DATA:
            self._take(payload)
            return
        fields = loads(payload)
        if kind == frames.ATTACH:
            self._deadlines.heartbeat()
            self._link.attach(bytes.fromhex(fields["nonce"]), fields["acked"], self._phase)
        elif kind == frames.JOB:
            self._accept(fields)
        elif kind == frames.BEAT:
            self._deadlines.heartbeat(fields.get("dead_after_s"))
        elif kind == frames.ACK:
            self._link.acknowledge(fields)
        elif kind == frames.FETCH:
            self._fetch(**fields)
        elif kind == frames.STOP:
            grace_s = fields.get("grace_s")
            self._stop("stopped", self._job.get("grace_s", 0.0) if grace_s is None else float(grace_s))
        else:
            complain(f"ignoring a frame of kind {chr(kind)!r} while {self._phase}")

    # The start of the job.

    def _accept(self, job: dict[str, Any]) -> None:
        """Accept a job. Before its code starts, a second one replaces the first, which arrived only in part."""
        if self._phase not in (WAITING, PREPARING):
            complain("ignoring a second job")
            return
        self._phase = PREPARING
        self._job = job
        self._deadlines.heartbeat(job["dead_after_s"])
        self._drop_intake()
        try:
            self._intake = JobIntake(job, self._work)
            self._take(b"")
        except OSError as error:
            self._fail(SetupFailed(f"the sandbox cannot be written to: {error}."))

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
            self._fail(SetupFailed(f"the sandbox has no room for the script: {error}."))

    def _start(self, directory: str, files: dict[str, str]) -> None:
        job = self._job
        if not all(hold(**each) for each in job.get("holds", ())):  # an older runner does not send holds
            self._finish(127, "no_environment")
            return
        self._usage.begin(has_container=self._is_alone, memory_bytes=job["memory_bytes"])
        outputs = self._pipes.open(with_events=job["cell_events"])
        try:
            env = environment(job, self._work, files, outputs.get(frames.EVENTS))
            pid = self._child.start(command(job), directory, env, outputs)
        finally:
            for descriptor in outputs.values():
                os.close(descriptor)
        self._phase = RUNNING
        now = now_s()
        self._usage.start(now)
        self._deadlines.start(
            now,
            limit_s=job["timeout_s"],
            has_opening=job["cell_events"],
            sample_s=job["sample_s"],
            watches_memory=self._usage.needs_watching,
        )
        self._link.send_started(pid)

    def _drop_intake(self) -> None:
        if self._intake is not None:
            self._intake.close()
            self._intake = None

    # The end of the job.

    def _stop(self, reason: str, grace_s: float) -> None:
        """Send SIGTERM now and SIGKILL after *grace_s*. The first reason stays; a shorter grace counts."""
        if self._phase in (WAITING, PREPARING):
            self._drop_intake()
            self._finish(128 + signal.SIGTERM, reason, "Stopped before user code was started.")
        elif self._phase == RUNNING:
            if not self._stopped_by:
                self._stopped_by = reason
                self._child.terminate()
            self._deadlines.grant(grace_s)

    def _orphan(self, why: str) -> None:
        """Act as the dead-man's switch: no runner can record this run any more, so none of it may continue."""
        complain(f"stopping: {why}")
        self._orphaned = True
        self._deadlines.dead_after_s = NEVER
        if self._phase == RUNNING:
            self._stop("orphaned", min(ORPHAN_GRACE_S, self._job["grace_s"]))
        elif self._phase != DRAINING:
            self._leave()

    def _leave(self) -> None:
        """End this process once its last output is written."""
        self._result = frames.ORPHANED_EXIT_CODE
        self._deadlines.give_up_at = now_s() + FAREWELL_S

    def _tick(self, now: float) -> None:
        """Do what is due."""
        due = self._deadlines
        if self._phase in (WAITING, PREPARING, RUNNING) and now >= due.dead_at:
            self._orphan(f"no runner for {due.dead_after_s:g} s")
        if self._phase == RUNNING:
            if due.timeout.has_come(now):
                self._stop("timeout", self._job["grace_s"])
            if due.kill.has_come(now):
                self._child.kill_all()
            if due.memory_watch.has_come(now) and self._usage.is_too_large():
                self._child.kill_largest()
            if due.sample.has_come(now):
                self._link.send_sample(**self._usage.sample(now))
        elif self._phase == DRAINING:
            self._drain(now)
        elif self._phase == EXITED and self._result is None and os.fstat(0).st_nlink == 0:
            self._leave()  # somebody has deleted the pipe through which a runner could come

    def _end_script(self) -> None:
        self._phase = DRAINING
        self._deadlines.give_up_at = now_s() + LAST_KILLS_S
        self._child.kill_all()

    def _drain(self, now: float) -> None:
        """Read what is left in the pipes once no process of the script is alive: nothing more can come."""
        if not self._child.is_gone and now < self._deadlines.give_up_at:
            self._child.kill_all()
        elif self._pipes.drain(may_wait=not self._orphaned):  # no runner will read more from an orphan
            self._collect()
            self._finish(self._child.exit_code, self._stopped_by or "exited")

    def _fail(self, error: SetupFailed) -> None:
        self._drop_intake()
        self._pipes.close()
        self._finish(error.exit_code, "setup_error", str(error))

    def _finish(self, exit_code: int, reason: str, text: str = "") -> None:
        self._phase = EXITED
        is_oom = self._usage.end()
        self._link.send_exit(
            exit_code=exit_code,
            signal=self._child.signal,
            reason=reason,
            oom=is_oom,
            message=text,
            memory_peak_bytes=self._usage.memory_peak_bytes,
            cpu_s=round(self._usage.reaped_cpu_s, 6),
            answers=self._answers(),
            folders={} if self._collection is None else self._collection.listing,
            files_bytes=self._usage.files_bytes,
        )
        for each in self._job.get("holds", ()):  # this process may stay for a while
            release(each["path"])
        if self._orphaned:
            self._leave()

    def _collect(self) -> None:
        """Look into the folders that go back. Nobody fetches them from an orphan."""
        folders = [folder for folder in self._job.get("folders", ()) if folder["back"] is not None]
        if folders and not self._orphaned:
            from .collection import Collection

            self._collection = Collection(folders, self._work)

    def _fetch(self, tag: int, folder: str, number: int, offset: int, size_bytes: int) -> None:
        if self._collection is None:
            self._link.send_part(tag, False, b"nothing goes back from this sandbox.")
            return
        self._link.send_part(tag, *self._collection.part(folder, number, offset, size_bytes))

    def _answers(self) -> dict[str, dict[str, str]]:
        """What the script wrote, by name: ``data`` in base64, or the ``problem`` with it. Left out if there is none."""
        found: dict[str, dict[str, str]] = {}
        for entry in self._job.get("answers", ()):
            try:
                data = read_answer(answer_path(self._work, entry["name"]), entry["bytes_max"])
            except (OSError, SetupFailed) as error:
                found[entry["name"]] = {"problem": getattr(error, "strerror", None) or str(error)}
            else:
                if data:
                    found[entry["name"]] = {"data": binascii.b2a_base64(data, newline=False).decode()}
        return found


def main(argv: Sequence[str]) -> int:
    """Run ``supervisor [--bare=FD] [--work DIR] [--eof-is-death] [--read-only=DIR ...]``.

    ``--processes-max``: no control group counts them, so the kernel's count for this user in its name space does.
    ``--bare``: what started this process has set no limits, and left it descriptors that nobody here may have. A byte
    to this one says that all is set.

    Args:
        argv: The arguments without the program's name.

    Returns:
        The exit code.
    """
    options = dict(word.split("=", 1) for word in argv if word.startswith(("--bare=", "--processes-max=")))
    if "--processes-max" in options:
        _limit(resource.RLIMIT_NPROC, int(options["--processes-max"]))
    if "--bare" in options:
        opened_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        _limit(resource.RLIMIT_NOFILE, FILES_OPEN_MAX)
        os.write(int(options["--bare"]), b"x")
        os.closerange(3, opened_max)
    work = argv[argv.index("--work") + 1] if "--work" in argv else "/work"
    read_only = [word.partition("=")[2] for word in argv if word.startswith("--read-only=")]
    return Supervisor(work, eof_is_death="--eof-is-death" in argv, read_only=read_only).run()


def _limit(number: int, most: int) -> None:
    """Set a limit, or keep a lower one that this process was started with and may not raise."""
    hard = resource.getrlimit(number)[1]
    least = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(number, (least, least))
