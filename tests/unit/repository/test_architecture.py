"""The import table is held, and the documents say what the code is."""

from __future__ import annotations

import ast
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
}


PACKAGES = {path.name: path for path in ROOT.glob("*/*/src/*") if path.is_dir()} | {
    "fastflow": ROOT / "cli/src/fastflow"
}
MODULES = [(name, module) for name in generate.MATRIX for module in sorted(PACKAGES[name].rglob("*.py"))]


def _imported(module: Path) -> set[str]:
    """Top-level names that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(("package", "module"), MODULES, ids=lambda value: getattr(value, "stem", value))
def test_a_module_imports_only_what_its_distribution_may(package: str, module: Path) -> None:
    """Services know the contracts and not each other; what belongs to one stays with it."""
    imported = _imported(module)
    assert imported & generate.MATRIX.keys() <= generate.MATRIX[package] | {package}
    assert not [name for name, owners in ALONE.items() if name in imported and package not in owners]


def test_every_package_of_ours_is_in_the_matrix() -> None:
    """A new distribution needs a row."""
    assert set(PACKAGES) == set(generate.MATRIX)


def test_the_generated_parts_of_the_documents_are_up_to_date() -> None:
    """Else: make docs."""
    assert generate.outdated() == []
