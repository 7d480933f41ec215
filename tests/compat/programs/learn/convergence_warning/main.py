"""A model that does not converge says so on standard error, and the script continues."""

import warnings

from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    LogisticRegression(max_iter=1).fit(*load_iris(return_X_y=True))
print([issubclass(each.category, ConvergenceWarning) for each in caught])
