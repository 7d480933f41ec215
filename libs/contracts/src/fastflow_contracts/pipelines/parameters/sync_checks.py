"""Checks the parameters in a pipeline.json: the schema itself, and starts that can only fail. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastflow_contracts.pipelines.format.diagnostics import Diagnostics, path_of
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.pipelines.parameters.schema import Path, faults, is_schema, properties_of
from fastflow_contracts.pipelines.parameters.settle import BadParameters, checked

_OWN_STARTS = ("schedule_cron", "schedule_interval_seconds", "run_once_at")


def check_parameters(
    good: Mapping[str, Any],
    root: JsonNode,
    entries: Sequence[tuple[Mapping[str, Any], JsonNode]],
    diagnostics: Diagnostics,
) -> None:
    """Report what is wrong with the parameters of a pipeline.

    Args:
        good: The valid values of the file.
        root: The file.
        entries: The valid values of each entry of ``schedules``, and the entry.
        diagnostics: Where to report.
    """
    schema = good.get("parameters")
    if "parameters" in good and schema is None:
        node = root.member("parameters")
        if isinstance(node.value, dict):
            diagnostics.note("parameters", node, _NO_SCHEMA)
    if not (isinstance(schema, dict) and is_schema(schema)):
        return
    found = faults(schema)
    for fault in found:
        _refuse(fault.path, root.member("parameters"), fault.accepted, diagnostics)
    _check_secrets(schema, [good, *(entry for entry, _ in entries)], root, diagnostics)
    if not found:
        _check_starts(schema, good, root, entries, diagnostics)


_NO_SCHEMA = 'is not used: it is no JSON Schema. Give it "type": "object", and a property for each parameter.'


def _check_secrets(
    schema: Mapping[str, Any], parts: Sequence[Mapping[str, Any]], root: JsonNode, diagnostics: Diagnostics
) -> None:
    tokens = [part.get("encrypted_env") for part in parts]
    secrets = {name for each in tokens if isinstance(each, dict) for name in each}
    for name in properties_of(schema):
        if name in secrets:
            path = ("properties", name)
            _refuse(path, root.member("parameters"), "a name that is not in encrypted_env", diagnostics)


def _check_starts(
    schema: Mapping[str, Any],
    good: Mapping[str, Any],
    root: JsonNode,
    entries: Sequence[tuple[Mapping[str, Any], JsonNode]],
    diagnostics: Diagnostics,
) -> None:
    """Report each schedule whose runs would all be refused, and values that are wrong in any start."""
    for index, (entry, node) in enumerate(entries):
        values = entry.get("parameters") or {}
        if not isinstance(values, dict):
            continue
        is_timed = bool({"schedule_cron", "schedule_interval_seconds"} & entry.keys())
        field = f"schedules[{index}]"
        for path, wanted in _wrong(schema, values):
            is_given = bool(path) and path[0] in values
            if is_given:
                place = node.member("parameters")
                diagnostics.refuse_part(f"{field}.parameters{_dotted(path)}", _node_at(place, path), _accepted(wanted))
            elif is_timed:
                diagnostics.refuse_part(f"{field}.parameters{_dotted(path)}", node, _accepted(wanted), is_missing=True)
    own = [name for name in (_OWN_STARTS if not entries else _OWN_STARTS[2:]) if name in good]
    for name in own:
        for path, wanted in _wrong(schema, {}):
            says = f"a schema that needs no parameters of a start by time: parameters{_dotted(path)} {wanted}"
            diagnostics.refuse_part(name, root.member(name), says)


def _wrong(schema: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    try:
        checked(schema, values)
    except BadParameters as error:
        for wrong in error.wrong:
            yield wrong.path, wrong.wanted


def _refuse(path: Path, node: JsonNode, accepted: str, diagnostics: Diagnostics) -> None:
    diagnostics.refuse_part(f"parameters{_dotted(path)}", _node_at(node, path), accepted)


def _accepted(wanted: str) -> str:
    known = wanted.replace("is unknown; known are ", "one of ")
    return (
        known.removeprefix("is missing; ").removeprefix("it ").removeprefix("must be ").replace("is missing", "a value")
    )


def _dotted(path: Path) -> str:
    text = "p"
    for part in path:
        text = f"{text}[{part}]" if isinstance(part, int) else path_of(text, part)
    return text[1:]


def _node_at(node: JsonNode, path: Path) -> JsonNode:
    """Return the deepest node on *path* that is there."""
    for part in path:
        if isinstance(node.value, dict) and part in node.value:
            node = node.member(str(part))
        elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
            node = node.item(part)
        else:
            break
    return node
