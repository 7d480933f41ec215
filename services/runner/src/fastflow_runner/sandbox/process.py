"""The process backend: the same supervisor as a child process of the runner, without isolation. I/O.

For laptops and tests. Each sandbox is a supervisor in its own session with a private directory. It dies with the
runner, because its standard input then closes. ``remove`` deletes the directory. The next runner sweeps up after a
killed one: a supervisor holds the lock of its directory, so a free lock means that the directory is unused.

Temporary files have a directory elsewhere, with a short name: a path of a socket has at most 107 bytes, and scripts and
Python itself make sockets below ``TMPDIR``.

This backend ignores image and network of the specification, and all of its mounts but those that are read-only: a job
must name paths of the host, and what lies below such a mount cannot be written if this user may make mounts (root).
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import secrets
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from fastflow_contracts.log import get_logger
from fastflow_runner.guest import supervisor
from fastflow_runner.guest.prepare.removal import remove
from fastflow_runner.guest.supervisor.meters import descendants
from fastflow_runner.sandbox import (
    AlreadyExists,
    Detached,
    Held,
    Missing,
    SandboxEnd,
    SandboxError,
    SandboxSpec,
)

log = get_logger(__name__)

SUPERVISOR: Final = Path(supervisor.__file__).with_name("__main__.py")
"""The file, not its folder: for a folder, Python loads ``runpy`` first."""
UNENFORCED: Final = (
    "The processor limit is not enforced.",
    "The memory limit is watched five times a second; a script that grows faster exceeds it for a moment.",
    "The number of processes and the size of temporary files are not limited.",
    "The network is not isolated: a script reaches everything that this machine reaches, the bus included.",
    "The file system is not isolated: a script reads and writes what this user may. Of environments, root cannot write "
    "anything if it may make mounts; other users cannot add, replace or remove a package.",
    "Scripts run as this user: a hostile one can read other runs' secrets, change what they run, and end this process.",
)

TMP_BASE_BYTES_MAX: Final = 48
"""Of the directory that holds temporary directories. Ours takes 16 more, and ``multiprocessing`` adds 32."""
_RECEIVE_BYTES: Final = 64 * 1024
_END_TIMEOUT_S: Final = 5.0
_KILL_ROUNDS_MAX: Final = 50


class _ProcessSandbox(msgspec.Struct, frozen=True):
    held: Held
    token: bytes
    process: Process
    directory: Path


class ProcessChannel:
    """The pipes of one supervisor."""

    def __init__(self, sandbox: _ProcessSandbox) -> None:
        self._sandbox = sandbox
        self._closed = False

    @property
    def token(self) -> bytes:
        return self._sandbox.token

    async def send(self, data: bytes) -> None:
        stdin = self._sandbox.process.stdin
        assert stdin is not None
        if self._closed:
            raise Detached("the channel is closed; attach again.")
        try:
            stdin.write(data)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Detached("the supervisor has ended; take the rest of its output, then wait.") from error

    async def receive(self) -> bytes:
        stdout = self._sandbox.process.stdout
        assert stdout is not None
        return b"" if self._closed else await stdout.read(_RECEIVE_BYTES)

    async def wait(self) -> SandboxEnd:
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                code = await self._sandbox.process.wait()
        except TimeoutError:
            raise Detached("the supervisor still runs; attach again.") from None
        return SandboxEnd(exit_code=code if code >= 0 else 128 - code, oom_killed=False)

    async def close(self) -> None:
        self._closed = True


class ProcessSandboxes:
    """Sandboxes in one directory. No other runner may use it at the same time."""

    def __init__(self, root: Path, *, may_be_open: bool = False) -> None:
        """*may_be_open*: whether runs whose pipeline limits its network run all the same, unlimited."""
        self._root = root
        self._may_be_open = may_be_open
        self._sandboxes: dict[str, _ProcessSandbox] = {}
        self._opening: set[str] = set()

    @property
    def unenforced(self) -> tuple[str, ...]:
        return UNENFORCED

    async def open(self, spec: SandboxSpec) -> ProcessChannel:
        if spec.reach is not None and not self._may_be_open:
            raise SandboxError(
                "its pipeline limits its network, and plain processes cannot be limited; use Docker, or set "
                "FASTFLOW_NETWORK_UNENFORCED=allow to run it with all of this machine's network."
            )
        self._opening.add(spec.name)  # a running sweep must not mistake it for an orphan
        try:
            return await self._open(spec)
        finally:
            self._opening.discard(spec.name)

    async def _open(self, spec: SandboxSpec) -> ProcessChannel:
        directory = self._root / spec.name
        lock = _reserve(self._root, spec.name)
        try:
            await asyncio.to_thread(_clear, directory)  # left by an earlier runner
            work = directory / "work"
            work.mkdir(parents=True, mode=0o700)
            tmp = _make_tmp(directory)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(SUPERVISOR), "--eof-is-death", "--work", str(work)),
                *(f"--read-only={mount.target}" for mount in spec.mounts if mount.read_only),
                stdin=PIPE,
                stdout=PIPE,
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    "LANG": "C.UTF-8",
                    "TMPDIR": str(tmp),
                    **spec.env,
                },
                # Ctrl-C in the terminal must reach only the runner, which then decides.
                start_new_session=True,
                pass_fds=(lock,),
                limit=_RECEIVE_BYTES,
            )
        except OSError as error:
            _release(self._root, spec.name)
            raise SandboxError(f"the sandbox cannot be made in {self._root}: {error}.") from error
        finally:
            os.close(lock)
        held = Held(name=spec.name, labels=dict(spec.labels), running=True)
        self._sandboxes[spec.name] = _ProcessSandbox(held, secrets.token_bytes(16), process, directory)
        return ProcessChannel(self._sandboxes[spec.name])

    async def held(self) -> tuple[Held, ...]:
        """List the sandboxes of this process, and remove what an earlier runner left."""
        await asyncio.to_thread(_sweep, self._root, lambda name: name in self._sandboxes or name in self._opening)
        return tuple(
            msgspec.structs.replace(sandbox.held, running=sandbox.process.returncode is None)
            for sandbox in self._sandboxes.values()
        )

    async def attach(self, held: Held) -> ProcessChannel:
        if (sandbox := self._sandboxes.get(held.name)) is None:
            raise Missing(f"there is no sandbox {held.name}; it ended with its runner.")
        return ProcessChannel(sandbox)

    async def remove(self, name: str) -> None:
        if (sandbox := self._sandboxes.get(name)) is None:
            return
        await _kill(sandbox.process)
        await asyncio.to_thread(_clear, sandbox.directory)
        _release(self._root, name)
        self._sandboxes.pop(name, None)

    async def close(self) -> None:
        for name in tuple(self._sandboxes):
            await self.remove(name)


async def _kill(process: Process) -> None:
    """Kill the script, then its supervisor: in the other order, the script's processes would survive."""
    for _ in range(_KILL_ROUNDS_MAX):
        if process.returncode is not None or not (pids := descendants(process.pid)):
            break
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.005)  # until the supervisor has reaped them
    with suppress(ProcessLookupError):
        process.kill()
    assert process.stdin is not None
    process.stdin.close()
    assert process.stdout is not None
    while await process.stdout.read(_RECEIVE_BYTES):  # a paused pipe would never report its end
        pass
    await process.wait()


