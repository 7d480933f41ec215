"""Reads a pipeline.json into a spec, or into all its problems. Pure; ``discovery`` finds the file."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from fastflow_contracts.pipelines.format.cross_checks import check, type_of
from fastflow_contracts.pipelines.format.diagnostics import Diagnostics, Notice, Problem
from fastflow_contracts.pipelines.format.json_positions import BadJson, parse
from fastflow_contracts.pipelines.format.limit_policy import NO_POLICY, LimitPolicy
from fastflow_contracts.pipelines.format.run_config import PipelineType
from fastflow_contracts.pipelines.format.spec import PipelineSpec
from fastflow_contracts.pipelines.format.struct_reader import Good, read_struct

__all__ = ["MANIFEST_BYTES_MAX", "Manifest", "Notice", "Problem", "read_manifest"]

MANIFEST_BYTES_MAX = 256 * 1024
"""A pipeline's record contains the whole file and must fit in one message."""


class Manifest(NamedTuple):
    """The content of a pipeline.json. ``spec`` is None if and only if there are problems."""

    spec: PipelineSpec | None
    problems: tuple[Problem, ...]
    notices: tuple[Notice, ...]
    type: PipelineType | None
    """Known even if other fields have problems; None if this field or the file is invalid."""


def read_manifest(text: bytes, *, file_name: str, policy: LimitPolicy = NO_POLICY) -> Manifest:
    """Read *text*, which may hold any bytes. Problems and notices name the file *file_name*."""
    diagnostics = Diagnostics(file_name)
    good = _read(text, diagnostics, policy)
    spec = None if good is None or diagnostics.problems else msgspec.convert(good, PipelineSpec)
    return Manifest(spec, diagnostics.problems, diagnostics.notices, None if good is None else type_of(good))


def _read(text: bytes, diagnostics: Diagnostics, policy: LimitPolicy) -> Good | None:
    if len(text) > MANIFEST_BYTES_MAX:
        diagnostics.refuse_file(f"It has {len(text)} bytes; {MANIFEST_BYTES_MAX} are accepted.")
        return None
    try:
        root = parse(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        diagnostics.refuse_file("It must be UTF-8 text; save it as such.", line)
        return None
    except BadJson as error:
        diagnostics.refuse_file(f"It must be JSON: {error}.", error.line)
        return None
    good = read_struct(PipelineSpec, root, diagnostics)
    if good is not None:
        check(good, root, diagnostics, policy)
    return good
