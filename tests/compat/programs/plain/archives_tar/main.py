"""Tar with gzip, bzip2 and xz; a member that would leave the folder is refused by hand."""

import io
import tarfile

for mode in ("gz", "bz2", "xz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as tar:
        for name in ("data.txt", "../outside.txt"):
            info = tarfile.TarInfo(name)
            info.size = 5
            tar.addfile(info, io.BytesIO(b"hello"))
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        for member in tar:
            safe = ".." not in member.name
            print(mode, member.name, safe, tar.extractfile(member).read() if safe else None)
