"""Subprocesses and signals in an event loop."""

import asyncio
import os
import signal
import sys


async def main():
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, heard.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await heard.wait()
    code = "import sys; print(sys.stdin.read()[::-1]); sys.exit(2)"
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=pipe, stdout=pipe)
    print(await child.communicate(b"abc"), child.returncode)
    print(await asyncio.to_thread(sum, range(1000)))


asyncio.run(main())
