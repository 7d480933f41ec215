"""A database in a file and one in memory: transactions, JSON, a function of our own."""

import os
import sqlite3

with sqlite3.connect("shop.db") as db:
    db.execute("create table item (name text primary key, price real, tags text)")
    rows = [("apple", 1.2, '["red"]'), ("pear", 2.5, '["green", "ripe"]')]
    db.executemany("insert into item values (?, ?, ?)", rows)
    try:
        db.execute("insert into item values ('apple', 0, '[]')")
    except sqlite3.IntegrityError as error:
        print(error)
db.create_function("shout", 1, str.upper)
print(db.execute("select shout(name), json_array_length(tags) from item order by price").fetchall())
db.close()
memory = sqlite3.connect(":memory:")
memory.row_factory = sqlite3.Row
print(dict(memory.execute("select 1 as one, 'zwei' as two, null as three").fetchone()))
memory.close()
print(open("shop.db", "rb").read(15))

os.remove("shop.db")
