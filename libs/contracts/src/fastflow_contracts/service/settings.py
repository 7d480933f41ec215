"""Load settings from the environment into one frozen struct per service. The environment is an argument.

A field is annotated with ``Env("NAME", "what it does")``. ``NAME_FILE`` may name a file that contains the value. A
wrong value and an unknown ``FASTFLOW_*`` variable are errors that say what is accepted.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from fastflow_contracts.bus.access.address import with_login
from fastflow_contracts.bus.access.tls import Tls
from fastflow_contracts.errors import FastFlowError

S = TypeVar("S", bound=msgspec.Struct)

_SERVICE_LINK = re.compile(r"(_SERVICE_(HOST|PORT(_.+)?)|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")
"""How names end of the variables that Kubernetes sets for each service beside a pod; ``<SERVICE>_PORT`` is one, too."""
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S*", re.IGNORECASE)

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Env(NamedTuple):
    """Annotation of a settings field.

    Attributes:
        name: The variable.
        help: What the setting does.
        secret: Never show the value.
        least: Smallest accepted number.
        most: Largest accepted number.
        pattern: Regular expression that the whole text must match.
        like: An example of ``pattern``, for people.
        also: Another name of the variable, which other tools use.
    """

    name: str
    help: str
    secret: bool = False
    least: float = -math.inf
    most: float = math.inf
    pattern: str = ""
    like: str = ""
    also: str = ""


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that every service has."""

    nats_url: Annotated[str, Env("FASTFLOW_NATS_URL", "Address of the bus, credentials included.", secret=True)] = (
        "nats://127.0.0.1:4222"
    )
    nats_user: Annotated[
        str, Env("FASTFLOW_NATS_USER", "User on the bus, in place of one in the address; needs no percent-encoding.")
    ] = ""
    nats_password: Annotated[str, Env("FASTFLOW_NATS_PASSWORD", "The password of that user.", secret=True)] = ""
    nats_credentials: Annotated[
        str, Env("FASTFLOW_NATS_CREDENTIALS", "File with this service's NKEY seed, as `fastflow bus init` writes it.")
    ] = ""
    nats_ca: Annotated[
        str, Env("FASTFLOW_NATS_CA", "PEM file of the authority behind the bus's certificate; default: the system's.")
    ] = ""
    nats_certificate: Annotated[
        str, Env("FASTFLOW_NATS_CERTIFICATE", "PEM file with our certificate, if the bus asks for one.")
    ] = ""
    nats_key: Annotated[
        str, Env("FASTFLOW_NATS_KEY", "PEM file with that certificate's key; default: in the same file.")
    ] = ""
    log_json: Annotated[bool, Env("LOG_JSON", "Log JSON lines instead of text.")] = False
    log_level: Annotated[LogLevel, Env("LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR.")] = "INFO"

    @property
    def bus_url(self) -> str:
        """Address of the bus with the user and password."""
        return with_login(self.nats_url, self.nats_user, self.nats_password)

    @property
    def tls(self) -> Tls:
        """TLS settings of the bus connection."""
        return Tls(ca=self.nats_ca, certificate=self.nats_certificate, key=self.nats_key)


class BadSettings(FastFlowError):
    """Some settings cannot be used. The message lists all of them."""

    def __init__(self, *problems: str) -> None:
        super().__init__("these settings cannot be used:\n  " + "\n  ".join(problems))
        self.problems = problems


class _UnreadableFile(FastFlowError):
    """The file of a ``_FILE`` variable cannot be read; the message is the problem."""


class Field(NamedTuple):
    """One setting, for loading and for the settings table in the docs."""

    attribute: str
    env: Env
    type: Any
    default: Any


def fields(settings: type[msgspec.Struct]) -> list[Field]:
    """Return the settings of one struct in the order of their declaration."""
    hints = get_type_hints(settings, include_extras=True)
    found = []
    for info in msgspec.structs.fields(settings):
        plain, *notes = get_args(hints[info.name]) if _annotated(hints[info.name]) else (hints[info.name],)
        env = next((note for note in notes if isinstance(note, Env)), None)
        if env is not None:
            default = None if info.required else info.default
            found.append(Field(info.name, env, plain, default))
    return found


