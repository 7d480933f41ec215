"""The kinds of value in a pipeline.json: what each accepts, its parser and its JSON Schema. A table, pure.

A kind is an annotated type with a ``Rule``. So the structs of ``spec`` define the fields completely: the parser, the
schema and the suggestions for misspelt fields derive from them. Bounds of numbers also hold when a stored record is
decoded, because code computes with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec

from fastflow_contracts import names
from fastflow_contracts.base import StoredName
from fastflow_contracts.labels import LABEL_PATTERN, LABEL_RULE, LABELS_MAX
from fastflow_contracts.pipelines.expressions.check import EXPRESSION_CHARACTERS_MAX, VARIABLES
from fastflow_contracts.pipelines.format import value_parsers
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.pipelines.parameters.schema import PROPERTIES_MAX
from fastflow_contracts.pipelines.route import ROUTE_CHARACTERS_MAX, ROUTE_PATTERN

COUNT_MAX = 1_000
BATCH_MESSAGES_MAX = 10_000
WAIT_SECONDS_MIN = 0.1
WAIT_SECONDS_MAX = 86_400
FIRST_FAILURES_MAX = 100
"""Limit for retries of one run, and for simultaneous runs."""
ID_CHARACTERS_MAX = 128
"""Longest id of a run configuration."""
ENV_NAME_CHARACTERS_MAX = 256
"""Longest name of a variable, from any source."""


@dataclass(frozen=True)
class Rule:
    """Defines one kind of value."""

    accepts: str
    """Completes the sentence "accepted: …"."""
    read: Callable[[JsonNode], object]
    """Returns the value or raises ``ValueError`` (see ``value_parsers``)."""
    schema: Mapping[str, object]
    is_secret: bool = False
    """Messages never show the value, not even when it is rejected."""


def says(description: str) -> msgspec.Meta:
    """Annotate a field with its description for users."""
    return msgspec.Meta(description=description)


def _rule(
    accepts: str, read: Callable[[JsonNode], object], *, is_secret: bool = False, **schema: object
) -> msgspec.Meta:
    # A number that may be written as text is an annotated type of its own.
    is_number = schema.get("type") in ("number", "integer")
    bounds: dict[str, Any] = {_BOUNDS[name]: value for name, value in schema.items() if is_number and name in _BOUNDS}
    return msgspec.Meta(extra={"rule": Rule(accepts, read, schema, is_secret)}, **bounds)


_BOUNDS = {"minimum": "ge", "exclusiveMinimum": "gt", "maximum": "le"}
"""What msgspec calls them."""


_PYTHON = r"^3\.[0-9]{1,2}(\.[0-9]{1,2})?$"
_ID = rf"^[^\x00-\x1f\x7f]{{1,{ID_CHARACTERS_MAX}}}$"
_ENV_NAME = rf"^[^=\x00]{{1,{ENV_NAME_CHARACTERS_MAX}}}$"
_ENV_PATTERN = rf"^[A-Za-z0-9_*?.-]{{1,{ENV_NAME_CHARACTERS_MAX}}}$"
_HEADER = r"^[A-Za-z0-9-]{1,64}$"
_CRON = r"^\s*(@[A-Za-z]+|[^\s@]+(\s+[^\s]+){4})\s*$"

Text = Annotated[
    str,
    _rule(
        f"a text of up to {value_parsers.TEXT_CHARACTERS_MAX:,} characters",
        value_parsers.text,
        type="string",
        maxLength=value_parsers.TEXT_CHARACTERS_MAX,
    ),
]
Flag = Annotated[bool, _rule("true or false", value_parsers.flag, type="boolean")]
Cores = Annotated[
    float,
    _rule(
        "a number above 0, in cores, such as 0.5",
        value_parsers.positive(value_parsers.CORES_MAX),
        type="number",
        exclusiveMinimum=0,
        maximum=value_parsers.CORES_MAX,
    ),
]
MemoryBytes = Annotated[
    Annotated[int, msgspec.Meta(ge=1, le=value_parsers.MEMORY_BYTES_MAX)],
    _rule(
        'at least 6 MiB, as "512m", "1.5g" or a whole number of bytes',
        value_parsers.memory_bytes,
        type=["string", "integer"],
        pattern=value_parsers.MEMORY_PATTERN,
        minimum=value_parsers.MEMORY_BYTES_MIN,
        maximum=value_parsers.MEMORY_BYTES_MAX,
    ),
]
Seconds = Annotated[
    float,
    _rule(
        "a number of seconds, 0 or more, at most ten years",
        value_parsers.seconds,
        type="number",
        minimum=0,
        maximum=value_parsers.SECONDS_MAX,
    ),
]
IntervalSeconds = Annotated[
    int,
    _rule(
        "a whole number of seconds, 1 or more, at most ten years",
        value_parsers.whole(1, value_parsers.SECONDS_MAX),
        type="integer",
        minimum=1,
        maximum=value_parsers.SECONDS_MAX,
    ),
]
Retries = Annotated[
    int,
    _rule(
        f"a whole number from 0 to {COUNT_MAX}",
        value_parsers.whole(0, COUNT_MAX),
        type="integer",
        minimum=0,
        maximum=COUNT_MAX,
    ),
]
Instances = Annotated[
    int,
    _rule(
        f"a whole number from 1 to {COUNT_MAX}; leave it out for no limit",
        value_parsers.whole(1, COUNT_MAX),
        type="integer",
        minimum=1,
        maximum=COUNT_MAX,
    ),
]
RunsAtOnce = Annotated[
    int,
    _rule(
        f"a whole number from 1 to {COUNT_MAX}; for no limit, leave out concurrency",
        value_parsers.whole(1, COUNT_MAX),
        type="integer",
        minimum=1,
        maximum=COUNT_MAX,
    ),
]
FirstFailures = Annotated[
    int,
    _rule(
        f"a whole number from 1 to {FIRST_FAILURES_MAX}; leave it out to keep each version, however it fails",
        value_parsers.whole(1, FIRST_FAILURES_MAX),
        type="integer",
        minimum=1,
        maximum=FIRST_FAILURES_MAX,
    ),
]
Factor = Annotated[
    float,
    _rule(
        "a number above 0",
        value_parsers.positive(value_parsers.FACTOR_MAX),
        type="number",
        exclusiveMinimum=0,
        maximum=value_parsers.FACTOR_MAX,
    ),
]
PythonVersion = Annotated[
    str,
    _rule(
        'a string such as "3.12" or "3.12.4", in quotes',
        value_parsers.matching(_PYTHON),
        type="string",
        pattern=_PYTHON,
    ),
]
CronExpression = Annotated[
    str,
    _rule(
        'a cron expression of five fields such as "0 9 * * mon-fri", or one of @hourly, @daily, @weekly, '
        "@monthly, @yearly",
        value_parsers.cron,
        type="string",
        pattern=_CRON,
    ),
]
CronOrSeconds = Annotated[
    Annotated[int, msgspec.Meta(ge=1, le=value_parsers.SECONDS_MAX)] | str,
    _rule(
        'a cron expression of five fields such as "0 3 * * *", or a whole number of seconds, 1 or more',
        value_parsers.cron_or_seconds,
        type=["string", "integer"],
        minimum=1,
        maximum=value_parsers.SECONDS_MAX,
        pattern=rf"^[0-9]{{1,10}}$|{_CRON}",
    ),
]
_DATE_ACCEPTS = 'an ISO 8601 date or time such as "2026-01-15" or "2026-01-15T12:00:00Z" (UTC unless it says otherwise)'
_AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""Not an ``Instant``: people write 0001 and 9999 for no limit."""
Start = Annotated[
    _AwareTime, _rule(_DATE_ACCEPTS, value_parsers.start, type="string", pattern=value_parsers.DATE_PATTERN)
]
End = Annotated[_AwareTime, _rule(_DATE_ACCEPTS, value_parsers.end, type="string", pattern=value_parsers.DATE_PATTERN)]
Network = Annotated[
    str | tuple[str, ...],
    _rule(
        f'"internet", "none", or a list of up to {value_parsers.DESTINATIONS_MAX} texts such as "db.example.com:5432"',
        value_parsers.network,
        oneOf=[
            {"enum": ["internet", "none"]},
            {
                "type": "array",
                "items": {"type": "string", "pattern": value_parsers.DESTINATION_PATTERN},
                "minItems": 1,
                "maxItems": value_parsers.DESTINATIONS_MAX,
            },
        ],
    ),
]
Priority = Annotated[
    int,
    _rule("-1, 0 or 1", value_parsers.whole(-1, 1), type="integer", minimum=-1, maximum=1),
]
RunnerLabels = Annotated[
    tuple[str, ...],
    _rule(
        f'a list of up to {LABELS_MAX} labels such as ["gpu", "zone-a"]; a label is {LABEL_RULE}',
        value_parsers.labels,
        type="array",
        items={"type": "string", "pattern": LABEL_PATTERN},
        maxItems=LABELS_MAX,
    ),
]
Timezone = Annotated[
    str,
    _rule(
        'an IANA time zone such as "Europe/Berlin"',
        value_parsers.timezone,
        type="string",
        pattern=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$",
    ),
]
RunConfigId = Annotated[
    Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS_MAX)],
    _rule(
        f"a string of 1 to {ID_CHARACTERS_MAX} printable characters",
        value_parsers.matching(_ID),
        type="string",
        pattern=_ID,
    ),
]
Route = Annotated[
    Annotated[str, msgspec.Meta(max_length=ROUTE_CHARACTERS_MAX)],
    _rule(
        f"a text of 1 to {ROUTE_CHARACTERS_MAX} printable characters, without spaces around it",
        value_parsers.matching(ROUTE_PATTERN),
        type="string",
        pattern=ROUTE_PATTERN,
    ),
]
EventSubject = Annotated[
    Annotated[str, msgspec.Meta(max_length=value_parsers.SUBJECT_CHARACTERS_MAX)],
    _rule(
        'a subject of your own streams, such as "orders.>"',
        value_parsers.event_subject,
        type="string",
        minLength=1,
        maxLength=value_parsers.SUBJECT_CHARACTERS_MAX,
    ),
]
BatchMessages = Annotated[
    int,
    _rule(
        f"a whole number from 1 to {BATCH_MESSAGES_MAX:,}",
        value_parsers.whole(1, BATCH_MESSAGES_MAX),
        type="integer",
        minimum=1,
        maximum=BATCH_MESSAGES_MAX,
    ),
]
WaitSeconds = Annotated[
    float,
    _rule(
        f"seconds from {WAIT_SECONDS_MIN:g} to {WAIT_SECONDS_MAX:,}",
        value_parsers.between(WAIT_SECONDS_MIN, WAIT_SECONDS_MAX),
        type="number",
        minimum=WAIT_SECONDS_MIN,
        maximum=WAIT_SECONDS_MAX,
    ),
]
Expression = Annotated[
    Annotated[str, msgspec.Meta(max_length=EXPRESSION_CHARACTERS_MAX)],
    _rule(
        f"an expression in CEL of up to {EXPRESSION_CHARACTERS_MAX:,} characters over {', '.join(VARIABLES)}, "
        'such as "event.customer"',
        value_parsers.expression,
        type="string",
        minLength=1,
        maxLength=EXPRESSION_CHARACTERS_MAX,
    ),
]
PipelineRef = Annotated[
    StoredName,
    _rule(
        "a pipeline's name: up to 64 letters A-Z, digits, '_', '.' and '-', the first one a letter or digit",
        value_parsers.pipeline_name,
        type="string",
        pattern=names.NAME_PATTERN,
    ),
]
EnvName = Annotated[
    str,
    _rule(
        f"a name of a variable: 1 to {ENV_NAME_CHARACTERS_MAX} characters, no '=' or NUL in it",
        value_parsers.matching(_ENV_NAME),
        pattern=_ENV_NAME,
    ),
]
EnvPattern = Annotated[
    str,
    _rule(
        'the name of a variable, or a pattern such as "CUSTOMER_*"',
        value_parsers.matching(_ENV_PATTERN),
        type="string",
        pattern=_ENV_PATTERN,
    ),
]
EnvValue = Annotated[
    str,
    _rule(
        f"a string of up to {value_parsers.ENV_VALUE_CHARACTERS_MAX:,} characters without NUL, a number, true or false",
        value_parsers.env_value,
        type=["string", "number", "boolean"],
        maxLength=value_parsers.ENV_VALUE_CHARACTERS_MAX,
    ),
]
FernetToken = Annotated[
    str,
    _rule('a token made by "fastflow encrypt"', value_parsers.fernet_token, is_secret=True),
]
SealedSecret = Annotated[
    str,
    _rule(
        'a token made by "fastflow encrypt"', value_parsers.required_token, is_secret=True, type="string", minLength=1
    ),
]
HeaderName = Annotated[
    str,
    _rule("the name of a header such as X-Signature", value_parsers.matching(_HEADER), type="string", pattern=_HEADER),
]
WebhookKey = Annotated[
    str,
    _rule(
        f"a string of up to {value_parsers.WEBHOOK_KEY_CHARACTERS_MAX:,} characters; empty or left out for no webhook",
        value_parsers.webhook_key,
        is_secret=True,
        type="string",
        maxLength=value_parsers.WEBHOOK_KEY_CHARACTERS_MAX,
    ),
]
ParameterSchema = Annotated[
    dict[str, Any],
    _rule(
        'a JSON Schema (draft 2020-12) of "type": "object", with a property for each parameter',
        value_parsers.parameter_schema,
        type="object",
    ),
]
ParameterValues = Annotated[
    dict[str, Any],
    _rule(
        f"an object of up to {PROPERTIES_MAX} names and values of any type",
        value_parsers.parameter_values,
        type="object",
    ),
]
