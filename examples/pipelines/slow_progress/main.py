"""Works for a while and prints its progress: watch it live, or cancel it."""

import os
import signal
import sys
import time

STEPS = int(os.environ.get("STEPS", "20"))
STEP_S = float(os.environ.get("STEP_S", "1"))


def stop(_signal: int, _frame: object) -> None:
    print("Asked to stop; cleaning up.")
    sys.exit(1)


signal.signal(signal.SIGTERM, stop)
for step in range(1, STEPS + 1):
    time.sleep(STEP_S)
    done = step / STEPS
    print(f"[{'#' * round(30 * done):<30}] {done:4.0%}  step {step} of {STEPS}")
print("Done.")
