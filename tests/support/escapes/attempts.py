"""What a hostile script tries. A program: its argument is a JSON object of what it knows; it prints what came back.

Each attempt returns what it got (the wall has a hole), or raises: ``OSError`` if the kernel refused, else ``Held``.
Those marked ``control`` are harmless: they are also run without a sandbox, where they succeed. Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

KNOWN: dict[str, Any] = {}
ATTEMPTS: dict[str, Callable[[], object]] = {}
CONTROLS: list[str] = []
WRITABLE = {"/work", "/tmp", "/dev/shm", "/dev/pts", "/dev/mqueue", "/dev"}
_libc = ctypes.CDLL(None, use_errno=True)


class Held(Exception):
    """The wall held, in another way than by an error of the kernel."""


def attempt(name: str, *, control: bool = False) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Add a function to the list."""

    def add(function: Callable[[], object]) -> Callable[[], object]:
        ATTEMPTS[name] = function
        if control:
            CONTROLS.append(name)
        return function

    return add


def each(prefix: str, function: Callable[[Any], object], arguments: dict[str, Any], *, control: bool = False) -> None:
    """Add an attempt for each argument."""
    for name, argument in arguments.items():
        attempt(f"{prefix} {name}", control=control)(lambda argument=argument: function(argument))


def call(number: int, *arguments: Any) -> int:
    """Make a system call."""
    ctypes.set_errno(0)
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def known(name: str) -> Callable[[], Any]:
    """Return what returns something that the script knows, which it does not yet when this list is made."""
    return lambda: KNOWN[name]


# Files of the machine


def read(path: Callable[[], str] | str) -> str:
    """Read a file, or list a folder."""
    place = path if isinstance(path, str) else path()
    if os.path.isdir(place):
        return f"{len(os.listdir(place))} names"
    with open(place, "rb") as file:
        return repr(file.read(40))


each(
    "read",
    read,
    {
        "the password file": "/etc/shadow",
        "the keys of the machine": "/etc/ssh",
        "the rules of sudo": "/etc/sudoers",
        "disks": "/dev/vda",
        "the memory of the kernel": "/proc/kcore",
        "other users' homes": "/home",
        "the logs": "/var/log",
        "what services listen on": "/run",
        "keys that a process left": "/proc/1/environ",
        "the memory of process 1": "/proc/1/mem",
        "what process 1 has open": "/proc/1/fd",
        "the root of process 1": "/proc/1/root",
        "the folder of process 1": "/proc/1/cwd",
        "the system calls of process 1": "/proc/1/syscall",
    },
)
each(
    "read",
    read,
    {
        "the home of the runner's user": known("home"),
        "a key in that home": known("key"),
        "the bus's store": known("store"),
        "the runner's credentials": known("credentials"),
        "the runner's folder": known("data"),
        "the sandboxes' folder": known("sandboxes"),
        "the record of another run": known("record"),
        "the source of another run by the host's /proc": lambda: f"/proc/{KNOWN['victim']}/root/work",
        "the runner's environment": lambda: f"/proc/{KNOWN['runner']}/environ",
        "the runner's folder above the root": lambda: "/../.." + KNOWN["data"],
        "the runner's folder by /proc/self/root": lambda: "/proc/self/root/.." + KNOWN["data"],
    },
    control=True,
)


@attempt("find a file of another run by its content's name", control=True)
def find_marked() -> object:
    for root in ("/tmp", "/work", "/dev/shm", "/dev/mqueue", os.path.dirname(KNOWN["data"])):
        for folder, _, files in os.walk(root):
            for name in files:
                if "of-another-run" in name:
                    return os.path.join(folder, name)
    raise Held("none")


