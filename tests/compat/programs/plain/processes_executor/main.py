"""Futures in processes and threads, with an error among them."""

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed


def inverse(number):
    return 1 / number


if __name__ == "__main__":
    for kind in (ThreadPoolExecutor, ProcessPoolExecutor):
        with kind(max_workers=2) as pool:
            futures = {pool.submit(inverse, n): n for n in (1, 2, 0, 4)}
            done = {}
            for future in as_completed(futures):
                error = future.exception()
                done[futures[future]] = type(error).__name__ if error else future.result()
        print(kind.__name__, sorted(done.items()))
