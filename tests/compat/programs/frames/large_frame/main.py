"""Three million rows, grouped."""

import numpy as np
import pandas as pd

rows = 3_000_000
frame = pd.DataFrame({"key": np.arange(rows) % 7, "value": np.arange(rows, dtype="float64")})
print(frame.groupby("key")["value"].agg(["count", "mean"]))
print(frame.memory_usage(index=False).sum())
