"""A loop that does something each twentieth of a second, with the standard scheduler."""

import sched
import time

scheduler = sched.scheduler(time.monotonic, time.sleep)
ticks = []


def tick(number):
    ticks.append(number)
    print("tick", number)
    if number < 4:
        scheduler.enter(0.05, 1, tick, (number + 1,))


scheduler.enter(0, 1, tick, (0,))
started = time.monotonic()
scheduler.run()
print(len(ticks), time.monotonic() - started >= 0.2)
