"""Whether code can compute with the times of a message: a check made once from the message's type. Pure.

The type of a field bounds its numbers and texts. It cannot bound a time, so ``Codec`` applies this check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec.inspect as mi

from fastflow_contracts.base import IS_INSTANT, YEARS

Check: TypeAlias = Callable[[Any], bool]


def times_check(message: type) -> Check | None:
    """Return a function that says whether every ``Instant`` in a *message* is plausible; None if it has none."""
    return _check(mi.type_info(message))


def _check(kind: mi.Type) -> Check | None:
    match kind:
        case mi.Metadata(type=mi.DateTimeType(), extra=extra):
            return _is_plausible if extra == IS_INSTANT else None
        case mi.Metadata(type=inner):
            return _check(inner)
        case mi.StructType(fields=fields):
            return _struct([(field.name, check) for field in fields if (check := _check(field.type))])
        case mi.UnionType(types=members):
            return _union({_class(member): check for member in members if (check := _check(member))})
        case mi.VarTupleType(item_type=item):
            return _all(_check(item))
        case mi.DictType(value_type=value):
            assert _check(value) is None, "no message has times by name"
            return None
        case _:
            return None


def _is_plausible(time: datetime) -> bool:
    return time.year in YEARS


def _struct(checks: Iterable[tuple[str, Check]]) -> Check | None:
    found = tuple(checks)
    return (lambda value: all(check(getattr(value, name)) for name, check in found)) if found else None


def _union(checks: dict[type, Check]) -> Check | None:
    return (lambda value: (check := checks.get(type(value))) is None or check(value)) if checks else None


def _all(check: Check | None) -> Check | None:
    return (lambda values: all(map(check, values))) if check else None


def _class(member: mi.Type) -> type:
    match member:
        case mi.StructType(cls=cls):
            return cls
        case mi.VarTupleType():
            return tuple
        case _:
            return datetime
