"""A frame to a database and back, with SQLAlchemy."""

import os

import pandas as pd
from sqlalchemy import create_engine, text

engine = create_engine("sqlite:///shop.db")
pd.DataFrame({"name": ["a", "b", "a"], "n": [1, 2, 3]}).to_sql("item", engine, index=False)
with engine.connect() as connection:
    print(pd.read_sql(text("select name, sum(n) as n from item group by name order by name"), connection))
engine.dispose()
os.remove("shop.db")
