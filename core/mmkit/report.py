"""The results of a run: as a value, as JSON, as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal

import msgspec

from mmkit.engine import Engine
from mmkit.events import MAIN, Advice
from mmkit.interfaces import RunInfo
from mmkit.notify import Notified
from mmkit.tape import FeedStats
from mmkit.units import format_duration


class SignalFigures(msgspec.Struct, kw_only=True):
    """What became of one signal.

    Attributes:
        plugin: Reads the model.
        model: Its folder, as configured.
        card: SHA-256 of its card.
        sampling: When samples of its features are taken: ``update``, or an interval such as ``100ms``.
        expires_ns: How long one holds, from the time of its last sample on.
        latency_ns: How long after its last sample it was known; in a dry run the median.
        latency: Where that comes from: ``measured`` when the model was loaded, ``configured``, or ``as it was``.
        told: How many the strategy was told.
        unknown: How often there was no whole window of known features, so that nothing was computed.
        failed: How often features or model failed.
        late: How often it would have been known only after it had expired.
        failure: What failed first, in words; empty if nothing did.
    """

    plugin: str
    model: str
    card: str
    sampling: str
    expires_ns: int
    latency_ns: int = 0
    latency: str = "measured"
    told: int = 0
    unknown: int = 0
    failed: int = 0
    late: int = 0
    failure: str = ""


_DIGITS = Context(prec=60)


class AdvisorFigures(msgspec.Struct, kw_only=True):
    """What became of one advisor, and what it cost.

    Attributes:
        plugin: Asks the language model.
        question: What it asks.
        expires_ns: How long an answer holds, from when it was asked on.
        source: Where the advice comes from, if none was asked for: a recorded run, or nothing.
        answered: How many questions were answered.
        refused: How many came to no advice, by why: ``timeout``, ``late`` (known only when it had expired), ``failed``
            (the advisor raised) and what else the advisor says.
        passed_over: How often a question was due while the one before was still under way, or the book was not known.
        under_way: How many were still under way when the run ended; what they cost is not known.
        failure: What the advisor raised first, in words; empty if nothing.
        took_ns: From asking to knowing, the median of those answered; 0 for none.
        calls: Requests to a language model, those that failed and those that asked again included.
        unpriced: How many of them have a cost that is not known.
        prompt_tokens: As far as the gateway counts them.
        cached_tokens: Of those, read from a cache.
        completion_tokens: As far as the gateway counts them.
        cost: USD, of the calls whose cost is known, exact.
    """

    plugin: str
    question: str
    expires_ns: int
    source: str = ""
    answered: int = 0
    refused: dict[str, int] = {}
    passed_over: int = 0
    under_way: int = 0
    failure: str = ""
    took_ns: int = 0
    calls: int = 0
    unpriced: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = Decimal(0)

    @property
    def asked(self) -> int:
        """How many questions were asked."""
        return self.answered + sum(self.refused.values()) + self.under_way

    def count(self, advice: Advice) -> None:
        """Count what came of one question, and what was paid for it."""
        if advice.answer is not None:
            self.answered += 1
        else:
            why = advice.refused.partition(":")[0]
            self.refused[why] = self.refused.get(why, 0) + 1
        for call in advice.calls:
            self.calls += 1
            self.prompt_tokens += call.prompt_tokens or 0
            self.cached_tokens += call.cached_tokens
            self.completion_tokens += call.completion_tokens or 0
            if call.cost is None or not call.cost.is_finite():
                self.unpriced += 1
            else:
                self.cost = _DIGITS.add(self.cost, call.cost)


class LiveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an account in a live run.

    Attributes:
        endpoint: Where it is.
        journal: The journal of orders.
        opening: Position at the start.
        position: At the end, by the journal.
        fees: Paid in this run, by asset, to the last digit; negative for rebates.
        left: Orders that may still be on the book, with how far each is known.
        foreign: Orders on the book that are not ours.
        differences: What the venue says otherwise than the journal, in words.
    """

    endpoint: str
    journal: str
    opening: Decimal
    position: Decimal
    fees: dict[str, Decimal]
    left: list[str]
    foreign: list[str]
    differences: list[str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did and what came of it. Money is in the settlement currency.

    Attributes:
        run_id: Name of the run folder.
        command: ``trade``, ``backtest`` or ``parity``.
        folder: The run folder; empty if there is none.
        strategy: Name of the strategy.
        symbol: What was traded.
        currency: The settlement currency.
        start_ns: When it began, ns since the epoch.
        end_ns: When it ended, ns since the epoch.
        events: Rows of market data handed to the engine; of a run in several markets those of all, under
            `markets` each one's own.
        trades: Market trades among them.
        orders: Orders sent.
        cancels: Cancels sent.
        amends: Amends sent.
        amends_rejected: Those of them that the venue refused; the order stays as it was, or is gone.
        rejected: Orders the venue refused, such as post-only orders that would have taken.
        self_trades: Those of them that would have traded with our own.
        fills: Times one of our orders was filled, in whole or in part.
        maker_fills: Those that rested.
        taker_fills: Those that took.
        volume: Quantity traded.
        turnover: Value traded.
        fees: Paid; negative if rebates outweigh them.
        funding: Received; negative if more was paid.
        fundings: Times funding was received or paid.
        position: At the end.
        equity: Profit with the position valued at mid, fees taken off, funding added.
        realized_pnl: Profit of what was closed, at average entry price, before fees and funding.
        unrealized_pnl: Profit of what is open, at mid, before fees and funding.
        max_drawdown: Largest fall of equity from its peak, seen at wakes, at fills and fundings and at the end.
        gaps: Times the book became unknown.
        watch: Events of the market watch, by kind; none unless the strategy hears them, or they are sent on.
        vetoes: How often each risk check refused an order.
        held_back: Orders not sent because of the rate limit.
        halted: Why the run stopped quoting for good; empty if it did not.
        feed: What reading the feed found.
        engine: ``compiled`` or ``reference``; both give the same results.
        wall_s: How long the run took, seconds.
        events_per_s: ``events / wall_s``.
        markets: The results in the other markets, by name.
        equity_of_all: Of all markets together; `None` if there is one, or they settle in several currencies.
        notified: What came of the messages that were sent on; `None` if none are asked for.
        signals: What became of each signal, by name.
        advisors: What became of each advisor, and what it cost, by name.
        live: What became of each account, by market; none in a simulation.
    """

    run_id: str
    command: str
    folder: str
    strategy: str
    symbol: str
    currency: str
    start_ns: int
    end_ns: int
    events: int
    trades: int
    orders: int
    cancels: int
    amends: int
    amends_rejected: int
    rejected: int
    self_trades: int
    fills: int
    maker_fills: int
    taker_fills: int
    volume: Decimal
    turnover: Decimal
    fees: Decimal
    funding: Decimal
    fundings: int
    position: Decimal
    equity: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    max_drawdown: Decimal
    gaps: int
    watch: dict[str, int]
    vetoes: dict[str, int]
    held_back: int
    halted: str
    feed: FeedStats
    engine: str
    wall_s: float
    events_per_s: float
    markets: dict[str, Report] = msgspec.field(default_factory=dict)
    equity_of_all: Decimal | None = None
    notified: Notified | None = None
    signals: dict[str, SignalFigures] = msgspec.field(default_factory=dict)
    advisors: dict[str, AdvisorFigures] = msgspec.field(default_factory=dict)
    live: dict[str, LiveFigures] = msgspec.field(default_factory=dict)


# Decimals as JSON numbers with all their digits; a reader that wants floats gets floats.
_JSON = msgspec.json.Encoder(decimal_format="number")


def report_of(
    engines: Mapping[str, Engine],
    run: RunInfo,
    feeds: Mapping[str, FeedStats],
    *,
    start_ns: int,
    events: Mapping[str, int],
    wall_s: float,
    ran_on: str = "reference",
    signals: Mapping[str, SignalFigures] | None = None,
    advisors: Mapping[str, AdvisorFigures] | None = None,
) -> Report:
    """Return the results of a run that has ended.

    Args:
        engines: By market.
        run: What was run.
        feeds: What reading each market's feed found.
        start_ns: When it began.
        events: Rows of market data in each market.
        wall_s: How long it took, seconds.
        ran_on: Which engine ran it.
        signals: What became of each signal.
        advisors: What became of each advisor.
    """

    def of(market: str) -> Report:
        return _report_of(
            engines[market],
            run,
            feeds[market],
            start_ns=start_ns,
            events=sum(events.values()) if market == MAIN else events[market],
            wall_s=wall_s,
            ran_on=ran_on,
        )

    others = {market: of(market) for market in engines if market != MAIN}
    main = msgspec.structs.replace(
        of(MAIN), signals=dict(signals or {}), advisors=dict(advisors or {})
    )
    if not others:
        return main
    currencies = {report.currency for report in (main, *others.values())}
    total = None
    if len(currencies) == 1:
        total = sum((report.equity for report in others.values()), main.equity)
    return msgspec.structs.replace(main, markets=others, equity_of_all=total)


def _report_of(
    engine: Engine,
    run: RunInfo,
    feed: FeedStats,
    *,
    start_ns: int,
    events: int,
    wall_s: float,
    ran_on: str,
) -> Report:
    instrument, portfolio, counts = engine.instrument, engine.portfolio, engine.counts
    equity = engine.equity
    gross = _DIGITS.subtract(_DIGITS.add(equity, portfolio.fees), portfolio.funding)
    return Report(
        run_id=run.run_id,
        command=run.command,
        folder=run.folder,
        strategy=run.strategy,
        symbol=instrument.symbol,
        currency=instrument.settle,
        start_ns=start_ns,
        end_ns=engine.now,
        events=events,
        trades=counts["trades"],
        orders=counts["orders"],
        cancels=counts["cancels"],
        amends=counts["amends"],
        amends_rejected=counts["amends_rejected"],
        rejected=counts["rejected"],
        self_trades=counts["self_trades"],
        fills=counts["fills"],
        maker_fills=counts["maker_fills"],
        taker_fills=counts["taker_fills"],
        volume=_plain(instrument.quantity(portfolio.volume)),
        turnover=_plain(portfolio.turnover),
        fees=_plain(portfolio.fees),
        funding=_plain(portfolio.funding),
        fundings=counts["fundings"],
        position=_plain(portfolio.held),
        equity=_plain(equity),
        realized_pnl=_plain(portfolio.realized_pnl),
        unrealized_pnl=_plain(_DIGITS.subtract(gross, portfolio.realized_pnl)),
        max_drawdown=_plain(max(engine.max_drawdown, _fall_at_the_end(engine, equity))),
        gaps=counts["gaps"],
        watch=dict(engine.watched),
        vetoes=dict(engine.risk.vetoes),
        held_back=engine.quoter.held_back,
        halted=engine.halted or "",
        feed=feed,
        engine=ran_on,
        wall_s=round(wall_s, 3),
        events_per_s=round(events / wall_s, 1) if wall_s > 0 else 0.0,
    )


def _fall_at_the_end(engine: Engine, equity: Decimal) -> Decimal:
    """Return how far `equity` is below its peak; 0 if the position cannot be valued at mid."""
    if engine.position and (engine.best_bid is None or engine.best_ask is None):
        return Decimal(0)
    return _DIGITS.subtract(engine.peak_equity, equity)


def report_json(report: Report) -> bytes:
    """Return the report as one JSON object on one line; decimals are numbers with all their digits."""
    return value_json(report)


def value_json(value: msgspec.Struct) -> bytes:
    """Return any results as one JSON object on one line; decimals are numbers with all their digits."""
    return _JSON.encode(value)


def report_text(report: Report) -> str:
    """Return the report for people."""
    rows = [
        ("strategy", f"{report.strategy} on {report.symbol}"),
        ("time", format_span(report.end_ns - report.start_ns)),
        ("events", _events(report)),
        *_market_rows(report),
    ]
    for name, other in report.markets.items():
        rows += [("", ""), (name, other.symbol)]
        rows.append(("events", _events(other)))
        rows += _market_rows(other)
    if report.markets:
        rows.append(("", ""))
    if report.equity_of_all is not None:
        rows.append(("equity of all", f"{_money(report.equity_of_all)} {report.currency}"))
    rows += [(f"signal {name}", signal_words(one)) for name, one in report.signals.items()]
    rows += [(f"advisor {name}", advisor_words(one)) for name, one in report.advisors.items()]
    if len(report.advisors) > 1:
        rows.append(("advice cost", cost_words(report.advisors.values())))
    for name, account in report.live.items():
        rows += _live_rows("" if name == MAIN else f" {name}", account)
    if report.notified is not None:
        rows += notified_rows(report.notified)
    rows.append(
        (
            "speed",
            f"{report.wall_s:.2f} s, {report.events_per_s:,.0f} rows/s, {report.engine} engine",
        )
    )
    if report.folder:
        rows.append(("folder", report.folder))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def _events(report: Report) -> str:
    """Return what was seen of one market; the main one knows the rows of all."""
    own = report.events - sum(other.events for other in report.markets.values())
    in_all = f" ({report.events:,} in all)" if report.markets else ""
    return f"{own:,} rows{in_all}, {report.trades:,} trades, {report.gaps} gaps"


def _amend_rows(report: Report) -> list[tuple[str, str]]:
    if not report.amends:
        return []
    return [("amends", f"{report.amends:,} sent, {report.amends_rejected:,} rejected")]


def _market_rows(report: Report) -> list[tuple[str, str]]:
    """Return what was done in one market and what came of it."""
    money = f" {report.currency}"
    rows = [
        (
            "orders",
            f"{report.orders:,} sent, {report.cancels:,} canceled, {report.rejected:,} rejected",
        ),
        *_amend_rows(report),
        ("fills", f"{report.fills:,} ({report.maker_fills:,} maker, {report.taker_fills:,} taker)"),
        ("volume", f"{report.volume:,f} (value {_money(report.turnover)}{money})"),
        ("position", f"{report.position:,f}"),
        ("realized", _money(report.realized_pnl) + money),
        ("unrealized", _money(report.unrealized_pnl) + money),
        ("fees", _money(report.fees) + money),
        *_funding(report),
        ("equity", _money(report.equity) + money),
        ("max drawdown", _money(report.max_drawdown) + money),
    ]
    feed = report.feed
    if any(feed.clock_offset_ns):
        offsets = ", ".join(f"{offset / 1e6:,.3f} ms" for offset in feed.clock_offset_ns)
        rows.append(
            ("clock offset", f"{offsets} between the venue's clock and the receiver's, removed")
        )
    if feed.tickers_compared:
        rows.append(
            (
                "book check",
                f"{feed.tickers_compared:,} best prices compared, {feed.tickers_different} different",
            )
        )
    if report.watch:
        rows.append(("watch", counted(report.watch)))
    rows += [("vetoed", f"{count:,} orders by {name}") for name, count in report.vetoes.items()]
    if report.self_trades:
        rows.append(("self-trades", f"{report.self_trades:,} orders rejected before our own"))
    if report.held_back:
        rows.append(("held back", f"{report.held_back:,} orders by the rate limit"))
    if report.halted:
        rows.append(("HALTED", report.halted))
    return rows + [("note", note) for note in feed.notes]


def counted(events: Mapping[str, int]) -> str:
    """Return how many events of the market watch there were, for people: statistics come by the clock, and say nothing."""
    said = [f"{count:,} {kind}" for kind, count in events.items() if kind != "Statistics"]
    return ", ".join(said) or "none"


def notified_rows(told: Notified) -> list[tuple[str, str]]:
    """Return what came of the messages that were sent on, and why some did not arrive."""
    said = f"{told.lines:,} lines in {told.sent:,} messages delivered, {told.failed:,} failed"
    if told.left_out:
        said += f", {told.left_out:,} lines left out"
    if told.unsent:
        said += f", {told.unsent:,} not sent"
    return [
        ("notify", said),
        *(("", f"{why} ({count:,} times)") for why, count in told.failures.items()),
    ]


def signal_words(one: SignalFigures) -> str:
    """Return what became of a signal, for people."""
    said = (
        f"{one.plugin}, {one.told:,} told {one.latency_ns / 1e3:,.1f} us after their sample ({one.latency}), "
        f"{one.unknown:,} times not known"
    )
    if one.late:
        said += f", {one.late:,} late"
    if one.failed:
        said += f", {one.failed:,} failed: {one.failure}"
    return said


def advisor_words(one: AdvisorFigures) -> str:
    """Return what became of an advisor, for people."""
    if one.source and not one.asked:
        return f"{one.plugin} ({one.question}): {one.source}"
    said = f"{one.plugin} ({one.question}): {one.asked:,} asked, {one.answered:,} answered"
    if one.took_ns:
        said += f" after {one.took_ns / 1e9:,.2f} s"
    for why, count in one.refused.items():
        said += f", {count:,} {why}"
    if one.passed_over:
        said += f", {one.passed_over:,} passed over"
    if one.under_way:
        said += f", {one.under_way:,} still under way at the end"
    said += f"; {one.prompt_tokens + one.completion_tokens:,} tokens, {cost_words([one])}"
    if one.source:
        said += f"; {one.source}"
    if one.failure:
        said += f"; first failure: {one.failure}"
    return said


def cost_words(figures: Iterable[AdvisorFigures]) -> str:
    """Return what several advisors cost together, to the last digit; an unknown cost is told as such."""
    known, unpriced = Decimal(0), 0
    for one in figures:
        known = _DIGITS.add(known, one.cost)
        unpriced += one.unpriced
    said = f"{_plain(known):f} USD"
    if unpriced:
        said += f" and {unpriced:,} call{'' if unpriced == 1 else 's'} of unknown cost"
    return said


def _live_rows(market: str, one: LiveFigures) -> list[tuple[str, str]]:
    """Return what became of an account."""
    fees = ", ".join(f"{fee.normalize():f} {asset}" for asset, fee in one.fees.items()) or "none"
    rows = [
        (
            f"LIVE{market}",
            f"{one.endpoint}, position {one.opening.normalize():f} to {one.position.normalize():f}, fees {fees}",
        )
    ]
    rows += [("LEFT", f"order {words}; it may be on the book") for words in one.left]
    rows += [("DIFFERENT", words) for words in one.differences]
    if one.foreign:
        rows.append(("foreign", f"{len(one.foreign)} orders that are not ours, left alone"))
    return [*rows, ("", one.journal)]


def _funding(report: Report) -> list[tuple[str, str]]:
    """Return the line about funding; a run without any has none."""
    if not report.fundings:
        return []
    payments = "payment" if report.fundings == 1 else "payments"
    amount = f"{_money(report.funding)} {report.currency}"
    return [("funding", f"{amount} in {report.fundings:,} {payments}")]


def format_span(ns: int) -> str:
    """Return a span of time for people: ``1h 02m 03s``, or seconds with their fraction below a minute."""
    if ns < 60_000_000_000:
        return (
            format_duration(ns // 1_000_000 * 1_000_000)
            if ns % 1_000_000_000 == 0
            else f"{ns / 1e9:.3f}s"
        )
    seconds = ns // 1_000_000_000
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return (f"{hours}h " if hours else "") + f"{minutes:02}m {seconds % 60:02}s"


def _money(amount: Decimal) -> str:
    return f"{amount:,.8f}".rstrip("0").rstrip(".")


def _plain(amount: Decimal) -> Decimal:
    """Return the same number without trailing zeros or an exponent."""
    if not amount:
        return Decimal(0)
    return (
        amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount.normalize()
    )
