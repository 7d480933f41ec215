"""Threads with a lock, a barrier, a condition and thread-local values."""

import threading

total, lock, barrier, local = 0, threading.Lock(), threading.Barrier(4), threading.local()
seen = []


def work(number):
    global total
    local.number = number
    barrier.wait()
    for _ in range(1000):
        with lock:
            total += local.number
    seen.append(local.number)


threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(total, sorted(seen), hasattr(local, "number"))