def load(settings: type[S], environ: Mapping[str, str], *, also_known: Iterable[str] = ()) -> S:
    """Read settings from the environment.

    Args:
        settings: The struct to load.
        environ: The environment.
        also_known: Further variables that are accepted and ignored.

    Raises:
        BadSettings: A value does not fit, or a variable is unknown.
    """
    environ = without_service_links(environ)
    values: dict[str, Any] = {}
    problems: list[str] = []
    known = set(also_known)
    for field in fields(settings):
        known |= _variables(field.env)
        try:
            text = _text(field.env.name, environ)
            if field.env.also and (other := _text(field.env.also, environ)) is not None:
                if text not in (None, other):
                    problems.append(f"{field.env.name} and {field.env.also} differ; they are one setting: keep one.")
                text = text or other
            if text is not None:
                values[field.attribute] = _value(text, field)
        except _UnreadableFile as error:
            problems.append(str(error))
        except (msgspec.ValidationError, ValueError) as error:
            shown = "" if field.env.secret else f" {text!r}"
            problems.append(f"{field.env.name}{shown}: {error}")
    for name in sorted(environ):
        if name.startswith("FASTFLOW_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            problems.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else "."))
    if problems:
        raise BadSettings(*problems)
    return settings(**values)


def names(*settings: type[msgspec.Struct]) -> set[str]:
    """Return all variables of *settings*, with their ``_FILE`` forms."""
    return {name for each in settings for field in fields(each) for name in _variables(field.env)}


def _variables(env: Env) -> set[str]:
    return {variable for name in (env.name, env.also) if name for variable in (name, f"{name}_FILE")}


def without_service_links(environ: Mapping[str, str]) -> dict[str, str]:
    """Return *environ* without what Kubernetes adds for services that are called ``fastflow-…``.

    ``FASTFLOW_PORT=tcp://10.0.0.1:8000`` is one of these variables, and no setting.
    """
    return {name: value for name, value in environ.items() if not _is_service_link(name, value)}


def _is_service_link(name: str, value: str) -> bool:
    if not name.startswith("FASTFLOW_"):
        return False
    is_address = name.endswith("_PORT") and _SERVICE_ADDRESS.fullmatch(value)
    return bool(is_address or _SERVICE_LINK.search(name))


def _annotated(hint: Any) -> bool:
    return hasattr(hint, "__metadata__") and get_args(hint)[0] is not Annotated


def _text(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the value, from the variable or from the file in its ``_FILE`` form. An empty value counts as unset.

    Raises ``_UnreadableFile``.
    """
    if path := environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text(encoding="utf-8-sig").strip() or None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise _UnreadableFile(f"{name}_FILE {path} cannot be read: {reason}.") from None
    return environ.get(name, "").strip() or None


def _value(text: str, field: Field) -> Any:
    """Convert *text* to the field's type. Raises ``ValueError`` or ``msgspec.ValidationError``."""
    if get_origin(field.type) is Literal:
        return _choice(text, get_args(field.type))
    if field.type is bool:
        text = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(text.lower(), text.lower())
    value = msgspec.convert(text, field.type, strict=False)
    least, most, pattern = field.env.least, field.env.most, field.env.pattern
    if pattern and not re.fullmatch(pattern, text):
        raise ValueError(f"it must look like {field.env.like}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("it must be a finite number.")
    if isinstance(value, int | float) and not least <= value <= most:
        raise ValueError(f"it must be at least {least:g}" + (f" and at most {most:g}." if most < math.inf else "."))
    return value


def _choice(text: str, choices: tuple[str, ...]) -> str:
    """Return the one of *choices* that equals *text*, ignoring case."""
    for choice in choices:
        if choice.lower() == text.lower():
            return choice
    raise ValueError(f"it must be one of {', '.join(choices)}.")
