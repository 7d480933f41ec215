"""Programs that try system calls: those of an attacker, and those of usual programs."""

HOSTILE = """
import ctypes, errno, json, socket, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), "done")
def family(number):
    try: socket.socket(number, socket.SOCK_STREAM).close()
    except OSError as error: return errno.errorcode[error.errno]
    return "done"
file = tempfile.TemporaryFile()
own, high = file.fileno(), ctypes.c_ulong(1 << 32 | 1024)
few, first, none = (ctypes.c_ulong * 2)(64, 64), (ctypes.c_ulong * 1)(1), ctypes.c_int(0)
X86 = {
    "io_uring_setup": (425, 1, 0), "io_uring_enter": (426, 0, 0, 0, 0, 0), "unshare user": (272, 0x10000000),
    "clone user": (56, 0x10000000 | 17, 0, 0, 0, 0), "keyctl": (250, 0, 0), "add_key": (248, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0), "userfaultfd": (323, 0), "perf_event_open": (298, 0, 0, -1, -1, 0),
    "mount": (165, 0, 0, 0, 0, 0), "setns": (308, 0, 0), "kcmp": (312, 0, 0, 0, 0, 0), "clone3": (435, 0, 0),
    "lease": (72, own, 1024, 0), "lease, high bits": (72, own, high, 0), "files of 1": (302, 1, 7, few, 0),
    "files of 1, high bits": (302, ctypes.c_ulong(1 << 32 | 1), 7, few, 0), "nice 1": (141, 0, 1, 19),
    "nice group 1": (141, 1, 1, 19), "nice user": (141, 2, 0, 19), "idle 1": (144, 1, 5, ctypes.byref(none)),
    "processor of 1": (203, 1, 8, first), "attributes of 1": (314, 1, 0, 0),
}
ARM = {"io_uring_setup": (425, 1, 0), "unshare user": (97, 0x10000000), "keyctl": (219, 0, 0), "bpf": (280, 0, 0, 0),
    "lease": (25, own, 1024, 0), "files of 1": (261, 1, 7, few, 0), "nice 1": (140, 0, 1, 19)}
import platform
found = {n: call(*c) for n, c in (X86 if platform.machine() == "x86_64" else ARM).items()}
found |= {f"socket {n}": family(n) for n in (40, 38, 17, 16, 10, 2, 1)}
print(json.dumps(found))
"""
USUAL = """
import asyncio, concurrent.futures, fcntl, multiprocessing, mmap, os, resource, select, signal, socket, sqlite3, struct
import subprocess, tempfile

def square(n): return n * n
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert list(pool.map(square, range(9)))[8] == 64
with multiprocessing.Pool(2) as pool: assert pool.map(square, range(3)) == [0, 1, 4]
async def ask():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b""
    writer.close()
    process = await asyncio.create_subprocess_exec("sleep", "0")
    assert await process.wait() == 0
asyncio.run(ask())
assert subprocess.run(["sh", "-c", "echo a | cat"], capture_output=True).stdout == b"a\\n"
database = sqlite3.connect(tempfile.mktemp()); database.execute("create table t (x)"); database.commit()
os.memfd_create("x"); mmap.mmap(-1, 4096); os.sched_getaffinity(0); os.getrandom(8); os.copy_file_range
socket.getaddrinfo("localhost", 80); signal.setitimer(signal.ITIMER_REAL, 60)
select.epoll(); os.pidfd_open(os.getpid()); os.posix_fallocate(os.open("/tmp/f", os.O_CREAT | os.O_RDWR), 0, 10)
child = subprocess.Popen(["sleep", "60"])
for pid in (0, child.pid):
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (512, 512))
    os.sched_setaffinity(pid, os.sched_getaffinity(pid)); os.setpriority(os.PRIO_PROCESS, pid, 5)
    os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0))
resource.prlimit(1, resource.RLIMIT_NOFILE); os.getpriority(os.PRIO_PROCESS, 1); os.nice(1)
child.kill(); child.wait()
file = tempfile.TemporaryFile(); read, write = os.pipe(); sealed = os.memfd_create("x", os.MFD_ALLOW_SEALING)
for number, command, argument in (
    (file, fcntl.F_DUPFD, 0), (file, fcntl.F_DUPFD_CLOEXEC, 0), (file, fcntl.F_SETFD, 1), (file, fcntl.F_SETFL, 0),
    (file, fcntl.F_GETLEASE, 0), (write, fcntl.F_SETPIPE_SZ, 65536), (write, fcntl.F_GETPIPE_SZ, 0),
    (sealed, fcntl.F_ADD_SEALS, 1), (sealed, fcntl.F_GET_SEALS, 0), (file, fcntl.F_GETOWN, 0),
    (sealed, fcntl.F_OFD_SETLK, struct.pack("hhqqixxxx", fcntl.F_WRLCK, 0, 0, 0, 0)),
): fcntl.fcntl(number, command, argument)
fcntl.lockf(file, fcntl.LOCK_EX); fcntl.flock(file, fcntl.LOCK_EX)
print("done")
"""
