"""A warning of numpy with its line, and a failing shape."""

import numpy as np

print(np.log(np.array([1.0, 0.0])))
try:
    np.zeros((2, 3)) @ np.zeros((2, 3))
except ValueError as error:
    print(str(error).split(" (")[0])
