"""A grid search in processes, with folds that fail."""

from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

features, classes = make_classification(n_samples=120, random_state=1)
search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 2, 3]}, cv=3, n_jobs=2)
search.fit(features, classes)
print(search.best_params_, round(search.best_score_, 4))
try:
    search.predict(features[:, :2])
except ValueError as error:
    print(str(error).splitlines()[0])
