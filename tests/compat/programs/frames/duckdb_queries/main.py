"""DuckDB over files, frames and its own database."""

import os

import duckdb
import pandas as pd

db = duckdb.connect("shop.duckdb")
db.execute("create table item as select range as n, range % 3 as kind from range(1000)")
print(db.execute("select kind, count(*), sum(n) from item group by kind order by kind").fetchall())
db.execute("copy item to 'items.parquet' (format parquet)")
print(db.sql("select max(n) from 'items.parquet'").fetchall())
frame = pd.DataFrame({"x": [1, 2, 3]})
print(db.sql("select sum(x) as total from frame").df())
try:
    db.execute("select missing from item")
except duckdb.BinderException as error:
    print(str(error).splitlines()[0])
db.close()
for name in ("shop.duckdb", "items.parquet"):
    os.remove(name)
