"""The system calls of a sandbox: what scripts and packages need, and nothing that only an attacker needs. Pure.

Docker takes a whole profile, so this is one; ``bubble.syscalls`` makes a program of it. Compared with Docker's default
it has no io_uring and no 32-bit programs, and the only sockets are those of Unix, IP and netlink. As there: no name
spaces, keyrings, bpf, userfaultfd, or performance counters.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

SOCKET_FAMILIES: Final = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. Not AF_VSOCK (the hypervisor), AF_ALG (the kernel's cryptography), …"""
NAMESPACES: Final = 0x7E020000
"""The flags of ``clone`` that make a name space: of users, mounts, processes, the network, …"""
ENOSYS: Final = 38
SET_LEASE: Final = 1024
"""The command of ``fcntl`` by which a reader of a file makes its writers wait, up to 45 seconds each time."""
SUPERVISOR: Final = 1
"""Its process id inside. It has the user of its script, which could take its files, memory and processor from it."""
PROCESS_OR_GROUP: Final = 0xFFFFFFFE
"""The bits of the first argument of ``setpriority`` that are set for all processes of a user."""
PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""The usual one, ``uname26``, both together, and asking for the current one."""
_FILES: Final = """
    access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64
    fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat fdatasync fgetxattr flistxattr flock fremovexattr
    fsetxattr fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr
    lseek lsetxattr lstat memfd_create mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2
    pipe pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr
    rename renameat renameat2 rmdir sendfile setxattr splice stat statfs statx symlink symlinkat sync sync_file_range
    syncfs tee truncate umask unlink unlinkat utime utimensat utimes vmsplice write writev io_cancel io_destroy
    io_getevents io_pgetevents io_setup io_submit
"""
_MEMORY: Final = """
    brk madvise membarrier mincore mlock mlock2 mlockall mmap mprotect mremap msync munlock munlockall munmap
    pkey_alloc pkey_free pkey_mprotect remap_file_pages shmat shmctl shmdt shmget
"""
_PROCESSES: Final = """
    alarm arch_prctl capget capset execve execveat exit exit_group fork get_robust_list getcpu getegid geteuid getgid
    getgroups getitimer getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage
    getsid gettid getuid ioprio_get ioprio_set kill pause pidfd_open pidfd_send_signal prctl
    process_mrelease process_vm_readv process_vm_writev ptrace restart_syscall riscv_flush_icache rseq rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_setparam sched_yield seccomp
    set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid
    setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack sysinfo tgkill tkill times uname vfork
    wait4 waitid waitpid landlock_add_rule landlock_create_ruleset landlock_restrict_self
"""
_WAITING: Final = """
    clock_adjtime clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 epoll_wait eventfd eventfd2 futex futex_waitv gettimeofday adjtimex mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd nanosleep poll ppoll pselect6 select semctl
    semget semop semtimedop signalfd signalfd4 time timer_create timer_delete timer_getoverrun timer_gettime
    timer_settime timerfd_create timerfd_gettime timerfd_settime
"""
_SOCKETS: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg sendmmsg sendmsg
    sendto setsockopt shutdown socketpair
"""
_LIMITS: Final = "prlimit64 sched_setaffinity sched_setattr sched_setscheduler"
"""The calls that take a process first and change what it may use."""
_BITS: Final = 23
"""No process id of Linux has more, and no command of ``fcntl``."""
_ARCHITECTURES: Final = ("X86_64", "AARCH64", "PPC64LE", "RISCV64")


@cache
def security_option() -> str:
    """Return the profile as an option of Docker's ``SecurityOpt``."""
    return f"seccomp={json.dumps(profile(), separators=(',', ':'))}"


def profile() -> dict[str, Any]:
    """Return the profile as Docker's JSON: what no entry allows is refused with EPERM."""
    allowed = sorted({*_FILES.split(), *_MEMORY.split(), *_PROCESSES.split(), *_WAITING.split(), *_SOCKETS.split()})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": f"SCMP_ARCH_{each}", "subArchitectures": []} for each in _ARCHITECTURES],
        "syscalls": [
            {"names": allowed, "action": "SCMP_ACT_ALLOW"},
            *(_if_first("socket", family, "SCMP_CMP_EQ") for family in SOCKET_FAMILIES),
            *(_if_first("personality", persona, "SCMP_CMP_EQ") for persona in PERSONALITIES),
            _if_first("clone", NAMESPACES, "SCMP_CMP_MASKED_EQ"),
            *_unless(["fcntl"], 1, SET_LEASE),
            *_unless(_LIMITS.split(), 0, SUPERVISOR),
            _if(["prlimit64"], _compare(2, 0, "SCMP_CMP_EQ")),  # it asks only
            *_unless(["setpriority"], 1, SUPERVISOR, _compare(0, PROCESS_OR_GROUP, "SCMP_CMP_MASKED_EQ")),
            # Its flags are behind a pointer, which a filter cannot read. The C library then takes ``clone``.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
        ],
    }


def _if_first(name: str, value: int, operator: str) -> dict[str, Any]:
    """Allow a call if its first argument compares as given. ``MASKED_EQ`` with 0: none of the bits is set."""
    return _if([name], _compare(0, value, operator))


def _unless(names: list[str], index: int, value: int, *more: dict[str, Any]) -> list[dict[str, Any]]:
    """Allow calls if an argument of 32 bits is not *value*, and *more* fits: a rule for each bit that may differ.

    The kernel ignores the upper half of such an argument, but the filter's own "unequal" does not.
    """
    masks = [1 << bit for bit in range(_BITS)]
    return [_if(names, _compare(index, mask, "SCMP_CMP_MASKED_EQ", ~value & mask), *more) for mask in masks]


def _if(names: list[str], *comparisons: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": list(comparisons)}


def _compare(index: int, value: int, operator: str, value_two: int = 0) -> dict[str, Any]:
    return {"index": index, "value": value, "valueTwo": value_two, "op": operator}
