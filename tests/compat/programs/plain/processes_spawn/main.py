"""A pool of processes, by spawn: each imports main.py again."""

import multiprocessing


def square(number):
    return number * number


print(__name__ in ("__main__", "__mp_main__"), flush=True)
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(square, range(10)))
