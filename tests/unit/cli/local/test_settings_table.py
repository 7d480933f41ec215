"""The table of all settings. Pure."""

from __future__ import annotations

from fastflow.local.settings_table import markdown, settings, values


def test_every_setting_is_listed_once_and_secrets_are_masked() -> None:
    """The docs' table and ``fastflow config`` come from the services' own structs."""
    names = [setting.name for setting in settings()]
    assert len(names) == len(set(names))
    assert {"FASTFLOW_NATS_URL", "PIPELINES_DIR", "RUNNER_SLOTS", "FASTFLOW_ADMIN_TOKEN"} <= set(names)
    assert markdown().count("\n") == len(names) + 2
    shown = values({"FASTFLOW_ADMIN_TOKEN": "hush", "RUNNER_SLOTS": "4", "ENCRYPTION_KEY_FILE": "/run/key"})
    assert shown == {"FASTFLOW_ADMIN_TOKEN": "***", "RUNNER_SLOTS": "4", "ENCRYPTION_KEY": "from /run/key"}
