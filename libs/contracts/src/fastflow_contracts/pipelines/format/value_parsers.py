"""Parsers for each kind of value: JSON in, checked and normalised value out. Pure; fields are unknown here.

Every parser takes the ``JsonNode`` of the value and raises ``ValueError`` to reject it. The error has a text only where
it adds to the ``accepts`` sentence in ``value_types``, such as which part of a cron expression is wrong.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from fastflow_contracts.labels import LABEL_PATTERN, LABELS_MAX, in_order
from fastflow_contracts.names import BadName, PipelineName, check_name
from fastflow_contracts.pipelines.expressions.check import BadExpression, check_expression
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.pipelines.parameters.schema import NAME_CHARACTERS_MAX, PROPERTIES_MAX, is_schema
from fastflow_contracts.schedules.cron import CRON_CHARACTERS_MAX, check_cron

MEMORY_BYTES_MIN = 6 * 1024**2
"""Docker does not start a container with less."""
MEMORY_BYTES_MAX = 1024**5
CORES_MAX = 10_000
FACTOR_MAX = 1_000_000
SECONDS_MAX = 10 * 366 * 86_400
"""Ten years: sums of dates and durations do not overflow."""
TEXT_CHARACTERS_MAX = 10_000
WEBHOOK_KEY_CHARACTERS_MAX = 1_000
"""A longer one may not fit into the first line of a request."""
ENV_VALUE_CHARACTERS_MAX = 32_768
"""Linux allows 128 KiB for one variable, and a character takes up to four bytes."""

MEMORY_PATTERN = r"^([0-9]+(?:\.[0-9]+)?)([Bb]|[KkMmGgTt][BbIi]?)$|^[0-9]+$"
DESTINATION_PATTERN = (
    r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62}){0,20}:"
    r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
)
"""``host:port``; the host is a name or an IPv4 address."""
INTEGER_LIMIT = 2.0**63
"""Numbers of a stored schema are below."""
DESTINATIONS_MAX = 50
DATE_PATTERN = (
    r"^[0-9]{4}-?[0-9]{2}-?[0-9]{2}"
    r"([Tt ][0-9]{2}(:?[0-9]{2}(:?[0-9]{2}([.,][0-9]{1,9})?)?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?$"
)


def text(node: JsonNode, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    if not isinstance(node.value, str) or len(node.value) > characters_max:
        raise ValueError
    return node.value


def matching(pattern: str) -> Callable[[JsonNode], str]:
    """Return a parser of texts that *pattern* matches completely."""

    def read(node: JsonNode) -> str:
        if not re.fullmatch(pattern, text(node)):
            raise ValueError
        return text(node)

    return read


def expression(node: JsonNode) -> str:
    """A text in CEL. Raises ``BadExpression``, which has a place."""
    check_expression(text(node))
    return text(node)


OWN_SUBJECTS = ("ff", "ff_stored")
_MQTT = ["$MQTT", "msgs"]
"""The only subjects of the bus whose messages are those of other programs. Beside them are the sessions of devices."""
SUBJECT_CHARACTERS_MAX = 255


def event_subject(node: JsonNode) -> str:
    """A subject of other programs. Raises ``BadExpression``, which has a place."""
    return check_event_subject(text(node, SUBJECT_CHARACTERS_MAX))


def check_event_subject(subject: str) -> str:
    """Return *subject* if it is one of other programs, wildcards included. Raises ``BadExpression``."""
    column = 1
    tokens = subject.split(".")
    for number, each in enumerate(tokens, start=1):
        if not each:
            raise BadExpression("there is an empty token", column)
        if any(character.isspace() or not character.isprintable() for character in each):
            raise BadExpression("a token has no spaces", column)
        if number == 1 and each in ("*", ">"):
            raise BadExpression(f"{subject} matches ff.>, too: write out the first token", 1)
        if number == 1 and (each in OWN_SUBJECTS or each.startswith("_INBOX")):
            raise BadExpression(f"{each}.> belongs to the bus and to Fast-Flow", 1)
        if number == 1 and each.startswith("$") and (tokens[:2] != _MQTT or len(tokens) == 2):
            raise BadExpression(f"{each}.> belongs to the bus; only what is below $MQTT.msgs starts runs", 1)
        if (each != ">" and ">" in each) or (each == ">" and number < len(tokens)):
            raise BadExpression("> is the whole last token", column)
        if each != "*" and "*" in each:
            raise BadExpression("* is a whole token", column)
        column += len(each) + 1
    return subject


def webhook_key(node: JsonNode) -> str | None:
    """A text; an empty one counts as unset."""
    return text(node, WEBHOOK_KEY_CHARACTERS_MAX) or None


def plain(node: JsonNode) -> Any:
    """Return any JSON as plain data."""
    match node.value:
        case dict() as members:
            return {name: plain(member) for name, member in members.items()}
        case list() as items:
            return [plain(item) for item in items]
        case bool() as is_so:
            return is_so
        case int() | float() as number if not (math.isfinite(number) and abs(number) < INTEGER_LIMIT):
            raise ValueError("a number in it is too large")
        case str() as text if "\0" in text:
            raise ValueError("a text in it holds a NUL character")
        case value:
            return value


def parameter_schema(node: JsonNode) -> dict[str, Any] | None:
    """A JSON Schema. Another object counts as unset: it is a field of somebody else's."""
    if not isinstance(node.value, dict):
        raise ValueError
    schema: dict[str, Any] = plain(node)
    return schema if is_schema(schema) else None


