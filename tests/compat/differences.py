"""The differences that are meant, each with its reason: what stands in ``docs/compatibility.md``. Pure.

A test expects each of them. One that has gone must leave this list and the page.
"""

from __future__ import annotations

from typing import Final

import msgspec

SANDBOXES: Final = ("process", "docker")


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """``fields`` are the fields of an outcome that differ; ``sentence`` stands in the page, word for word."""

    program: str
    fields: frozenset[str]
    sentence: str
    sandboxes: tuple[str, ...] = SANDBOXES
    only_on_debians_python: bool = False
    """Where uv can have no interpreter, containers run on that of the worker image."""


_DEBIANS: Final = "Where uv can have none, containers run on Debian's, without `ensurepip` and tkinter."
DIFFERENCES: Final = (
    Difference(
        program="unflushed_output",
        fields=frozenset({"stdout"}),
        sentence="Each text is in the log when it is printed, also if the script ends without flushing.",
    ),
    Difference(
        program="files_outside",
        fields=frozenset({"stdout"}),
        sentence="Only the pipeline's own folder is there.",
    ),
    Difference(
        program="files_of_tools",
        fields=frozenset({"stdout", "files"}),
        sentence="They stay behind; other folders that begin with a dot travel.",
    ),
    Difference(
        program="home_folder",
        fields=frozenset({"stdout"}),
        sentence="The home folder is writable, and new in each run.",
    ),
    Difference(
        program="programs_of_the_machine",
        fields=frozenset({"stdout"}),
        sandboxes=("docker",),
        sentence="In a container a run has the programs of the worker image.",
    ),
    Difference(
        program="standard_library",
        fields=frozenset({"stdout"}),
        sandboxes=("docker",),
        only_on_debians_python=True,
        sentence=_DEBIANS,
    ),
    Difference(
        program="virtual_environment",
        fields=frozenset({"stdout", "stderr", "exit_code"}),
        sandboxes=("docker",),
        only_on_debians_python=True,
        sentence=_DEBIANS,
    ),
    Difference(
        program="notebook_input",
        fields=frozenset({"cells"}),
        sentence="`input()` fails in the same way, and says what to use instead.",
    ),
    Difference(
        program="notebook_exit",
        fields=frozenset({"cells"}),
        sentence="A sentence under the cell says that the notebook ended there.",
    ),
    Difference(
        program="notebook_exit_code",
        fields=frozenset({"exit_code"}),
        sentence="The run has exit code 3, as a script would have.",
    ),
)


def expected(program: str, sandbox: str, *, on_debians_python: bool) -> frozenset[str]:
    """Return the fields in which this program differs in this sandbox."""
    meant = (
        difference.fields
        for difference in DIFFERENCES
        if difference.program == program
        and sandbox in difference.sandboxes
        and on_debians_python >= difference.only_on_debians_python
    )
    return frozenset().union(*meant)
