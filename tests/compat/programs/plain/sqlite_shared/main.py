"""Two processes write to one database, with write-ahead logging."""

import multiprocessing
import os
import sqlite3


def write(worker):
    db = sqlite3.connect("shared.db", timeout=30)
    for number in range(20):
        with db:
            db.execute("insert into event values (?, ?)", (worker, number))
    db.close()


if __name__ == "__main__":
    db = sqlite3.connect("shared.db")
    print(db.execute("pragma journal_mode=wal").fetchone())
    db.execute("create table event (worker int, number int)")
    with multiprocessing.Pool(2) as pool:
        pool.map(write, [1, 2])
    print(db.execute("select worker, count(*), sum(number) from event group by worker order by worker").fetchall())
    db.close()
    for name in ("shared.db", "shared.db-wal", "shared.db-shm"):
        if os.path.exists(name):
            os.remove(name)
