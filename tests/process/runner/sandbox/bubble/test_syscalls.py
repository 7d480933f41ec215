"""The filter of system calls under the real bubblewrap: what it refuses, and what does not notice it."""

from __future__ import annotations

import ctypes
import errno
import json
import platform
import signal
import subprocess
import sys

import pytest
from uv import find_uv_bin

from fastflow_runner.sandbox.bubble import syscalls
from tests.support import bubblewrap
from tests.support.system_calls import HOSTILE, USUAL

pytestmark = pytest.mark.usefixtures("bwrap")
x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of its calls are those of x86-64")

MORE_HOSTILE = """
import ctypes, errno, json
libc = ctypes.CDLL(None, use_errno=True)
CALLS = {
    "umount2": (166, b"/", 2), "pivot_root": (155, b"/", b"/"), "chroot": (161, b"/tmp"),
    "open_tree": (428, 0, b"/", 0),
    "move_mount": (429, 0, b"", 0, b"/"), "fsopen": (430, b"tmpfs", 0), "fsmount": (432, 0, 0, 0),
    "mount_setattr": (442, 0, b"", 0, 0, 0), "io_uring_register": (427, 0, 0, 0, 0), "request_key": (249, 0, 0, 0, 0),
    "unshare files": (272, 0x400), "unshare network": (272, 0x40000000), "clone mounts": (56, 0x20000 | 17, 0, 0, 0, 0),
    "clone network": (56, 0x40000000 | 17, 0, 0, 0, 0),
    "clone users, high bits": (56, 1 << 32 | 0x10000000 | 17, 0, 0, 0, 0),
    "open_by_handle_at": (304, 0, 0, 0), "init_module": (175, 0, 0, 0), "kexec_load": (246, 0, 0, 0, 0),
    "swapon": (167, b"/tmp/x", 0), "reboot": (169, 0, 0, 0, 0), "settimeofday": (164, 0, 0), "acct": (163, 0),
    "quotactl": (179, 0, 0, 0, 0), "syslog": (103, 3, 0, 0), "fanotify_init": (300, 0, 0), "iopl": (172, 3),
    "move_pages": (279, 0, 0, 0, 0, 0, 0), "pidfd_getfd": (438, 0, 0, 0), "lookup_dcookie": (212, 0, 0, 0),
    "vhangup": (153,), "modify_ldt": (154, 0, 0, 0), "personality without randomness": (135, 0x0040000),
}
found = {}
for name, (number, *arguments) in CALLS.items():
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    found[name] = errno.errorcode.get(ctypes.get_errno(), "done") if result < 0 else "done"
for number in (463, 470, 600, 5000):
    ctypes.set_errno(0)
    libc.syscall(number, 0, 0, 0, 0, 0, 0)
    found[str(number)] = errno.errorcode.get(ctypes.get_errno(), "done")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def program() -> bytes:
    program = syscalls.program()
    if program is None:
        pytest.fail(syscalls.UNFILTERED)
    return program


@x86_64
def test_calls_that_only_an_attacker_needs_are_refused(program: bytes) -> None:
    """As under Docker: the same programs try them."""
    stdout, stderr, _ = bubblewrap.python(HOSTILE, filter_program=program)
    assert stderr == ""
    found = json.loads(stdout)
    assert {found.pop(f"socket {each}") for each in (1, 2, 10, 16)} <= {"done", "ESOCKTNOSUPPORT", "EPROTONOSUPPORT"}
    assert found.pop("clone3") == "ENOSYS"
    assert found == dict.fromkeys(found, "EPERM")


@x86_64
def test_mounts_modules_and_name_spaces_are_refused(program: bytes) -> None:
    """And a call that the profile is too old for does not exist, so that a program takes an older one."""
    stdout, stderr, _ = bubblewrap.python(MORE_HOSTILE, filter_program=program)
    assert stderr == ""
    found = json.loads(stdout)
    assert {found.pop(each) for each in ("463", "470", "600", "5000")} == {"ENOSYS"}
    assert found == dict.fromkeys(found, "EPERM")


@x86_64
def test_without_the_filter_they_are_not(program: bytes) -> None:
    """So it is the filter that the tests above see."""
    stdout, _, _ = bubblewrap.python(HOSTILE)
    found = json.loads(stdout)
    assert {found[each] for each in ("io_uring_setup", "keyctl", "socket 38")} != {"EPERM"}
    assert found["socket 40"] != "EPERM"


def test_usual_programs_do_not_notice(program: bytes) -> None:
    """Threads, processes of every kind, sockets, timers, databases."""
    assert bubblewrap.python(USUAL, filter_program=program) == ("done\n", "", 0)


def test_uv_and_compiled_packages_do_not_notice(program: bytes) -> None:
    """Extensions in C, C++ and Rust, and a program in Rust that makes an environment."""
    source = f"""
