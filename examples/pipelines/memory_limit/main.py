"""Uses more and more memory until its limit ends it: exit code 137, reason oom."""

import os
import time

STEP_MIB = 8
hoard = []
for mib in range(STEP_MIB, int(os.environ.get("MIB", "256")) + 1, STEP_MIB):
    hoard.append(os.urandom(1024) * 1024 * STEP_MIB)
    print(f"holding {mib} MiB")
    time.sleep(0.1)
print("The limit was never reached.")
