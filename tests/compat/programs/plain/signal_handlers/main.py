"""Handlers for signals that a script sends itself, an alarm among them."""

import os
import signal
import sys


def heard(number, frame):
    print("heard", signal.Signals(number).name)


for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGALRM):
    print(signal.getsignal(number) is signal.SIG_DFL)
    signal.signal(number, heard)
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
    os.kill(os.getpid(), number)
signal.setitimer(signal.ITIMER_REAL, 0.05)
signal.pause()
sys.exit(7)
