"""Ten megabytes, in lines."""

import hashlib

digest = hashlib.sha256()
for number in range(100_000):
    line = f"{number:08d} " + "abcdefghij" * 9
    digest.update(line.encode())
    print(line)
print(digest.hexdigest())
