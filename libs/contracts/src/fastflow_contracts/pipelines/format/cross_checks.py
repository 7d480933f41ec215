"""Checks that the values of a pipeline.json fit together. Pure; single values are already checked.

Works on the valid values, so that one report has these diagnostics and those about single values.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from fastflow_contracts.pipelines.format.diagnostics import Diagnostics, path_of
from fastflow_contracts.pipelines.format.expression_fields import note_secrets
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.pipelines.format.limit_policy import LimitPolicy
from fastflow_contracts.pipelines.format.run_config import PipelineType
from fastflow_contracts.pipelines.format.struct_reader import Good
from fastflow_contracts.pipelines.format.trigger_checks import check_triggers
from fastflow_contracts.pipelines.parameters.sync_checks import check_parameters
from fastflow_contracts.pipelines.protected_variables import is_protected
from fastflow_contracts.schedules.cron import surprises
from fastflow_contracts.schedules.schedule import COOLDOWN_S


class _Part(NamedTuple):
    """The pipeline itself or one entry of its schedules: valid values and their position."""

    good: Good
    node: JsonNode
    path: str

    def field(self, name: str) -> tuple[str, JsonNode]:
        return path_of(self.path, name), self.node.member(name)


def check(good: Good, root: JsonNode, diagnostics: Diagnostics, policy: LimitPolicy) -> None:
    """Report conflicts between the valid values *good*, read from *root*, and with what *policy* allows."""
    pipeline = _Part(good, root, "")
    entries = list(_entries(pipeline))
    for part in [pipeline, *entries]:
        _check_window(part, diagnostics)
        _check_policy(part, policy, diagnostics)
        _note_surprising_cron(part, diagnostics)
        _note_idle_interval(part, diagnostics)
        _note_unset_secrets(part, diagnostics)
    _check_unique("id", entries, diagnostics)
    _check_unique("webhook_key", [pipeline, *entries], diagnostics, is_secret=True)
    _check_accepted(pipeline, entries, diagnostics)
    check_parameters(good, root, [(entry.good, entry.node) for entry in entries], diagnostics)
    note_secrets(root, diagnostics)
    check_triggers(good, root, [entry.good.get("id") for entry in entries], diagnostics, policy)
    _note_idle_signatures(pipeline, entries, diagnostics)
    _note_hasty_restarts(pipeline, diagnostics)
    if entries:
        _note_unused(pipeline, _OWN_SCHEDULE, "is not used, because there are schedules.", diagnostics)
    match type_of(good):
        case "notebook":
            for part in [pipeline, *entries]:
                _note_unused(part, _RETRIES, "is not used: a notebook retries cells (see cells).", diagnostics)
        case "script":
            _note_unused(pipeline, ["cells"], 'is not used: only "type": "notebook" has cells.', diagnostics)


def type_of(good: Good) -> PipelineType | None:
    """Return the type of the pipeline; None if its value is invalid."""
    match good.get("type", "script"):
        case "notebook":
            return "notebook"
        case "script":
            return "script"
        case _:
            return None


_OWN_SCHEDULE = ["schedule_cron", "schedule_interval_seconds", "schedule_start", "schedule_end"]
_RETRIES = ["retry_attempts", "retry_strategy"]


def _entries(pipeline: _Part) -> Iterator[_Part]:
    schedules = pipeline.good.get("schedules")
    if not isinstance(schedules, list):
        return
    path, node = pipeline.field("schedules")
    for index, good in enumerate(schedules):
        if isinstance(good, dict):
            yield _Part(good, node.item(index), f"{path}[{index}]")


def _check_window(part: _Part, diagnostics: Diagnostics) -> None:
    start, end = part.good.get("schedule_start"), part.good.get("schedule_end")
    if isinstance(start, datetime) and isinstance(end, datetime) and end < start:
        diagnostics.refuse(*part.field("schedule_end"), "a time that is not before schedule_start")


def _check_policy(part: _Part, policy: LimitPolicy, diagnostics: Diagnostics) -> None:
    """Refuse what exceeds the installation's maxima. A timeout of 0, which is none, exceeds each of them."""
    cpu, memory, timeout = (part.good.get(name) for name in ("cpu_hard_limit", "mem_hard_limit", "timeout"))
    if policy.cpu_max is not None and isinstance(cpu, int | float) and cpu > policy.cpu_max:
        diagnostics.refuse(*part.field("cpu_hard_limit"), f"at most {policy.cpu_max:g} cores here (MAX_CPU_LIMIT)")
    if policy.memory_max is not None and isinstance(memory, int) and memory > policy.memory_max:
        most = f"{policy.memory_max / 1024**2:,.10g} MiB"
        diagnostics.refuse(*part.field("mem_hard_limit"), f"at most {most} here (MAX_MEM_LIMIT)")
    if policy.timeout_max is not None and isinstance(timeout, int | float) and not 0 < timeout <= policy.timeout_max:
        most = f"more than 0 and at most {policy.timeout_max:g} seconds here (MAX_TIMEOUT)"
        diagnostics.refuse(*part.field("timeout"), most)


