"""A script that closes its streams, as a daemon would."""

import os
import sys

print("before")
sys.stdout.flush()
os.close(1)
os.close(2)
with open("after.txt", "w") as file:
    file.write("still here\n")
os._exit(4)
