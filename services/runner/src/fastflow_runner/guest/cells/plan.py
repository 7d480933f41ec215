"""What to execute: the notebook's code cells with their retries, and the cell that sets parameters. Pure."""

from __future__ import annotations

import ast
import json
import keyword
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .notebook_rules import (
    CELLS_MAX,
    FORMAT,
    INJECTED_TAG,
    PARAMETERS_TAG,
    has_tag,
    is_code,
    is_python,
    layout,
    text_of,
)

INJECTED = -1
"""The index of the cell that sets parameters: it is not one of the notebook's own."""
RESULT_TAG = "result"
"""Tag of the cell whose last expression is the result of the run."""
TITLE_CHARACTERS_MAX = 60
NUMBER_MAX = 10**9
"""Upper bound of retries and seconds; a larger number is ignored."""


class UnusableNotebook(Exception):
    """The notebook cannot be executed; the message is for its author."""


class Step(NamedTuple):
    """One code cell to execute."""

    cell: int
    """Its index among the notebook's code cells, from 0; or ``INJECTED``."""
    position: int
    """Its index among all cells that are executed and shown."""
    source: str
    retries: int = 0
    delay_s: float = 1.0
    timeout_s: float = 0.0
    is_result: bool = False
    """The value of its last expression is the result of the run."""

    @property
    def title(self) -> str:
        """Return its first line with content."""
        lines = (line.strip() for line in self.source.splitlines())
        line = next((line for line in lines if line), "")
        return line if len(line) <= TITLE_CHARACTERS_MAX else line[:TITLE_CHARACTERS_MAX] + "…"


class CellPlan(NamedTuple):
    """What to execute. ``document`` has the injected cell in it, ``code_cells`` does not count it."""

    document: dict[str, Any]
    steps: tuple[Step, ...]
    code_cells: int
    notes: tuple[str, ...]
    """Sentences to write before the first cell."""


