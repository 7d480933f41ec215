"""Checks a value by a JSON Schema, in bounded time. Pure.

``jsonschema`` does the work. This module bounds it: each keyword that it evaluates is paid from a budget, patterns are
matched in linear time, and nothing is ever fetched. ``jsonschema`` is imported when the first schema is used.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, time
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.parameters.pattern import BadPattern, Pattern, compiled
from fastflow_contracts.pipelines.parameters.wording import wanted

if TYPE_CHECKING:
    from jsonschema import FormatChecker
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

Schema: TypeAlias = Mapping[str, Any]

WORK_MAX: Final = 20_000
"""Most work of one check, in units of about 2 µs; a few dozen milliseconds."""
KEYWORD_WORK: Final = 5
PATTERN_WORK: Final = 15
"""Of each pattern that is used, beside what its size costs."""
ERRORS_MAX: Final = 20
"""Most wrong values that are named."""


class TooComplex(FastFlowError):
    """The value cannot be checked within the bounds."""


class WrongValue(NamedTuple):
    """A value that the schema does not accept."""

    path: tuple[str | int, ...]
    """Keys and indexes, from the whole value down."""
    wanted: str
    """What is accepted: completes a sentence that begins with the field. It never shows the value."""

    @property
    def pointer(self) -> str:
        """The place as a JSON pointer; empty for the whole value."""
        return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in self.path)

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.wanted}"


def wrong_values(schema: Schema, value: Any, *, within: Schema | None = None) -> tuple[WrongValue, ...]:
    """Return every part of *value* that *schema* does not accept, by place.

    Args:
        schema: A schema that ``schema.faults`` accepts.
        value: JSON as plain data.
        within: The whole schema that *schema* is a part of; None: itself.

    Raises:
        TooComplex: The check takes too long.
    """
    from referencing.exceptions import Unresolvable

    with bounded():
        try:
            validator = _validator(schema if within is None else within)
            if within is not None:
                validator = validator.evolve(schema=schema)
            found = {
                WrongValue(path, text): None
                for error in islice(validator.iter_errors(value), ERRORS_MAX)
                for path, text in _named(error)
            }
        except RecursionError:
            raise TooComplex("it is nested too deeply to be checked.") from None
        except (OverflowError, ZeroDivisionError, Unresolvable) as error:
            raise TooComplex(f"it cannot be checked: {error}.") from None
    return tuple(sorted(found, key=lambda each: each.pointer))


@contextmanager
def bounded() -> Iterator[None]:
    """Give everything that is checked inside one budget together."""
    if _budget.get() is not None:
        yield
        return
    token = _budget.set(_Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def _named(error: ValidationError) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the place and the wish of an error: one for each member that is missing or too much."""
    path = tuple(error.absolute_path)
    for added, text in wanted(error):
        yield (*path, *added), text


class _Budget:
    """What is left to spend, and the patterns that are paid for."""

    def __init__(self) -> None:
        self.left = WORK_MAX
        self.patterns: dict[str, Pattern] = {}

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < 0:
            raise TooComplex("it takes too long to check; use smaller values, or a simpler schema.")


_budget: ContextVar[_Budget | None] = ContextVar("budget", default=None)


def _current() -> _Budget:
    budget = _budget.get()
    assert budget is not None, "checks are bounded"
    return budget


def _validator(schema: Schema) -> Validator:
    from referencing import Registry

    kind, formats = _kind()
    plain = {name: value for name, value in schema.items() if name not in ("$schema", "$id")}
    validator: Validator = kind(plain, format_checker=formats, registry=Registry())
    return validator


