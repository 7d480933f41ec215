"""The cell runner's loop, cell by cell and attempt by attempt, and its process."""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from . import KERNEL_PREFIX, ORDERS_FILE
from .masking import Masker
from .plan import INJECTED, CellPlan, Step, UnusableNotebook, make_plan
from .report import STDERR, Report

EVENTS_FD = "FASTFLOW_CELL_EVENTS_FD"
NOTEBOOK = "main.ipynb"
STOPPED_EXIT_CODE = 128 + signal.SIGTERM
_PR_SET_DUMPABLE = 4


def main() -> int:
    """Execute main.ipynb in the working directory and return the process's exit code."""
    events = int(os.environ.pop(EVENTS_FD))
    _seclude(events)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # nbclient logs what is reported here
    orders = _take_orders()
    env = _kernel_environment(os.environ, orders["python"])
    secrets = [env[name] for name in orders["secrets"] if name in env]
    report = Report(events, Masker(secrets))
    try:
        with open(NOTEBOOK, encoding="utf-8-sig") as file:
            plan = make_plan(file.read(), orders["cells"], orders["parameters"])
        return asyncio.run(_execute(plan, report, orders["python"], env))
    except (UnusableNotebook, UnicodeDecodeError, OSError) as error:
        report.log(str(error), STDERR)
        return 1


def _seclude(events: int) -> None:
    """Keep the event descriptor for this process alone."""
    os.set_inheritable(events, False)
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_DUMPABLE, *map(ctypes.c_ulong, (0, 0, 0, 0)))


def _take_orders() -> Any:
    path = os.environ.pop(ORDERS_FILE)
    with open(path, encoding="utf-8") as file:
        orders = json.load(file)
    with suppress(OSError):
        os.unlink(path)
    return orders


def _kernel_environment(environ: Mapping[str, str], python: str) -> dict[str, str]:
    """Return the run's variables on top of the sandbox's own, with the kernel's environment activated."""
    given = {
        name.removeprefix(KERNEL_PREFIX): value for name, value in environ.items() if name.startswith(KERNEL_PREFIX)
    }
    own = {name: value for name, value in environ.items() if not name.startswith(KERNEL_PREFIX)}
    commands, here = os.path.dirname(python), os.path.dirname(sys.executable)
    path = [each for each in own.get("PATH", os.defpath).split(os.pathsep) if each != here]  # not the cell runner's
    own |= {"VIRTUAL_ENV": os.path.dirname(commands), "PATH": os.pathsep.join([commands, *path])}
    return own | given


async def _execute(plan: CellPlan, report: Report, python: str, env: Mapping[str, str]) -> int:
    # After the orders: importing Jupyter takes a while, and a bad notebook does not need it.
    from .kernel import KERNEL, CannotStart, Kernel

    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    kernel = Kernel(plan.document, report, python, env)
    try:
        await kernel.start()
        report.opened(KERNEL, plan.code_cells)
        _introduce(plan, report)
        for step in plan.steps:
            code = None if stopping.is_set() else await _cell(kernel, step, plan.code_cells, report, stopping)
            if stopping.is_set():
                return STOPPED_EXIT_CODE
            if code is not None:
                return code
    except CannotStart as error:
        report.log(str(error), STDERR)
        return 1
    finally:
        await kernel.close()
    return 0


def _introduce(plan: CellPlan, report: Report) -> None:
    after = -1
    for step in plan.steps:
        if step.cell == INJECTED:
            report.injected(after, step.source)
        after = step.cell
    for note in plan.notes:
        report.log(f"[fastflow] {note}")


async def _cell(kernel: Any, step: Step, cells: int, report: Report, stopping: asyncio.Event) -> int | None:
    """Run all attempts of one cell; return the exit code if the notebook ends here, None if it continues."""
    from .kernel import NotebookEnd

    attempts = step.retries + 1
    is_injected = step.cell == INJECTED
    name = "Parameters of this run" if is_injected else f"Cell {step.cell + 1} of {cells}"
    for attempt in range(1, attempts + 1):
        report.began(step.cell, attempt)
        heading = name if attempt == 1 else f"{name}, attempt {attempt} of {attempts}"
        report.log(f"── {heading}: {step.title} ──" if step.title and not is_injected else f"── {heading} ──")
        if not kernel.is_alive:
            await kernel.start()
            report.noted("The kernel was restarted: variables and imports of earlier cells are gone.")
        failure, count = await kernel.execute(step, stopping)
        if failure is None:
            report.ended("SUCCESS", count=count)
            return None
        if isinstance(failure, NotebookEnd):
            if step.cell + 1 < cells:
                report.noted("The notebook was ended here: later cells do not run.")
            report.ended("SUCCESS", count=count)
            return 0
        if attempt == attempts or stopping.is_set():
            report.ended("FAILED", count=count, is_no_result=failure.is_no_result)
            report.log(f"{name} failed: {failure}", STDERR)
            return int(failure.exit_code)
        report.ended("RETRYING", count=count, delay_s=step.delay_s)
        report.log(f"{name} failed: {failure}; attempt {attempt + 1} starts in {step.delay_s:g} s.", STDERR)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stopping.wait(), step.delay_s)
        if stopping.is_set():
            break
    return 1
