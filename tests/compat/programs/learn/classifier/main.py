"""A classifier with its cross-validation and its report."""

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

features, classes = load_iris(return_X_y=True)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
print(cross_val_score(model, features, classes, cv=5).round(3))
train, test, train_classes, test_classes = train_test_split(features, classes, random_state=0)
print(classification_report(test_classes, model.fit(train, train_classes).predict(test)))
print(model)