@cache
def _kind() -> tuple[Any, FormatChecker]:
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.validators import extend

    own = {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": _additional}
    own |= {"uniqueItems": _unique_items, "multipleOf": _multiple_of}
    keywords = {name: _paid(rule) for name, rule in {**Draft202012Validator.VALIDATORS, **own}.items()}
    formats = FormatChecker(formats=())
    for name, reader in FORMATS.items():
        formats.checks(name, raises=ValueError)(_format(reader))
    kind = extend(Draft202012Validator, keywords)  # type: ignore[no-untyped-call]
    return kind, formats


def _paid(rule: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
    """Return *rule*, paid for when it is evaluated."""

    def evaluate(validator: Validator, value: Any, instance: Any, schema: Schema) -> Iterator[ValidationError]:
        sizes = (len(each) for each in (value, instance) if isinstance(each, dict | list))
        _current().spend(KEYWORD_WORK + sum(sizes))
        yield from rule(validator, value, instance, schema) or ()

    return evaluate


def matches(pattern: str, text: str) -> bool:
    """Whether *pattern* matches in *text*, within the budget of the check."""
    budget = _current()
    if (known := budget.patterns.get(pattern)) is None:
        try:
            known = budget.patterns[pattern] = compiled(pattern)
        except BadPattern as error:
            raise TooComplex(f"the pattern {pattern[:80]!r} cannot be used: {error}.") from None
        budget.spend(PATTERN_WORK + known.work)
    return known.found_in(text, budget.spend)


def _pattern(_: Validator, pattern: str, instance: Any, __: Schema) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if isinstance(instance, str) and not matches(pattern, instance):
        yield ValidationError("pattern")


def _pattern_properties(
    validator: Validator, patterns: dict[str, Any], instance: Any, _: Schema
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, schema in patterns.items():
            for name, value in instance.items():
                if matches(pattern, name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)  # type: ignore[attr-defined]


def _additional(validator: Validator, wanted: Any, instance: Any, schema: Schema) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in known or any(matches(pattern, name) for pattern in patterns):
            continue
        if wanted is False:
            yield ValidationError("additionalProperties", path=[name])
        else:
            yield from validator.descend(value, wanted, path=name)  # type: ignore[attr-defined]


def _unique_items(_: Validator, is_wanted: bool, instance: Any, __: Schema) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if is_wanted and isinstance(instance, list):
        texts = {json.dumps(_comparable(item), sort_keys=True) for item in instance}
        if len(texts) < len(instance):
            yield ValidationError("uniqueItems")


def _multiple_of(_: Validator, step: float, instance: Any, __: Schema) -> Iterator[ValidationError]:
    """As people read the numbers: 19.99 is a multiple of 0.01."""
    from jsonschema.exceptions import ValidationError

    is_number = isinstance(instance, int | float) and not isinstance(instance, bool)
    if is_number and (Fraction(repr(instance)) / Fraction(repr(step))).denominator != 1:
        yield ValidationError("multipleOf")


def _comparable(value: Any) -> Any:
    """Return *value* with equal numbers written equally: 1.0 is 1."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_comparable(item) for item in value]
        case dict():
            return {name: _comparable(item) for name, item in value.items()}
        case _:
            return value


def _format(reader: Callable[[str], object]) -> Callable[[object], bool]:
    def check(instance: object) -> bool:
        if isinstance(instance, str):
            reader(instance)
        return True

    return check


def _date(text: str) -> None:
    if len(text) != 10:
        raise ValueError
    date.fromisoformat(text)


def _date_time(text: str) -> None:
    if not _DATE_TIME.fullmatch(text):
        raise ValueError
    datetime.fromisoformat(text.upper())


def _time(text: str) -> None:
    if not _TIME.fullmatch(text):
        raise ValueError
    time.fromisoformat(text.upper())


def _uuid(text: str) -> None:
    if len(text) != 36:
        raise ValueError
    uuid.UUID(text)


def _email(text: str) -> None:
    name, at, host = text.rpartition("@")
    if not (name and at and host) or len(text) > 320 or any(character.isspace() for character in text):
        raise ValueError


def _uri(text: str) -> None:
    scheme, colon, rest = text.partition(":")
    if not (colon and rest and scheme.isascii() and scheme[:1].isalpha()) or any(
        character.isspace() for character in text
    ):
        raise ValueError


_CLOCK = r"\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})"
_DATE_TIME = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}[Tt ]{_CLOCK}", re.ASCII)
_TIME = re.compile(_CLOCK, re.ASCII)

FORMATS: Final[Mapping[str, Callable[[str], object]]] = {
    "date": _date,
    "date-time": _date_time,
    "time": _time,
    "uuid": _uuid,
    "email": _email,
    "uri": _uri,
    "ipv4": IPv4Address,
    "ipv6": IPv6Address,
}
"""Formats that are checked; others only describe the value."""
