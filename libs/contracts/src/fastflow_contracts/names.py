"""Names of pipelines, and how they become tokens of subjects and keys. Pure; ``bus.subjects`` builds the subjects.

A pipeline's name is the name of its folder. A *safe name* needs no escaping in a path, label, environment value or
URL segment. Only the bus is stricter: a dot separates the tokens of a subject. So ``token`` writes every byte outside
``A-Z a-z 0-9 _ -`` as ``=`` and two hex digits (``etl.daily`` becomes ``etl=2Edaily``). The encoding takes any text,
so it also serves ids of run configurations, which users choose freely.
"""

from __future__ import annotations

import re
from typing import NewType

from fastflow_contracts.errors import FastFlowError

PipelineName = NewType("PipelineName", str)
"""A safe name: up to 64 letters, digits, ``_``, ``.`` and ``-``; the first is a letter or digit."""

NAME_CHARACTERS_MAX = 64
NAME_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{NAME_CHARACTERS_MAX - 1}}}$"

_PLAIN_TEXT = re.compile(r"[A-Za-z0-9_-]+")
_NOT_PLAIN = re.compile(rb"[^A-Za-z0-9_-]")
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})*")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")


class BadName(FastFlowError):
    """The text cannot name a pipeline. The message says why and what to do."""


class BadToken(FastFlowError):
    """The text is not a token made by ``token``."""


def check_name(text: str) -> PipelineName:
    """Return *text* as a pipeline's name. Raises ``BadName``."""
    if re.fullmatch(NAME_PATTERN, text):
        return PipelineName(text)
    raise BadName(f"{text[:80]!r} cannot be a pipeline's name: {_fault(text)}; rename its folder.")


def token(text: str) -> str:
    """Encode *text* as one token of a subject or key. Different texts give different tokens, and no token is empty."""
    if not text:
        return "="
    if _PLAIN_TEXT.fullmatch(text):
        return text
    return _NOT_PLAIN.sub(lambda byte: b"=%02X" % byte[0][0], text.encode("utf-8", "surrogatepass")).decode()


def text_of(encoded: str) -> str:
    """Return the text whose ``token`` is *encoded*. Raises ``BadToken``."""
    if encoded == "=":
        return ""
    if _PLAIN_TEXT.fullmatch(encoded):
        return encoded
    if encoded and _TOKEN.fullmatch(encoded):
        raw = _ESCAPED.sub(lambda escape: bytes([int(escape[1], 16)]), encoded.encode())
        try:
            text = raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            text = ""
        if token(text) == encoded:  # `=41` decodes too, but `token` never writes "A" like that
            return text
    raise BadToken(f"{encoded[:200]!r} is not a token; make tokens with fastflow_contracts.names.token.")


def name_of(encoded: str) -> PipelineName:
    """Return the pipeline whose ``token`` is *encoded*. Raises ``BadToken`` or ``BadName``."""
    return check_name(text_of(encoded))


def _fault(text: str) -> str:
    if not text:
        return "it is empty"
    if len(text) > NAME_CHARACTERS_MAX:
        return f"it has {len(text)} characters, at most {NAME_CHARACTERS_MAX} are allowed"
    strange = re.findall(r"[^A-Za-z0-9_.-]", text)
    if strange:
        return f"{strange[0]!r} is not a letter A-Z, a digit, '_', '.' or '-'"
    return f"it begins with {text[0]!r}, not with a letter or digit"
