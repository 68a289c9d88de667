"""What a language model is told of a market: the book as it is, and a memory of the last minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import NamedTuple

from mmkit.advisors import Facts
from mmkit.book import Book
from mmkit.instruments import Instrument
from mmkit.tape import KIND, SELL, Kind, Row
from mmkit.units import format_time

RECORDS = 60
"""One a second: a minute."""
RECORD_NS = 1_000_000_000
_LEVELS = 5
_BPS = 10_000
_TRADE, _GAP = int(Kind.TRADE), int(Kind.GAP)


class _Record(NamedTuple):
    """A moment of the market, and what was traded since the record before it."""

    mid: float
    spread_bps: float
    imbalance: float
    trades: int
    bought: int
    sold: int


class _Now(NamedTuple):
    """The best levels of a book."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]

    @property
    def mid(self) -> float:
        return (self.bids[0][0] + self.asks[0][0]) / 2

    @property
    def spread_bps(self) -> float:
        return _BPS * (self.asks[0][0] - self.bids[0][0]) / self.mid

    @property
    def imbalance(self) -> float:
        bid, ask = (sum(lots for _, lots in side) for side in self)
        return (bid - ask) / (bid + ask)


class Memory:
    """The last minute of a market, one record a second; a gap in its data empties it.

    Args:
        instrument: What is traded.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._records: deque[_Record] = deque(maxlen=RECORDS)
        self._trades = self._bought = self._sold = 0

    def on_message(self, message: Sequence[Row]) -> None:
        """Take in one message."""
        for _, _, kind, _, quantity in message:
            what = kind & KIND
            if what == _TRADE:
                self._trades += 1
                if kind & SELL:
                    self._sold += quantity
                else:
                    self._bought += quantity
            elif what == _GAP:
                self._records.clear()
                self._trades = self._bought = self._sold = 0

    def record(self, book: Book) -> None:
        """Keep what the book is like now; nothing while it is not known, or a side of it is empty."""
        now = _now(book)
        if now is None:
            return
        self._records.append(
            _Record(now.mid, now.spread_bps, now.imbalance, self._trades, self._bought, self._sold)
        )
        self._trades = self._bought = self._sold = 0

    def facts(self, book: Book, now_ns: int, happened: str = "") -> Facts | None:
        """Return what is known of the market now; `None` while the book is not known, or a side of it is empty.

        Args:
            book: As it is.
            now_ns: The time.
            happened: What is asked about, in words.
        """
        now, instrument, records = _now(book), self._instrument, self._records
        if now is None:
            return None
        mids = [one.mid for one in records]
        mean_mid = fmean(mids) if mids else 0.0
        returns = [_BPS * (after / before - 1) for before, after in pairwise(mids)]
        bought = sum(one.bought for one in records)
        traded = bought + sum(one.sold for one in records)
        tick = float(instrument.tick)
        bids, asks = (
            tuple(
                (f"{instrument.price(price):f}", f"{instrument.quantity(lots):f}")
                for price, lots in side
            )
            for side in now
        )
        bid_lots, ask_lots = (sum(lots for _, lots in side) for side in now)
        return Facts(
            venue=instrument.venue,
            symbol=instrument.symbol,
            time=format_time(now_ns),
            bids=bids,
            asks=asks,
            mid=now.mid * tick,
            spread_bps=now.spread_bps,
            bid_volume=float(instrument.quantity(bid_lots)),
            ask_volume=float(instrument.quantity(ask_lots)),
            imbalance=now.imbalance,
            records=len(records),
            mean_mid=mean_mid * tick,
            mean_spread_bps=fmean(one.spread_bps for one in records) if records else 0.0,
            mean_imbalance=fmean(one.imbalance for one in records) if records else 0.0,
            deviation_bps=_BPS * (now.mid / mean_mid - 1) if records else 0.0,
            volatility_bps=stdev(returns) if len(returns) > 1 else 0.0,
            trades=sum(one.trades for one in records),
            bought_share=bought / traded if traded else None,
            happened=happened,
        )


def _now(book: Book) -> _Now | None:
    if not book.known:
        return None
    now = _Now(book.bids.top(_LEVELS), book.asks.top(_LEVELS))
    return now if now.bids and now.asks else None
