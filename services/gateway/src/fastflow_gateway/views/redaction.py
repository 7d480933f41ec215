"""Metadata without its secrets: ``encrypted_env``, webhook keys and webhook secrets lose their values. Pure."""

from __future__ import annotations

import json
from typing import Any

from fastflow_api.shapes import HIDDEN


def hide_secrets(metadata: str) -> str:
    """Replace every secret value in the text of a pipeline.json. Empty if the text is not JSON."""
    try:
        parsed = json.loads(metadata)
    except (ValueError, RecursionError):
        return ""
    return json.dumps(hidden(parsed), indent=2, ensure_ascii=False) + "\n"


def hidden(value: Any) -> Any:
    """Replace the values of secret fields at any depth of *value* (parsed JSON)."""
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
    elif webhook is not None:  # another type in its place may still be the secret
        shown["webhook"] = HIDDEN
    return shown
