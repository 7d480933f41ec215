"""Output caught by the script does not show."""

import contextlib
import io
import os

caught = io.StringIO()
with contextlib.redirect_stdout(caught):
    print("hidden")
print(repr(caught.getvalue()))
read, write = os.pipe()
kept = os.dup(1)
os.dup2(write, 1)
os.write(1, b"through the descriptor")
os.dup2(kept, 1)
print(os.read(read, 100))
