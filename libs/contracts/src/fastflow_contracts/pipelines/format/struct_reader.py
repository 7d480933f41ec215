"""Reads JSON by the annotations of a struct and reports all errors at once. Pure.

``msgspec.convert`` stops at the first error. This reader continues: it returns the valid values as plain data (a dict
for a struct, with ``REFUSED`` for each invalid value) and reports errors to ``Diagnostics``. It knows neither the
fields of a struct nor the rules between values.
"""

from __future__ import annotations

import difflib
from functools import cache
from typing import Final, TypeAlias

import msgspec.inspect as mi

from fastflow_contracts.pipelines.expressions.check import BadExpression
from fastflow_contracts.pipelines.format.diagnostics import Diagnostics, path_of
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.pipelines.format.value_types import Rule

Good: TypeAlias = "dict[str, object]"
"""Values by field, without unset fields."""

REFUSED: Final = object()
"""Stands for an invalid value."""


def read_struct(kind: type, node: JsonNode, diagnostics: Diagnostics) -> Good | None:
    """Return the valid values in *node*, read as the struct *kind*; None if *node* is not an object."""
    info = _type_info(kind)
    assert isinstance(info, mi.StructType)
    good = _Walk(diagnostics).struct(info, node, "")
    return good if isinstance(good, dict) else None


def rule_of(kind: mi.Type) -> Rule | None:
    """Return the rule of a kind from ``value_types``; None for other kinds."""
    rule = (kind.extra or {}).get("rule") if isinstance(kind, mi.Metadata) else None
    return rule if isinstance(rule, Rule) else None


def without_none(kind: mi.UnionType) -> tuple[mi.Type, ...]:
    """Return the members of a union, except None."""
    return tuple(member for member in kind.types if not isinstance(member, mi.NoneType))


def may_be_missing(kind: mi.Type) -> bool:
    """Whether a list item of this kind may be null, which means an object without settings."""
    return isinstance(kind, mi.StructType) and not any(field.required for field in kind.fields)


_type_info = cache(mi.type_info)
"""It evaluates every annotation of the struct, which takes several times as long as reading a file."""


