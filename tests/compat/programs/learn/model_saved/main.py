"""A forest that is saved by joblib and read again, trained by two jobs."""

import os

import joblib
import numpy as np
from sklearn.ensemble import RandomForestRegressor

rng = np.random.default_rng(0)
features = rng.random((200, 3))
values = features @ [1, 2, 3]
model = RandomForestRegressor(n_estimators=20, random_state=0, n_jobs=2).fit(features, values)
joblib.dump(model, "model.joblib")
again = joblib.load("model.joblib")
print(np.array_equal(again.predict(features), model.predict(features)), round(model.score(features, values), 4))
os.remove("model.joblib")
