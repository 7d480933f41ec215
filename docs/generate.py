"""The generated parts of the documents: settings, fields, speed, run states, imports, streams.

``python -m docs.generate`` writes them between their markers; ``--check`` only reports whether they are up to date. A
part stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.field_table import own_markdown, shared_markdown
from nats.js.api import StreamConfig

from fastflow.local.settings_table import markdown as settings_table
from fastflow_contracts.bus.streams import CONSUMERS, STREAMS
from fastflow_contracts.runs.run import EDGES, RunStatus

ROOT = Path(__file__).parent.parent

#: Which of our distributions each one may import, and which third-party package only one of them may import.
MATRIX: Mapping[str, frozenset[str]] = {
    "fastflow_contracts": frozenset(),
    "fastflow_api": frozenset(),
    "fastflow_syncer": frozenset({"fastflow_contracts"}),
    "fastflow_scheduler": frozenset({"fastflow_contracts"}),
    "fastflow_runner": frozenset({"fastflow_contracts"}),
    "fastflow_gateway": frozenset({"fastflow_contracts", "fastflow_api"}),
    "fastflow": frozenset(
        {
            "fastflow_contracts",
            "fastflow_api",
            "fastflow_syncer",
            "fastflow_scheduler",
            "fastflow_runner",
            "fastflow_gateway",
        }
    ),
}


def run_diagram() -> str:
    """Return a Mermaid state diagram, built from the table of edges."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {RunStatus.PENDING}"]
    for source, targets in EDGES.items():
        lines += [f"    {source} --> {target}" for target in sorted(targets) if target is not source]
        if not targets:
            lines.append(f"    {source} --> [*]")
    return "\n".join([*lines, "```"])


def import_matrix() -> str:
    """Return a table in which rows import columns."""
    names = list(MATRIX)
    lines = ["| imports → | " + " | ".join(f"`{name}`" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    for name, allowed in MATRIX.items():
        cells = ["·" if other == name else "yes" if other in allowed else "" for other in names]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def stream_table() -> str:
    """Return every stream with its limits and its durable consumers."""
    lines = ["| stream | subjects | keeps | bounds | consumers |", "|---|---|---|---|---|"]
    for stream in STREAMS:
        readers = [f"`{consumer.name}`" for name, consumer in CONSUMERS if name == stream.name]
        subjects = ", ".join(f"`{subject}`" for subject in stream.subjects or ())
        lines.append(f"| `{stream.name}` | {subjects} | {_keeps(stream)} | {_bounds(stream)} | {', '.join(readers)} |")
    return "\n".join(lines)


def _keeps(stream: StreamConfig) -> str:
    assert stream.retention is not None
    if stream.retention.value == "workqueue":
        return "until acknowledged"
    per_key = stream.max_msgs_per_subject
    if not per_key or per_key < 0:
        return "all"
    return "the last revision of a key" if per_key == 1 else f"the last {per_key} revisions of a key"


def _bounds(stream: StreamConfig) -> str:
    mib, days = (stream.max_bytes or 0) / 1024**2, (stream.max_age or 0) / 86_400
    found = [f"{mib / 1024:g} GiB" if mib >= 1024 else f"{mib:g} MiB"]
    if days:
        found.append("1 day" if days == 1 else f"{days:g} days")
    assert stream.discard is not None
    return ", ".join([*found, "drops the oldest" if stream.discard.value == "old" else "refuses beyond"])


def performance() -> str:
    """Return the latest results of ``make bench``."""
    return (ROOT / "bench" / "results.md").read_text()


PARTS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "settings": ("docs/settings.md", settings_table),
    "performance": ("docs/benchmarks.md", performance),
    "own-fields": ("docs/pipelines.md", own_markdown),
    "shared-fields": ("docs/pipelines.md", shared_markdown),
    "run": ("ARCHITECTURE.md", run_diagram),
    "imports": ("ARCHITECTURE.md", import_matrix),
    "streams": ("ARCHITECTURE.md", stream_table),
}


def outdated() -> list[str]:
    """Return the names of the parts that are out of date."""
    return [name for name, (file, make) in PARTS.items() if _replaced(name, file, make()) != (ROOT / file).read_text()]


def _replaced(name: str, file: str, text: str) -> str:
    pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    document = (ROOT / file).read_text()
    if not pattern.search(document):
        raise SystemExit(f"{file} has no part {name}")
    return pattern.sub(lambda match: f"{match[1]}{text.rstrip()}\n{match[2]}", document)


def main() -> None:
    """Write the parts, or check them."""
    if "--check" in sys.argv:
        if stale := outdated():
            raise SystemExit(f"out of date: {', '.join(stale)}; run `make docs`.")
        return
    for name, (file, make) in PARTS.items():
        (ROOT / file).write_text(_replaced(name, file, make()))


if __name__ == "__main__":
    main()