class _Walk:
    def __init__(self, diagnostics: Diagnostics) -> None:
        self._diagnostics = diagnostics

    def value(self, kind: mi.Type, node: JsonNode, path: str) -> object:
        if rule := rule_of(kind):
            return self._scalar(rule, node, path)
        match kind:
            case mi.Metadata(type=inner):
                return self.value(inner, node, path)
            case mi.LiteralType(values=choices):
                return node.value if node.value in choices else self._refuse(node, path, _one_of(choices))
            case mi.UnionType():
                return self._union(kind, node, path)
            case mi.VarTupleType():
                return self._items(kind, node, path)
            case mi.DictType():
                return self._mapping(kind, node, path)
            case mi.StructType():
                return self.struct(kind, node, path)
            case _:
                raise TypeError(f"{path}: fields of kind {kind} are not supported; annotate it with a kind of `values`")

    def struct(self, kind: mi.StructType, node: JsonNode, path: str) -> object:
        if not isinstance(node.value, dict):
            if not path:
                self._diagnostics.refuse_file("It must hold an object, in { }.", node.line)
                return REFUSED
            # A value in the place of an object with a secret may be that secret.
            is_secret = any((rule := rule_of(field.type)) and rule.is_secret for field in kind.fields)
            return self._refuse(node, path, "an object, in { }", is_secret=is_secret)
        fields = {field.encode_name: field for field in kind.fields}
        self._note_repeated(node, path)
        self._note_unknown(node, path, [*fields, *filter(None, [kind.tag_field])])
        good: Good = {kind.tag_field: kind.tag} if kind.tag_field else {}
        for name, field in fields.items():
            member = node.value.get(name)
            if member and (member.value is not None or field.required):
                good[name] = self.value(field.type, member, path_of(path, name))
            elif field.required:  # for optional fields null means unset
                self._diagnostics.miss(path_of(path, name), node, _accepts(field.type))
        return good

    def _scalar(self, rule: Rule, node: JsonNode, path: str) -> object:
        try:
            return rule.read(node)
        except ValueError as error:
            accepted = f"{rule.accepts} ({error})" if str(error) else rule.accepts
            within = error.column if isinstance(error, BadExpression) else None
            self._diagnostics.refuse(path, node, accepted, is_secret=rule.is_secret, within=within)
            return REFUSED

    def _union(self, kind: mi.UnionType, node: JsonNode, path: str) -> object:
        members = without_none(kind)
        if len(members) == 1:
            return self.value(members[0], node, path)
        structs = {member.tag: member for member in members if isinstance(member, mi.StructType)}
        assert len(structs) == len(members), "only structs can be told apart"
        if not isinstance(node.value, dict):
            return self._refuse(node, path, "an object, in { }")
        tag_field = next(iter(structs.values())).tag_field or ""
        tag = node.value.get(tag_field)
        if tag is None:
            self._diagnostics.miss(path_of(path, tag_field), node, _one_of(structs))
            return REFUSED
        if not isinstance(tag.value, str) or tag.value not in structs:
            return self._refuse(tag, path_of(path, tag_field), _one_of(structs))
        return self.struct(structs[tag.value], node, path)

    def _items(self, kind: mi.VarTupleType, node: JsonNode, path: str) -> object:
        if not isinstance(node.value, list):
            return self._refuse(node, path, "a list, in [ ]")
        if len(node.value) < (kind.min_length or 0):
            return self._refuse(node, path, f"a list of at least {kind.min_length}")
        return [self._item(kind.item_type, item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def _item(self, kind: mi.Type, node: JsonNode, path: str) -> object:
        return {} if node.value is None and may_be_missing(kind) else self.value(kind, node, path)

    def _mapping(self, kind: mi.DictType, node: JsonNode, path: str) -> object:
        names, values = rule_of(kind.key_type), rule_of(kind.value_type)
        assert names, "keys have a rule"
        if not isinstance(node.value, dict):
            is_secret = values is not None and values.is_secret
            return self._refuse(node, path, "an object, in { }", is_secret=is_secret)
        self._note_repeated(node, path)
        good: Good = {}
        for name, member in node.value.items():
            assert member.key, "members have keys"
            self._scalar(names, member.key, path_of(path, name))
            good[name] = self.value(kind.value_type, member, path_of(path, name))
        return good

    def _note_repeated(self, node: JsonNode, path: str) -> None:
        for name in node.repeated:
            self._diagnostics.note(
                path_of(path, name), node.member(name), "is given more than once; the last one counts."
            )

    def _note_unknown(self, node: JsonNode, path: str, known: list[str]) -> None:
        assert isinstance(node.value, dict)
        for name, member in node.value.items():
            if name not in known and not self._diagnostics.has_enough_notices:
                similar = difflib.get_close_matches(name[:64].lower(), known, n=1, cutoff=0.7)
                hint = f"; did you mean {similar[0]}?" if similar else "."
                self._diagnostics.note(
                    path_of(path, name), member, f"is not a field of the format and is ignored{hint}"
                )

    def _refuse(self, node: JsonNode, path: str, accepted: str, *, is_secret: bool = False) -> object:
        self._diagnostics.refuse(path, node, accepted, is_secret=is_secret)
        return REFUSED


def _accepts(kind: mi.Type) -> str:
    rule = rule_of(kind)
    if rule is None and isinstance(kind, mi.Metadata):
        return _accepts(kind.type)
    return rule.accepts if rule else "a list, in [ ]" if isinstance(kind, mi.VarTupleType) else "a value"


def _one_of(choices: object) -> str:
    assert isinstance(choices, tuple | dict)
    return " or ".join(f'"{choice}"' for choice in choices)
