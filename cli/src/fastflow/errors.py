"""What goes wrong at the command line, and the exit codes. Nothing heavy may be imported here."""

from __future__ import annotations

from typing import Final

from fastflow_contracts.errors import FastFlowError

OK: Final = 0
FAILED: Final = 1
"""The run failed, or what was asked for could not be done."""
USAGE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 5
INTERRUPTED: Final = 130


class CliError(FastFlowError):
    """Ends the command: the message is shown as it is, without a traceback."""

    exit_code = FAILED


class BadUsage(CliError):
    """The command line asks for something that cannot be."""

    exit_code = USAGE


class NotFound(CliError):
    """There is no such pipeline, run, file or folder."""

    exit_code = NOT_FOUND


class Unreachable(CliError):
    """There is no bus to talk to."""

    exit_code = UNREACHABLE
