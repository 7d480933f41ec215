"""A script that a signal ends: the shell's code is 128 and its number."""

import os
import signal

print("before", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