def make_plan(text: str, retries: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> CellPlan:
    """Plan the notebook *text*.

    Args:
        retries: The pipeline's ``cells``.
        parameters: The run's parameters: JSON values.

    Raises:
        UnusableNotebook: The notebook cannot be executed.
    """
    document = read(text)
    check_language(document)
    cells, notes = document["cells"], []
    tags = ((cell.get("cell_type"), cell["metadata"].get("tags")) for cell in cells)
    kept, tagged = layout(tags, has_parameters=bool(parameters))
    cells[:] = [cells[position] for position in kept]
    if tagged is not None:
        source = assignments(parameters, cells[tagged]["source"])
        cells.insert(tagged + 1, {"cell_type": "code", "source": source, "metadata": {"tags": [INJECTED_TAG]}})
    elif parameters:
        notes.append(f'No cell is tagged "{PARAMETERS_TAG}": parameters are environment variables only.')
    steps: list[Step] = []
    index = 0
    for position, cell in enumerate(cells):
        if not is_code(cell.get("cell_type")):
            continue
        if tagged is not None and position == tagged + 1:
            steps.append(Step(INJECTED, position, cell["source"]))
            continue
        steps.append(_step(index, position, cell, retries[index] if index < len(retries) else {}))
        index += 1
    return CellPlan(document, tuple(steps), index, tuple(notes))


def read(text: str) -> dict[str, Any]:
    """Return the document, each cell with its source as one text and its metadata. Raises ``UnusableNotebook``."""
    try:
        document = json.loads(text, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        raise UnusableNotebook(f"main.ipynb is not JSON, so it is not a notebook: {error}.") from None
    version = document.get("nbformat") if isinstance(document, dict) else None
    if not isinstance(version, int):
        raise UnusableNotebook("main.ipynb is JSON but not a notebook: it has no number nbformat.")
    if version != FORMAT:
        raise UnusableNotebook(
            f"main.ipynb is of format {version}; open it in Jupyter and save it, or run "
            f"`jupyter nbconvert --to notebook --nbformat {FORMAT} --inplace main.ipynb`."
        )
    cells = document.get("cells")
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise UnusableNotebook("main.ipynb has no list of cells.")
    if len(cells) > CELLS_MAX:
        raise UnusableNotebook(f"main.ipynb has {len(cells)} cells; at most {CELLS_MAX} are accepted.")
    for position, cell in enumerate(cells):
        cell["source"] = text_of(cell.get("source"))
        if not cell["source"].isascii() and not _is_text(cell["source"]):
            raise UnusableNotebook(f"main.ipynb: element {position} of cells has a lone surrogate; write it again.")
        cell["metadata"] = _object(cell.get("metadata"))
    return {**document, "cells": cells}


def _whole(digits: str) -> int | str:
    """A number with more digits than Python reads stays a text: no part of a notebook that is used has one."""
    try:
        return int(digits)
    except ValueError:
        return digits


def check_language(document: Mapping[str, Any]) -> None:
    """Check that the notebook is Python: with any kernel name it gets the pipeline's own interpreter.

    Raises ``UnusableNotebook``.
    """
    metadata = _object(document.get("metadata"))
    spec = _object(metadata.get("kernelspec"))
    name = str(spec.get("name") or "python3")
    language = str(spec.get("language") or _object(metadata.get("language_info")).get("name") or "")
    if not is_python(name, str(spec.get("display_name") or ""), language):
        raise UnusableNotebook(
            f"main.ipynb asks for the kernel {name!r}{f' ({language})' if language else ''}, and pipelines are Python: "
            "choose a Python kernel and save it."
        )


def assignments(parameters: Mapping[str, Any], defaults_source: str) -> str:
    """Return the source of a cell that assigns *parameters*.

    A string takes the type of the default in *defaults_source* if that is a plain value. Every other value stays as it
    is, as with papermill.

    Raises:
        UnusableNotebook: A value cannot take the type of its default.
    """
    defaults = _defaults(defaults_source)
    lines = ["# Parameters of this run"]
    for name, value in parameters.items():
        if not name.isidentifier() or keyword.iskeyword(name):
            lines.append(f"# {name!r} cannot be a variable; it is an environment variable only.")
        else:
            lines.append(f"{name} = {_value(name, value, defaults.get(name))!r}")
    return "\n".join(lines)


def _value(name: str, value: Any, default: object) -> object:
    return _typed(name, value, default) if isinstance(value, str) else value


def _typed(name: str, text: str, default: object) -> object:
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.strip().lower()]
        if isinstance(default, int):
            return _number(text)
        if isinstance(default, float):
            return float(text)
        if isinstance(default, (list, dict, tuple)):
            value = _structure(text)
            if isinstance(value, type(default)):
                return value
            if isinstance(default, tuple) and isinstance(value, list):
                return tuple(value)
            raise ValueError
    except (ValueError, KeyError, SyntaxError, RecursionError):
        kind = type(default).__name__
        raise UnusableNotebook(
            f"parameter {name} is {text[:80]!r}, but the default in the cell tagged {PARAMETERS_TAG!r} is of type "
            f"{kind}; give a value of that type."
        ) from None
    return text


def _number(text: str) -> int | float:
    """Return a whole number as such: a default of 1 takes 2 and 0.5."""
    try:
        return int(text)
    except ValueError:
        value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _structure(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)


def _defaults(source: str) -> dict[str, object]:
    """Return the plain values that *source* assigns to names."""
    found: dict[str, object] = {}
    if source.lstrip().startswith("%%"):
        return found
    plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
    try:
        statements = ast.parse(plain).body
    except (SyntaxError, ValueError, RecursionError):
        return found
    for statement in statements:
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and statement.value is not None:
                try:
                    found[target.id] = ast.literal_eval(statement.value)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    found.pop(target.id, None)
    return found


def _step(index: int, position: int, cell: dict[str, Any], retry: Mapping[str, Any]) -> Step:
    """Build a step. Each field of the cell's own metadata wins; a field that is not a number there is ignored."""
    own = _object(cell["metadata"].get("fastflow"))
    merged = {**retry, **{name: value for name, value in own.items() if _is_number(value)}}
    return Step(
        index,
        position,
        cell["source"],
        retries=max(0, int(merged.get("retries", 0))),
        delay_s=max(0.0, float(merged.get("delay_seconds", 1.0))),
        timeout_s=max(0.0, float(merged.get("timeout", 0.0))),
        is_result=has_tag(cell["metadata"].get("tags"), RESULT_TAG),
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX


def _is_text(source: str) -> bool:
    try:
        source.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
