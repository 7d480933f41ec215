"""An error in a thread is printed, and the script succeeds."""

import sys
import threading


def report(failure):
    print(f"{failure.exc_type.__name__}: {failure.exc_value}", file=sys.stderr)


threading.excepthook = report
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
print("joined")
