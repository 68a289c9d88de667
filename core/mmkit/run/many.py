"""Many runs over one tape at once: the compiled engine lets go of Python, so they use all processors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from mmkit.errors import UsageError
from mmkit.run.compiled import CompiledRun, why_not
from mmkit.run.session import Session
from mmkit.tape import Tape

Prepare = Callable[[], Session]
"""Makes the session of one run; called when its turn comes."""


def run_many(
    tape: Tape, prepare: Sequence[Prepare], workers: int | None = None
) -> Iterator[tuple[int, Session]]:
    """Run every session over `tape`; yield each with its number as it ends, in no certain order.

    The tape is read by all of them and never copied. Closing the generator, as an exception in the loop around it
    does (Ctrl-C, say), ends what is still running at its next instant.

    Args:
        tape: Recorded market data.
        prepare: One for each run.
        workers: Runs at a time; as many as there are processors unless given.

    Raises:
        UsageError: if a session is one that only the reference engine can run.
        NotCompiled: if a strategy turns out to be.
        StrategyError: if a strategy fails.
    """
    going: dict[int, CompiledRun] = {}
    lock, ended = threading.Lock(), threading.Event()

    def work(number: int) -> Session:
        session = prepare[number]()
        if why := why_not(session, tape):
            raise UsageError(f"many runs at once are compiled, and this one cannot be: {why}")
        run = CompiledRun(session, tape)
        with lock:
            going[number] = run
        if ended.is_set():
            run.stop()
        try:
            run.run(None)
        finally:
            with lock:
                del going[number]
        return session

    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="run")
    futures: dict[Future[Session], int] = {}
    try:
        futures = {pool.submit(work, number): number for number in range(len(prepare))}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        ended.set()
        for future in futures:
            future.cancel()
        with lock:
            for run in going.values():
                run.stop()
        pool.shutdown()