def parameter_values(node: JsonNode) -> dict[str, Any]:
    """Names, and any JSON values."""
    if not isinstance(node.value, dict):
        raise ValueError
    for name, member in node.value.items():
        if not name or "=" in name or "\0" in name or len(name) > NAME_CHARACTERS_MAX:
            raise ValueError(f"{name[:64]!r} cannot be the name of a variable")
        if len(member.text) > ENV_VALUE_CHARACTERS_MAX // 2:
            raise ValueError(f"{name[:64]!r} is too long")
    if len(node.value) > PROPERTIES_MAX:
        raise ValueError
    values: dict[str, Any] = plain(node)
    return values


def flag(node: JsonNode) -> bool:
    if not isinstance(node.value, bool):
        raise ValueError
    return node.value


def positive(high: float) -> Callable[[JsonNode], float]:
    """Return a parser of numbers above 0, up to *high*."""

    def read(node: JsonNode) -> float:
        number = _number(node, 0, high)
        if not number:
            raise ValueError
        return number

    return read


def seconds(node: JsonNode) -> float:
    return _number(node, 0, SECONDS_MAX)


def between(low: float, high: float) -> Callable[[JsonNode], float]:
    """Return a parser of numbers from *low* to *high*."""
    return lambda node: _number(node, low, high)


def whole(low: int, high: int) -> Callable[[JsonNode], int]:
    """Return a parser of whole numbers from *low* to *high*; ``3.0`` is whole."""

    def read(node: JsonNode) -> int:
        number = _number(node, low, high)
        if not number.is_integer():
            raise ValueError
        return int(number)

    return read


def memory_bytes(node: JsonNode) -> int:
    """Bytes from ``"1.5g"``, ``"512Mi"``, or a number of bytes as text or number. Rounds down."""
    if not isinstance(node.value, str):
        return whole(MEMORY_BYTES_MIN, MEMORY_BYTES_MAX)(node)
    return memory_of(node.value)


def memory_of(size: str) -> int:
    """Bytes from a text such as ``1.5g``, ``512Mi`` or ``536870912``. Rounds down. Raises ``ValueError``."""
    found = re.fullmatch(MEMORY_PATTERN, size)
    if not found:
        raise ValueError
    power = "bkmgt".index((found[2] or "b")[0].lower())
    size_bytes = Decimal(found[1] or size) * 1024**power
    if not MEMORY_BYTES_MIN <= size_bytes <= MEMORY_BYTES_MAX:
        raise ValueError
    return int(size_bytes)


