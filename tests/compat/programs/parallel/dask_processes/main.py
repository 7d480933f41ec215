"""A graph of dask, in processes."""

import dask


def square(number):
    return number * number


if __name__ == "__main__":
    tasks = [dask.delayed(square)(n) for n in range(6)]
    print(dask.compute(*tasks, scheduler="processes", num_workers=2))
