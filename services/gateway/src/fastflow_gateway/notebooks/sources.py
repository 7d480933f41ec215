"""Reads the notebooks of runs from their bundles, and renders them as before any cell has run. I/O.

Bundles never change, so the rendered notebooks are cached: the ``KEPT_MAX`` last used.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from aiohttp import web
from cachetools import LRUCache
from markupsafe import Markup

from fastflow_contracts.bus.client import Bus
from fastflow_contracts.bus.errors import Rejected
from fastflow_contracts.bus.objects import ObjectStore
from fastflow_contracts.errors import FastFlowError
from fastflow_contracts.pipelines.folder import bundle
from fastflow_contracts.pipelines.folder.discovery import NOTEBOOK
from fastflow_contracts.pipelines.folder.notebook import BadNotebook, Notebook, NotebookCell, read_notebook
from fastflow_contracts.pipelines.folder.notebook_rules import layout
from fastflow_contracts.runs.run import RunRecord
from fastflow_gateway.notebooks import markup

KEPT_MAX: Final = 16
SHOWN_CHARACTERS_MAX: Final = 200_000
"""Shown of one cell on a page; the notebook itself has all of it."""


class NoNotebook(FastFlowError):
    """The run's notebook is gone or unreadable."""


class ShownCell(NamedTuple):
    """One rendered cell. ``cell``: its index among the code cells; None for text."""

    cell: int | None
    html: Markup


class Notebooks:
    """The notebooks of runs."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._shown: LRUCache[tuple[str, bool], tuple[ShownCell, ...]] = LRUCache(KEPT_MAX)

    async def text(self, run: RunRecord) -> bytes:
        """Read the notebook file. Raises ``NoNotebook`` or ``Unavailable``."""
        try:
            data = await ObjectStore(self._bus).get(run.order.bundle)
            return await asyncio.to_thread(bundle.read_file, data, NOTEBOOK)
        except (Rejected, bundle.BundleRefused, KeyError) as error:
            raise NoNotebook(f"the notebook of run {run.id} cannot be read: {error}") from error

    async def sources(self, run: RunRecord) -> list[str]:
        """The texts of the code cells, by the run's cell indexes. Raises ``NoNotebook`` or ``Unavailable``."""
        try:
            notebook = await asyncio.to_thread(read_notebook, await self.text(run))
        except BadNotebook as error:
            raise NoNotebook(f"the notebook of run {run.id} cannot be read: {error}") from error
        return [cell.text for cell in as_run(notebook, run) if cell.is_code]

    async def shown(self, run: RunRecord) -> tuple[ShownCell, ...]:
        """All cells, rendered; empty if the notebook is unreadable. Raises ``Unavailable``."""
        key = (run.order.bundle, bool(run.order.parameter_names))
        if (kept := self._shown.get(key)) is not None:
            return kept
        try:
            text = await self.text(run)
        except NoNotebook:
            return ()
        shown = self._shown[key] = await asyncio.to_thread(_shown, text, run)
        return shown


NOTEBOOKS = web.AppKey("NOTEBOOKS", Notebooks)


def as_run(notebook: Notebook, run: RunRecord) -> tuple[NotebookCell, ...]:
    """The cells of this run: its own parameters replace those of an earlier run."""
    tags = ((cell.cell_type, cell.metadata.tags) for cell in notebook.cells)
    kept, _ = layout(tags, has_parameters=bool(run.order.parameter_names))
    return tuple(notebook.cells[position] for position in kept)


def _shown(text: bytes, run: RunRecord) -> tuple[ShownCell, ...]:
    try:
        notebook = read_notebook(text)
    except BadNotebook:
        return ()
    language = notebook.metadata.kernelspec.language or "python"
    shown: list[ShownCell] = []
    code_cells = 0
    for cell in as_run(notebook, run):
        source = cell.text[:SHOWN_CHARACTERS_MAX]
        if cell.is_code:
            shown.append(ShownCell(code_cells, markup.source(source, language)))
            code_cells += 1
        elif cell.cell_type == "markdown":
            shown.append(ShownCell(None, markup.markdown(source, cell.attachments)))
        else:
            shown.append(ShownCell(None, Markup("<pre>{}</pre>").format(source)))
    return tuple(shown)
