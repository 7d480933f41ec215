"""What is stored of one sandbox on this machine: its folder. I/O.

The folder is the sandbox's name, taken once: making it fails if it exists. It holds

==========  ====================================================================================================
``record``  labels and token, written before the sandbox starts
``status``  what bubblewrap says: the process id, and at the end the exit code
``in``      a named pipe, the supervisor's standard input; it is locked while a process of the sandbox is alive
``out``     a named pipe, its standard output
``said``    complaints of bubblewrap and the supervisor
==========  ====================================================================================================

A runner that is killed leaves all of this to the next one, so it also knows a sandbox that was only half started.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from fastflow_runner.sandbox import AlreadyExists, Missing

_SAID_BYTES_MAX: Final = 2000


class BubbleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the runner that opened a sandbox leaves to the next one."""

    labels: dict[str, str]
    token: str
    """In hexadecimal digits."""
    cgroup: str = ""
    """The name of its control group, which stays when the sandbox is renamed; empty: the sandbox's name."""
    places: dict[str, tuple[str, int]] = {}
    """Where its control group was made, by controller, with the version: the next runner may be in another group."""


class _Status(msgspec.Struct, frozen=True, rename="kebab"):
    child_pid: int | None = None
    exit_code: int | None = None


class SandboxFolder:
    """The folder of one sandbox, which may be gone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        return self.path.name

    def make(self, record: BubbleRecord) -> None:
        """Make the folder and all in it, or nothing. Raises ``AlreadyExists``, ``OSError``."""
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            raise AlreadyExists(f"there is a sandbox {self.name} already.") from None
        try:
            for name in ("in", "out"):
                os.mkfifo(self.path / name, 0o600)
            with open(self.path / "record", "xb", opener=_private) as file:
                file.write(msgspec.json.encode(record))
        except OSError:
            self.remove()  # the disk is full: the name is free for the next try
            raise

    def record(self) -> BubbleRecord:
        """Return what was stored before the start. Raises ``Missing`` if it is not there, or not whole."""
        try:
            return msgspec.json.decode((self.path / "record").read_bytes(), type=BubbleRecord)
        except (OSError, msgspec.MsgspecError):
            raise Missing(f"there is no sandbox {self.name}.") from None

    @contextmanager
    def for_the_sandbox(self) -> Iterator[tuple[int, int, int, int]]:
        """Open what bubblewrap gets: its standard descriptors and the one for its status.

        Both ends of each pipe are open, so that the supervisor notices neither that a runner leaves nor that one comes.
        """
        opened: list[int] = []
        try:
            opened.append(os.open(self.path / "in", os.O_RDWR | os.O_CLOEXEC))
            fcntl.flock(opened[0], fcntl.LOCK_EX)  # until the last process that has it ends
            opened.append(os.open(self.path / "out", os.O_RDWR | os.O_CLOEXEC))
            for name in ("said", "status"):
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                opened.append(os.open(self.path / name, flags, 0o600))
            yield opened[0], opened[1], opened[2], opened[3]
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def pipes(self) -> tuple[int, int]:
        """Open the runner's ends: to the supervisor, and from it. Raises ``Missing``."""
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC  # open at both ends: no end of file, and no SIGPIPE
        try:
            into = os.open(self.path / "in", flags)
        except OSError:
            raise Missing(f"there is no sandbox {self.name}.") from None
        try:
            return into, os.open(self.path / "out", flags)
        except OSError:
            os.close(into)
            raise Missing(f"there is no sandbox {self.name}.") from None

    def process(self) -> int | None:
        """Return a descriptor of the sandbox's first process; None if it has ended, or never started.

        The process id was that of the sandbox when it was written. It is still so if the sandbox is alive after the
        process was opened.
        """
        pid = self._status().child_pid
        if pid is None:
            return None
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            return None
        if self.is_alive() and _is_first(pid) and not has_ended(descriptor):
            return descriptor
        os.close(descriptor)
        return None

    def is_alive(self) -> bool:
        """Whether any process of the sandbox, or its bubblewrap, is alive."""
        try:
            descriptor = os.open(self.path / "in", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def holders(self) -> list[int]:
        """Return all processes whose standard input is the pipe of this sandbox, as far as this user may see that."""
        found = []
        for name in os.listdir("/proc"):
            with suppress(OSError):
                if name.isdigit() and os.readlink(f"/proc/{name}/fd/0") == str(self.path / "in"):
                    found.append(int(name))
        return found

    def pid(self) -> int | None:
        """Return the process id that the sandbox's first process has or had."""
        return self._status().child_pid

    def exit_code(self) -> int | None:
        """Return the exit code of the sandbox's first process, as bubblewrap reports it; None if it does not."""
        return self._status().exit_code

    def said(self) -> str:
        """Return the end of what bubblewrap and the supervisor complained of."""
        with suppress(OSError), open(self.path / "said", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _SAID_BYTES_MAX))
            return file.read().decode("utf-8", "replace").strip()
        return ""

    def rename(self, name: str) -> SandboxFolder:
        """Give the folder another name, and return it. Raises ``AlreadyExists``, ``Missing``, ``OSError``."""
        target = SandboxFolder(self.path.with_name(name))
        try:
            target.path.mkdir(mode=0o700)  # takes the name; the rename replaces only what is empty
        except FileExistsError:
            raise AlreadyExists(f"there is a sandbox {name} already.") from None
        try:
            self.path.rename(target.path)
        except OSError as error:
            with suppress(OSError):
                target.path.rmdir()
            if isinstance(error, FileNotFoundError):
                raise Missing(f"there is no sandbox {self.name}.") from None
            raise
        return target

    def remove(self) -> None:
        """Remove the folder; the name is free. Can be repeated."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _status(self) -> _Status:
        """Read the lines of bubblewrap, each a JSON object; a later one adds to the earlier."""
        found: dict[str, object] = {}
        with suppress(OSError, msgspec.MsgspecError):
            for line in (self.path / "status").read_bytes().splitlines():
                found |= msgspec.json.decode(line, type=dict[str, object])
        with suppress(msgspec.MsgspecError):
            return msgspec.convert(found, _Status)
        return _Status()


def folders(root: Path) -> list[SandboxFolder]:
    """Return the folders of all sandboxes below *root*."""
    try:
        with os.scandir(root) as entries:
            return [SandboxFolder(Path(entry.path)) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def has_ended(process: int) -> bool:
    """Whether a process has ended, though nobody may have asked for its exit code yet."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


def _is_first(pid: int) -> bool:
    """Whether a process is the first one of a namespace of its own."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                numbers = line.split()[1:]
                return len(numbers) > 1 and numbers[-1] == "1"
    return False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
