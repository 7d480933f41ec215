import time

ends = time.monotonic() + 2.5
while time.monotonic() < ends:
    sum(range(500_000))
    time.sleep(0.01)
