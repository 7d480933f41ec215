"""An array in blocks, and a failing task."""

import dask
import dask.array as da

array = da.arange(1_000_000, chunks=100_000)
print(array.sum().compute(), array.mean().compute(), array.npartitions)


@dask.delayed
def fails(number):
    raise ValueError(f"block {number}")


try:
    fails(3).compute(scheduler="synchronous")
except ValueError as error:
    print(error)
