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

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from mmkit.clock import SystemClock
from mmkit.errors import DataError, UsageError
from mmkit.events import MAIN
from mmkit.instruments import Instrument
from mmkit.interfaces import RunInfo
from mmkit.journal import Journal, RunRecord, new_run_folder
from mmkit.recorder import Detail, Nothing, Recorder
from mmkit.report import Report, report_json, report_of
from mmkit.run.advisors.recorded import advice_over
from mmkit.run.assembly import assemble, data_source, section_of, told_of
from mmkit.run.replay import Progress, Tapes, replay
from mmkit.run.session import AdviceFeed, Session, SignalFeed
from mmkit.run.signals.batch import signals_over
from mmkit.sim.latency_files import check_covers, digests
from mmkit.tape import KIND, LAST, FeedStats, GapReason, Kind, Tape, unknown_ns
from mmkit.units import format_time

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.backtest")

EngineChoice = Literal["auto", "compiled", "reference"]

_AT_ONCE = 1 << 20
"""Rows that are looked through at a time."""
_SMALL = 1_000_000
"""Rows, with three for each time the strategy is asked: three seconds on the reference engine, which is
less than the compiled one takes to be compiled, once."""


def load_tapes(config: Config) -> Tapes:
    """Return the recorded market data that the configuration names, of every market, of the time they have in common.

    Raises:
        DataError: if there is none, or it cannot be used.
    """
    return together({market: load_tape(config, market) for market in config.markets})


def load_tape(config: Config, market: str = MAIN) -> Tape:
    """Return all recorded market data of one market.

    Raises:
        DataError: if there is none, or it cannot be used.
        UsageError: if the configuration has no such market.
    """
    if market not in config.markets:
        raise UsageError(
            f"a market of the configuration was expected; found '{market}'; it has {', '.join(config.markets)}"
        )

    async def read() -> Tape:
        source = data_source(config, SystemClock(), market=market)
        try:
            return await source.tape()
        finally:
            await source.close()

    with told_of(market):
        tape = _awaited(read())
        if not len(tape):
            raise DataError("the recorded data holds nothing about this instrument")
        if config.markets[market].gaps == "refuse" and (words := _gaps_in_words(tape)):
            raise DataError(
                f"'data.gaps: refuse' asks for data without gaps; found {words}; 'mmkit data check' names the "
                "places; record anew, or let 'data.gaps: mask' run over them"
            )
        return tape


def _gaps_in_words(tape: Tape) -> str:
    """Return how often and how long the book is unknown, but for the start; empty for never."""
    gaps = [gap for gap in tape.gaps if gap.reason != GapReason.START]
    if not gaps:
        return ""
    count = f"{len(gaps)} gap{'' if len(gaps) == 1 else 's'}"
    return (
        f"{count}, the first at {format_time(gaps[0].begin)}, in which the book is unknown for "
        f"{unknown_ns(gaps) / 1e9:,.3f} s of {(tape.end_ns - tape.start_ns) / 1e9:,.3f} s"
    )


def together(tapes: Tapes) -> Tapes:
    """Return the tapes, cut after the last message that was received before the first of them ends.

    A market whose data has ended would be quoted, and looked at, as it was last.

    Raises:
        DataError: if there is no time of which all of them tell.
    """
    last, end_ns = min(
        ((market, int(tape.ts_local[-1])) for market, tape in tapes.items()), key=lambda one: one[1]
    )
    for market, tape in tapes.items():
        if (first_ns := int(tape.ts_local[0])) > end_ns:
            raise DataError(
                f"recorded data of one time was expected in all markets; that of '{last}' ends at "
                f"{format_time(end_ns)}, and that of '{market}' begins at {format_time(first_ns)}; give each the data of "
                "the same time"
            )
    return {market: _until(tape, end_ns, last) for market, tape in tapes.items()}


def _until(tape: Tape, end_ns: int, last: str) -> Tape:
    rows = int(np.searchsorted(tape.ts_local, end_ns, "right"))
    while rows < len(tape) and not tape.kind[rows - 1] & LAST:
        rows += 1
    left_out = len(tape) - rows
    if not left_out:
        return tape
    note = f"{left_out:,} rows after {format_time(end_ns)} were left out: the data of '{last}' ends there"
    parts: dict[str, npt.NDArray[Any]] = {
        "ts_exchange": tape.ts_exchange[:rows],
        "ts_local": tape.ts_local[:rows],
        "kind": tape.kind[:rows],
        "price": tape.narrow_price[:rows],
        "quantity": tape.narrow_quantity[:rows],
        "large": tape.large,
    }
    stats = replace(tape.stats, notes=[*tape.stats.notes, note])
    return Tape.of_narrow(tape.instrument, stats, parts)


