"""Rows of one market in, statistics and events out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from mmkit.errors import DataError
from mmkit.events import (
    MAIN,
    AnyAlert,
    HighVolatility,
    LargeTrade,
    OneSidedTrades,
    PriceAnomaly,
    Side,
    Statistics,
    StrongFlow,
    WatchEvent,
)
from mmkit.instruments import Instrument
from mmkit.tape import KIND, NEVER, SELL, Kind, Row
from mmkit.watch.settings import WatchSettings
from mmkit.watch.windows import FlowWindow, PriceWindow, TradeWindow

_NOTHING: tuple[WatchEvent, ...] = ()
_BPS = 10_000


class Watch:
    """The rolling statistics of one market's trades.

    Only TRADE and GAP rows say anything: prints off the book (``OFF_BOOK``) are no trades of the market. A GAP
    empties every window, as what was missed would belong there; cooldowns go on. Nothing but the rows and their
    order decides, so a recording gives what the live feed gave.

    Args:
        instrument: What is traded.
        settings: Windows and limits.
        market: Its name, for the events.
    """

    def __init__(self, instrument: Instrument, settings: WatchSettings, market: str = MAIN) -> None:
        self.settings, self.market = settings, market
        self._prices = PriceWindow(settings.window)
        self._trades = TradeWindow(settings.trades)
        self._flow = FlowWindow(settings.span)
        # More than a quantity that is no whole number of lots is more than the whole lots in it.
        self._large = _lots(instrument, settings.large_trade)
        self._strong = _lots(instrument, settings.strong_flow)
        self._floor = settings.floor.formula(instrument)
        high = settings.high_volatility
        self._high = high.formula(instrument) if high is not None else None
        self._z: float | None = None
        self._price: int | None = None
        self._ts_exchange = 0
        self._now = 0
        self._due: int | None = None
        self._last: dict[tuple[type[AnyAlert], Side | None], int] = {}
        self._suppressed: dict[tuple[type[AnyAlert], Side | None], int] = {}

    def on_row(self, row: Row) -> Sequence[WatchEvent]:
        """Take in a row at its ``ts_local``; return what there is to say, in order of time.

        Raises:
            DataError: if ``ts_local`` goes back.
        """
        kind = row[2] & KIND
        told = self.advance(row[1])
        every = self.settings.every
        if self._due is None and every is not None and kind in (Kind.TRADE, Kind.GAP):
            self._due = (row[1] // every + 1) * every
        if kind == Kind.TRADE:
            alerts = self._on_trade(row)
            if alerts:
                return [*told, *alerts]
        elif kind == Kind.GAP:
            self._forget()
        return told

    def advance(self, now: int) -> Sequence[WatchEvent]:
        """Let time pass up to `now` without a row; return the statistics that were due.

        They are due at whole multiples of ``every`` since the epoch, the first one after the first trade or gap, and
        say what held just before, so that it does not matter whether a timer or the next row brings them.

        Raises:
            DataError: if `now` is before a time that was told already.
        """
        if now < self._now:
            raise DataError(
                f"market '{self.market}': a ts_local of at least {self._now} was expected; found {now}: time goes "
                "back; the data source stamps or orders its rows wrongly"
            )
        self._now = now
        every, due = self.settings.every, self._due
        if every is None or due is None or now < due:
            return _NOTHING
        told: list[WatchEvent] = []
        while due <= now:
            told.append(self._statistics(due))
            due += every
        self._due = due
        return told

    def next_ns(self) -> int:
        """Return when statistics are next due by time alone; `NEVER` if they are not."""
        return NEVER if self._due is None else self._due

    def statistics(self, now: int | None = None) -> Statistics:
        """Return what holds at `now`, by which no statistics are overdue; changes nothing that an event says.

        By default that is the time of the last row, or the one to which `advance` has let it pass.
        """
        return self._statistics(self._now if now is None else max(now, self._now))

    def _statistics(self, now: int) -> Statistics:
        prices, trades, flow = self._prices, self._trades, self._flow
        flow.advance(now)
        mean = deviation = volatility = None
        if len(prices) >= self.settings.least:
            mean, deviation = prices.mean, prices.deviation
            volatility = _BPS * deviation / mean if mean else None
        return Statistics(
            ts_exchange=self._ts_exchange,
            ts_local=now,
            market=self.market,
            price=self._price,
            mean=mean,
            deviation=deviation,
            volatility=volatility,
            z=self._z,
            buys=trades.buys,
            sells=trades.sells,
            bought=trades.bought,
            sold=trades.sold,
            flow_bought=flow.bought,
            flow_sold=flow.sold,
            flow_trades=len(flow),
        )

    def _on_trade(self, row: Row) -> list[WatchEvent]:
        ts_exchange, ts_local, kind, price, quantity = row
        sell = bool(kind & SELL)
        side = Side.SELL if sell else Side.BUY
        settings, prices, trades, flow = self.settings, self._prices, self._trades, self._flow
        times = {"ts_exchange": ts_exchange, "ts_local": ts_local}
        found: list[WatchEvent] = []

        self._z = None
        if len(prices) >= settings.least:
            mean, deviation = prices.mean, prices.deviation
            self._z = z = self._score(price, mean, deviation)
            if z is not None and settings.deviations is not None and abs(z) > settings.deviations:
                where = Side.BUY if z > 0 else Side.SELL
                if (kept := self._cooled(PriceAnomaly, where, ts_local)) is not None:
                    found.append(
                        PriceAnomaly(
                            **times,
                            market=self.market,
                            suppressed=kept,
                            side=where,
                            price=price,
                            mean=mean,
                            deviation=deviation,
                            z=z,
                            prices=len(prices),
                        )
                    )

        prices.push(price)
        trades.push(sell, quantity)
        flow.push(ts_local, sell, quantity)
        self._price, self._ts_exchange = price, ts_exchange

        if (
            self._large is not None
            and quantity > self._large
            and (kept := self._cooled(LargeTrade, side, ts_local)) is not None
        ):
            found.append(
                LargeTrade(
                    **times,
                    market=self.market,
                    suppressed=kept,
                    side=side,
                    price=price,
                    quantity=quantity,
                )
            )
        if self._high is not None and len(prices) >= settings.least:
            mean, deviation = prices.mean, prices.deviation
            if (
                deviation > _at(self._high, mean)
                and (kept := self._cooled(HighVolatility, None, ts_local)) is not None
            ):
                found.append(
                    HighVolatility(
                        **times,
                        market=self.market,
                        suppressed=kept,
                        mean=mean,
                        deviation=deviation,
                        volatility=_BPS * deviation / mean if mean else 0.0,
                    )
                )
        if settings.one_sided is not None and trades.full:
            larger = Side.BUY if trades.bought >= trades.sold else Side.SELL
            most, total = max(trades.bought, trades.sold), trades.bought + trades.sold
            if (
                most > settings.one_sided * total
                and (kept := self._cooled(OneSidedTrades, larger, ts_local)) is not None
            ):
                found.append(
                    OneSidedTrades(
                        **times,
                        market=self.market,
                        suppressed=kept,
                        side=larger,
                        buys=trades.buys,
                        sells=trades.sells,
                        bought=trades.bought,
                        sold=trades.sold,
                    )
                )
        if self._strong is not None and abs(net := flow.bought - flow.sold) > self._strong:
            where = Side.BUY if net > 0 else Side.SELL
            if (kept := self._cooled(StrongFlow, where, ts_local)) is not None:
                found.append(
                    StrongFlow(
                        **times,
                        market=self.market,
                        suppressed=kept,
                        side=where,
                        flow_bought=flow.bought,
                        flow_sold=flow.sold,
                        flow_trades=len(flow),
                    )
                )
        return found

    def _score(self, price: int, mean: float, deviation: float) -> float | None:
        """Return the z-score; `None` where there is no deviation and no floor to measure by."""
        least = max(deviation, _at(self._floor, mean))
        return self._prices.distance(price) / least if least > 0 else None

    def _cooled(self, kind: type[AnyAlert], side: Side | None, now: int) -> int | None:
        """Return how many were kept back before this one; `None` if this one is kept back, too."""
        key = (kind, side)
        last = self._last.get(key)
        if last is not None and now - last < self.settings.cooldown:
            self._suppressed[key] = self._suppressed.get(key, 0) + 1
            return None
        self._last[key] = now
        return self._suppressed.pop(key, 0)

    def _forget(self) -> None:
        self._prices.clear()
        self._trades.clear()
        self._flow.clear()
        self._z = self._price = None


def _lots(instrument: Instrument, quantity: Decimal | None) -> int | None:
    return None if quantity is None else instrument.floor_lots(quantity)


def _at(formula: tuple[float, float, float], price: float) -> float:
    """Return a `mmkit.units.Distance` in ticks, at a price in ticks."""
    a, b, c = formula
    return a * price / b + c
