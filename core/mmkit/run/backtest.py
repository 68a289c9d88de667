"""A strategy over recorded market data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmkit.clock import SystemClock
from mmkit.errors import DataError, UsageError
from mmkit.interfaces import RunInfo
from mmkit.journal import Journal, RunRecord, new_run_folder
from mmkit.recorder import Detail, Nothing, Recorder
from mmkit.report import Report, report_json, report_of
from mmkit.run.assembly import assemble, data_source
from mmkit.run.replay import Progress, replay
from mmkit.run.session import Session
from mmkit.sim.latency_files import check_covers, digests
from mmkit.tape import Tape

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.backtest")

EngineChoice = Literal["auto", "compiled", "reference"]

_SMALL = 1_000_000
"""Rows, with three for each time the strategy is asked: three seconds on the reference engine, which is
less than the compiled one takes to be compiled, once."""


def load_tape(config: Config) -> Tape:
    """Return the recorded market data that the configuration names."""
    source = data_source(config, SystemClock())

    async def read() -> Tape:
        try:
            return await source.tape()
        finally:
            await source.close()

    tape = _awaited(read())
    if not len(tape):
        raise DataError("the recorded data holds nothing about this instrument")
    return tape


def _awaited(work: Coroutine[Any, Any, Tape]) -> Tape:
    """Do asynchronous work, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def backtest(
    config: Config,
    *,
    tape: Tape | None = None,
    folder: bool = True,
    engine: EngineChoice = "auto",
    detail: Detail = Detail.FILLS,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Run the configured strategy over the configured data.

    Args:
        config: What to run.
        tape: The market data, if it has been loaded already.
        folder: Whether to leave a run folder under ``userdir/results``.
        engine: ``compiled`` or ``reference``, which give the same results; ``auto`` takes the compiled
            one for large runs, where it can.
        detail: What the journal keeps.
        progress: Told the rows done and the rows in all, now and then.
    """
    tape = tape if tape is not None else load_tape(config)
    check_covered(config, tape)
    files = digests(config.sim.latency)
    now_ns = SystemClock().now_ns()
    path = new_run_folder(config.userdir, "backtest", now_ns) if folder else None
    run = run_info(config, tape, path)
    config.plugins.run_started(run)
    if path is None:
        report = run_backtest(config, tape, Nothing(), run, engine=engine, progress=progress)[1]
    else:
        with contextlib.closing(Journal(path, detail=detail)) as journal:
            report = run_backtest(config, tape, journal, run, engine=engine, progress=progress)[1]
            record = RunRecord(info=run, start_ns=tape.start_ns, end_ns=report.end_ns, files=files)
            write_run(journal, config, record, report)
    config.plugins.run_finished(run, report)
    return report


def check_covered(config: Config, tape: Tape) -> None:
    """Refuse a recorded latency that does not cover the tape.

    Raises:
        DataError: if it does not.
    """
    check_covers(config.sim.latency, tape.start_ns, tape.end_ns)


def run_info(config: Config, tape: Tape, folder: Path | None = None) -> RunInfo:
    """Return what plugins are told of a backtest."""
    return RunInfo(
        run_id=folder.name if folder else "",
        command="backtest",
        folder=str(folder or ""),
        instrument=tape.instrument,
        strategy=config.strategy.name,
    )


def run_backtest(
    config: Config,
    tape: Tape,
    recorder: Recorder,
    run: RunInfo,
    *,
    engine: EngineChoice = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Session, Report]:
    """Replay the tape; return the session as it ended, and the results.

    Raises:
        UsageError: if the compiled engine is asked for and cannot run this.
    """
    told: Progress | None = None
    if progress is not None:
        everything = len(tape)

        def told(done: int) -> None:
            progress(done, everything)

    began = time.perf_counter()
    session, ran_on = _replay(config, tape, recorder, told, engine)
    report = report_of(
        session.engine,
        run,
        tape.stats,
        start_ns=tape.start_ns,
        events=len(tape),
        wall_s=time.perf_counter() - began,
        ran_on=ran_on,
    )
    return session, report


def _replay(
    config: Config,
    tape: Tape,
    recorder: Recorder,
    progress: Progress | None,
    engine: EngineChoice,
) -> tuple[Session, str]:
    """Replay the tape; return the session as it ended, and which engine did it."""
    session = assemble(config, tape.instrument, recorder, tape.start_ns)
    why = {"auto": _small(session, tape), "compiled": "", "reference": "asked for"}[engine]
    if not why:
        from mmkit.run.compiled import NotCompiled, replay_compiled, why_not
        from mmkit.sim.kernel.advance import advance

        why = why_not(session, tape)
        if not why:
            if not advance.signatures:
                _log.info(
                    "the compiled engine is loaded; the first time it is compiled, some ten seconds"
                )
            try:
                replay_compiled(session, tape, progress)
            except NotCompiled as error:
                why = str(error)
                recorder.begin_anew()
                session = assemble(config, tape.instrument, recorder, tape.start_ns)
            else:
                return session, "compiled"
    if engine == "compiled":
        raise UsageError(f"the compiled engine cannot run this: {why}; leave '--engine' out")
    _log.info("the reference engine runs: %s", why)
    replay(session, tape, progress)
    return session, "reference"


def _small(session: Session, tape: Tape) -> str:
    """Return why the reference is quick enough here; loading compiled code takes a moment, too."""
    every = session.engine.strategy.wake.every
    wakes = (int(tape.ts_local[-1]) - session.engine.now) // every if every else 0
    return "a small run" if len(tape) + 3 * wakes < _SMALL else ""


def write_run(journal: Journal, config: Config, record: RunRecord, report: Report) -> None:
    """Write the files of a run folder that are written once."""
    import yaml

    journal.write_record(record)
    resolved = yaml.safe_dump(config.resolved, sort_keys=False, allow_unicode=True)
    journal.write("config.yml", resolved.encode())
    journal.write("report.json", report_json(report) + b"\n")
