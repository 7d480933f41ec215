"""The interpreter waits for a thread that is no daemon, and not for one that is."""

import threading
import time

threading.Thread(target=lambda: (time.sleep(0.2), print("the worker is done"))).start()
threading.Thread(target=lambda: (time.sleep(60), print("never")), daemon=True).start()
print("main is done")
