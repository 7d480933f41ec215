"""pandas, Polars, Arrow and numpy hand each other the same columns."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

frame = pd.DataFrame({"a": np.arange(3), "b": ["x", None, "z"]})
table = pa.Table.from_pandas(frame, preserve_index=False)
print(pl.from_arrow(table).to_dict(as_series=False))
print(pl.from_pandas(frame).to_pandas().equals(frame.astype({"b": "object"})) in (True, False))
print(table.to_pandas()["a"].to_numpy().dtype, pl.Series([1.5, None]).to_numpy())
