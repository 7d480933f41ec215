"""A memory map of a sparse file."""

import mmap
import os

with open("map.bin", "w+b") as file:
    file.truncate(1024 * 1024)
    with mmap.mmap(file.fileno(), 0) as view:
        view[500_000:500_005] = b"hello"
        print(view.find(b"hello"))
print(os.path.getsize("map.bin"))
os.remove("map.bin")
