"""A graph of dask, in threads."""

import dask


@dask.delayed
def double(number):
    return 2 * number


@dask.delayed
def total(numbers):
    return sum(numbers)


print(total([double(n) for n in range(10)]).compute(scheduler="threads"))
print(dask.compute(double(1), double(2), scheduler="synchronous"))
