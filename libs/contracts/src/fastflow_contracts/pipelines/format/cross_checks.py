"""Checks that the values of a pipeline.json fit together. Pure; single values are already checked.

Works on the valid values, so that one report has these findings and those about single values.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from fastflow_contracts.pipelines.format.diagnostics import Findings, path_of
from fastflow_contracts.pipelines.format.json_positions import JsonNode
from fastflow_contracts.pipelines.format.run_config import PipelineType
from fastflow_contracts.pipelines.format.struct_reader import Good
from fastflow_contracts.schedules.schedule import COOLDOWN_S


class _Part(NamedTuple):
    """The pipeline itself or one entry of its schedules: valid values and their position."""

    good: Good
    node: JsonNode
    path: str

    def field(self, name: str) -> tuple[str, JsonNode]:
        return path_of(self.path, name), self.node.member(name)


def check(good: Good, root: JsonNode, findings: Findings) -> None:
    """Report conflicts between the valid values *good*, read from *root*."""
    pipeline = _Part(good, root, "")
    entries = list(_entries(pipeline))
    for part in [pipeline, *entries]:
        _check_window(part, findings)
        _note_idle_interval(part, findings)
        _note_unset_secrets(part, findings)
    _check_unique("id", entries, findings)
    _check_unique("webhook_key", [pipeline, *entries], findings, is_secret=True)
    _note_idle_signatures(pipeline, entries, findings)
    _note_hasty_restarts(pipeline, findings)
    if entries:
        _note_unused(pipeline, _OWN_SCHEDULE, "is not used, because there are schedules.", findings)
    match type_of(good):
        case "notebook":
            for part in [pipeline, *entries]:
                _note_unused(part, _RETRIES, "is not used: a notebook retries cells (see cells).", findings)
        case "script":
            _note_unused(pipeline, ["cells"], 'is not used: only "type": "notebook" has cells.', findings)


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


def _check_window(part: _Part, findings: Findings) -> None:
    start, end = part.good.get("schedule_start"), part.good.get("schedule_end")
    if isinstance(start, datetime) and isinstance(end, datetime) and end < start:
        findings.refuse(*part.field("schedule_end"), "a time that is not before schedule_start")


def _note_idle_interval(part: _Part, findings: Findings) -> None:
    if "schedule_cron" in part.good:
        _note_unused(part, ["schedule_interval_seconds"], "is not used: schedule_cron wins over it.", findings)


def _note_idle_signatures(pipeline: _Part, entries: list[_Part], findings: Findings) -> None:
    """Note signatures without a webhook, and a header for a sender that has its own."""
    for part in [pipeline, *entries]:
        webhook = part.good.get("webhook")
        if not isinstance(webhook, dict):
            continue
        path, node = part.field("webhook")
        users = [pipeline, *entries] if part is pipeline else [part]
        if not any(user.good.get("webhook_key") for user in users):
            findings.note(path, node, "is not used: without a webhook_key there is no webhook.")
        if webhook.get("verify") != "hmac":
            header = _Part(webhook, node, path)
            _note_unused(header, ["header"], 'is not used: only "verify": "hmac" needs it.', findings)


def _note_hasty_restarts(pipeline: _Part, findings: Findings) -> None:
    interval_s, cooldown_s = pipeline.good.get("restart_interval"), pipeline.good.get("restart_cooldown", COOLDOWN_S)
    if isinstance(interval_s, int) and isinstance(cooldown_s, int | float) and interval_s <= cooldown_s:
        text = (
            f"is not longer than restart_cooldown ({cooldown_s:g} s): the daemon is down at least as long as it runs."
        )
        findings.note(*pipeline.field("restart_interval"), text)


def _note_unset_secrets(part: _Part, findings: Findings) -> None:
    tokens = part.good.get("encrypted_env")
    if not isinstance(tokens, dict):
        return
    path, node = part.field("encrypted_env")
    for name, token in tokens.items():
        if not token:
            findings.note(
                path_of(path, name),
                node.member(name),
                "is not a token made by `fastflow encrypt`; the variable stays unset.",
            )


def _check_unique(name: str, parts: list[_Part], findings: Findings, *, is_secret: bool = False) -> None:
    seen: dict[str, str] = {}
    for part in parts:
        text = part.good.get(name)
        if isinstance(text, str):
            path, node = part.field(name)
            first = seen.setdefault(text, path)
            if first != path:
                findings.refuse(path, node, f"a string that differs from {first}", is_secret=is_secret)


def _note_unused(part: _Part, names: list[str], text: str, findings: Findings) -> None:
    for name in names:
        if name in part.good:
            findings.note(*part.field(name), text)
