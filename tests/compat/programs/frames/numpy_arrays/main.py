"""Arrays, linear algebra, random numbers with a seed, and files of numpy."""

import numpy as np

rng = np.random.default_rng(7)
matrix = rng.integers(0, 10, (3, 3))
print(matrix, matrix.sum(axis=0), np.linalg.det(matrix).round(6))
print(np.sort(rng.normal(size=5)).round(4), np.percentile(range(101), [5, 50, 95]))
np.save("matrix.npy", matrix)
print(np.array_equal(np.load("matrix.npy"), matrix), np.array([1, 2, 3]) @ matrix)
with np.errstate(divide="raise"):
    try:
        np.array([1.0]) / 0
    except FloatingPointError as error:
        print(error)
print(repr(np.float64(0.1) + np.float64(0.2)), np.datetime64("2024-02-29") + np.timedelta64(1, "D"))
