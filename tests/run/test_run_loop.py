"""What the loop of a run does with what does not end when it is told to."""

import asyncio

from mmkit.run.loop import end_tasks


def test_a_task_that_swallows_its_cancellation_is_canceled_until_it_ends() -> None:
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while swallowed < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1

    async def run() -> None:
        tasks = {asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(60))}
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await end_tasks(tasks)
        assert all(task.done() for task in tasks)

    asyncio.run(run())
    assert swallowed == 3
