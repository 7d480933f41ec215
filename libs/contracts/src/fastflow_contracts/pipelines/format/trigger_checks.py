"""Checks that the values of ``triggers`` fit together and to the pipeline. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fastflow_contracts.pipelines.format.diagnostics import Diagnostics, path_of
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.pipelines.format.limit_policy import LimitPolicy
from fastflow_contracts.pipelines.format.struct_reader import Good

TRIGGERS_MAX: Final = 100
"""Of one pipeline: each reads its stream on its own, and all share how often schedulers look."""


def check_triggers(
    good: Good, root: JsonNode, entry_ids: Iterable[Any], diagnostics: Diagnostics, policy: LimitPolicy
) -> None:
    """Report what does not fit in the valid values *good*, read from *root*. *entry_ids*: those of ``schedules``."""
    triggers = good.get("triggers")
    if not isinstance(triggers, list):
        return
    if len(triggers) > TRIGGERS_MAX:
        diagnostics.refuse("triggers", root.member("triggers"), f"at most {TRIGGERS_MAX} triggers")
    known, seen = set(entry_ids), dict[str, str]()
    for index, trigger in enumerate(triggers):
        if not isinstance(trigger, dict):
            continue
        path, node = f"triggers[{index}]", root.member("triggers").item(index)

        def refuse(name: str, accepted: str, path: str = path, node: JsonNode = node) -> None:
            diagnostics.refuse(path_of(path, name), node.member(name), accepted)

        if isinstance(trigger_id := trigger.get("id"), str):
            first = seen.setdefault(trigger_id, path)
            if first != path:
                refuse("id", f"a string that differs from {first}.id")
        subject = trigger.get("subject")
        if isinstance(subject, str) and (accepted := policy.subject_fault(subject)):
            refuse("subject", accepted)
        config = trigger.get("run_config_id")
        if isinstance(config, str) and config not in known:
            refuse("run_config_id", "one of the pipeline's schedules[].id")
        if isinstance(trigger.get("batch"), dict):
            if trigger.get("key") is not None:
                refuse("key", "no key beside batch: a batch has messages of any key")
            if trigger.get("debounce_seconds") is not None:
                refuse("debounce_seconds", "either batch or debounce_seconds")
