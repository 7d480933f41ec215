"""Functions made at run time go to a process and come back."""

import multiprocessing

import cloudpickle
import numpy as np


def call(packed, argument):
    return cloudpickle.loads(packed)(argument)


if __name__ == "__main__":
    factor = 3
    packed = cloudpickle.dumps(lambda numbers: (np.array(numbers) * factor).tolist())
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.apply(call, (packed, [1, 2])))
