"""One Jupyter kernel at a time, driven by nbclient: cells in, their outputs out, failures as values."""

from __future__ import annotations

import ast
import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from queue import Empty
from typing import Any, NamedTuple

import nbformat
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete, CellExecutionError, DeadKernelError
from nbclient.util import ensure_async

from . import launch
from .plan import Step
from .report import Report

INTERRUPT_S = 5.0
"""Seconds that a cell has to end after KeyboardInterrupt before its kernel is killed."""
SILENCE_S = 0.2
"""Seconds without a message after which a dead kernel's socket counts as empty."""
NEVER_S = 10**9
"""Seconds that nbclient waits for the outputs of an ended cell: no limit, passing them on may take long."""
AHEAD_MESSAGES_MAX = 10
"""Messages that may arrive before they are read; then the kernel waits (``launch``)."""
RESULT_S = 60.0
"""Seconds that the kernel has to write the result."""
KERNEL = "python3"
_EXIT = "SystemExit"
_NO_STDIN = "input() gets no answer in a pipeline; use parameters or environment variables instead"


class Failure(NamedTuple):
    """Why an attempt of a cell failed."""

    name: str
    value: str
    exit_code: int = 1
    """What the notebook ends with."""
    is_no_result: bool = False
    """The cell worked, but its value cannot be the result of the run."""

    def __str__(self) -> str:
        words = " ".join(self.value.split())
        return f"{self.name}: {words[:500]}" if words else self.name


class NotebookEnd(NamedTuple):
    """A cell ended the notebook, successfully: ``exit()``, ``sys.exit(0)``."""


class CannotStart(Exception):
    """No kernel could start; the message says why."""


class _Manager(AsyncKernelManager):
    """Starts kernels in our own way, and reads no installed kernel specs."""

    python = ""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [self.python, launch.__file__, "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")

    def client(self, **kwargs: Any) -> Any:
        return super().client(context=self.context, **kwargs)  # otherwise it makes one, without our bounds


class _Client(NotebookClient):
    """Passes on what the kernel shows instead of keeping it."""

    report: Report

    async def _async_poll_output_msg(self, parent_msg_id: str, cell: Any, cell_index: int) -> None:
        assert self.kc is not None
        while True:
            message = await ensure_async(self.kc.iopub_channel.get_msg(timeout=None))
            if message["parent_header"].get("msg_id") == parent_msg_id:
                try:
                    self.process_message(message, cell, cell_index)
                except CellExecutionComplete:
                    return
            else:
                self._pass_on_stray(message)

    async def pass_on_last_words(self) -> None:
        """Pass on the messages that a dead kernel has left."""
        assert self.kc is not None
        with suppress(Empty):
            while True:
                self._pass_on_stray(await ensure_async(self.kc.iopub_channel.get_msg(timeout=SILENCE_S)))

    def _pass_on_stray(self, message: dict[str, Any]) -> None:
        """Pass on output of a thread that an earlier cell has left behind: it is shown where it happens."""
        if message["msg_type"] in ("stream", "display_data", "update_display_data", "clear_output"):
            self._pass_on(message["msg_type"], message["content"])

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
        elif kind == "error" and not (content["ename"] == _EXIT and not _exit_code(content["evalue"])):
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

    def __init__(self, document: dict[str, Any], report: Report, python: str, env: Mapping[str, str]) -> None:
        """Set up a kernel that has not started.

        Args:
            python: The interpreter that it runs on.
            env: All of its variables.
        """
        self._report = report
        self._env = dict(env)
        self._python = python
        self._client = _Client(
            nbformat.from_dict(document),  # type: ignore[no-untyped-call]
            kernel_name=KERNEL,
            iopub_timeout=NEVER_S,
            resources={"metadata": {"path": os.getcwd()}},
        )
        self._client.report = report
        self._manager: _Manager | None = None
        self._starts = 0
        self.is_alive = False

    async def start(self) -> None:
        """Start a kernel, the first or another one. Raises ``CannotStart``."""
        self._starts += 1
        client = self._client
        # A socket in a directory of our own instead of a port that another process may take first. The path is relative
        # because paths of sockets are short; the kernel starts in this same directory.
        context = zmq.asyncio.Context()
        context.rcvhwm = AHEAD_MESSAGES_MAX
        self._manager = _Manager(kernel_name=KERNEL, transport="ipc", ip=f"../.kernel-{self._starts}", context=context)
        self._manager.python = self._python
        client.km, client.kc = self._manager, None
        try:
            await client.async_start_new_kernel(env=self._env)
            await client.async_start_new_kernel_client()
        except Exception as error:  # nbclient and jupyter_client raise RuntimeError and whatever starting raised
            raise CannotStart(f"the kernel does not start: {error}") from error
        self.is_alive = True

    async def execute(self, step: Step, stopping: asyncio.Event) -> tuple[Failure | NotebookEnd | None, int | None]:
        """Execute one cell; return why it failed or ended the notebook, if it did, and its execution count."""
        cell = self._client.nb.cells[step.position]
        cell["execution_count"] = None
        executing = asyncio.ensure_future(self._execute(cell, step))
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

    async def _execute(self, cell: Any, step: Step) -> Failure | NotebookEnd | None:
        try:
            await self._client.async_execute_cell(cell, step.position)
            if step.is_result:
                return await self._keep_result()
        except CellExecutionError as error:
            if error.ename == _EXIT:
                code = _exit_code(error.evalue)
                return Failure(error.ename, error.evalue, code) if code else NotebookEnd()
            is_input = error.ename == "StdinNotImplementedError"
            return Failure(error.ename, _NO_STDIN if is_input else error.evalue)
        except DeadKernelError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from None  # nbclient takes every cancellation for a death
            await self._client.pass_on_last_words()
            failure = Failure("KernelDied", self._obituary())
            self._report.raised(failure.name, failure.value, [])
            await self.close()
            return failure
        return None

    async def _keep_result(self) -> Failure | None:
        """Make the value of the cell that was just executed the result of the run."""
        client: Any = self._client.kc
        asked = {"kept": "get_ipython().keep_result()"}  # see ``shell``
        reply = await client.execute("", silent=True, user_expressions=asked, reply=True, timeout=RESULT_S)
        answer = reply["content"].get("user_expressions", {}).get("kept", {})
        try:
            problem = ast.literal_eval(answer["data"]["text/plain"])
        except (LookupError, TypeError, ValueError, SyntaxError):
            problem = f"it could not be kept: {answer.get('evalue', 'no answer')}"
        if problem is None:
            self._report.noted("This cell has no value, so it gives the run no result.")
        if not problem:
            return None
        failure = Failure(
            "ResultError", f"the last expression of the cell tagged 'result' is no result: {problem}", is_no_result=True
        )
        self._report.raised(failure.name, failure.value, [])
        return failure

    async def _interrupt(self, executing: asyncio.Future[Failure | NotebookEnd | None]) -> None:
        assert self._manager is not None
        with suppress(Exception):
            await self._manager.interrupt_kernel()
        await asyncio.wait({executing}, timeout=INTERRUPT_S)
        if not executing.done():
            self._report.noted(
                f"The cell did not react to the interrupt within {INTERRUPT_S:g} s; its kernel was killed."
            )
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


def _exit_code(value: str) -> int:
    """Return the exit code that Python gives a process for SystemExit, from the exception's text."""
    if value in ("", "None", "False"):
        return 0
    try:
        return int(value) & 0xFF
    except ValueError:
        return 1