def _tmp(directory: Path) -> Path:
    """Return where a sandbox has its temporary files: found again when the sandbox's directory is cleared."""
    base = tempfile.gettempdir()
    if len(os.fsencode(base)) > TMP_BASE_BYTES_MAX:
        base = "/tmp"  # noqa: S108 - only for a directory of our own in it
    digest = hashlib.sha256(os.fsencode(directory.absolute())).hexdigest()
    return Path(base, f"ff-{digest[:12]}")


def _make_tmp(directory: Path) -> Path:
    """Make the directory for temporary files; below the sandbox's own if that is impossible elsewhere."""
    tmp = _tmp(directory)
    try:
        tmp.mkdir(mode=0o700)
    except OSError:  # read-only, or another user took the name
        tmp = directory / "tmp"
        tmp.mkdir(mode=0o700)
    return tmp


def _clear(directory: Path) -> None:
    for path in (directory, _tmp(directory)):
        try:
            remove(str(path))
        except OSError as error:  # a script may have left what belongs to another user
            log.warning("files of a sandbox not removed", directory=str(path), error=str(error))


def _reserve(root: Path, name: str) -> int:
    """Lock *name* against a second sandbox and return the descriptor. Raises ``AlreadyExists``."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(root / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise AlreadyExists(f"there is a sandbox {name} already.") from None
    return lock


def _release(root: Path, name: str) -> None:
    (root / f"{name}.lock").unlink(missing_ok=True)


def _sweep(root: Path, is_own: Callable[[str], bool]) -> None:
    for path in list(root.glob("*.lock")):
        if is_own(path.stem):  # checked late: it may have been opened after the listing
            continue
        with suppress(AlreadyExists):  # its supervisor has not noticed yet that its runner is gone
            lock = _reserve(root, path.stem)
            _clear(root / path.stem)
            _release(root, path.stem)
            os.close(lock)
