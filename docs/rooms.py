"""The import rules between the sub-packages of each distribution. A test holds them; ARCHITECTURE shows them."""

from __future__ import annotations

from collections.abc import Mapping

_GROUND = frozenset({"errors", "ids", "names", "codec", "base", "clock", "log"})
_GATEWAY_SHARED = frozenset({"errors", "app_keys", "settings"})
_GATEWAY_BELOW = frozenset({"actions", "streaming", "readmodel", "views", "notebooks", "http"})
ROOMS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "fastflow_api": {
        "shapes": frozenset(),
        "resources": frozenset({"shapes", "connection", "errors", "log_lines"}),
    },
    "fastflow_contracts": {
        "bus": _GROUND,
        "schedules": _GROUND | {"bus"},
        "pipelines": _GROUND | {"bus", "schedules"},
        "runs": _GROUND | {"bus", "schedules", "pipelines"},
        "starting": _GROUND | {"bus", "schedules", "pipelines", "runs"},
        "simulation": _GROUND | {"bus", "schedules", "pipelines", "runs", "starting"},
        "secrets": _GROUND,
        "sessions": _GROUND | {"bus"},
        "service": _GROUND | {"bus"},
    },
    "fastflow_runner": {
        "guest": frozenset(),
        "sandbox": frozenset({"errors", "settings", "guest"}),
        "environments": frozenset({"errors", "settings", "sandbox", "guest"}),
        "output": frozenset({"errors", "settings", "sandbox", "guest"}),
        "attempts": frozenset(
            {"errors", "settings", "bundles", "presence", "secrets", "output", "environments", "sandbox", "guest"}
        ),
        "work": frozenset({"errors", "settings", "attempts", "sandbox"}),
        "backend": frozenset({"errors", "settings", "sandbox", "environments", "guest"}),
        "proxy": frozenset({"errors", "settings", "sandbox"}),
    },
    "fastflow_scheduler": {
        "starting": frozenset({"settings"}),
        "schedules": frozenset({"settings", "starting"}),
        "events": frozenset({"settings", "schedules", "starting"}),
        "followups": frozenset({"settings", "starting"}),
        "maintenance": frozenset({"settings", "starting"}),
        "operations": frozenset({"settings", "starting"}),
    },
    "fastflow_syncer": {
        "sources": frozenset({"errors", "settings"}),
    },
    "fastflow_gateway": {
        "views": frozenset(),
        "notebooks": frozenset(),
        "security": frozenset({"errors"}),
        "http": _GATEWAY_SHARED | {"security"},
        "readmodel": _GATEWAY_SHARED | {"views"},
        "streaming": _GATEWAY_SHARED | {"http", "readmodel"},
        "actions": _GATEWAY_SHARED | {"readmodel", "security", "views"},
        "api": _GATEWAY_SHARED | _GATEWAY_BELOW,
        "dashboard": _GATEWAY_SHARED | _GATEWAY_BELOW,
    },
    "fastflow": {
        "local": frozenset({"errors"}),
        "remote": frozenset({"errors", "local"}),
        "terminal": frozenset({"errors"}),
        "commands": frozenset({"errors", "local", "remote", "terminal"}),
    },
}
"""What each sub-package may import of its own distribution: other sub-packages, and modules of the root.

What it imports lies below it: the rules have no cycle. The root may import everything.
"""


def room_table() -> str:
    """Return a table of the sub-packages and what each may import."""
    lines = ["| distribution | package | may import |", "|---|---|---|"]
    for distribution, rooms in ROOMS.items():
        for room, allowed in rooms.items():
            names = " ".join(f"`{name}`" for name in sorted(allowed)) or "nothing of its distribution"
            lines.append(f"| `{distribution}` | `{room}` | {names} |")
    return "\n".join(lines)