import subprocess, cryptography.fernet, msgspec, zmq
cryptography.fernet.Fernet(cryptography.fernet.Fernet.generate_key()).encrypt(b"x"); zmq.Context().socket(zmq.PUB)
assert msgspec.json.decode(b"[1]") == [1]
subprocess.run([{find_uv_bin()!r}, "venv", "--quiet", "--offline", "--no-config", "/tmp/environment"], check=True)
print(subprocess.check_output(["/tmp/environment/bin/python", "-c", "print(6 * 7)"], text=True))
"""
    assert bubblewrap.python(source, filter_program=program, options=["--setenv", "HOME", "/tmp"])[0] == "42\n\n"


def test_a_script_debugs_its_own_processes_and_none_beyond(program: bytes) -> None:
    """Its children, as under Docker; no process outside of the sandbox has a number in it."""
    source = """
import ctypes, errno, os, signal
libc = ctypes.CDLL(None, use_errno=True)
def attach(pid):
    ctypes.set_errno(0)
    return "done" if libc.ptrace(16, pid, None, None) == 0 else errno.errorcode[ctypes.get_errno()]
child = os.fork()
if child == 0:
    signal.pause()
print(attach(child), attach(%d), sorted(int(each) for each in os.listdir("/proc") if each.isdigit()) == [1, child])
os.kill(child, signal.SIGKILL)
"""
    outside = subprocess.Popen(["sleep", "600"])
    try:
        assert bubblewrap.python(source % outside.pid, filter_program=program)[0] == "done ESRCH True\n"
    finally:
        outside.kill()
        outside.wait()


@x86_64
def test_a_32_bit_call_ends_the_program(program: bytes) -> None:
    """The numbers of another architecture do not pass by the filter."""
    source = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # getpid, as a 32-bit program calls it
print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))(), flush=True)
"""
    stdout, _, code = bubblewrap.python(source, filter_program=program)
    assert (stdout, code) in {("", -signal.SIGSYS), ("", 128 + signal.SIGSYS)}


@x86_64
def test_the_other_64_bit_abi_does_not_pass_by_the_filter(program: bytes) -> None:
    """``unshare`` as an x32 program calls it."""
    source = "import ctypes; print(ctypes.CDLL(None).syscall(0x40000000 | 272, 0x10000000), flush=True)"
    stdout, _, code = bubblewrap.python(source, filter_program=program)
    assert (stdout, code) in {("", -signal.SIGSYS), ("", 128 + signal.SIGSYS)}


def test_the_filter_cannot_be_taken_off(program: bytes) -> None:
    """A program inside adds a filter that allows everything, and is refused as before."""
    source = """
import ctypes, errno, struct
libc = ctypes.CDLL(None, use_errno=True)
allow = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7fff0000))
filter = ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 1, ctypes.addressof(allow)))
assert libc.prctl(22, 2, filter) == 0
assert libc.unshare(0x10000000) == -1
print(errno.errorcode[ctypes.get_errno()], [line for line in open("/proc/self/status") if line.startswith("Seccomp:")])
"""
    assert bubblewrap.python(source, filter_program=program)[0] == "EPERM ['Seccomp:\\t2\\n']\n"


def test_a_machine_without_libseccomp_says_so() -> None:
    """No program, and one sentence for the operator."""
    source = """
from fastflow_runner.sandbox.bubble import syscalls
syscalls._LIBRARY = "libseccomp-that-is-missing.so.2"
print(syscalls.program())
"""
    told = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert told.stdout == "None\n"
    assert "Install it" in syscalls.UNFILTERED


def test_names_that_libseccomp_does_not_know_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Docker does; the program still works."""
    known = syscalls.profile()
    known["syscalls"][0]["names"].append("call_of_the_next_century")
    monkeypatch.setattr(syscalls, "profile", lambda: known)
    program = syscalls.program.__wrapped__()
    assert program is not None
    assert program == syscalls.program()
    assert bubblewrap.python("print(6 * 7)", filter_program=program)[0] == "42\n"


def test_the_program_is_one_that_a_kernel_takes(program: bytes) -> None:
    """Whole instructions, and fewer than the kernel's bound of 4096."""
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096
    assert errno.ENOSYS == 38
    assert ctypes.sizeof(syscalls._Comparison) == 24
