"""A strategy on the live feed with simulated money (dry run)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mmkit.clock import Clock, SystemClock
from mmkit.commands import AnyCommand
from mmkit.errors import ConfigError, Mistake, MmkitError
from mmkit.events import (
    MAIN,
    Advice,
    AnyEvent,
    FeedLost,
    FeedRestored,
    FundingPaid,
    OrderFilled,
    OrderRejected,
    Statistics,
    WatchEvent,
)
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource, RunInfo
from mmkit.journal import Journal, RunRecord, new_run_folder
from mmkit.recorder import Recorder
from mmkit.report import Report, report_json, report_of
from mmkit.run.advisors.live import LiveAdvice, hears_alerts, live_advice
from mmkit.run.advisors.words import advice_line
from mmkit.run.assembly import (
    assemble,
    instruments_of,
    open_sources,
    section_of,
    services,
    told_of,
)
from mmkit.run.backtest import files_of, write_run
from mmkit.run.messages import Messages, messages
from mmkit.run.session import Session
from mmkit.run.signals.live import Live, live_signals
from mmkit.run.stopping import on_stop
from mmkit.settings import FillReports
from mmkit.sim.latency_files import refuse_recorded
from mmkit.tape import NEVER, GapReason, Row
from mmkit.watch.told import figures

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.trade")

_START = GapReason.START.name.lower()

_ANSWERS_WAIT_S = 0.6
"""How long the end of a run waits for the answers to its last cancels: the default latency and
``sim.data_wait`` together are 0.27 s, and Ctrl-C is to take less than a second."""


class LiveRun:
    """What a dry run shows while it goes on; the screen and the log read it.

    Attributes:
        run: Name, instrument, strategy.
        session: Engines and venues.
        clock: The run's clock.
        start_ns: When it began.
        events: Rows received so far, by market.
        messages: Messages received so far.
        feed_latency_ns: ``ts_local - ts_exchange`` of the last message.
        recent: The last events worth a line, oldest first.
    """

    def __init__(self, run: RunInfo, session: Session, clock: Clock, start_ns: int) -> None:
        self.run, self.session, self.clock = run, session, clock
        self.start_ns = start_ns
        self.events = dict.fromkeys(session.markets, 0)
        self.messages = 0
        self.feed_latency_ns = 0
        self.recent: list[tuple[int, str]] = []

    def remember(self, ts_local: int, line: str) -> None:
        """Keep `line` among the last few."""
        self.recent.append((ts_local, line))
        del self.recent[:-8]


Watcher = Callable[[LiveRun], contextlib.AbstractAsyncContextManager[None]]
"""Shows a run while it goes on."""


class _Notes(Recorder):
    """The journal, and a line in the log for what changes the state of the run; some of it is sent on."""

    def __init__(
        self, journal: Journal, instruments: Mapping[str, Instrument], sent: Messages
    ) -> None:
        self._journal, self._instruments, self._sent = journal, instruments, sent
        self._lost: set[str] = set()

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        self._journal.note(entry)
        line = self._line(entry)
        if line is not None:
            _log.info("%s%s", _where(entry.market), line)
        self._send(entry)

    def _send(self, entry: AnyCommand | AnyEvent) -> None:
        market = entry.market
        if isinstance(entry, WatchEvent):
            self._sent.event(entry, self._instruments[market])
        elif isinstance(entry, FeedLost) and entry.reason != _START:
            self._lost.add(market)
            self._sent.say(entry.ts_local, f"{_where(market)}feed_lost reason={entry.reason}")
        elif isinstance(entry, FeedRestored) and market in self._lost:
            self._lost.remove(market)
            self._sent.say(entry.ts_local, f"{_where(market)}feed_restored")

    def _line(self, entry: AnyCommand | AnyEvent) -> str | None:
        instrument = self._instruments[entry.market]
        if isinstance(entry, WatchEvent):
            if isinstance(entry, Statistics):
                return None
            return f"{type(entry).__name__} {figures(entry, instrument)}"
        match entry:
            case OrderFilled():
                return (
                    f"fill order={entry.order_id} quantity={instrument.quantity(entry.quantity)} "
                    f"price={instrument.price(entry.price)} {entry.liquidity} fee={entry.fee.normalize():f}"
                )
            case OrderRejected():
                return f"rejected order={entry.order_id} reason='{entry.reason}'"
            case FundingPaid():
                return (
                    f"funding amount={entry.amount:f} rate={entry.rate:f} mark={entry.mark:f} "
                    f"position={instrument.quantity(entry.position)}"
                )
            case Advice():
                return advice_line(entry)
            case FeedLost():
                return f"feed_lost reason={entry.reason}; quotes pulled"
            case FeedRestored():
                return "feed_restored; the book is known"
            case _:
                return None


def _where(market: str) -> str:
    return "" if market == MAIN else f"market={market} "


async def trade(
    config: Config, *, duration_ns: int | None = None, watcher: Watcher | None = None
) -> tuple[Report, MmkitError | None, bool]:
    """Run until `duration_ns` has passed, Ctrl-C, SIGTERM, or a failure.

    Returns:
        The results; what ended the run early, if something did; and whether it was interrupted.

    Raises:
        MmkitError: if the run could not begin.
    """
    if config.mode == "live":
        found = "trading with real money is not built yet; 'dry_run' was expected"
        raise ConfigError([Mistake("", "mode", found, "leave it out, or say dry_run")])
    clock = SystemClock()
    for name, one in config.markets.items():
        refuse_recorded(one.sim.latency, clock.now_ns(), section_of(name))
    async with (
        messages(config, "trade", clock) as sent,
        services(config, clock) as endpoints,
        open_sources(config, clock, endpoints) as sources,
    ):
        return await _trade(config, sources, endpoints, clock, sent, duration_ns, watcher)


async def _trade(
    config: Config,
    sources: Mapping[str, DataSource],
    endpoints: Mapping[str, str],
    clock: Clock,
    sent: Messages,
    duration_ns: int | None,
    watcher: Watcher | None,
) -> tuple[Report, MmkitError | None, bool]:
    instruments = await instruments_of(sources)
    start_ns = clock.now_ns()
    folder = new_run_folder(config.userdir, "trade", start_ns)
    run = RunInfo(
        run_id=folder.name,
        command="trade",
        folder=str(folder),
        instrument=instruments[MAIN],
        strategy=config.strategy.name,
        others={name: one for name, one in instruments.items() if name != MAIN},
    )
    journal = Journal(folder, market=True)
    watched = sent.wanted or hears_alerts(config)
    signals: Live | None = None
    advice: LiveAdvice | None = None
    try:
        notes = _Notes(journal, instruments, sent)
        signals = live_signals(config, instruments, clock, start_ns)
        advice = live_advice(config, instruments[MAIN], clock, start_ns, endpoints)
        session = assemble(
            config,
            instruments,
            notes,
            start_ns,
            FillReports.AFTER_DATA,
            watched=watched,
            signals=signals,
            advice=advice,
        )
        live = LiveRun(run, session, clock, start_ns)
        record = RunRecord(info=run, start_ns=start_ns, watched=watched, files=files_of(config))
        journal.write_record(record)
        config.plugins.run_started(run)
        symbols = ",".join(one.symbol for one in instruments.values())
        started = f"started run={run.run_id} strategy={run.strategy} symbol={symbols}"
        _log.info("%s", started)
        sent.say(start_ns, f"{started} mode={config.mode}")
        loop = _Loop(live, sources, journal, sent)
        if signals is not None:
            signals.ready = loop.schedule
        if advice is not None:
            advice.engine, advice.ready = session.engine, loop.schedule
        try:
            async with watcher(live) if watcher else contextlib.nullcontext():
                failure, interrupted = await loop.run(duration_ns)
        except Exception as error:
            sent.say(clock.now_ns(), f"ended run={run.run_id} reason='{type(error).__name__}'")
            raise
        if advice is not None:
            # Before the report, which says what was still under way.
            advice.close()
        record.stop_ns, record.end_ns = loop.stop_ns, loop.end_ns
        wall_s = (session.engine.now - start_ns) / 1e9
        report = report_of(
            {market: one.engine for market, one in session.markets.items()},
            run,
            {market: source.stats for market, source in sources.items()},
            start_ns=start_ns,
            events=live.events,
            wall_s=wall_s,
            signals=signals.figures if signals is not None else None,
            advisors=advice.figures if advice is not None else None,
        )
        sent.say(clock.now_ns(), _ended(report, failure, interrupted))
        if not journal.broken:
            journal.flush()
            write_run(journal, config, record, report)
        # Only now: the folder is whole by the time that an answer is waited for.
        await sent.close()
        if sent.wanted:
            report = replace(report, notified=sent.notified)
            if not journal.broken:
                journal.write("report.json", report_json(report) + b"\n")
    finally:
        journal.close()
        if signals is not None:
            signals.close()
        if advice is not None:
            advice.close()
    config.plugins.run_finished(run, report)
    return report, failure, interrupted


def _ended(report: Report, failure: MmkitError | None, interrupted: bool) -> str:
    """Return the results in one line."""
    why = "interrupted" if interrupted else "time was up"
    if failure is not None:
        why = f"{failure}".partition("\n")[0]
    parts = [f"ended run={report.run_id} reason='{why}'"]
    for name, one in ((MAIN, report), *report.markets.items()):
        parts.append(
            f"{_where(name)}orders={one.orders} fills={one.fills} position={one.position:f} "
            f"equity={one.equity:.4f} {one.currency}" + (" halted" if one.halted else "")
        )
    return " ".join(parts)


class _Loop:
    """Hands market data and time to the session as they come, until something ends the run."""

    def __init__(
        self,
        live: LiveRun,
        sources: Mapping[str, DataSource],
        journal: Journal,
        sent: Messages,
    ) -> None:
        self._live, self._session, self._journal = live, live.session, journal
        self._sources, self._sent = sources, sent
        self._going = {name: one.engine for name, one in live.session.markets.items()}
        """Those that had not been halted when they were last looked at."""
        self._clock = live.clock
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER
        self._ended = False
        self._failed: asyncio.Future[None] | None = None
        self.stop_ns: int | None = None
        self.end_ns: int | None = None

    async def run(self, duration_ns: int | None) -> tuple[MmkitError | None, bool]:
        """Return what failed, if something did, and whether a signal ended the run."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        interrupted = asyncio.Event()
        tasks = {
            *(
                loop.create_task(self._pump(market), name=f"market data {market}")
                for market in self._sources
            ),
            loop.create_task(self._keep_journal(), name="journal"),
            loop.create_task(interrupted.wait(), name="signal"),
        }
        waiting: set[asyncio.Future[None]] = {*tasks, self._failed}  # type: ignore[arg-type]
        try:
            with on_stop(interrupted.set):
                self.schedule()
                seconds = None if duration_ns is None else duration_ns / 1e9
                done, _ = await asyncio.wait(
                    waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
                failure = self._failure(done)
                failure = await self._stop() or failure
        finally:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return failure, interrupted.is_set()

    async def _pump(self, market: str) -> None:
        number = list(self._sources).index(market)
        async for rows in self._rows(market):
            self._receive(rows, market, number)

    async def _rows(self, market: str) -> AsyncIterator[list[Row]]:
        """Yield what the market's source does; its errors, and no others, say which market's they are."""
        with told_of(market):
            async for rows in self._sources[market].stream():
                yield rows

    def _receive(self, rows: list[Row], market: str, number: int) -> None:
        if not rows:
            return
        live = self._live
        live.events[market] += len(rows)
        live.messages += 1
        live.feed_latency_ns = rows[-1][1] - rows[-1][0]
        self._journal.market(rows, number)
        self._session.receive(rows, market)
        self._tell_halts()
        self.schedule()

    def _tell_halts(self) -> None:
        halted = [name for name, engine in self._going.items() if engine.halted]
        for name in halted:
            words = f"{_where(name)}halted reason='{self._going.pop(name).halted}'"
            _log.warning("%s; nothing is quoted any more", words)
            self._sent.say(self._clock.now_ns(), words)

    def schedule(self) -> None:
        """See to it that the session is advanced when something is next due."""
        if self._ended:
            return
        due = self._session.next_ns()
        if due == self._timer_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_ns = None, due
        if due != NEVER:
            delay = max(0.0, (due - self._clock.now_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_ns = None, NEVER
        try:
            self._session.advance(self._clock.now_ns())
            self._tell_halts()
            self.schedule()
        except Exception as error:  # noqa: BLE001 - handed to `run`, which ends the run with it
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

    async def _keep_journal(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._journal.flush()

    async def _stop(self) -> MmkitError | None:
        """Pull every quote and wait, not long, for the answers."""
        try:
            now = self._clock.now_ns()
            self._session.advance(now)
            self.stop_ns = now
            self._session.stop(now)
            self.schedule()
            deadline = asyncio.get_running_loop().time() + _ANSWERS_WAIT_S
            while not self._session.idle and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.005)
            self.end_ns = self._clock.now_ns()
            self._session.advance(self.end_ns)
            self._tell_halts()
        except MmkitError as error:
            return error
        return None

    def _failure(self, done: set[asyncio.Future[None]]) -> MmkitError | None:
        """Return the error that ended the run; re-raise one that is no error of ours to explain."""
        for future in done:
            error = future.exception()
            if error is None:
                continue
            if not isinstance(error, MmkitError):
                raise error
            return error
        return None
