"""Many schedules with real processes, some of them at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mmkit.run.stopping import on_stop
from mmkit_sandbox.chaosprocess import ProcessChaos, ProcessOutcome


async def run_processes(seeds: range, jobs: int, done: Callable[[ProcessOutcome], None]) -> bool:
    """Run the schedules of seeds; leave no process, however it ends.

    Args:
        seeds: Of them.
        jobs: How many at once.
        done: Is told what became of each, as it has ended.

    Returns:
        Whether all have been run: Ctrl-C and SIGTERM end it before.
    """
    folder = Path(tempfile.mkdtemp(prefix="mmkit-chaos-"))
    waiting = iter(seeds)

    async def work() -> None:
        for seed in waiting:
            own = folder / f"seed-{seed}"
            try:
                outcome = await ProcessChaos(seed, own).run()
            except asyncio.CancelledError:
                shutil.rmtree(own, ignore_errors=True)
                raise
            done(outcome)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(seeds))):
                group.create_task(work())

    working = asyncio.ensure_future(all_of_them())
    asked = False

    def end() -> None:
        nonlocal asked
        # Once is enough; a second time would keep it from cleaning up.
        if not asked:
            asked = True
            working.cancel()

    try:
        with on_stop(end), _quiet():
            await working
    except asyncio.CancelledError:
        return False
    finally:
        with contextlib.suppress(OSError):  # there is something in it to be looked at
            folder.rmdir()
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Have nothing said of what is expected to go wrong: it is in the trace."""
    loggers = [
        logging.getLogger(name) for name in ("mmkit_sandbox.server", "mmkit.live", "asyncio")
    ]
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = True
    try:
        yield
    finally:
        for one, was in zip(loggers, before, strict=True):
            one.disabled = was
