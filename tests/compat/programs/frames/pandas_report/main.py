"""Read a CSV, group it, write a CSV: the daily bread."""

import pandas as pd

orders = pd.read_csv("orders.csv", parse_dates=["day"])
print(orders.dtypes)
report = orders.groupby("customer", as_index=False).agg(orders=("amount", "size"), total=("amount", "sum"))
print(report.sort_values("total", ascending=False).to_string(index=False))
report.to_csv("report.csv", index=False)
print(orders.set_index("day")["amount"].resample("MS").sum())
months = orders["day"].dt.month
print(orders.pivot_table(index="customer", columns=months, values="amount", aggfunc="sum", fill_value=0))
