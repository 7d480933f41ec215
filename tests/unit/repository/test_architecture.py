"""The code keeps to the import table, and the documents match the code."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from docs import generate

ROOT = Path(__file__).parents[3]
#: Third-party packages that belong to one distribution alone.
ALONE = {
    "aiodocker": {"fastflow_runner"},
    "jinja2": {"fastflow_gateway"},
    "watchfiles": {"fastflow_syncer"},
    "croniter": {"fastflow_contracts"},
    "click": {"fastflow"},
    "prometheus_client": {"fastflow_gateway"},
    "itsdangerous": {"fastflow_gateway"},
}


PACKAGES = {path.name: path for path in ROOT.glob("*/*/src/*") if path.is_dir()} | {
    "fastflow": ROOT / "cli/src/fastflow"
}
MODULES = [(name, module) for name in generate.MATRIX for module in sorted(PACKAGES[name].rglob("*.py"))]


ROOT_ROOM = ""
"""Modules outside of any sub-package."""
_GROUND = frozenset({"errors", "ids", "names", "codec", "base", "clock", "log"})
_GATEWAY_SHARED = frozenset({"errors", "app_keys", "settings", "decoding", "__version__"})
_GATEWAY_BELOW = frozenset({"actions", "streaming", "readmodel", "views", "notebooks", "http"})
#: What each sub-package may import of its own distribution: other sub-packages, and modules of the root. What it
#: imports lies below it: the rules have no cycle. The root may import everything.
ROOMS: dict[str, dict[str, frozenset[str]]] = {
    "fastflow_contracts": {
        "bus": _GROUND,
        "schedules": _GROUND | {"bus"},
        "pipelines": _GROUND | {"bus", "schedules"},
        "runs": _GROUND | {"bus", "schedules", "pipelines"},
        "secrets": _GROUND,
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
        "proxy": frozenset({"errors", "settings", "sandbox"}),
    },
    "fastflow_scheduler": {
        "starting": frozenset({"settings"}),
        "schedules": frozenset({"settings", "starting"}),
        "followups": frozenset({"settings", "starting"}),
        "maintenance": frozenset({"settings", "starting"}),
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
        "actions": _GATEWAY_SHARED | {"readmodel", "security"},
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


def _imported(module: Path) -> set[str]:
    """Return the top-level names that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def _room(distribution: str, module: Path) -> str:
    """Return the sub-package of a module."""
    parts = module.relative_to(PACKAGES[distribution]).parts
    return parts[0] if len(parts) > 1 else ROOT_ROOM


def _names(distribution: str, module: Path) -> set[str]:
    """Return the dotted names below the distribution's package that a module imports, anywhere in it."""
    here = (distribution, *module.relative_to(PACKAGES[distribution]).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            start = ".".join((*base, *((node.module,) if node.module else ())))
            # An import from the package itself may name one of its sub-packages.
            found |= {f"{start}.{alias.name}" for alias in node.names} if start == distribution else {start}
    return {name.removeprefix(f"{distribution}.") for name in found if name.startswith(f"{distribution}.")}


def _room_of_name(distribution: str, name: str) -> str | None:
    """Return the sub-package or root module that *name* starts with, or None."""
    first = name.split(".")[0]
    package = PACKAGES[distribution] / first
    return first if package.is_dir() or package.with_suffix(".py").exists() else None


@pytest.mark.parametrize(("package", "module"), MODULES, ids=lambda value: getattr(value, "stem", value))
def test_a_module_imports_only_what_its_distribution_may(package: str, module: Path) -> None:
    """Services know the contracts and not each other; a package of one distribution stays there."""
    imported = _imported(module)
    assert imported & generate.MATRIX.keys() <= generate.MATRIX[package] | {package}
    assert not [name for name, owners in ALONE.items() if name in imported and package not in owners]


def test_a_room_imports_only_what_the_house_rules_allow() -> None:
    """Lists every import between sub-packages that no rule allows, all at once; and the rules have no cycle."""
    violations = []
    for distribution, rooms in ROOMS.items():
        TopologicalSorter(rooms).prepare()
        for module in sorted(PACKAGES[distribution].rglob("*.py")):
            room = _room(distribution, module)
            if room == ROOT_ROOM:
                continue
            if room not in rooms:
                violations.append(f"{distribution}.{room} is in no rule")
                continue
            for name in _names(distribution, module):
                target = _room_of_name(distribution, name)
                if target is not None and target != room and target not in rooms[room]:
                    violations.append(f"{distribution}: {room} must not import {name} ({module.name})")
    assert not violations, "\n" + "\n".join(sorted(set(violations)))


def test_the_command_line_takes_only_app_and_settings_of_a_service() -> None:
    """All else that it shares with a service is in the libraries."""
    services = {name for name in PACKAGES if name.startswith("fastflow_") and PACKAGES[name].parts[-4] == "services"}
    allowed = {f"{service}.{part}" for service in services for part in ("app", "settings")}
    found = {
        f"{module.relative_to(ROOT)}: {name}"
        for module in PACKAGES["fastflow"].rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        if name.split(".")[0] in services and name not in allowed
    }
    assert len(services) == 4
    assert found == set()


def test_what_runs_inside_the_sandbox_imports_nothing_of_ours() -> None:
    """Its image has none of our packages: it finds its own modules beside itself."""
    guest = PACKAGES["fastflow_runner"] / "guest"
    assert {path.name: _imported(path) & generate.MATRIX.keys() for path in guest.rglob("*.py")} == {
        path.name: set() for path in guest.rglob("*.py")
    }


def test_a_class_name_exists_once() -> None:
    """A search for a name finds one thing. The notebook rules are one file in two places."""
    places: dict[str, set[str]] = {}
    for package in PACKAGES.values():
        for module in package.rglob("*.py"):
            for node in ast.parse(module.read_text()).body:
                if isinstance(node, ast.ClassDef) and module.name != "notebook_rules.py":
                    places.setdefault(node.name, set()).add(str(module.relative_to(ROOT)))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_every_package_of_ours_is_in_the_matrix() -> None:
    """A new distribution needs a row."""
    assert set(PACKAGES) == set(generate.MATRIX)


def test_the_generated_parts_of_the_documents_are_up_to_date() -> None:
    """If this fails: make docs."""
    assert generate.outdated() == []
