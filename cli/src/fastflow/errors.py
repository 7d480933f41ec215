"""Errors of the command line, and the exit codes. This module must not import anything heavy."""

from __future__ import annotations

import errno
from typing import Final

from fastflow_contracts.errors import FastFlowError

_ADVICE: Final = {
    errno.ENOSPC: "; free some disk space",
    errno.EDQUOT: "; free some disk space",
    errno.EROFS: "; choose a writable folder with --data-dir",
    errno.EACCES: "; give this user the right to it, or choose another folder",
    errno.EPERM: "; give this user the right to it, or choose another folder",
    errno.EISDIR: "; move this folder away",
    errno.ENOTDIR: "; a file is in the place of a folder: move it away",
    errno.EEXIST: "; a file is in the place of a folder: move it away",
    errno.EFBIG: "; allow larger files: ulimit -f unlimited",
    errno.EMFILE: "; allow more open files: ulimit -n 1024",
    errno.EAGAIN: "; allow this user more processes: ulimit -u",
    errno.ENOMEM: "; free some memory",
}

OK: Final = 0
FAILED: Final = 1
"""The run failed, or the command could not do its work."""
USAGE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 5
INTERRUPTED: Final = 130


class CliError(FastFlowError):
    """Ends the command. The message is shown without a traceback."""

    exit_code = FAILED


class BadUsage(CliError):
    """The command line asks for something impossible."""

    exit_code = USAGE


class NoSuchThing(CliError):
    """There is no such pipeline, run, file or folder."""

    exit_code = NOT_FOUND


class SystemFailed(CliError):
    """The operating system refused something unexpectedly."""

    def __init__(self, error: OSError) -> None:
        where = f"{error.filename}: " if error.filename else ""
        super().__init__(f"{where}{error.strerror or error}{_ADVICE.get(error.errno or 0, '')}.")


class NothingAnswers(CliError):
    """No bus or gateway answers."""

    exit_code = UNREACHABLE
