"""Many runs over one tape at once: the compiled engine lets go of Python, so they use all processors."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from mmkit.errors import MmkitError, RunError
from mmkit.events import MAIN
from mmkit.run.compiled import CompiledRun, NotCompiled, why_not
from mmkit.run.replay import Tapes, replay
from mmkit.run.session import Session

_log = logging.getLogger("mmkit.backtest")

Prepare = Callable[[], Session]
"""Makes the session of one run; called when its turn comes, and again if it has to begin anew."""


@dataclass(frozen=True)
class Done:
    """One run that has ended.

    Attributes:
        number: Which it was.
        session: As it ended.
        wall_s: How long it took, seconds.
        ran_on: Which engine ran it.
    """

    number: int
    session: Session
    wall_s: float
    ran_on: str


@dataclass(frozen=True)
class Failed:
    """One run that could not go on.

    Attributes:
        number: Which it was.
        error: Why.
    """

    number: int
    error: MmkitError


def run_many(
    tapes: Tapes, prepare: Sequence[Prepare], workers: int | None = None
) -> Iterator[Done | Failed]:
    """Run every session over the tapes; yield each as it ends, in no certain order. One that fails does not end
    the others.

    The tapes are read by all of them and never copied. Closing the generator, as an exception in the loop around it
    does (Ctrl-C, say), ends what is still running.

    Args:
        tapes: Recorded market data, by market.
        prepare: One for each run.
        workers: Runs at a time; as many as there are processors unless given.
    """
    workers = workers or os.cpu_count() or 1
    runs = _Runs(tapes)
    with ThreadPoolExecutor(workers, thread_name_prefix="run") as pool:
        futures: dict[Future[Done], int] = {}
        try:
            for n, each in enumerate(prepare):
                futures[pool.submit(runs.run, n, each)] = n
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, MmkitError):
                    yield Failed(futures[future], error)
                else:
                    yield future.result()
        finally:
            for future in futures:
                future.cancel()
            runs.stop()


class _Runs:
    """The runs that go on, so that they can be ended."""

    def __init__(self, tapes: Tapes) -> None:
        self._tapes = tapes
        self._going: set[CompiledRun] = set()
        self._lock, self._ended = threading.Lock(), threading.Event()

    def run(self, number: int, prepare: Prepare) -> Done:
        """Run one session to its end."""
        began = time.perf_counter()
        session = prepare()
        why = why_not(session, self._tapes)
        if not why:
            try:
                self._run_compiled(session)
            except NotCompiled as error:
                why = str(error)
                session = prepare()
        if why:
            _log.info("the reference engine runs set %d: %s", number + 1, why)
            self._run_reference(session)
        wall_s = time.perf_counter() - began
        return Done(number, session, wall_s, "reference" if why else "compiled")

    def stop(self) -> None:
        """End what goes on at its next instant, and let nothing more begin."""
        self._ended.set()
        with self._lock:
            for run in self._going:
                run.stop()

    def _run_compiled(self, session: Session) -> None:
        run = CompiledRun(session, self._tapes[MAIN])
        with self._lock:
            self._going.add(run)
        if self._ended.is_set():
            run.stop()
        try:
            run.run(None)
        finally:
            with self._lock:
                self._going.discard(run)

    def _run_reference(self, session: Session) -> None:
        def told(done: int) -> None:
            if self._ended.is_set():
                raise RunError("the run was stopped before its end")

        replay(session, self._tapes, told)
