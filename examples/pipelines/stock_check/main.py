"""Compares the stock with its targets. Its metadata is in stock_check.json."""

import csv
from pathlib import Path

short = 0
with Path("stock.csv").open(newline="") as file:
    for row in csv.DictReader(file):
        missing = int(row["minimum"]) - int(row["on_hand"])
        short += missing > 0
        print(f"{row['item']:<12} {row['on_hand']:>4} on hand   {f'ORDER {missing}' if missing > 0 else 'ok'}")

print(f"\n{short} items to order" if short else "\nnothing to order")
