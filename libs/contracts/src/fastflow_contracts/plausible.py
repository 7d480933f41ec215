"""Whether code can compute with the times of a message: a check made once from the message's type. Pure.

The type of a field bounds its numbers and texts. It cannot bound a time, so ``Codec`` applies this check.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec.inspect as mi

from fastflow_contracts.base import IS_INSTANT, YEARS

Check: TypeAlias = Callable[[Any], bool]
_FIRST, _END = YEARS.start, YEARS.stop


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
            return _struct(tuple((field.name, check) for field in fields if (check := _check(field.type))))
        case mi.UnionType(types=members):
            return _union({_class(member): check for member in members if (check := _check(member))})
        case mi.VarTupleType(item_type=item):
            return _all(_check(item))
        case mi.DictType(value_type=value):
            return _all_named(_check(value))
        case _:
            return None


def _is_plausible(time: datetime) -> bool:
    return _FIRST <= time.year < _END


def _is_plausible_or_none(time: datetime | None) -> bool:
    return time is None or _FIRST <= time.year < _END


def _struct(checks: tuple[tuple[str, Check], ...]) -> Check | None:
    def check_struct(value: Any) -> bool:
        for name, check in checks:  # noqa: SIM110 - every message goes through here: all() takes twice as long
            if not check(getattr(value, name)):
                return False
        return True

    return check_struct if checks else None


def _union(checks: dict[type, Check]) -> Check | None:
    if checks == {datetime: _is_plausible}:
        return _is_plausible_or_none

    def check_member(value: Any) -> bool:
        check = checks.get(type(value))
        return check is None or check(value)

    return check_member if checks else None


def _all(check: Check | None) -> Check | None:
    return (lambda values: all(map(check, values))) if check else None


def _all_named(check: Check | None) -> Check | None:
    return (lambda values: all(map(check, values.values()))) if check else None


def _class(member: mi.Type) -> type:
    match member:
        case mi.StructType(cls=cls):
            return cls
        case mi.VarTupleType():
            return tuple
        case _:
            return datetime
