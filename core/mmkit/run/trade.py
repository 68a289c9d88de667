"""A strategy on the live feed: with simulated money (dry run), or with real orders (live)."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mmkit.accounts import AccountInfo
from mmkit.clock import Clock, SystemClock
from mmkit.commands import AnyCommand
from mmkit.engine import Engine
from mmkit.errors import ConfigError, Mistake, MmkitError, RunError, UsageError
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
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import Context, DataSource, RunInfo
from mmkit.journal import Journal, RunRecord, new_run_folder
from mmkit.kill_switches import MaxLossPerDay
from mmkit.order_limits import (
    CountLimit,
    Funds,
    FundsThere,
    MaxOpenOrders,
    MinNotional,
    ValueLimit,
)
from mmkit.recorder import Recorder
from mmkit.report import Report, report_json, report_of
from mmkit.run.accounts import Account, accounts
from mmkit.run.accounts import figures as figures_of_accounts
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
from mmkit.run.daily_loss import DailyLoss
from mmkit.run.loop import LiveRun, Loop, Watcher, where
from mmkit.run.messages import Messages, messages
from mmkit.run.signals.live import Live, live_signals
from mmkit.run.stopping import on_stop
from mmkit.settings import FillReports
from mmkit.sim.latency_files import refuse_recorded
from mmkit.tape import GapReason
from mmkit.watch.told import figures

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.trade")

_START = GapReason.START.name.lower()


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
            _log.info("%s%s", where(entry.market), line)
        self._send(entry)

    def _send(self, entry: AnyCommand | AnyEvent) -> None:
        market = entry.market
        if isinstance(entry, WatchEvent):
            self._sent.event(entry, self._instruments[market])
        elif isinstance(entry, FeedLost) and entry.reason != _START:
            self._lost.add(market)
            self._sent.say(entry.ts_local, f"{where(market)}feed_lost reason={entry.reason}")
        elif isinstance(entry, FeedRestored) and market in self._lost:
            self._lost.remove(market)
            self._sent.say(entry.ts_local, f"{where(market)}feed_restored")

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
                said = f"funding amount={entry.amount:f}"
                if entry.rate is None or entry.mark is None or entry.position is None:
                    return said
                held = instrument.quantity(entry.position)
                return f"{said} rate={entry.rate:f} mark={entry.mark:f} position={held}"
            case Advice():
                return advice_line(entry)
            case FeedLost():
                return f"feed_lost reason={entry.reason}; quotes pulled"
            case FeedRestored():
                return "feed_restored; the book is known"
            case _:
                return None


async def trade(
    config: Config,
    *,
    duration_ns: int | None = None,
    watcher: Watcher | None = None,
    confirmed: bool = False,
) -> tuple[Report, MmkitError | None, bool]:
    """Run until `duration_ns` has passed, Ctrl-C, SIGTERM, ``mmkit stop``, or a failure.

    Args:
        config: Of the run.
        duration_ns: How long.
        watcher: Shows it.
        confirmed: Whether somebody has agreed to real orders; without it none are sent.

    Returns:
        The results; what ended the run early, if something did; and whether it was interrupted.

    Raises:
        MmkitError: if the run could not begin.
    """
    refuse_unready(config, confirmed=confirmed)
    clock = SystemClock()
    for name, one in config.markets.items():
        refuse_recorded(one.sim.latency, clock.now_ns(), section_of(name))
    async with (
        contextlib.AsyncExitStack() as signals,
        messages(config, "trade", clock) as sent,
        services(config, clock) as endpoints,
        open_sources(config, clock, endpoints) as sources,
    ):
        instruments = await instruments_of(sources)
        folder = new_run_folder(config.userdir, "trade", clock.now_ns())
        async with contextlib.AsyncExitStack() as stack:
            opened: Mapping[str, Account] | None = None
            if config.mode == "live":
                opened = await stack.enter_async_context(
                    accounts(config, instruments, clock, endpoints, folder)
                )
            run = _Run(config, instruments, sources, endpoints, clock, sent, folder, opened)
            # Minded until everything is closed: a second Ctrl-C takes nothing away from what the first has begun.
            return await run.to_its_end(duration_ns, watcher, signals)


def refuse_unready(config: Config, *, confirmed: bool) -> None:
    """Refuse real orders that nobody has confirmed, or that a configuration is not fit for.

    Raises:
        ConfigError: with everything that is missing.
        UsageError: if nobody has confirmed them.
    """
    if config.mode != "live":
        return
    if config.keeps_from_live:
        raise ConfigError(config.keeps_from_live)
    if not confirmed:
        raise UsageError("real orders were to be confirmed, and were not; nothing has been sent")


class _Run:
    """One run on live data, from its parts to its report."""

    def __init__(
        self,
        config: Config,
        instruments: Mapping[str, Instrument],
        sources: Mapping[str, DataSource],
        endpoints: Mapping[str, str],
        clock: Clock,
        sent: Messages,
        folder: Path,
        opened: Mapping[str, Account] | None,
    ) -> None:
        self._config, self._instruments, self._sources = config, instruments, sources
        self._clock, self._sent, self._opened = clock, sent, opened
        self._endpoints = endpoints
        self._watched = sent.wanted or hears_alerts(config)
        self._start_ns = clock.now_ns()
        self._info = RunInfo(
            run_id=folder.name,
            command="trade",
            folder=str(folder),
            instrument=instruments[MAIN],
            strategy=config.strategy.name,
            others={name: one for name, one in instruments.items() if name != MAIN},
        )
        self._journal = Journal(folder, market=True)
        self._signals: Live | None = None
        self._advice: LiveAdvice | None = None
        self._days: list[DailyLoss] = []

    async def to_its_end(
        self,
        duration_ns: int | None,
        watcher: Watcher | None,
        signals: contextlib.AsyncExitStack,
    ) -> tuple[Report, MmkitError | None, bool]:
        """Run, and write down what came of it; return what `trade` does."""
        try:
            live = self._assembled()
            loop = Loop(live, self._sources, self._journal, self._sent, self._keep_days)
            if self._signals is not None:
                self._signals.ready = loop.schedule
            if self._advice is not None:
                self._advice.engine, self._advice.ready = live.session.engine, loop.schedule
            record = self._begun()
            signals.enter_context(on_stop(loop.interrupted))
            try:
                async with watcher(live) if watcher else contextlib.nullcontext():
                    failure = await loop.run(duration_ns)
            except Exception as error:
                self._tell(f"ended run={self._info.run_id} reason='{type(error).__name__}'")
                raise
            if self._advice is not None:
                # Before the report, which says what was still under way.
                self._advice.close()
            record.stop_ns, record.end_ns = loop.stop_ns, loop.end_ns
            record.pauses = loop.pauses
            report = await self._reported(live, loop)
            failure = failure or _of_what_is_left(report) or _of_what_lasts(live)
            self._tell(_ended(report, failure, loop.ended_by))
            if not self._journal.broken:
                self._journal.flush()
                write_run(self._journal, self._config, record, report)
            # Only now: the folder is whole by the time that an answer is waited for.
            await self._sent.close()
            if self._sent.wanted:
                report = replace(report, notified=self._sent.notified)
                if not self._journal.broken:
                    self._journal.write("report.json", report_json(report) + b"\n")
        finally:
            self._journal.close()
            for feed in (self._signals, self._advice):
                if feed is not None:
                    feed.close()
        self._config.plugins.run_finished(self._info, report)
        return report, failure, loop.ended_by == "interrupted"

    def _assembled(self) -> LiveRun:
        config, opened = self._config, self._opened
        self._signals = live_signals(config, self._instruments, self._clock, self._start_ns)
        self._advice = live_advice(
            config, self._instruments[MAIN], self._clock, self._start_ns, self._endpoints
        )
        session = assemble(
            config,
            self._instruments,
            _Notes(self._journal, self._instruments, self._sent),
            self._start_ns,
            FillReports.AFTER_DATA,
            watched=self._watched,
            signals=self._signals,
            advice=self._advice,
            accounts={name: one.venue for name, one in opened.items()} if opened else None,
        )
        for name, account in (opened or {}).items():
            with told_of(name):
                self._days += _set_out(session.markets[name].engine, account)
        endpoint = ", ".join(dict.fromkeys(one.endpoint for one in (opened or {}).values()))
        return LiveRun(self._info, session, self._clock, self._start_ns, config.mode, endpoint)

    def _begun(self) -> RunRecord:
        record = RunRecord(
            info=self._info,
            start_ns=self._start_ns,
            watched=self._watched,
            files=files_of(self._config),
        )
        self._journal.write_record(record)
        self._config.plugins.run_started(self._info)
        symbols = ",".join(one.symbol for one in self._instruments.values())
        started = f"started run={self._info.run_id} strategy={self._info.strategy} symbol={symbols}"
        _log.info("%s", started)
        self._tell(f"{started} mode={self._config.mode}")
        return record

    async def _reported(self, live: LiveRun, loop: Loop) -> Report:
        session = live.session
        report = report_of(
            {market: one.engine for market, one in session.markets.items()},
            self._info,
            {market: source.stats for market, source in self._sources.items()},
            start_ns=self._start_ns,
            events=live.events,
            wall_s=(session.engine.now - self._start_ns) / 1e9,
            signals=self._signals.figures if self._signals is not None else None,
            advisors=self._advice.figures if self._advice is not None else None,
        )
        if self._opened:
            report = replace(report, live=await figures_of_accounts(self._opened, loop.left))
        return report

    def _keep_days(self) -> None:
        for one in self._days:
            one.keep()

    def _tell(self, words: str) -> None:
        self._sent.say(self._clock.now_ns(), words)


def _set_out(engine: Engine, account: Account) -> list[DailyLoss]:
    """Give an engine what the account has, and what the venue asks of orders; return what counts the loss of the day.

    Raises:
        RunError: if the day has been stopped already.
    """
    books, instrument = account.venue.books, account.instrument
    outside = instrument.lots(books.anchor.position) if books.anchor is not None else 0
    days = [
        DailyLoss(check, engine, books.ledger, account.store, account.path, outside)
        for _, check in engine.risk.checks
        if isinstance(check, MaxLossPerDay)
    ]
    engine.begin_with(account.position, account.dust)
    for one in days:
        one.begin(account.position, account.dust)
    engine.funds = account.funds
    info, context = account.info, Context(account.instrument)
    if info.orders_per_10s is not None:
        engine.quoter.orders_per_10s = info.orders_per_10s
    if info.min_notional:
        engine.risk.add(
            "venue_min_notional", MinNotional(ValueLimit(limit=info.min_notional), context)
        )
    if info.max_open_orders is not None:
        engine.risk.add(
            "venue_max_open_orders", MaxOpenOrders(CountLimit(limit=info.max_open_orders), context)
        )
    told = account.instrument.kind is ContractKind.SPOT or info.leverage is not None
    if (
        told
        and not info.multi_assets
        and not any(name == "balance" for name, _ in engine.risk.checks)
    ):
        engine.risk.add("venue_balance", FundsThere(Funds(), context))
    _agree_on_leverage(engine, info)
    return days


def _agree_on_leverage(engine: Engine, info: AccountInfo) -> None:
    """Have the risk check 'balance' reckon with the account's leverage; less is a choice, more is a mistake.

    Raises:
        ConfigError: if it reckons with more.
    """
    if info.leverage is None:
        return
    for _, check in engine.risk.checks:
        if not isinstance(check, FundsThere):
            continue
        if check.leverage is None:
            check.leverage = info.leverage
        elif check.leverage > info.leverage:
            words = (
                f"at most the account's leverage, {info.leverage:f}, was expected; found {check.leverage:f}: orders "
                "would be let through that nothing is there for"
            )
            hint = "leave it out, or set the account's with venue.leverage"
            raise ConfigError([Mistake("", "risk.balance.leverage", words, hint)])


def _of_what_is_left(report: Report) -> MmkitError | None:
    """Return the error of a live run that does not know what became of all of its orders."""
    left = [words for one in report.live.values() for words in one.left]
    if not left:
        return None
    return RunError(
        f"the run has ended, and of {len(left)} orders it is not known that they are off the book: "
        f"{', '.join(left)}; look at the venue; 'mmkit panic' cancels everything there"
    )


def _of_what_lasts(live: LiveRun) -> MmkitError | None:
    """Return the error of a live run that had stopped quoting, and not for a while only, when it ended."""
    lasting = (venue.down_at_the_end for venue in live.live_venues.values())
    return next((one for one in lasting if one is not None), None)


def _ended(report: Report, failure: MmkitError | None, ended_by: str) -> str:
    """Return the results in one line."""
    why = ended_by or "time was up"
    if failure is not None:
        why = f"{failure}".partition("\n")[0]
    parts = [f"ended run={report.run_id} reason='{why}'"]
    for name, one in ((MAIN, report), *report.markets.items()):
        parts.append(
            f"{where(name)}orders={one.orders} fills={one.fills} position={one.position:f} "
            f"equity={one.equity:.4f} {one.currency}" + (" halted" if one.halted else "")
        )
    return " ".join(parts)