@attempt("open a file of the machine by its handle")
def by_handle() -> object:
    handle = ctypes.create_string_buffer(struct.pack("=Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    call(303, -100, b"/usr", handle, ctypes.byref(mount), 0)
    root = os.open("/usr", os.O_RDONLY)
    try:
        return call(304, root, handle, os.O_RDONLY)
    finally:
        os.close(root)


@attempt("leave the root by a descriptor that was left open")
def left_open() -> object:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
            mode = os.fstat(int(number)).st_mode
        except OSError:
            continue  # the one of this listing
        if stat.S_ISDIR(mode) or not target.startswith(("pipe:", "/dev/null", "/work/", "/proc/")):
            found.append(target)
    if not found:
        raise Held("only pipes, and files of this run")
    return found


@attempt("write where something is mounted")
def write_in_mounts() -> object:
    found = []
    with open("/proc/self/mountinfo") as lines:
        places = {line.split()[4] for line in lines} - WRITABLE
    for place in sorted(places | set(sys.path) | {sys.prefix, os.path.dirname(sys.executable), "/", "/opt/fastflow"}):
        if not os.path.isdir(place) or place == os.getcwd() or place.startswith(("/proc", "/work")):
            continue
        try:
            with open(f"{place}/of-an-attack", "w"):
                found.append(place)
        except OSError:
            pass
    if not found:
        raise Held(f"{len(places)} places, all read-only")
    return found


def write_below(root: str) -> object:
    """Open all files below a folder for writing, and write nothing."""
    tried, found = 0, []
    for folder, _, files in os.walk(root):
        for name in files:
            tried += 1
            try:
                with open(os.path.join(folder, name), "r+b", buffering=0):
                    found.append(os.path.join(folder, name))
            except OSError:
                pass
    if not found:
        raise Held(f"none of {tried} files")
    return found


each("write", write_below, {"a setting of the kernel": "/proc/sys", "the system of devices and groups": "/sys"})


def overwrite(path: str) -> object:
    """Open one file for writing."""
    with open(path, "r+b", buffering=0):
        return "opened"


each(
    "overwrite",
    overwrite,
    {
        "what handles crashes": "/proc/sys/kernel/core_pattern",
        "the emergency keys": "/proc/sysrq-trigger",
        "interrupts": "/proc/irq/default_smp_affinity",
        "the limits of this run": "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "what its group runs at its end": "/sys/fs/cgroup/memory/release_agent",
        "its own interpreter": os.path.realpath(sys.executable),
        "our supervisor": "/opt/fastflow/supervisor/__main__.py",
        "users": "/etc/passwd",
        "the libraries": "/etc/ld.so.cache",
    },
)


@attempt("spare itself when memory runs out")
def spare() -> object:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("-1000")
    return "spared"


# Processes


def signalled(pid: Callable[[], int]) -> object:
    """See whether a process of the machine can get a signal."""
    os.kill(pid(), 0)
    return "it exists"


each("signal", signalled, {"the runner": known("runner"), "another run": known("victim")}, control=True)


@attempt("see processes of others", control=True)
def processes() -> object:
    others = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
            if name != str(os.getpid()) and b"escapes" in file.read():
                others.append(name)
    if not others:
        raise Held("none but its own")
    return others


@attempt("open another process's descriptor by its number", control=True)
def pidfd() -> object:
    return os.pidfd_open(KNOWN["victim"])


@attempt("end process 1")
def end_first() -> object:
    os.kill(1, signal.SIGKILL)
    os.kill(1, 0)
    raise Held("it goes on")


@attempt("attach to process 1 as a debugger")
def trace() -> object:
    return call(101, 16, 1, 0, 0)


@attempt("read the memory of process 1 by a call")
def read_memory() -> object:
    target = ctypes.create_string_buffer(8)
    local = (ctypes.c_size_t * 2)(ctypes.addressof(target), 8)
    remote = (ctypes.c_size_t * 2)(0x400000, 8)
    return call(310, 1, local, 1, remote, 1, 0)


@attempt("take a descriptor of process 1")
def take_descriptor() -> object:
    return call(438, os.pidfd_open(1), 0, 0)


@attempt("enter the namespaces of process 1's parent")
def parent() -> object:
    if (number := os.getppid()) in (0, 1):
        raise Held(f"its parent is {number}")
    return number


# Sockets and memory that processes share


@attempt("reach an abstract socket of the machine", control=True)
def abstract() -> object:
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("\0" + KNOWN["abstract"])
    return "connected"


@attempt("reach an abstract socket of another run")
def abstract_of_run() -> object:
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("\0of-another-run")
    return "connected"


def connect_file(path: Callable[[], str] | str) -> object:
    """Connect to a socket that is a file."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(path if isinstance(path, str) else path())
    return "connected"


each("reach", connect_file, {"a socket in the runner's folder": known("socket")}, control=True)
each(
    "reach",
    connect_file,
    {
        "Docker's socket": "/var/run/docker.sock",
        "the system's message bus": "/run/dbus/system_bus_socket",
        "a socket of another run": "/tmp/of-another-run.sock",
    },
)


@attempt("reach memory that another run shares")
def shared_memory() -> object:
    return call(29, 0x51515151, 4096, 0)


# The network


def connect(address: Callable[[], str] | str) -> object:
    """Connect to the port of the machine's bus."""
    place = address if isinstance(address, str) else address()
    with socket.create_connection((place, KNOWN["port"]), timeout=3):
        return "connected"


each("reach the bus at", connect, {"127.0.0.1": "127.0.0.1", "::1": "::1"}, control=True)
each("reach the bus at", connect, {"the machine's address": known("address")}, control=True)
each(
    "reach the bus at",
    connect,
    {
        "0.0.0.0": "0.0.0.0",
        "its gateway": "198.18.0.2",
        "its name server": "198.18.0.3",
        "Docker's bridge": "172.17.0.1",
        "an IPv4 address in IPv6": "::ffff:127.0.0.1",
    },
)
each(
    "open",
    lambda words: socket.socket(*words).close() or "opened",
    {
        "a raw socket": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "a socket for packets": (socket.AF_PACKET, socket.SOCK_RAW, 0x300),
        "a socket to the machine's host": (socket.AF_VSOCK, socket.SOCK_STREAM, 0),
        "a socket for ciphers of the kernel": (socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
    },
)

# Mounts, devices, namespaces

each(
    "mount:",
    lambda words: call(*words),
    {
        "a file system": (165, b"none", b"/tmp", b"tmpfs", 0, 0),
        "a folder elsewhere": (165, b"/usr", b"/tmp", 0, 0x1000, 0),
        "the system again, writable": (165, b"none", b"/usr", 0, 0x1020, 0),
        "its root again, writable": (165, b"none", b"/", 0, 0x1020, 0),
        "/proc again": (165, b"proc", b"/tmp", b"proc", 0, 0),
        "away the root": (166, b"/", 2),
        "away the working folder": (166, b"/work", 2),
        "away a mask of /proc": (166, b"/proc", 2),
        "another root": (155, b"/tmp", b"/tmp"),
        "a root below": (161, b"/tmp"),
        "a copy of a tree": (428, -100, b"/usr", 1),
        "by the new calls": (430, b"tmpfs", 0),
        "by a change of attributes": (442, -100, b"/usr", 0, 0, 0),
    },
)
each(
    "open the device",
    lambda path: os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK)) or "opened",
    {
        path: f"/dev/{path}"
        for path in (
            *("mem", "kmem", "port", "kmsg", "fuse", "net/tun", "kvm", "loop-control", "loop0", "vda", "sda"),
            *(
                "nvme0n1",
                "mapper/control",
                "vhost-net",
                "vsock",
                "uinput",
                "console",
                "tty0",
                "ttyS0",
                "rtc",
                "btrfs-control",
            ),
        )
    },
)


def make_device(kind: int) -> object:
    """Make a device where the script may write."""
    path = f"/work/device-{kind}"
    os.mknod(path, kind | 0o600, os.makedev(1, 1))
    return os.open(path, os.O_RDONLY)


each("make", make_device, {"a device of characters": stat.S_IFCHR, "a device of blocks": stat.S_IFBLK})
each(
    "make a namespace of",
    lambda flag: call(272, flag),
    {
        "users": 0x10000000, "mounts": 0x20000, "processes": 0x20000000, "networks": 0x40000000, "messages": 0x08000000,
        "names": 0x04000000, "groups": 0x02000000, "clocks": 0x80,
    },
)  # fmt: skip
each(
    "enter the namespace of process 1 for",
    lambda kind: call(308, os.open(f"/proc/1/ns/{kind}", os.O_RDONLY), 0),
    {kind: kind for kind in ("user", "mnt", "pid", "net", "cgroup")},
)

# Privileges


def become(path: str) -> object:
    """See as whom a program with the setuid bit runs: it waits for its input or ends."""
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            with open(f"/proc/{child.pid}/status") as lines:
                users = next(line.split()[1:] for line in lines if line.startswith("Uid:"))
        finally:
            child.kill()
    if "0" in users:
        return users
    raise Held(f"it runs as {users[1]}")


@attempt("become root by a program with the setuid bit")
def setuid_programs() -> object:
    said = []
    for folder in ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/libexec"):
        for place, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)
                if os.path.islink(path) or not os.stat(path).st_mode & stat.S_ISUID:
                    continue
                try:
                    return path, become(path)
                except (Held, OSError, StopIteration) as held:
                    said.append(f"{name}: {held}")
    raise Held("; ".join(said) or "there is none")


