"""What a notebook is: its format and bounds, what is code, what is Python, and which cells a run executes. Pure.

One file in two places, and a test holds them equal: ``fastflow_contracts/pipelines`` has it for the services, and
``fastflow_runner/guest/cells`` for the sandbox, where nothing of ours is installed. So it imports the standard library
only, and works on plain values: each reader has its own document.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

FORMAT = 4
CELLS_MAX = 1_000
"""Cells of all types."""
PARAMETERS_TAG = "parameters"
"""Tag of the cell whose assignments a run's parameters override."""
INJECTED_TAG = "injected-parameters"
"""Tag of the cell that sets a run's parameters."""


class Layout(NamedTuple):
    """Which cells of a notebook a run executes and shows."""

    kept: tuple[int, ...]
    """Their positions in the document, ascending."""
    parameters: int | None
    """The run's parameters are set after this one of ``kept``; None: nowhere in the notebook."""


def layout(cells: Iterable[tuple[object, object]], *, has_parameters: bool) -> Layout:
    """Lay a notebook out for a run.

    Args:
        cells: Type and tags of each cell, as the document has them.
        has_parameters: Whether the run sets parameters.

    Returns:
        All cells; if parameters are set in the notebook, without the cells that set another run's.
    """
    tagged = [(position, is_code(cell_type), tags) for position, (cell_type, tags) in enumerate(cells)]
    place = next((position for position, code, tags in tagged if code and has_tag(tags, PARAMETERS_TAG)), None)
    if place is None or not has_parameters:
        return Layout(tuple(position for position, *_ in tagged), None)
    kept = tuple(
        position for position, code, tags in tagged if position == place or not (code and has_tag(tags, INJECTED_TAG))
    )
    return Layout(kept, kept.index(place))


def is_code(cell_type: object) -> bool:
    """Return whether a cell of this type is code: only those are executed, counted and retried."""
    return cell_type == "code"


def has_tag(tags: object, tag: str) -> bool:
    """Return whether *tag* is among *tags*, as the document has them: anything but a list has none."""
    return isinstance(tags, (list, tuple)) and tag in tags


def text_of(source: object) -> str:
    """Return the source of a cell as one text: documents have it as a text or as a list of lines."""
    if isinstance(source, str):
        return source
    return "".join(map(str, source)) if isinstance(source, (list, tuple)) else ""


def is_python(kernel: str, display_name: str, language: str) -> bool:
    """Return whether a notebook is written in Python, with any name of its kernel.

    Args:
        kernel: ``kernelspec.name``; empty: not given.
        display_name: ``kernelspec.display_name``.
        language: ``kernelspec.language``, else ``language_info.name``; empty: not given.
    """
    return "python" in (language or f"{kernel or 'python'} {display_name}").lower()
