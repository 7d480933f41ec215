"""JSON and MessagePack by compiled packages."""

import datetime

import msgspec
import orjson


class Row(msgspec.Struct):
    name: str
    price: float = 0.0
    when: datetime.date | None = None


row = Row("grün", 1.5, datetime.date(2024, 1, 2))
print(msgspec.json.encode(row), msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=Row) == row)
print(orjson.dumps({"b": 1, "a": [None, 1.1]}, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode())
for text in (b'{"name": 1}', b'{"name"'):
    try:
        msgspec.json.decode(text, type=Row)
    except msgspec.DecodeError as error:
        print(type(error).__name__, error)
