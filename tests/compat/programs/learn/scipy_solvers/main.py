"""Optimise, integrate, interpolate, and a statistical test."""

import numpy as np
from scipy import integrate, interpolate, optimize, sparse, stats

print(optimize.minimize(lambda x: (x[0] - 1) ** 2 + (x[1] + 2) ** 2, [0, 0]).x.round(3))
print(optimize.brentq(lambda x: x**3 - 2, 0, 2), integrate.quad(np.sin, 0, np.pi)[0])
print(interpolate.CubicSpline([0, 1, 2], [0, 1, 4])(1.5), stats.ttest_ind([1, 2, 3, 4], [2, 3, 4, 6]).pvalue.round(6))
print(sparse.csr_matrix(np.eye(3)).sum(), stats.norm.ppf(0.975))
