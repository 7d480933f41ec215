"""TODO."""

from __future__ import annotations

import re

import msgspec
from aiohttp import web

from fastflow_contracts.names import BadName, check_name
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security.secrets import SEALER, BadSecret, NoKey

_NAME = re.compile(r"[^=\x00]{1,256}")


class SecretBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to encrypt, and for which place."""

    value: str
    pipeline: str | None = None
    """With ``name``: the token opens for this pipeline only."""
    name: str | None = None
    """The variable, or ``webhook.secret``."""


def seal(request: web.Request, body: SecretBody) -> str:
    """The token. Raises ``RequestRefused`` with a message that does not hold the value."""
    try:
        return request.app[SEALER].seal(body.value, place=_place(body))
    except NoKey as error:
        raise RequestRefused(409, str(error)) from None
    except BadSecret as error:
        raise RequestRefused(422, str(error)) from None


def _place(body: SecretBody) -> tuple[str, str] | None:
    if not body.pipeline and not body.name:
        return None
    if not body.pipeline or not body.name:
        raise RequestRefused(
            422, "pipeline and name belong together; give both, or neither for a token that opens anywhere."
        )
    try:
        pipeline = check_name(body.pipeline)
    except BadName as error:
        raise RequestRefused(422, str(error)) from None
    if not _NAME.fullmatch(body.name):
        raise RequestRefused(422, "the name cannot be one of a variable: at most 256 characters, and no '=' in it.")
    return pipeline, body.name