def start(node: JsonNode) -> datetime:
    """An instant in UTC; a date alone means its first instant."""
    return _instant(node, if_date_only=time.min)


def end(node: JsonNode) -> datetime:
    """An instant in UTC; a date alone means its last microsecond."""
    return _instant(node, if_date_only=time.max)


def timezone(node: JsonNode) -> str:
    if text(node) not in _timezones():
        raise ValueError
    return text(node)


def cron(node: JsonNode) -> str:
    expr = text(node, CRON_CHARACTERS_MAX)
    if fault := check_cron(expr):
        raise ValueError(fault)
    return expr


def cron_or_seconds(node: JsonNode) -> int | str:
    """A cron expression, or whole seconds as number or text."""
    if not isinstance(node.value, str):
        return whole(1, SECONDS_MAX)(node)
    if not re.fullmatch("[0-9]{1,10}", node.value):
        return cron(node)
    if not 1 <= int(node.value) <= SECONDS_MAX:
        raise ValueError
    return int(node.value)


def network(node: JsonNode) -> str | tuple[str, ...]:
    """``internet``, ``none``, or destinations; a repeated one counts once."""
    if node.value in ("internet", "none"):
        return text(node)
    if not isinstance(node.value, list) or not 1 <= len(node.value) <= DESTINATIONS_MAX:
        raise ValueError
    read = matching(DESTINATION_PATTERN)
    return tuple(dict.fromkeys(read(item) for item in node.value))


def labels(node: JsonNode) -> tuple[str, ...]:
    """Labels of a runner, sorted; a repeated one counts once."""
    if not isinstance(node.value, list) or len(node.value) > LABELS_MAX:
        raise ValueError
    read = matching(LABEL_PATTERN)
    return in_order([read(item) for item in node.value])


def pipeline_name(node: JsonNode) -> PipelineName:
    try:
        return check_name(text(node))
    except BadName:
        raise ValueError from None


def env_value(node: JsonNode) -> str:
    """A text; a number or boolean becomes its JSON as written."""
    if isinstance(node.value, bool | int | float):
        return node.text
    value = text(node, ENV_VALUE_CHARACTERS_MAX)
    if "\0" in value:
        raise ValueError
    return value


def fernet_token(node: JsonNode) -> str:
    """Return the token, or an empty text if the value is not one. Never rejects.

    A token is the base64 of: version 0x80, 8 bytes of time, 16 of IV, blocks of 16 bytes, 32 of MAC.
    """
    if not isinstance(node.value, str):
        return ""
    try:
        raw = base64.b64decode(node.value, altchars="-_", validate=True)
    except ValueError:
        return ""
    return node.value if raw[:1] == b"\x80" and len(raw) >= 73 and len(raw) % 16 == 9 else ""


def required_token(node: JsonNode) -> str:
    """A token; unlike ``fernet_token``, rejects any other value."""
    token = fernet_token(node)
    if not token:
        raise ValueError
    return token


def _instant(node: JsonNode, if_date_only: time) -> datetime:
    written = text(node).upper()
    if not re.fullmatch(DATE_PATTERN, written):
        raise ValueError
    moment = datetime.fromisoformat(written)
    if "T" not in written and " " not in written:
        moment = datetime.combine(moment, if_date_only)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it is beyond the years 1 to 9999") from None


def _number(node: JsonNode, low: float, high: float) -> float:
    # In Python a bool is an int. A number too large for a float is infinity here, which is outside every range.
    if isinstance(node.value, bool) or not isinstance(node.value, int | float) or not low <= node.value <= high:
        raise ValueError
    return float(node.value)


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones()) - {"localtime"}  # differs between hosts
