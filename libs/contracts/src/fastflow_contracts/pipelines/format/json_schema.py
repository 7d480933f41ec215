"""The JSON Schema of pipeline.json, for editors and other tools. Pure; built from the same structs as the parser.

For single values it is as strict as JSON Schema allows. Only the parser rejects the rest: a cron day that never
occurs, an unknown time zone, values that contradict each other.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import msgspec.inspect as mi

from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.format.struct_reader import may_be_missing, rule_of, without_none

Schema: TypeAlias = "dict[str, object]"

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def pipeline_schema() -> Schema:
    """Return the schema as plain data, ready to encode as JSON."""
    return {"$schema": DIALECT, "title": "Fast-Flow pipeline", **_schema(mi.type_info(PipelineSpec))}


def _schema(kind: mi.Type) -> Schema:
    match kind:
        case mi.Metadata():
            rule = rule_of(kind)
            schema = {**rule.schema, "description": f"Accepted: {rule.accepts}."} if rule else _schema(kind.type)
            sentences = [(kind.extra_json_schema or {}).get("description"), schema.get("description")]
            return {**schema, "description": " ".join(str(sentence) for sentence in sentences if sentence)}
        case mi.LiteralType(values=choices):
            return {"enum": list(choices)}
        case mi.UnionType():
            members = [_schema(member) for member in without_none(kind)]
            return members[0] if len(members) == 1 else {"oneOf": members}
        case mi.VarTupleType(item_type=item, min_length=at_least):
            items = {"anyOf": [_schema(item), {"type": "null"}]} if may_be_missing(item) else _schema(item)
            return {"type": "array", "items": items} | ({"minItems": at_least} if at_least else {})
        case mi.DictType(key_type=names, value_type=values):
            return {"type": "object", "propertyNames": _schema(names), "additionalProperties": _schema(values)}
        case mi.StructType():
            return _struct(kind)
        case _:
            raise TypeError(f"fields of kind {kind} are not supported")


def _struct(kind: mi.StructType) -> Schema:
    properties: Schema = {field.encode_name: _field(field) for field in kind.fields}
    required = [field.encode_name for field in kind.fields if field.required]
    if kind.tag_field:
        properties[kind.tag_field] = {"const": kind.tag}
        required.append(kind.tag_field)
    return {
        "type": "object",
        "description": (kind.cls.__doc__ or "").split("\n")[0],
        "properties": properties,
        "required": required,
    }


def _field(field: mi.Field) -> Schema:
    """Optional fields also accept null, which means unset."""
    schema = _schema(field.type)
    if field.required:
        return schema
    described: Schema = {"description": schema.pop("description", "")}
    if field.default not in (None, msgspec.NODEFAULT):
        described["default"] = msgspec.to_builtins(field.default)
    return {**described, "anyOf": [schema, {"type": "null"}]}
