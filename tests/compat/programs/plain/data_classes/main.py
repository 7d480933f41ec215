"""Data classes, enumerations, pattern matching and pickles."""

import copy
import enum
import pickle
from dataclasses import asdict, dataclass, field, replace


class Colour(enum.StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, order=True, slots=True)
class Item:
    name: str
    price: float = 0.0
    colours: tuple[Colour, ...] = field(default=())


items = [Item("pear", 2.5, (Colour.GREEN,)), Item("apple", 1.2)]
for item in sorted(items):
    match item:
        case Item(name=name, colours=(Colour.GREEN,)):
            print("green", name)
        case Item(name, price):
            print(name, price)
again = pickle.loads(pickle.dumps(items))
print(again == items, asdict(replace(items[0], price=3)), copy.deepcopy(items)[0] == items[0])
