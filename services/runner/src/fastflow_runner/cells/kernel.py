"""One Jupyter kernel at a time, driven by nbclient: cells in, what they show out, failures as values."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import nbformat
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellExecutionError, DeadKernelError
from nbclient.util import ensure_async

from .plan import BadNotebook, Step
from .report import Report

INTERRUPT_S = 5.0
"""What a cell gets to end itself, with KeyboardInterrupt, before its kernel is killed."""
LAST_OUTPUTS_S = 60
"""How long the outputs of a cell that has ended may take to arrive."""
FLUSH_S = 0.05
_SETUP = f"""exec('''
import sys
for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "flush_interval"):
        stream.flush_interval = {FLUSH_S}
''', {{}})"""
_NO_STDIN = "nobody is there to answer input() in a pipeline; use parameters or environment variables instead"


class Failure(NamedTuple):
    """Why an attempt of a cell failed."""

    name: str
    value: str

    def __str__(self) -> str:
        words = " ".join(self.value.split())
        return f"{self.name}: {words[:500]}" if words else self.name


class CannotStart(Exception):
    """There is no kernel; the message says why."""


class _Client(NotebookClient):
    """Passes on what the kernel shows instead of keeping it."""

    report: Report

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> None:
        kind, content = msg["msg_type"], msg["content"]
        if kind == "status":
            if content["execution_state"] == "idle":
                raise CellExecutionComplete
        elif kind == "execute_input":
            cell["execution_count"] = content.get("execution_count")
        else:
            self._pass_on(kind, content)

    def _pass_on(self, kind: str, content: Mapping[str, Any]) -> None:
        if kind in ("stream", "display_data", "execute_result", "error") and self.clear_before_next_output:
            self.clear_before_next_output = False
            self.report.cleared()
        display = (content.get("transient") or {}).get("display_id")
        if kind == "stream":
            self.report.wrote(content["name"], content["text"])
        elif kind in ("display_data", "execute_result"):
            self.report.showed(content["data"], is_result=kind == "execute_result", display=display)
        elif kind == "update_display_data" and display:
            self.report.redrew(content["data"], display)
        elif kind == "error":
            is_input = content["ename"] == "StdinNotImplementedError"
            value = _NO_STDIN if is_input else content["evalue"]
            self.report.raised(content["ename"], value, content.get("traceback") or [])
        elif kind == "clear_output":
            if content.get("wait"):
                self.clear_before_next_output = True
            else:
                self.report.cleared()


class Kernel:
    """The kernel of one notebook. ``is_alive`` is False before ``start`` and after its death."""

    def __init__(self, document: dict[str, Any], report: Report, env: Mapping[str, str]) -> None:
        self._report = report
        self._env = dict(env)
        self.name = kernel_name(document.get("metadata") or {})
        self._client = _Client(
            nbformat.from_dict(document),  # type: ignore[no-untyped-call]
            kernel_name=self.name,
            iopub_timeout=LAST_OUTPUTS_S,
            resources={"metadata": {"path": os.getcwd()}},
        )
        self._client.report = report
        self._manager: AsyncKernelManager | None = None
        self._starts = 0
        self.is_alive = False

    async def start(self) -> None:
        """Start one, or another one. Raises ``CannotStart``."""
        self._starts += 1
        client = self._client
        # A socket of our own directory instead of a port that somebody else may take first. Relative, because paths
        # of sockets are short; the kernel starts in this very directory.
        context = zmq.asyncio.Context()
        context.rcvhwm = 0  # what was shown must not be lost because much was shown
        self._manager = AsyncKernelManager(
            kernel_name=self.name, transport="ipc", ip=f"../.kernel-{self._starts}", context=context
        )
        client.km, client.kc = self._manager, None
        try:
            await client.async_start_new_kernel(env=self._env)
            kc = await client.async_start_new_kernel_client()
        except Exception as error:  # nbclient and jupyter_client raise RuntimeError and whatever starting raised
            raise CannotStart(f"The kernel {self.name} does not start: {error}") from error
        if self.name.startswith("python"):
            kc.execute(_SETUP, silent=True, store_history=False)
        self.is_alive = True

    async def execute(self, step: Step, stopping: asyncio.Event) -> tuple[Failure | None, int | None]:
        """Execute one cell; why it failed, if it did, and its execution count."""
        cell = self._client.nb.cells[step.position]
        cell["execution_count"] = None
        executing = asyncio.ensure_future(self._execute(cell, step.position))
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            done, _ = await asyncio.wait(
                {executing, stopped}, timeout=step.timeout_s or None, return_when=asyncio.FIRST_COMPLETED
            )
            if executing in done:
                failure = executing.result()
            else:
                failure = Failure("Stopped", "the run was stopped")
                if stopped not in done:
                    failure = Failure("CellTimeout", f"it took longer than its timeout of {step.timeout_s:g} s")
                await self._interrupt(executing)
                self._report.raised(failure.name, failure.value, [])
        finally:
            stopped.cancel()
            executing.cancel()
        return failure, cell.get("execution_count")

    async def close(self) -> None:
        """End the kernel, if there is one."""
        client, manager = self._client, self._manager
        self.is_alive = False
        if manager is None:
            return
        with suppress(Exception):  # it may be dead, or half started
            if client.kc is not None:
                client.kc.stop_channels()
            if manager.has_kernel:
                await manager.shutdown_kernel(now=True)
            await ensure_async(manager.cleanup_resources())
        self._manager = client.km = client.kc = None

    async def _execute(self, cell: Any, position: int) -> Failure | None:
        try:
            await self._client.async_execute_cell(cell, position)
        except CellExecutionError as error:
            is_input = error.ename == "StdinNotImplementedError"
            return Failure(error.ename, _NO_STDIN if is_input else error.evalue)
        except DeadKernelError:
            failure = Failure("KernelDied", self._obituary())
            self._report.raised(*failure, [])
            await self.close()
            return failure
        return None

    async def _interrupt(self, executing: asyncio.Future[Failure | None]) -> None:
        assert self._manager is not None
        with suppress(Exception):
            await self._manager.interrupt_kernel()
        await asyncio.wait({executing}, timeout=INTERRUPT_S)
        if not executing.done():
            self._report.noted(f"The cell did not heed the interrupt within {INTERRUPT_S:g} s; its kernel was killed.")
            executing.cancel()
            await self.close()

    def _obituary(self) -> str:
        provisioner = getattr(self._manager, "provisioner", None)
        code = getattr(getattr(provisioner, "process", None), "returncode", None)
        if code == -9:
            return "the kernel was killed (signal 9), which happens when memory runs out"
        if code is not None and code < 0:
            return f"the kernel was killed by signal {-code}"
        return "the kernel died" if code is None else f"the kernel ended with exit code {code}"


def kernel_name(metadata: Mapping[str, Any]) -> str:
    """The kernel to use. Whatever a Python notebook calls its kernel, it gets the environment's own interpreter.

    Raises ``BadNotebook`` if it needs one that the environment does not have.
    """
    spec = metadata.get("kernelspec") or {}
    name = str(spec.get("name") or "python3")
    language = str(spec.get("language") or (metadata.get("language_info") or {}).get("name") or "")
    words = language or f"{name} {spec.get('display_name') or ''}"
    if "python" in words.lower():
        return "python3"
    try:
        KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        raise BadNotebook(
            f"main.ipynb asks for the kernel {name!r}{f' ({language})' if language else ''}, which its environment "
            "does not have; choose a Python kernel and save it, or add the kernel's package to requirements.txt."
        ) from None
    return name
