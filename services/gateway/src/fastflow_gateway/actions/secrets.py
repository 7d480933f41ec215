"""Encrypt a secret for a pipeline.json. Nothing is stored."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from fastflow_contracts.names import BadName, check_name
from fastflow_contracts.secrets.sealing import BadSecret, NoKey
from fastflow_gateway.errors import RequestRefused
from fastflow_gateway.security.sealer import SEALER

_NAME: Final = re.compile(r"[^=\x00]{1,256}")


def has_key(app: web.Application) -> bool:
    """Whether this gateway can encrypt."""
    return app[SEALER].has_key


def seal(app: web.Application, value: str, *, pipeline: str | None = None, name: str | None = None) -> str:
    """Encrypt a secret.

    Args:
        app: The gateway.
        value: The secret.
        pipeline: With *name*: only this pipeline can open the token.
        name: The variable, or ``webhook.secret``.

    Returns:
        The token.

    Raises:
        RequestRefused: The value cannot be encrypted. The message does not contain it.
    """
    try:
        return app[SEALER].seal(value, place=_place(pipeline, name))
    except NoKey as error:
        raise RequestRefused(409, str(error)) from None
    except BadSecret as error:
        raise RequestRefused(422, str(error)) from None


def _place(pipeline: str | None, name: str | None) -> tuple[str, str] | None:
    if not pipeline and not name:
        return None
    if not pipeline or not name:
        raise RequestRefused(
            422, "pipeline and name belong together; send both, or neither for a token that any pipeline can open."
        )
    try:
        checked = check_name(pipeline)
    except BadName as error:
        raise RequestRefused(422, str(error)) from None
    if not _NAME.fullmatch(name):
        raise RequestRefused(422, "the name is not a valid variable name; use at most 256 characters and no '='.")
    return checked, name
