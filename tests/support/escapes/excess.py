"""What a hostile script uses up. Programs: each prints how far it came."""

FORKS = """
import errno, os, signal
count = 0
try:
    while count < 10_000:
        if os.fork() == 0:
            signal.pause()
        count += 1
    print(count, "none")
except OSError as error:
    print(count, errno.errorcode[error.errno])
"""
FILES = """
import errno, os
for folder in ("/tmp", "/work", "/dev/shm"):
    written, block = 0, bytes(1 << 20)
    try:
        with open(f"{folder}/excess", "wb", buffering=0) as file:
            while written < 1 << 30:
                written += file.write(block)
        print(folder, written, "none")
    except OSError as error:
        print(folder, written, errno.errorcode[error.errno])
    os.unlink(f"{folder}/excess")
"""
MEMORY = """
import time
print("up", flush=True)
held = []
for _ in range(200):
    held.append(bytearray(b"x") * (1 << 20))
time.sleep(20)  # where nobody but a supervisor watches, it looks five times a second
print("had it all", flush=True)
"""
