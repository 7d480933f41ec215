"""A product of matrices on all cores."""

import numpy as np

left = np.arange(250_000, dtype="float64").reshape(500, 500) / 1e5
print(np.allclose(left @ left, np.einsum("ij,jk->ik", left, left)), (left @ np.eye(500) == left).all())
