"""``make bench``: run every measurement in its own process, one after the other, because they share the machine.

``results.json`` holds the results, ``results.md`` shows them, and docs/benchmarks.md includes that file. Both are
written after each measurement. A measurement that fails or takes too long does not stop the others; the table names it.
``python -m bench start chain`` repeats these and keeps the other results.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from bench.machine import facts
from bench.report import AS_JSON
from bench.table import HEADER, Table

MEASUREMENTS = (
    *("start", "call", "environments", "chain", "burst", "sustained", "leaks", "control_plane", "schedules"),
    *("filter", "logs", "streams", "cells", "reads", "idle"),
)
LIMIT_S = 420.0
"""Time limit of one measurement."""
LIMITS_S = {"call": 900.0, "leaks": 2400.0}
"""Those that need longer."""
END_S = 60.0
"""Time that a stopped measurement has to remove what it has started."""
LAST_LINES = 20
RESULTS = Path(__file__).with_name("results.json")


class Results(msgspec.Struct):
    """``tables`` by measurement; a failed one has its last line of output as the remark."""

    facts: str = ""
    tables: dict[str, Table] = {}


def main() -> None:
    """Run the measurements of the command line, or all."""
    chosen = sys.argv[1:] or MEASUREMENTS
    if unknown := set(chosen) - set(MEASUREMENTS):
        raise SystemExit(f"Unknown measurement {', '.join(unknown)}; choose from {', '.join(MEASUREMENTS)}.")
    results = msgspec.json.decode(RESULTS.read_bytes(), type=Results) if RESULTS.exists() else Results()
    results.facts = facts()
    for name in chosen:
        began = time.perf_counter()
        results.tables[name] = measure(name)
        print(results.tables[name].text, f"\n({name}: {time.perf_counter() - began:.0f} s)\n", flush=True)
        write(results)


def measure(name: str) -> Table:
    """Run one measurement in its own session, so that none of its processes survives it."""
    command, limit_s = [sys.executable, "-m", f"bench.{name}", AS_JSON], LIMITS_S.get(name, LIMIT_S)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            out, said = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it removes in order what it has started
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=END_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return Table(name, (), (f"`bench.{name}` was stopped after {limit_s:g} s.",))
    if process.returncode:
        lines = said.decode(errors="replace").splitlines()[-LAST_LINES:]
        print(*lines, sep="\n", file=sys.stderr)
        return Table(name, (), (f"`bench.{name}` failed: {[f'exit code {process.returncode}', *lines][-1]}",))
    return msgspec.json.decode(out, type=Table)


def write(results: Results) -> None:
    """Write both files completely."""
    tables = [results.tables[name] for name in MEASUREMENTS if name in results.tables]
    remarks = [f"- {remark}" for table in tables for remark in table.remarks]
    text = "\n".join([results.facts, "", HEADER, *(table.rows for table in tables), "", *remarks])
    for path, data in (
        (RESULTS.with_suffix(".md"), text.encode() + b"\n"),
        (RESULTS, msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"),
    ):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.replace(path)


if __name__ == "__main__":
    main()
