"""A pool of processes, by a fork server with its socket."""

import multiprocessing


def add(left, right):
    return left + right


if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    with context.Pool(2) as pool:
        print(pool.starmap(add, [(1, 2), (3, 4)]))
