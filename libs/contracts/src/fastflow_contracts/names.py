"""Names of pipelines, and their form as a token of subjects and keys. Pure; no subject or key is built here.

A pipeline is named by its folder. A *safe name* is used as it is wherever names go: path, label, environment
value, URL segment. Only the bus is narrower: a dot separates the tokens of a subject. So ``token`` writes every
byte outside ``A-Z a-z 0-9 _ -`` as ``=`` and two hex digits (``etl.daily`` is ``etl=2Edaily``). The encoding takes
any text, so ids of run configurations, which people choose freely, are tokens by the same rule.
"""

from __future__ import annotations

import re
from typing import NewType

from fastflow_contracts.errors import FastFlowError

PipelineName = NewType("PipelineName", str)
"""A safe name: up to 64 letters, digits, ``_``, ``.`` and ``-``, the first one a letter or digit."""

NAME_CHARACTERS_MAX = 64
NAME_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{NAME_CHARACTERS_MAX - 1}}}$"

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})*")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")


class BadName(FastFlowError):
    """The text cannot name a pipeline; the message says why and what to do."""


class BadToken(FastFlowError):
    """The text is no token that ``token`` made."""


def check_name(text: str) -> PipelineName:
    """Return *text* as a pipeline's name, or raise ``BadName``."""
    if re.fullmatch(NAME_PATTERN, text):
        return PipelineName(text)
    raise BadName(f"{text[:80]!r} cannot be a pipeline's name: {_fault(text)}; rename its folder.")


def token(text: str) -> str:
    """*text* as one token of a subject or key. Different texts have different tokens; never empty."""
    if not text:
        return "="
    return "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def text_of(encoded: str) -> str:
    """The text whose ``token`` is *encoded*, or raise ``BadToken``."""
    if encoded == "=":
        return ""
    if encoded and _TOKEN.fullmatch(encoded):
        raw = _ESCAPED.sub(lambda escape: bytes([int(escape[1], 16)]), encoded.encode())
        try:
            text = raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = ""
        if token(text) == encoded:  # `=41` decodes, yet "A" is never written so
            return text
    raise BadToken(f"{encoded[:200]!r} is no token; make tokens with fastflow_contracts.names.token.")


def name_of(encoded: str) -> PipelineName:
    """The pipeline whose ``token`` is *encoded*. Raises ``BadToken`` or ``BadName``."""
    return check_name(text_of(encoded))


def _fault(text: str) -> str:
    if not text:
        return "it is empty"
    if len(text) > NAME_CHARACTERS_MAX:
        return f"it has {len(text)} characters, {NAME_CHARACTERS_MAX} are allowed"
    strange = re.findall(r"[^A-Za-z0-9_.-]", text)
    if strange:
        return f"{strange[0]!r} is no letter A-Z, digit, '_', '.' or '-'"
    return f"it begins with {text[0]!r}, not with a letter or digit"