def _check_accepted(pipeline: _Part, entries: list[_Part], diagnostics: Diagnostics) -> None:
    """Refuse to accept from outside what no start may set."""
    accepted = pipeline.good.get("accepts_env")
    if not isinstance(accepted, list):
        return
    tokens = [part.good.get("encrypted_env") for part in [pipeline, *entries]]
    secrets = {name for each in tokens if isinstance(each, dict) for name in each}
    path, node = pipeline.field("accepts_env")
    for index, name in enumerate(accepted):
        where = f"{path}[{index}]", node.item(index)
        if name in secrets:
            diagnostics.refuse(*where, "a name that is not in encrypted_env")
        elif isinstance(name, str) and is_protected(name):
            diagnostics.refuse(*where, "a name that does not change how programs load or reach the network")


def _note_surprising_cron(part: _Part, diagnostics: Diagnostics) -> None:
    for name, instead in (("schedule_cron", "schedule_interval_seconds"), ("restart_interval", "restart_interval")):
        expr = part.good.get(name)
        if isinstance(expr, str):
            for text in surprises(expr, instead):
                diagnostics.note(*part.field(name), text)


def _note_idle_interval(part: _Part, diagnostics: Diagnostics) -> None:
    if "schedule_cron" in part.good:
        _note_unused(part, ["schedule_interval_seconds"], "is not used: schedule_cron wins over it.", diagnostics)


def _note_idle_signatures(pipeline: _Part, entries: list[_Part], diagnostics: Diagnostics) -> None:
    """Note signatures without a webhook, and a header for a sender that has its own."""
    for part in [pipeline, *entries]:
        webhook = part.good.get("webhook")
        if not isinstance(webhook, dict):
            continue
        path, node = part.field("webhook")
        users = [pipeline, *entries] if part is pipeline else [part]
        if not any(user.good.get("webhook_key") for user in users):
            diagnostics.note(path, node, "is not used: without a webhook_key there is no webhook.")
        if webhook.get("verify") != "hmac":
            header = _Part(webhook, node, path)
            _note_unused(header, ["header"], 'is not used: only "verify": "hmac" needs it.', diagnostics)


def _note_hasty_restarts(pipeline: _Part, diagnostics: Diagnostics) -> None:
    interval_s, cooldown_s = pipeline.good.get("restart_interval"), pipeline.good.get("restart_cooldown", COOLDOWN_S)
    if isinstance(interval_s, int) and isinstance(cooldown_s, int | float) and interval_s <= cooldown_s:
        text = (
            f"is not longer than restart_cooldown ({cooldown_s:g} s): the daemon is down at least as long as it runs."
        )
        diagnostics.note(*pipeline.field("restart_interval"), text)


def _note_unset_secrets(part: _Part, diagnostics: Diagnostics) -> None:
    tokens = part.good.get("encrypted_env")
    if not isinstance(tokens, dict):
        return
    path, node = part.field("encrypted_env")
    for name, token in tokens.items():
        if not token:
            diagnostics.note(
                path_of(path, name),
                node.member(name),
                "is not a token made by `fastflow encrypt`; the variable stays unset.",
            )


def _check_unique(name: str, parts: list[_Part], diagnostics: Diagnostics, *, is_secret: bool = False) -> None:
    seen: dict[str, str] = {}
    for part in parts:
        text = part.good.get(name)
        if isinstance(text, str):
            path, node = part.field(name)
            first = seen.setdefault(text, path)
            if first != path:
                diagnostics.refuse(path, node, f"a string that differs from {first}", is_secret=is_secret)


def _note_unused(part: _Part, names: list[str], text: str, diagnostics: Diagnostics) -> None:
    for name in names:
        if name in part.good:
            diagnostics.note(*part.field(name), text)
