import os
from pathlib import Path

KERNEL = Path("/sys/fs/cgroup")
for name, older in (("cpu.max", "cpu/cpu.cfs_quota_us"), ("memory.max", "memory/memory.limit_in_bytes")):
    found = KERNEL / name if (KERNEL / name).exists() else KERNEL / older
    print(found.read_text().split()[0], flush=True)
held = bytearray(int(os.environ.get("MIB", "1")) * 2**20)
for place in range(0, len(held), 4096):
    held[place] = 1
