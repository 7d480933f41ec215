"""The executed notebook: the one in the bundle, with the outputs of the run. Pure."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import chain
from typing import Any, Final

import msgspec

from fastflow_contracts.pipelines.folder.notebook_rules import INJECTED_TAG, is_code, layout
from fastflow_contracts.runs.cells import INJECTED
from fastflow_gateway.notebooks.cells import CellHistory, Tried

IDS_SINCE_MINOR: Final = 5
"""Format 4.5: cells have ids."""
DEPTH_MAX: Final = 100
"""Deeper JSON stays text."""
_JSON: Final = "application/json"


def executed(text: bytes, history: CellHistory, *, run_id: str) -> bytes:
    """The notebook *text* with the outputs of each cell's last attempt, without the outputs saved in it."""
    document: dict[str, Any] = json.loads(text)
    cells: list[dict[str, Any]] = document["cells"]
    kept, _ = layout(map(_type_and_tags, cells), has_parameters=history.injected is not None)
    cells[:] = [cells[position] for position in kept]
    code_cells = [cell for cell in cells if is_code(cell.get("cell_type"))]
    for index, cell in enumerate(code_cells):
        _fill(cell, history.tried.get(index, []))
    if history.injected is not None and history.injected.after < len(code_cells):
        added: dict[str, Any] = {
            "cell_type": "code",
            "metadata": {"tags": [INJECTED_TAG]},
            "source": history.injected.source,
        }
        if document.get("nbformat_minor", 0) >= IDS_SINCE_MINOR:
            added["id"] = INJECTED_TAG
        _fill(added, history.tried.get(INJECTED, []))
        cells.insert(cells.index(code_cells[history.injected.after]) + 1, added)
    document.setdefault("metadata", {})["fastflow"] = {"run_id": run_id}
    return json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"


def _fill(cell: dict[str, Any], attempts: list[Tried]) -> None:
    cell["execution_count"] = attempts[-1].count if attempts else None
    cell["outputs"] = [_output(output, attempts[-1]) for output in attempts[-1].outputs] if attempts else []
    if attempts:
        cell["outputs"] += [{"output_type": "stream", "name": "stderr", "text": f"{n}\n"} for n in attempts[-1].notes]


def _output(output: dict[str, Any], tried: Tried) -> dict[str, Any]:
    if "data" not in output:
        return output
    made = output | {"data": {mime: _value(mime, text) for mime, text in output["data"].items()}}
    return made | {"execution_count": tried.count} if output["output_type"] == "execute_result" else made


def _value(mime: str, text: str) -> Any:
    """A notebook holds JSON as a value, everything else as text: also JSON that no notebook can hold."""
    if mime == _JSON or mime.endswith("+json"):
        with suppress(msgspec.DecodeError, RecursionError):  # unlike json, it takes neither NaN nor 1e999
            value = msgspec.json.decode(text)
            return value if _is_shallow(value) else text
    return text


def _is_shallow(value: Any) -> bool:
    """Whether any JSON library reads and writes it."""
    level = [value]
    for _ in range(DEPTH_MAX):
        inner = (each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list))
        level = list(chain.from_iterable(inner))
    return not level


def _type_and_tags(cell: dict[str, Any]) -> tuple[object, object]:
    return cell.get("cell_type"), (cell.get("metadata") or {}).get("tags")
