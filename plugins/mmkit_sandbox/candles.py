"""Candles of every interval, made from the trades of one symbol: what the kline streams tell.

Source: Binance Spot API, "Kline/Candlestick Streams"; USD-M and COIN-M Futures API, the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

_SECOND = 1000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_MONDAY = 4 * _DAY  # 1970-01-05

_LENGTHS = {
    "1s": _SECOND,
    "1m": _MINUTE,
    "3m": 3 * _MINUTE,
    "5m": 5 * _MINUTE,
    "15m": 15 * _MINUTE,
    "30m": 30 * _MINUTE,
    "1h": _HOUR,
    "2h": 2 * _HOUR,
    "4h": 4 * _HOUR,
    "6h": 6 * _HOUR,
    "8h": 8 * _HOUR,
    "12h": 12 * _HOUR,
    "1d": _DAY,
    "3d": 3 * _DAY,
    "1w": 7 * _DAY,
}
"""In ms."""
INTERVALS = (*_LENGTHS, "1M")
"""How long a candle may be: whole seconds to months, of UTC."""


def span(interval: str, ts_ms: int) -> tuple[int, int]:
    """Return when the candle around a time begins and when the next one does, in ms.

    Weeks begin on Monday, months on the first; the others are counted from the epoch.
    """
    if interval == "1M":
        first = datetime.fromtimestamp(ts_ms // 1000, UTC).replace(
            day=1, hour=0, minute=0, second=0
        )
        year, month = divmod(first.year * 12 + first.month, 12)
        following = first.replace(year=year, month=month + 1)
        return round(first.timestamp()) * 1000, round(following.timestamp()) * 1000
    length = _LENGTHS[interval]
    start = ts_ms - (ts_ms - (_MONDAY if interval == "1w" else 0)) % length
    return start, start + length


class Candle:
    """Open, high, low, close and what was traded between two moments.

    Attributes:
        interval: Its name, such as ``1m``.
        start_ms: Its first ms.
        end_ms: The first ms of the next one.
        open, high, low, close: In ticks; the last close before it while there is no trade.
        quantity: Lots traded.
        value: What was paid for them, in the listing's unit of value.
        taken: Lots that buyers took.
        taken_value: What they paid.
        first_id, last_id: Of its trades; -1 while there is none.
        trades: How many.
        told: Whether it is as it was last told.
    """

    __slots__ = (
        "close",
        "end_ms",
        "first_id",
        "high",
        "interval",
        "last_id",
        "low",
        "open",
        "quantity",
        "start_ms",
        "taken",
        "taken_value",
        "told",
        "trades",
        "value",
    )

    def __init__(self, interval: str, ts_ms: int, price: int) -> None:
        self.interval = interval
        self.start_ms, self.end_ms = span(interval, ts_ms)
        self.open = self.high = self.low = self.close = price
        self.quantity = self.value = self.taken = self.taken_value = self.trades = 0
        self.first_id = self.last_id = -1
        self.told = True

    def add(self, trade_id: int, price: int, quantity: int, value: int, buyer_took: bool) -> None:
        """Take in a trade."""
        if not self.trades:
            self.open = self.high = self.low = price
            self.first_id = trade_id
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.quantity += quantity
        self.value += value
        if buyer_took:
            self.taken += quantity
            self.taken_value += value
        self.last_id = trade_id
        self.trades += 1
        self.told = False


class Candles:
    """The open candle of each interval, from the first trade on.

    Args:
        intervals: Some of `INTERVALS`.
    """

    def __init__(self, intervals: tuple[str, ...]) -> None:
        self._intervals = intervals
        self._open: list[Candle] = []
        self._next_ms = 0  # when the first of them closes

    def add(
        self, ts_ms: int, trade_id: int, price: int, quantity: int, value: int, buyer_took: bool
    ) -> None:
        """Take in a trade; call `closed` for its time before."""
        if not self._open:
            self._open = [Candle(interval, ts_ms, price) for interval in self._intervals]
            self._next_ms = min(candle.end_ms for candle in self._open)
        for candle in self._open:
            candle.add(trade_id, price, quantity, value, buyer_took)

    def closed(self, now_ms: int) -> Iterator[Candle]:
        """Close what ends by now, and open what follows; one candle of each interval at most in a call."""
        if not self._open or now_ms < self._next_ms:
            return
        for index, candle in enumerate(self._open):
            if candle.end_ms <= now_ms:
                self._open[index] = Candle(candle.interval, candle.end_ms, candle.close)
                yield candle
        self._next_ms = min(candle.end_ms for candle in self._open)

    def changed(self, intervals: tuple[str, ...], now_ms: int) -> Iterator[Candle]:
        """Return those of some intervals that are not as they were last told, and take them for told.

        Not one that has begun in this very ms: at most one message of a stream bears a time.
        """
        for candle in self._open:
            if not candle.told and candle.interval in intervals and candle.start_ms != now_ms:
                candle.told = True
                yield candle
