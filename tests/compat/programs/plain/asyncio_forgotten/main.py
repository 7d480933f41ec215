"""A coroutine that is not awaited gets a warning, and an error in a task is reported."""

import asyncio


async def fails():
    raise LookupError("nobody asked")


async def main():
    failed = (await asyncio.gather(fails(), return_exceptions=True))[0]
    print(repr(failed))


asyncio.run(main())
raise SystemExit("the end")