each(
    "privileges:",
    lambda words: words[0](*words[1:]) or "done",
    {
        "become root": (os.setuid, 0),
        "join root's group": (os.setgid, 0),
        "join more groups": (os.setgroups, [0]),
        "name the machine": (socket.sethostname, "attack"),
        "be more important": (lambda: os.setpriority(os.PRIO_PROCESS, 0, -10),),
        "be in real time": (lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)),),
    },
)


@attempt("raise its limit of open files")
def more_files() -> object:
    try:
        return resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    except ValueError as error:
        raise Held(str(error)) from None


@attempt("allow new privileges again")
def new_privileges() -> object:
    if _libc.prctl(38, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno() or errno.EINVAL, "refused")
    return "allowed"


@attempt("have a capability")
def capability() -> object:
    with open("/proc/self/status") as lines:
        found = {line.split()[0]: line.split()[1] for line in lines if line.startswith("Cap")}
    if any(int(value, 16) for value in found.values()):
        return found
    raise Held("none in any set")


each(
    "the kernel:",
    lambda words: call(*words),
    {
        "keys": (250, 0, -3, 1, 0, 0),
        "add a key": (248, b"user", b"x", b"y", 1, -3),
        "programs for it": (321, 0, 0, 0),
        "its counters": (298, 0, 0, -1, -1, 0),
        "queues of calls": (425, 8, ctypes.create_string_buffer(256)),
        "page faults": (323, 0),
        "a module": (313, 0, b"", 0),
        "another kernel": (246, 0, 0, 0, 0),
        "its messages": (103, 3, 0, 0),
        "swap": (167, b"/tmp/x", 0),
        "restart": (169, 0, 0, 0, 0),
        "the clock": (164, 0, 0),
        "ports": (172, 3),
        "watch all files": (300, 0, 0),
    },
)

# The terminal


def push(path: str) -> object:
    """Push a character into the input of a terminal."""
    with open(path, "rb", buffering=0) as file:
        fcntl.ioctl(file, 0x5412, b"x")
    return "pushed"


each(
    "push into",
    push,
    {"the terminal of the runner": "/dev/tty", "its standard input": "/proc/self/fd/0", "the console": "/dev/console"},
)


@attempt("map memory at the address zero")
def map_zero() -> object:
    _libc.mmap.restype = ctypes.c_void_p
    found = _libc.mmap(ctypes.c_void_p(0), mmap.PAGESIZE, 3, 0x32, -1, 0)
    if found is None:
        return "mapped"
    raise Held("refused")


def tried(name: str) -> str:
    """Make one attempt, and return what came back; ``GOT …`` if the wall has a hole."""
    try:
        return f"GOT {ATTEMPTS[name]()!r}"
    except Held as held:
        return str(held)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)


def main() -> None:
    """Make all attempts, or only the harmless ones."""
    KNOWN.update(json.loads(sys.argv[1]))
    print(json.dumps({name: tried(name) for name in (CONTROLS if KNOWN["control"] else ATTEMPTS)}))


if __name__ == "__main__":
    main()