def span_of(tapes: Tapes) -> tuple[int, int]:
    """Return when a run over the tapes begins and ends, ns since the epoch: the first and last time on any clock."""
    return min(t.start_ns for t in tapes.values()), max(t.end_ns for t in tapes.values())


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
    tapes: Tapes | None = None,
    folder: bool = True,
    engine: EngineChoice = "auto",
    detail: Detail = Detail.FILLS,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Run the configured strategy over the configured data.

    Args:
        config: What to run.
        tapes: The market data, if it has been loaded already.
        folder: Whether to leave a run folder under ``userdir/results``.
        engine: ``compiled`` or ``reference``, which give the same results; ``auto`` takes the compiled
            one for large runs, where it can.
        detail: What the journal keeps.
        progress: Told the rows done and the rows in all, now and then.
    """
    tapes = tapes if tapes is not None else load_tapes(config)
    check_covered(config, tapes)
    files = files_of(config)
    now_ns = SystemClock().now_ns()
    path = new_run_folder(config.userdir, "backtest", now_ns) if folder else None
    run = run_info(config, tapes, path)
    config.plugins.run_started(run)
    if path is None:
        report = run_backtest(config, tapes, Nothing(), run, engine=engine, progress=progress)[1]
    else:
        with contextlib.closing(Journal(path, detail=detail)) as journal:
            report = run_backtest(config, tapes, journal, run, engine=engine, progress=progress)[1]
            record = RunRecord(
                info=run,
                start_ns=report.start_ns,
                end_ns=report.end_ns,
                files=files,
            )
            write_run(journal, config, record, report)
    config.plugins.run_finished(run, report)
    return report


def check_covered(config: Config, tapes: Tapes) -> None:
    """Refuse tapes without a book, and a recorded latency that does not cover them.

    Raises:
        DataError: if there is one.
    """
    for name, tape in tapes.items():
        with told_of(name):
            _refuse_bookless(tape)
    for name, market in config.markets.items():
        check_covers(market.sim.latency, *span_of(tapes), section_of(name))


def _refuse_bookless(tape: Tape) -> None:
    """Refuse a tape on which no strategy would ever be asked."""
    if tape.stats.snapshots:
        return
    for start in range(0, len(tape), _AT_ONCE):
        if (tape.kind[start : start + _AT_ONCE] & KIND == Kind.SNAPSHOT).any():
            return
    raise DataError(
        f"{tape.instrument.symbol}: recorded data with a book, or at least best prices, was expected, as a strategy is "
        "asked only while the book is known; found none in it, such as trades alone; add what holds the book of that "
        "time to 'data.paths' (a capture with depth, incremental_book_L2 or book_ticker of Tardis, bookTicker of "
        "data.binance.vision)"
    )


def files_of(config: Config) -> dict[str, str]:
    """Return the SHA-256 of each file that the markets' latencies are read from, by its path.

    Raises:
        DataError: if one cannot be read.
    """
    files: dict[str, str] = {}
    for market in config.markets.values():
        files |= digests(market.sim.latency)
    return files


def run_info(config: Config, tapes: Tapes, folder: Path | None = None) -> RunInfo:
    """Return what plugins are told of a backtest."""
    return RunInfo(
        run_id=folder.name if folder else "",
        command="backtest",
        folder=str(folder or ""),
        instrument=tapes[MAIN].instrument,
        strategy=config.strategy.name,
        others={name: tape.instrument for name, tape in tapes.items() if name != MAIN},
    )


def instruments_of(tapes: Tapes) -> dict[str, Instrument]:
    """Return what is traded in each market."""
    return {market: tape.instrument for market, tape in tapes.items()}


def feeds_of(tapes: Tapes) -> dict[str, FeedStats]:
    """Return what reading each market's feed found, with what its gaps mean for a run."""
    return {market: _with_gaps(tape) for market, tape in tapes.items()}


