"""Read a message on ``ff.trigger.*`` into a ``Trigger``. No I/O.

A message has one of four forms: the trigger message of our own services, a CloudEvent (structured or binary), the run
body of the HTTP API, or any other data, which the script receives as its event. A webhook call has the last three.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from msgspec.structs import replace

from fastflow_contracts.codec import Malformed
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.ids import BadRunId, check_run_id
from fastflow_contracts.pipelines.format.value_types import ENV_NAME_CHARACTERS_MAX, ID_CHARACTERS_MAX
from fastflow_contracts.runs.event_headers import event_headers
from fastflow_contracts.runs.messages import RUN_BODY_TYPE, TRIGGER, TRIGGER_TYPE, Trigger

ENTRIES_MAX = 50
"""The most variables in one trigger, and the most parameters."""
VALUE_CHARACTERS_MAX = 16_384
EVENT_BYTES_MAX = 1024 * 1024
SHOWN_CHARACTERS_MAX = 64
"""How much of a name an error text shows."""
BODY_FIELDS = frozenset({"env_vars", "parameters", "run_config_id"})
"""A JSON object with no other fields is a run body."""
OPERATOR_FIELDS = BODY_FIELDS | {"version"}
"""What the run body of an operator may have."""
VERSION_PATTERN = r"[0-9a-f]{12,64}"
"""The id of a version, or the whole hash that it begins."""
STRUCTURED = "application/cloudevents+json"
REQUIRED_ATTRIBUTES = ("specversion", "id", "source", "type")
"""What every CloudEvent has."""


class BadTrigger(FastFlowError):
    """The message cannot start a run; the reason says what is accepted."""

    status = 422
    """The HTTP status of the answer."""


def read_trigger(payload: bytes, headers: Mapping[str, str], *, by_service: bool = False) -> Trigger:
    """Read the trigger from a stored message.

    Args:
        payload: The data of the message.
        headers: Its headers; names in any case.
        by_service: Only a service can have sent it: what it says of who started the run is true.

    Raises:
        BadTrigger: The message cannot start a run.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    trigger = _read(payload, lowered)
    if not by_service:
        trigger = _from_outside(trigger)
    headers = trigger.event_headers if _media_type(lowered) == TRIGGER_TYPE else lowered
    trigger = replace(trigger, event_headers=event_headers(headers, has_event=trigger.event is not None))
    if message_id := lowered.get("nats-msg-id"):
        trigger = replace(trigger, key=message_id)
    if trigger.event is not None and len(trigger.event) > EVENT_BYTES_MAX:
        raise BadTrigger(f"the event is larger than {EVENT_BYTES_MAX:,} bytes; send a reference to it instead.")
    return trigger


def read_run_body(body: Any, *, by_operator: bool = False) -> Trigger:
    """Read the trigger from a run body.

    Args:
        body: The parsed JSON.
        by_operator: It may choose a version: a holder of the token sent it to the API, or the dashboard's form did.

    Raises:
        BadTrigger: A field is not valid; the text names it.
    """
    if not isinstance(body, dict):
        raise BadTrigger('the body must be a JSON object such as {} or {"env_vars": {"NAME": "value"}}.')
    fields = OPERATOR_FIELDS if by_operator else BODY_FIELDS
    if unknown := sorted(map(str, body.keys() - fields)):
        raise BadTrigger(f"unknown field {_shown(unknown[0])}; a run body has {', '.join(sorted(fields))}.")
    config, version = body.get("run_config_id"), body.get("version")
    if config is not None:
        _check_run_config_id(config)
    if version is not None:
        _check_version(version)
    parameters = check_parameters(body.get("parameters"))
    return Trigger(
        env_vars=check_variables("env_vars", body.get("env_vars")),
        parameters=parameters.texts,
        json_parameters=parameters.json,
        run_config_id=config or None,
        version=version or None,
    )


