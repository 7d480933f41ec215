"""A task group with a queue, a timeout and a cancelled task."""

import asyncio


async def work(queue, done):
    while True:
        number = await queue.get()
        await asyncio.sleep(0)
        done.append(number * number)
        queue.task_done()


async def main():
    queue, done = asyncio.Queue(), []
    for number in range(10):
        queue.put_nowait(number)
    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(work(queue, done)) for _ in range(3)]
        await queue.join()
        for worker in workers:
            worker.cancel()
    print(sorted(done), [worker.cancelled() for worker in workers])
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(60)
    except TimeoutError:
        print("timeout")


asyncio.run(main())
