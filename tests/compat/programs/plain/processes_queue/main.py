"""Processes with a queue, a pipe, an event and an exit code."""

import multiprocessing
import sys


def work(jobs, done):
    for job in iter(jobs.get, None):
        done.send(job * 2)
    sys.exit(4)


if __name__ == "__main__":
    jobs = multiprocessing.Queue()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.Process(target=work, args=(jobs, there))
    process.start()
    for number in range(4):
        jobs.put(number)
    jobs.put(None)
    print([here.recv() for _ in range(4)])
    process.join()
    print(process.exitcode)
