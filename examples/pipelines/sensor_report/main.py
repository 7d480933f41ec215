"""Stores a day of temperatures in SQLite, then reports them by the hour. Standard library only."""

import math
import os
import random
import sqlite3
from datetime import datetime, timedelta

BARS = "▁▂▃▄▅▆▇█"
START = datetime(2026, 3, 2)


def readings(seed: str):
    """Yield one reading a minute: cold nights, warm afternoons, and some noise."""
    noise = random.Random(seed)
    for minute in range(24 * 60):
        wave = math.sin((minute / 60 - 9) * math.pi / 12)
        yield (START + timedelta(minutes=minute)).isoformat(), 12 + 7 * wave + noise.gauss(0, 0.6)


def main() -> None:
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE TABLE reading (at TEXT, celsius REAL)")
        db.executemany("INSERT INTO reading VALUES (?, ?)", readings(os.environ.get("SENSOR", "roof")))
        hours = db.execute(
            "SELECT substr(at, 12, 2), min(celsius), avg(celsius), max(celsius) FROM reading GROUP BY 1 ORDER BY 1"
        ).fetchall()

    low, high = min(row[2] for row in hours), max(row[2] for row in hours)
    print("hour    min   mean    max")
    for hour, least, mean, most in hours:
        print(f"{hour}:00  {least:5.1f}  {mean:5.1f}  {most:5.1f}")
    line = "".join(BARS[round((mean - low) / (high - low) * (len(BARS) - 1))] for _, _, mean, _ in hours)
    print(f"\n{line}  {low:.1f} to {high:.1f} °C")


if __name__ == "__main__":
    main()
