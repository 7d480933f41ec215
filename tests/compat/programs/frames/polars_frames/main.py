"""Frames of Polars, eager and lazy, and its table on the terminal."""

import polars as pl

frame = pl.DataFrame({"day": ["2024-01-02", "2024-01-03", "2024-02-01"], "who": ["ü", "b", "ü"], "n": [1, 2, 4]})
print(frame.with_columns(pl.col("day").str.to_date()))
lazy = frame.lazy().filter(pl.col("n") > 1).group_by("who").agg(pl.col("n").sum()).sort("who")
print(lazy.collect())
frame.write_parquet("rows.parquet")
frame.write_csv("rows.csv")
print(pl.scan_parquet("rows.parquet").select(pl.len()).collect().item())
try:
    frame.select("missing")
except pl.exceptions.ColumnNotFoundError as error:
    print(type(error).__name__)