def read_webhook(body: bytes, headers: Mapping[str, str]) -> Trigger:
    """Read the trigger from a webhook call.

    The whole body is the event. If it is a run body, its fields count, too: a JSON object with no other fields, or
    one of the type ``RUN_BODY_TYPE``. A CloudEvent has its key.

    Args:
        body: The raw bytes.
        headers: The call's headers; names in any case.

    Raises:
        BadTrigger: A field of the run body is not valid, or a CloudEvent has no source or no id.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    media_type = lowered.get("content-type", "").encode(errors="replace").decode()
    trigger = Trigger(
        triggered_by="webhook",
        key=_cloud_event_key(body, lowered),
        event=body or None,
        event_type=media_type or None if body else None,
        event_headers=event_headers(lowered, has_event=bool(body)),
    )
    fields = _run_body(body, is_declared=_media_type(lowered) == RUN_BODY_TYPE)
    if fields is None or trigger.key is not None:
        return trigger
    given = read_run_body(fields)
    return replace(
        trigger,
        env_vars=given.env_vars,
        parameters=given.parameters,
        json_parameters=given.json_parameters,
        run_config_id=given.run_config_id,
    )


def is_event_key(key: str) -> bool:
    """Whether *key* is a CloudEvent's. It names one event, however that arrives: no other key has line breaks."""
    return "\n" in key


class Parameters(NamedTuple):
    """The parameters of a trigger."""

    texts: dict[str, str]
    """All of them, as text."""
    json: tuple[str, ...]
    """The names of those that are no strings; their text is JSON."""


def check_parameters(value: Any) -> Parameters:
    """Read parameters of any JSON value. Raises ``BadTrigger``, which names the entry but never shows its value."""
    if not isinstance(value, dict):
        return Parameters(check_variables("parameters", value), ())
    texts = {name: each if isinstance(each, str) else _json_text(name, each) for name, each in value.items()}
    names = tuple(sorted(name for name, each in value.items() if not isinstance(each, str)))
    return Parameters(check_variables("parameters", texts), names)


def check_variables(field: str, value: Any) -> dict[str, str]:
    """Return *value* as a dict of strings. Raises ``BadTrigger``, which names the entry but never shows its value."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadTrigger(f"{field} must be an object of names and string values.")
    if len(value) > ENTRIES_MAX:
        raise BadTrigger(f"{field} has {len(value)} entries; at most {ENTRIES_MAX} are accepted.")
    for name, text in value.items():
        if not name or "=" in name or "\0" in name or not _is_text(name):
            raise BadTrigger(f"{field}: {_shown(name)} cannot be the name of a variable.")
        if len(name) > ENV_NAME_CHARACTERS_MAX:
            raise BadTrigger(
                f"{field}: the name {_shown(name)} has {len(name):,} characters; "
                f"at most {ENV_NAME_CHARACTERS_MAX} are accepted."
            )
        if not isinstance(text, str):
            raise BadTrigger(f"{field}.{name} must be a string; put numbers and objects into quotes.")
        if len(text) > VALUE_CHARACTERS_MAX:
            raise BadTrigger(
                f"{field}.{name} has {len(text):,} characters; at most {VALUE_CHARACTERS_MAX:,} are accepted."
            )
        if "\0" in text:
            raise BadTrigger(f"{field}.{name} holds a NUL character, which no environment variable can.")
        if not _is_text(text):
            raise BadTrigger(f"{field}.{name} holds a lone surrogate; escape characters beyond \\uffff as a pair.")
    return dict(value)


def _read(payload: bytes, headers: Mapping[str, str]) -> Trigger:
    if _media_type(headers) == TRIGGER_TYPE:
        return _own(payload)
    if _media_type(headers) == RUN_BODY_TYPE:
        return read_run_body(_run_body(payload, is_declared=True))
    if (key := _cloud_event_key(payload, headers)) is not None:
        return Trigger(key=key, event=payload, event_type=headers.get("content-type", _type_of(headers)))
    if not payload:
        return Trigger()
    if (body := _run_body(payload)) is not None:
        return read_run_body(body)
    return Trigger(event=payload, event_type=headers.get("content-type"))


def _from_outside(trigger: Trigger) -> Trigger:
    """Return *trigger* without what it claims. Raises ``BadTrigger`` if it names another run's variables."""
    for field in ("retry_of", "redrive_of"):
        if getattr(trigger, field) is not None:
            raise BadTrigger(f"{field} is for services; retry a run or redrive a skip over the HTTP API.")
    if trigger.version is not None:
        raise BadTrigger("version is for operators; start a run of an older version over the HTTP API.")
    return replace(
        trigger,
        triggered_by="bus",
        accepted=False,
        by_operator=False,
        trigger_id=None,
        event_subject=None,
    )


def _media_type(headers: Mapping[str, str]) -> str:
    """Return the media type alone, in lower case. *headers* have names in lower case."""
    return headers.get("content-type", "").split(";")[0].strip().lower()


def _type_of(headers: Mapping[str, str]) -> str | None:
    """Return the media type of a CloudEvent that came without one. The data of a binary one may be anything."""
    return None if "ce-specversion" in headers else STRUCTURED


