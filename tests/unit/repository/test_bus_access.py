"""Only ``bus`` spells subjects of the bus, and only ``bus`` decodes what it holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = (
    "libs/contracts/src/fastflow_contracts",
    "services/scheduler/src",
    "services/syncer/src",
    "services/runner/src",
    "services/gateway/src",
    "cli/src",
    "libs/api/src",
)
BUS = ROOT / ROOMS[0] / "bus"
SUBJECT = re.compile(
    r"\$(KV|O|JS)\."
    r"|^(ff|_INBOX)\.[a-z]"
    r"|^(run|input|limit|pipeline|runner|links|sched|switch)\.($|[*>])"
)
"""Subjects of the server and of ours, and the beginnings and filters of keys."""
CODEC = re.compile(r"[A-Z][A-Z_]+")
DECODES = {
    "libs/contracts/src/fastflow_contracts/runs/triggers.py": "anything is a trigger: what is no message is its event",
    "services/runner/src/fastflow_runner/output/cell_writer.py": "a sandbox wrote it, not the bus",
    "services/gateway/src/fastflow_gateway/api/runs/cells.py": "inside `ignoring_unreadable`",
    "services/gateway/src/fastflow_gateway/api/runs/log.py": "inside `ignoring_unreadable` of its stream",
    "services/gateway/src/fastflow_gateway/api/runs/samples.py": "inside `ignoring_unreadable` of its stream",
    "services/gateway/src/fastflow_gateway/readmodel/run_index.py": "bytes that were decoded once already",
}
"""Modules that decode by themselves, each with its reason."""


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if BUS not in path.parents:
                yield path, ast.parse(path.read_text())


def documentation(tree: ast.AST) -> set[int]:
    """Return the constants that are docstrings."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_no_subject_of_a_bucket_an_object_or_the_api_is_spelled_outside_the_bus_package() -> None:
    """A key is built by ``subjects``, and read and written through a ``Bucket``."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SUBJECT.search(node.value)
        if id(node) not in documentation(tree)
    ]
    assert found == []


def test_what_the_bus_holds_is_decoded_by_the_guarded_helper_alone() -> None:
    """Otherwise one unreadable record ends a service."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "decode"
        if isinstance(owner := node.func.value, ast.Name | ast.Attribute)
        if CODEC.fullmatch(owner.id if isinstance(owner, ast.Name) else owner.attr)
    ]
    assert {line.partition(":")[0] for line in found} == set(DECODES), found
