"""The ``fastflow`` command in this process, for what needs no process of its own.

Where a gateway answers it in the same process, call it by ``asyncio.to_thread``, one call after the other.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from fastflow.cli import main
from tests.support.installation import clean


def fastflow(*arguments: str, cwd: Path, data: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, as ``installation.fastflow`` does, a hundred times as fast.

    *data*: the standard input, which is not a terminal.
    """
    given, out, err = (io.TextIOWrapper(io.BytesIO((text or "").encode())) for text in (data, "", ""))
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, clean(environ), clear=True),
        mock.patch.multiple(sys, argv=["fastflow", *arguments], stdin=given, stdout=out, stderr=err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert code is None or isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code or 0, _text(out), _text(err))


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()
