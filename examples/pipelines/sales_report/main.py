"""Sums a month of orders by region and prints a table. Uses a package, variables, and a data file beside the code."""

import csv
import os
from collections import defaultdict
from pathlib import Path

from tabulate import tabulate

CURRENCY = os.environ.get("CURRENCY", "EUR")
TOP = int(os.environ.get("TOP", "3"))


def main() -> None:
    orders: dict[str, int] = defaultdict(int)
    revenue: dict[str, float] = defaultdict(float)
    with Path("orders.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            orders[row["region"]] += 1
            revenue[row["region"]] += int(row["quantity"]) * float(row["price"])

    best = sorted(revenue, key=revenue.__getitem__, reverse=True)[:TOP]
    table = [(region, orders[region], revenue[region], revenue[region] / orders[region]) for region in best]
    headers = ("Region", "Orders", f"Revenue ({CURRENCY})", "Per order")
    print(tabulate(table, headers=headers, floatfmt=",.2f", tablefmt="simple_outline"))
    print(f"\n{sum(orders.values())} orders, {sum(revenue.values()):,.2f} {CURRENCY} in all.")


if __name__ == "__main__":
    main()
