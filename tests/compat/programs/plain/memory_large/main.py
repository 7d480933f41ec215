"""A quarter of a gigabyte, used and given back."""

import gc

blocks = [bytearray(25_000_000) for _ in range(10)]
for block in blocks:
    block[::4096] = b"\x01" * len(block[::4096])
print(sum(map(len, blocks)))
del blocks, block
gc.collect()
try:
    bytearray(2**60)
except MemoryError:
    print("no such memory")