def _run_body(payload: bytes, *, is_declared: bool = False) -> dict[str, Any] | None:
    """Return the run body in *payload*; None: it is an event. Raises ``BadTrigger`` if it is declared and is not one.

    An object with any other field is an event of another system, even if it has ``parameters``.
    """
    body = _json_object(payload)
    if is_declared and body is None:
        raise BadTrigger(f"a body of type {RUN_BODY_TYPE} must be a JSON object.")
    return body if body is not None and (is_declared or body.keys() <= BODY_FIELDS) else None


def _own(payload: bytes) -> Trigger:
    try:
        trigger = TRIGGER.decode(payload)
    except Malformed as error:
        raise BadTrigger(str(error)) from error
    check_variables("env_vars", trigger.env_vars)
    check_variables("parameters", trigger.parameters)
    for name in trigger.json_parameters:
        try:
            json.loads(trigger.parameters[name])
        except (LookupError, ValueError, RecursionError):
            raise BadTrigger(f"json_parameters: {_shown(name)} is no parameter with JSON text.") from None
    if trigger.run_config_id is not None:
        _check_run_config_id(trigger.run_config_id)
    if trigger.version is not None:
        _check_version(trigger.version)
    for field in ("retry_of", "redrive_of"):
        if (run_id := getattr(trigger, field)) is not None:
            try:
                check_run_id(run_id)
            except BadRunId as error:
                raise BadTrigger(f"{field}: {error}") from error
    return trigger


def _cloud_event_key(payload: bytes, headers: Mapping[str, str]) -> str | None:
    """Return the key of a CloudEvent; None: it is none.

    It is binary, or structured: by its media type, or because it has what every CloudEvent must have. Many clients
    publish one without a media type.

    Raises:
        BadTrigger: It is declared as a CloudEvent and has no source or no id.
    """
    if _media_type(headers) == STRUCTURED:
        if (event := _json_object(payload)) is None:
            raise BadTrigger(f"a message of type {STRUCTURED} must be a JSON object.")
        return _event_key(event)
    if "ce-specversion" in headers:
        return _event_key({name[3:]: unquote(value) for name, value in headers.items() if name[:3] == "ce-"})
    event = _json_object(payload) or {}
    is_one = all(isinstance(event.get(name), str) and event[name] for name in REQUIRED_ATTRIBUTES)
    return _event_key(event) if is_one else None


def _event_key(attributes: Mapping[str, Any]) -> str:
    """Return a key from source and id, which together identify a CloudEvent.

    The length keeps ("s/a", "b") and ("s", "a/b") apart. The line breaks keep the key apart from a message id, which is
    a header and has none.
    """
    source, identity = attributes.get("source"), attributes.get("id")
    if not (isinstance(source, str) and source and isinstance(identity, str) and identity):
        raise BadTrigger("a CloudEvent needs a source and an id, both non-empty strings.")
    if not _is_text(source + identity):
        raise BadTrigger("source and id of a CloudEvent must be text; one of them holds a lone surrogate.")
    return f"{len(source)}\n{source}\n{identity}"


def _check_run_config_id(config: Any) -> None:
    """Raise ``BadTrigger`` if *config* cannot be an id. Whether the configuration exists is not checked here."""
    if not (isinstance(config, str) and len(config) <= ID_CHARACTERS_MAX and _is_text(config)):
        raise BadTrigger(
            "run_config_id must be the id of one of the pipeline's schedules, "
            f"at most {ID_CHARACTERS_MAX} characters, or null."
        )


def _check_version(version: Any) -> None:
    """Raise ``BadTrigger`` if *version* cannot be the id of a version. Whether it is kept is not checked here."""
    if not (isinstance(version, str) and (not version or re.fullmatch(VERSION_PATTERN, version))):
        raise BadTrigger("version must be the id of a version of the pipeline, or null; see `fastflow versions NAME`.")


def _shown(name: str) -> str:
    return repr(name) if len(name) <= SHOWN_CHARACTERS_MAX else f"{name[:SHOWN_CHARACTERS_MAX]!r}…"


def _json_text(name: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise BadTrigger(f"parameters: {_shown(name)} is not valid JSON: use finite numbers and less depth.") from None


def _is_text(text: str) -> bool:
    """Return whether *text* can be encoded as UTF-8. A lone surrogate, as in JSON's ``\\ud800``, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_object(payload: bytes) -> dict[str, Any] | None:
    try:
        parsed = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None
