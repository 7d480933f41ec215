"""Joins, missing values, time zones and categories."""

import pandas as pd

left = pd.DataFrame({"id": [1, 2, 3], "name": ["a", "b", None]})
right = pd.DataFrame({"id": [2, 3, 4], "value": [1.5, None, 3]})
print(left.merge(right, how="outer", on="id", indicator=True))
times = pd.date_range("2024-03-30", periods=3, freq="D", tz="Europe/Berlin")
print(pd.Series(range(3), index=times).tz_convert("UTC"))
print(pd.Categorical(["x", "y", "x"]).describe())
print(left.to_json(orient="records"), left.isna().sum().to_dict())