def _with_gaps(tape: Tape) -> FeedStats:
    words = _gaps_in_words(tape)
    if not words:
        return tape.stats
    note = f"{words}; nothing was quoted then (data.gaps: mask)"
    return replace(tape.stats, notes=[*tape.stats.notes, note])


def run_backtest(
    config: Config,
    tapes: Tapes,
    recorder: Recorder,
    run: RunInfo,
    *,
    engine: EngineChoice = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Session, Report]:
    """Replay the tapes; return the session as it ended, and the results.

    Raises:
        UsageError: if the compiled engine is asked for and cannot run this.
        DataError: if a signal's model cannot be read, or recorded advice is not of this market and time.
        RunError: if a journal cannot be read.
    """
    told: Progress | None = None
    if progress is not None:
        everything = sum(map(len, tapes.values()))

        def told(done: int) -> None:
            progress(done, everything)

    signals, advice = signals_over(config, tapes), advice_over(config, tapes)
    began = time.perf_counter()
    session, ran_on = run_once(
        config, tapes, recorder, told, engine, signals=signals, advice=advice
    )
    wall_s = time.perf_counter() - began
    return session, report_of_backtest(session, run, tapes, wall_s, ran_on)


def report_of_backtest(
    session: Session, run: RunInfo, tapes: Tapes, wall_s: float, ran_on: str
) -> Report:
    """Return the results of a session that has ended."""
    return report_of(
        {market: one.engine for market, one in session.markets.items()},
        run,
        feeds_of(tapes),
        start_ns=span_of(tapes)[0],
        events={market: len(tape) for market, tape in tapes.items()},
        wall_s=wall_s,
        ran_on=ran_on,
        signals=session.signals.figures if session.signals is not None else None,
        advisors=session.advice.figures if session.advice is not None else None,
    )


def run_once(
    config: Config,
    tapes: Tapes,
    recorder: Recorder,
    progress: Progress | None,
    engine: EngineChoice,
    *,
    signals: Callable[[], SignalFeed | None],
    advice: Callable[[], AdviceFeed | None],
) -> tuple[Session, str]:
    """Replay the tapes; return the session as it ended, and which engine did it.

    Args:
        config: What to run.
        tapes: The market data.
        recorder: Is told of commands and events.
        progress: Told how many rows have been replayed.
        engine: Which is to do it.
        signals: Gives the session its signals; called again if the run has to begin anew.
        advice: Gives it its advice.

    Raises:
        UsageError: if the compiled engine is asked for and cannot run this.
    """
    start_ns, end_ns = span_of(tapes)

    def begun() -> Session:
        return assemble(
            config,
            instruments_of(tapes),
            recorder,
            start_ns,
            signals=signals(),
            advice=advice(),
        )

    session = begun()
    why = {"auto": _small(session, tapes, end_ns), "compiled": "", "reference": "asked for"}[engine]
    if not why:
        from mmkit.run.compiled import NotCompiled, replay_compiled, why_not
        from mmkit.sim.kernel.advance import advance

        why = why_not(session, tapes)
        if not why:
            if not advance.signatures:
                _log.info(
                    "the compiled engine is loaded; the first time it is compiled, some twenty seconds"
                )
            try:
                replay_compiled(session, tapes[MAIN], progress)
            except NotCompiled as error:
                why = str(error)
                recorder.begin_anew()
                session = begun()
            else:
                return session, "compiled"
    if engine == "compiled":
        raise UsageError(f"the compiled engine cannot run this: {why}; leave '--engine' out")
    _log.info("the reference engine runs: %s", why)
    replay(session, tapes, progress)
    return session, "reference"


def _small(session: Session, tapes: Tapes, end_ns: int) -> str:
    """Return why the reference is quick enough here; loading compiled code takes a moment, too."""
    every = session.engine.strategy.wake.every
    wakes = (end_ns - session.engine.now) // every if every else 0
    rows = sum(map(len, tapes.values()))
    return "a small run" if rows + 3 * wakes < _SMALL else ""


def write_run(journal: Journal, config: Config, record: RunRecord, report: Report) -> None:
    """Write the files of a run folder that are written once."""
    import yaml

    journal.write_record(record)
    resolved = yaml.safe_dump(config.resolved, sort_keys=False, allow_unicode=True)
    journal.write("config.yml", resolved.encode())
    journal.write("report.json", report_json(report) + b"\n")
