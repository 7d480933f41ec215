"""Programs that try system calls: those of an attacker, and those of usual programs."""

HOSTILE = """
import ctypes, errno, json, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), "done")
def family(number):
    try: socket.socket(number, socket.SOCK_STREAM).close()
    except OSError as error: return errno.errorcode[error.errno]
    return "done"
X86 = {
    "io_uring_setup": (425, 1, 0), "io_uring_enter": (426, 0, 0, 0, 0, 0), "unshare user": (272, 0x10000000),
    "clone user": (56, 0x10000000 | 17, 0, 0, 0, 0), "keyctl": (250, 0, 0), "add_key": (248, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0), "userfaultfd": (323, 0), "perf_event_open": (298, 0, 0, -1, -1, 0),
    "mount": (165, 0, 0, 0, 0, 0), "setns": (308, 0, 0), "kcmp": (312, 0, 0, 0, 0, 0), "clone3": (435, 0, 0),
}
ARM = {"io_uring_setup": (425, 1, 0), "unshare user": (97, 0x10000000), "keyctl": (219, 0, 0), "bpf": (280, 0, 0, 0)}
import platform
found = {n: call(*c) for n, c in (X86 if platform.machine() == "x86_64" else ARM).items()}
found |= {f"socket {n}": family(n) for n in (40, 38, 17, 16, 10, 2, 1)}
print(json.dumps(found))
"""
USUAL = """
import asyncio, concurrent.futures, multiprocessing, mmap, os, select, signal, socket, sqlite3, subprocess, tempfile

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
print("done")
"""
