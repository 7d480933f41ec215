"""Shared memory of a hundred megabytes, filled."""

from multiprocessing import shared_memory

block = shared_memory.SharedMemory(create=True, size=100_000_000)
try:
    for start in range(0, block.size, 1_000_000):
        block.buf[start : start + 1_000_000] = b"\x07" * 1_000_000
    other = shared_memory.SharedMemory(name=block.name)
    print(other.buf[99_999_999], other.size >= 100_000_000)
    other.close()
finally:
    block.close()
    block.unlink()
