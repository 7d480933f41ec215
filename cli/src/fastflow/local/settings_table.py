"""Every setting of every service, from the services' own structs. The docs' table is generated from it. Rules only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

import fastflow_gateway.settings
import fastflow_runner.settings
import fastflow_scheduler.settings
import fastflow_syncer.settings
from fastflow.local.plan import DEFAULTS
from fastflow_contracts.service.settings import fields, without_service_links

SETTINGS: Mapping[str, type[msgspec.Struct]] = {
    "gateway": fastflow_gateway.settings.GatewaySettings,
    "syncer": fastflow_syncer.settings.SyncerSettings,
    "scheduler": fastflow_scheduler.settings.SchedulerSettings,
    "runner": fastflow_runner.settings.RunnerSettings,
}
SECRET_SHOWN = "***"  # noqa: S105 - shown instead of one


class Setting(NamedTuple):
    """One variable and the services that read it."""

    name: str
    help: str
    default: str
    default_in_up: str | None
    """None: the same as ``default``."""
    services: tuple[str, ...]
    is_secret: bool


def settings() -> list[Setting]:
    """All settings in the order of the services. A setting of several services is listed once."""
    found: dict[str, Setting] = {}
    for service, struct in SETTINGS.items():
        for field in fields(struct):
            env = field.env
            known = found.get(env.name)
            services = (*known.services, service) if known else (service,)
            text = env.help if known is None else known.help
            default = _shown(field.default)
            found[env.name] = Setting(env.name, text, default, DEFAULTS.get(env.name), services, env.secret)
    return list(found.values())


def markdown() -> str:
    """All settings as a Markdown table."""
    rows = [
        f"| `{setting.name}` | {_default(setting)} "
        f"| {'all' if len(setting.services) == 4 else ', '.join(setting.services)} | {setting.help} |"
        for setting in settings()
    ]
    return "\n".join(["| variable | default | read by | what it does |", "|---|---|---|---|", *rows]) + "\n"


def values(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings in *environ*, secrets masked. A ``_FILE`` variable wins, as when settings are loaded."""
    found, environ = {}, without_service_links(environ)
    for setting in settings():
        if path := environ.get(f"{setting.name}_FILE"):
            found[setting.name] = f"from {path}"
        elif value := environ.get(setting.name):
            found[setting.name] = SECRET_SHOWN if setting.is_secret else value
    return found


def _default(setting: Setting) -> str:
    if setting.default_in_up is not None:
        return f"`{setting.default}`; `{setting.default_in_up}` in `fastflow up`"
    return f"`{setting.default}`" if setting.default else "–"


def _shown(default: object) -> str:
    if default is None or default == "":
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
