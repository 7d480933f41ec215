"""Compressed bytes with every algorithm of the standard library."""

import bz2
import gzip
import lzma
import zlib

data = b"the same again and again " * 1000
for module in (zlib, bz2, lzma):
    packed = module.compress(data)
    print(module.__name__, len(packed) < 400, module.decompress(packed) == data)
with gzip.GzipFile("out.gz", "wb", mtime=0) as file:
    file.write(data)
with gzip.open("out.gz", "rt") as file:
    print(len(file.read()))
print(zlib.crc32(data), zlib.adler32(data))
