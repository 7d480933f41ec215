"""Every field of a pipeline.json as a table, built from the format's own structs. Rules only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec
import msgspec.inspect as mi

from fastflow.local.settings_table import settings
from fastflow_contracts.pipelines.format.spec import PipelineSpec, RunSettings
from fastflow_contracts.pipelines.format.struct_reader import rule_of, without_none

FALLS_BACK = {
    "python_version": "DEFAULT_PYTHON_VERSION",
    "timeout": "CONTAINER_TIMEOUT",
    "retry_attempts": "RETRY_ATTEMPTS",
}
"""The setting that applies if a pipeline has no value."""
NOTHING = "–"


class _Row(NamedTuple):
    field: str
    accepts: str
    default: str
    says: str


def shared_markdown() -> str:
    """Return the fields that both a pipeline and an entry of its ``schedules`` may have."""
    return _markdown(_rows(_fields(RunSettings)))


def own_markdown() -> str:
    """Return the fields that only a pipeline has."""
    shared = {field.name for field in _fields(RunSettings)}
    return _markdown(_rows(field for field in _fields(PipelineSpec) if field.name not in shared))


def _markdown(rows: Iterable[_Row]) -> str:
    lines = [f"| `{row.field}` | {row.accepts} | {row.default} | {row.says} |" for row in rows]
    return "\n".join(["| field | accepted | default | what it does |", "|---|---|---|---|", *lines]) + "\n"


def _fields(kind: type[msgspec.Struct]) -> tuple[mi.Field, ...]:
    info = mi.type_info(kind)
    assert isinstance(info, mi.StructType)
    return info.fields


def _rows(fields: Iterable[mi.Field], prefix: str = "", told: str = "") -> Iterator[_Row]:
    """Yield a row for each field, followed by the rows of the objects in it. *told*: a prefix of each description."""
    for field in fields:
        path = f"{prefix}{field.encode_name}"
        yield _Row(path, _accepts(field.type), _default(field), told + _says(field.type))
        yield from _inside(field.type, path)


def _inside(kind: mi.Type, path: str) -> Iterator[_Row]:
    match kind:
        case mi.Metadata(type=inner):
            yield from _inside(inner, path)
        case mi.VarTupleType(item_type=item):
            yield from _inside(item, f"{path}[]")
        case mi.StructType(cls=cls) if issubclass(cls, RunSettings):
            shared = {field.name for field in _fields(RunSettings)}
            yield from _rows((field for field in kind.fields if field.name not in shared), f"{path}.")
        case mi.StructType():
            yield from _rows(kind.fields, f"{path}.")
        case mi.UnionType():
            structs = [member for member in without_none(kind) if isinstance(member, mi.StructType)]
            if len(structs) == 1:
                yield from _inside(structs[0], path)
            elif structs:
                yield _Row(
                    f"{path}.{structs[0].tag_field}", _one_of(each.tag for each in structs), "required", "The strategy."
                )
            for each in structs if len(structs) > 1 else ():
                yield from _rows(each.fields, f"{path}.", f"`{each.tag}`: ")


def _accepts(kind: mi.Type) -> str:
    if rule := rule_of(kind):
        return rule.accepts
    match kind:
        case mi.Metadata(type=inner):
            return _accepts(inner)
        case mi.LiteralType(values=choices):
            return _one_of(choices)
        case mi.UnionType():
            return _accepts(without_none(kind)[0])
        case mi.VarTupleType(item_type=item):
            return f"a list, of each: {_accepts(item)}"
        case mi.DictType(value_type=values):
            return f"an object, by name: {_accepts(values)}"
        case _:
            return "an object, as below"


def _one_of(choices: Iterable[object]) -> str:
    return " or ".join(f'`"{choice}"`' for choice in choices)


def _default(field: mi.Field) -> str:
    if field.required:
        return "required"
    if setting := FALLS_BACK.get(field.encode_name):
        default = next(each.default for each in settings() if each.name == setting)
        return f"`{setting}`: `{default}`" if default else f"`{setting}`"
    if field.default in (None, (), msgspec.NODEFAULT):
        return NOTHING
    return (
        f"`{field.default:g}`"
        if isinstance(field.default, float)
        else f"`{msgspec.json.encode(field.default).decode()}`"
    )


def _says(kind: mi.Type) -> str:
    if not isinstance(kind, mi.Metadata):
        return ""
    return str((kind.extra_json_schema or {}).get("description") or "") or _says(kind.type)
