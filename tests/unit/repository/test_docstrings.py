"""What a docstring says under ``Raises`` is an error that exists where it is said."""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
MODULES = {
    path: ast.parse(path.read_text())
    for source in sorted([*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src"), ROOT / "cli/src"])
    for path in sorted(source.rglob("*.py"))
}
INLINE = re.compile(r"Raises ((?:[^.]|\.(?=\w))*)")
CLASS = re.compile(r"``([A-Z][a-z]\w+)``")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def distribution(path: Path) -> str:
    return path.parts[path.parts.index("src") + 1]


def classes() -> dict[str, set[str]]:
    """Return the names of the classes of each distribution."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, tree in MODULES.items():
        found[distribution(path)] |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return found


def imported(tree: ast.Module) -> set[str]:
    """Return the top-level packages that a module imports from."""
    return {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def raised(docstring: str) -> Iterator[str]:
    """Yield the names in a section ``Raises:``, and in sentences such as "Raises ``BusError``."."""
    _, _, section = docstring.partition("Raises:\n")
    lines = section.partition("\n\n")[0].splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    for line in lines:
        if len(line) - len(line.lstrip()) == indent and ":" in line:
            yield from line.partition(":")[0].strip().split(", ")
    for sentence in INLINE.findall(docstring):
        yield from CLASS.findall(sentence)


def test_a_documented_error_is_a_class_of_the_distribution_or_of_one_that_the_module_imports() -> None:
    known, found, unknown = classes(), 0, []
    for path, tree in MODULES.items():
        here = set().union(*(known[each] for each in {distribution(path), *imported(tree)}))
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and (docstring := ast.get_docstring(node)):
                for name in raised(docstring):
                    found += 1
                    if name not in here and not hasattr(builtins, name):
                        unknown.append(f"{path.relative_to(ROOT)}: {name}")
    assert found > 100
    assert unknown == []


def test_names_are_found_in_sections_and_in_sentences() -> None:
    text = "Do it.\n\nRaises:\n    OneError: Here\n        and there: so.\n    Two, Three: Both.\n\nMore."
    assert list(raised(text)) == ["OneError", "Two", "Three"]
    assert list(raised("Read it. Raises ``BusError`` after ``READ_S``, and ``Other``. Never ``This``.")) == [
        "BusError",
        "Other",
    ]
