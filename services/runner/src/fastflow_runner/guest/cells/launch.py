"""The kernel's process: ipykernel as the pipeline's environment has it, on that environment's interpreter.

Started as a script by the cell runner. What is changed about ipykernel is how it writes: soon, and never more than is
read. By itself it gathers text for 0.2 s, needs the interpreter's lock to send it, and drops what nobody reads in time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

FLUSH_S = 0.02
"""How long text that was not sent at once is gathered."""
AT_ONCE_SHARE = 0.25
"""Of the time, that may be spent on sending lines before ``write`` returns, so that whatever follows cannot hold them
up; more than that is a flood, and gathered."""
AT_ONCE_S = 0.2
"""What is saved up of it at most."""
AHEAD_CHARACTERS_MAX = 1_000_000
"""What is written before it must be sent. Sending waits while nobody reads, as on any pipe."""
AHEAD_MESSAGES_MAX = 10
"""Of those that are sent and not yet taken."""


def main() -> None:
    if os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):  # else PYTHONSAFEPATH is set
        del sys.path[0]
    from ipykernel.kernelapp import IPKernelApp

    class App(IPKernelApp):
        def init_iopub(self, context: Any) -> None:
            # For the sockets that are made from here on: what nobody has room for waits instead of being dropped.
            context.xpub_nodrop = 1
            context.sndhwm = AHEAD_MESSAGES_MAX
            super().init_iopub(context)  # type: ignore[no-untyped-call]

    app: Any = App.instance()
    app.initialize()
    try:
        assert app.iopub_thread.socket.sndhwm == AHEAD_MESSAGES_MAX
        for stream in (sys.stdout, sys.stderr):
            hasten(stream)
            catch(stream)
    except Exception as error:  # another ipykernel than those known
        os.write(2, f"[fastflow] output may come late or be lost with this ipykernel: {error!r}\n".encode())
    app.start()


def hasten(stream: Any) -> None:
    """Send lines at once while there are few; never let much wait."""
    gather = stream.write
    ahead_characters = 0
    saved_s, seen_at = AT_ONCE_S, time.monotonic()

    def write(text: Any) -> Any:
        nonlocal ahead_characters, saved_s, seen_at
        # Half a character would be lost, and all that is sent with it.
        count = gather(text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text)
        ahead_characters += len(text)
        now = time.monotonic()
        saved_s = min(AT_ONCE_S, saved_s + (now - seen_at) * AT_ONCE_SHARE)
        seen_at = now
        if (saved_s > 0 and text.endswith("\n")) or ahead_characters >= AHEAD_CHARACTERS_MAX:
            stream.flush()
            stream.flush()  # the first one has it sent, the second one waits until it is
            ahead_characters = 0
            seen_at = time.monotonic()
            saved_s -= seen_at - now
        return count

    stream.write = write
    stream.flush_interval = FLUSH_S
    stream.flush_timeout = threading.TIMEOUT_MAX


def catch(stream: Any) -> None:
    """What children and libraries write to the descriptor is shown like the rest, and not once more beside it."""
    stream._original_stdstream_copy = os.open(os.devnull, os.O_WRONLY)
    stream.fileno = lambda: stream._original_stdstream_fd


if __name__ == "__main__":
    main()
