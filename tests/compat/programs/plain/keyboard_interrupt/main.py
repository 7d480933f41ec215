"""SIGINT to oneself is KeyboardInterrupt."""

import signal

try:
    signal.raise_signal(signal.SIGINT)
    print("not reached")
except KeyboardInterrupt:
    print("interrupted")
