"""Metadata without its secrets: ``encrypted_env``, webhook keys and webhook secrets lose their values. Pure."""

from __future__ import annotations

import json
from typing import Any

from fastflow_api.shapes import HIDDEN


def hide_secrets(metadata: str) -> str:
    """The text of a pipeline.json with every secret's value replaced; nothing at all if it is no JSON."""
    try:
        parsed = json.loads(metadata)
    except (ValueError, RecursionError):
        return ""
    return json.dumps(hidden(parsed), indent=2, ensure_ascii=False) + "\n"


def hidden(value: Any) -> Any:
    """*value* (parsed JSON) without the values of secret fields, wherever they stand."""
    if isinstance(value, list):
        return [hidden(item) for item in value]
    if not isinstance(value, dict):
        return value
    shown = {key: hidden(item) for key, item in value.items()}
    if isinstance(encrypted := shown.get("encrypted_env"), dict):
        shown["encrypted_env"] = dict.fromkeys(encrypted, HIDDEN)
    if shown.get("webhook_key"):
        shown["webhook_key"] = HIDDEN
    webhook = shown.get("webhook")
    if isinstance(webhook, dict):
        shown["webhook"] = {key: HIDDEN if key == "secret" else item for key, item in webhook.items()}
    elif webhook is not None:  # what stands in its place may be its secret
        shown["webhook"] = HIDDEN
    return shown
