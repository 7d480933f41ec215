"""Secrets in metadata are hidden."""

from __future__ import annotations

import json

from fastflow_gateway.views.redaction import hide_secrets


def test_secrets_are_hidden_at_every_level() -> None:
    """In the pipeline and in each schedule; names and clear values stay."""
    metadata = {
        "webhook_key": "k1",
        "encrypted_env": {"A": "gAAAA1"},
        "default_env": {"B": "shown"},
        "schedules": [{"id": "s", "webhook_key": "k2", "encrypted_env": {"C": "gAAAA2"}}],
    }
    text = hide_secrets(json.dumps(metadata))
    assert not any(secret in text for secret in ("k1", "k2", "gAAAA1", "gAAAA2"))
    assert all(name in text for name in ('"A"', '"C"', "shown", '"s"'))
    assert hide_secrets("{broken") == ""
