"""The kernel's process: the ipykernel of the pipeline's environment, on that environment's interpreter.

The cell runner starts it as a script. It changes how ipykernel writes: soon, and never more than is read. Unchanged,
ipykernel gathers text for 0.2 s, needs the interpreter's lock to send it, and drops what is not read in time.
``shell`` changes what cells may do.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from typing import Any

FLUSH_S = 0.02
"""Seconds that text is gathered if it is not sent at once."""
AT_ONCE_SHARE = 0.25
"""Share of the time that may go into sending lines before ``write`` returns, so that later code cannot delay them.

Beyond it the text is a flood, and gathered.
"""
AT_ONCE_S = 0.2
"""Seconds of that share that are saved up at most."""
AHEAD_CHARACTERS_MAX = 1_000_000
"""Characters written before they must be sent. Sending waits while the pipe is full."""
AHEAD_MESSAGES_MAX = 10
"""Messages sent and not yet received, at most."""


def main() -> None:
    if os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):  # else PYTHONSAFEPATH is set
        del sys.path[0]
    from ipykernel.kernelapp import IPKernelApp

    class App(IPKernelApp):
        def init_iopub(self, context: Any) -> None:
            # For the sockets made from here on: a message without room waits instead of being dropped.
            context.xpub_nodrop = 1
            context.sndhwm = AHEAD_MESSAGES_MAX
            super().init_iopub(context)  # type: ignore[no-untyped-call]

    # Notebooks look for Jupyter's launcher here, and argparse shows its name.
    launcher = importlib.util.find_spec("ipykernel_launcher")
    sys.argv[0] = launcher.origin if launcher and launcher.origin else "ipykernel_launcher.py"
    app: Any = App.instance()
    app.initialize()
    try:
        _beside("shell").adapt(app.shell)
    except Exception as error:  # an unknown version of IPython
        os.write(2, f"[fastflow] exit and %pip are those of Jupyter with this IPython: {error!r}\n".encode())
    try:
        assert app.iopub_thread.socket.sndhwm == AHEAD_MESSAGES_MAX
        for stream in (sys.stdout, sys.stderr):
            hasten(stream)
            catch(stream)
    except Exception as error:  # an unknown version of ipykernel
        os.write(2, f"[fastflow] output may come late or be lost with this ipykernel: {error!r}\n".encode())
    app.start()


def _beside(name: str) -> Any:
    """Load a file of this folder, and leave no trace: a pipeline may have a module of the same name."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"fastflow_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hasten(stream: Any) -> None:
    """Send lines at once while there are few; never let much text wait."""
    gather = stream.write
    ahead_characters = 0
    saved_s, seen_at = AT_ONCE_S, time.monotonic()

    def write(text: Any) -> Any:
        nonlocal ahead_characters, saved_s, seen_at
        # Half a character would be lost, together with everything sent with it.
        count = gather(text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text)
        ahead_characters += len(text)
        now = time.monotonic()
        saved_s = min(AT_ONCE_S, saved_s + (now - seen_at) * AT_ONCE_SHARE)
        seen_at = now
        if (saved_s > 0 and text.endswith("\n")) or ahead_characters >= AHEAD_CHARACTERS_MAX:
            stream.flush()
            stream.flush()  # the first call sends it, the second one waits until it is sent
            ahead_characters = 0
            seen_at = time.monotonic()
            saved_s -= seen_at - now
        return count

    stream.write = write
    stream.flush_interval = FLUSH_S
    stream.flush_timeout = threading.TIMEOUT_MAX


def catch(stream: Any) -> None:
    """Show what children and libraries write to the descriptor like other output, and show it only once."""
    stream._original_stdstream_copy = os.open(os.devnull, os.O_WRONLY)
    stream.fileno = lambda: stream._original_stdstream_fd


if __name__ == "__main__":
    main()
