"""``sys.exit`` in a thread ends that thread only."""

import sys
import threading

thread = threading.Thread(target=lambda: sys.exit(9))
thread.start()
thread.join()
print("the script goes on")
