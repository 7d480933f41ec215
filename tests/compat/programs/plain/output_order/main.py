"""The parts of one stream stay in order, from any writer."""

import os
import subprocess
import sys

for number in range(5):
    print("print", number, flush=True)
    os.write(1, f"write {number}\n".encode())
    subprocess.run(["echo", f"child {number}"], check=True)
sys.stdout.write("end\n")
