"""What somebody would have earned who crosses the spread whenever the forecast says so."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from mmkit.errors import DataError
from mmkit.learning.bootstrap import BlockBootstrap, Interval
from mmkit.learning.labels import DOWN, FLAT, UP, Labels
from mmkit.learning.metrics import check_labels
from mmkit.learning.samples import Floats, Ints

_BPS = 1e4
_NOTHING = 0
_HELD = 3  # beside the classes: no decision yet


class TakerResult(msgspec.Struct, frozen=True, kw_only=True):
    """Earnings of the same amount of quote currency put into each trade, in bps of it.

    ``mid_bps - spread_bps - fees_bps`` is the total but for products of two small numbers.

    Attributes:
        trades: Round trips, in and out.
        total: Sum over the trades, with its interval. Doing nothing earns 0.
        per_trade: Mean, with its interval; None if there are too few trades for one.
        mid_bps: What the trades would have earned at mid without fees, sum.
        spread_bps: What crossing half the spread twice took of that, sum.
        fees_bps: What the fees took, sum.
        held: Share of the samples with a position.
    """

    trades: int
    total: Interval
    per_trade: Interval | None
    mid_bps: float
    spread_bps: float
    fees_bps: float
    held: float

    @property
    def better_than_nothing(self) -> bool:
        """Whether the whole interval of the total lies above 0."""
        return self.total.low > 0

    @property
    def sentence(self) -> str:
        """What the report says."""
        if not self.trades:
            return "a taker would not have traded"
        verb = "earned" if self.total.value > 0 else "lost"
        verdict = (
            "better than doing nothing"
            if self.better_than_nothing
            else "worse than doing nothing"
            if self.total.high < 0
            else "no better than doing nothing"
        )
        each = self.total.value / self.trades
        return (
            f"{verdict}: after fees a taker would have {verb} {abs(each):.2f} bps a trade in {self.trades:,} trades, "
            f"{self.total.value:.1f} bps in all, {self.total.level * 100:g}% interval {self.total.low:.1f} to "
            f"{self.total.high:.1f} (mid {self.mid_bps:+.1f}, spread {-self.spread_bps:+.1f}, fees "
            f"{-self.fees_bps:+.1f})"
        )


def take(
    ts: Ints,
    span: Ints,
    bid: Floats,
    ask: Floats,
    called: Labels,
    *,
    fee: float,
    bootstrap: BlockBootstrap,
    latency_ns: int = 0,
    short: bool = False,
    flat: Literal["keep", "close"] = "keep",
) -> TakerResult:
    """Return what a taker of the calls would have earned.

    Up: buy at the ask. Down: sell at the bid what is held, and with `short` as much again. Flat: keep what is
    held, or with ``flat="close"`` go out. A decision is carried out at the first sample that is no earlier than
    its time plus `latency_ns`, at that sample's prices; a later decision that arrives with it wins. What is
    held at the end of a span is closed at its last sample, and nothing is opened there.

    A trade earns ``out (1 - fee) / in (1 + fee) - 1`` when long, and ``(1 - fee) - out (1 + fee) / in`` when
    short, of what was put in. Earnings count at the sample of the entry.

    Args:
        ts: int64[n], ns.
        span: int64[n], as in `Samples`.
        bid: float64[n], best bid at each sample, any unit of price.
        ask: float64[n], best ask.
        called: int8[n]; down, flat, up.
        fee: Share of the amount, such as 0.0005 for 5 bps; both ways.
        bootstrap: Of the intervals.
        latency_ns: From a sample to when its decision is carried out.
        short: Whether down may go short.
        flat: What flat means.

    Raises:
        DataError: if lengths differ, a price is not above 0 or the book is crossed, a call is no class, or the
            fee is not between 0 and 1.
    """
    _check(ts, span, bid, ask, called, fee, latency_ns)
    position = _position(ts, span, called, latency_ns, short=short, flat=flat)
    entry, leave, side = _trades(position, span)
    long = side > 0
    paid = np.where(long, ask[entry] * (1 + fee), bid[entry])
    got = np.where(long, bid[leave] * (1 - fee), ask[leave] * (1 + fee))
    net = np.where(long, got / paid - 1, (1 - fee) - got / paid)
    mid = (bid + ask) / 2
    at_mid = side * (mid[leave] / mid[entry] - 1)
    at_touch = np.where(long, bid[leave] / ask[entry] - 1, 1 - ask[leave] / bid[entry])
    earned = np.zeros((len(ts), 2))
    np.add.at(earned[:, 0], entry, net * _BPS)
    np.add.at(earned[:, 1], entry, 1.0)
    totals = bootstrap.totals(earned)
    total, trades = earned.sum(axis=0).tolist()
    per_trade = None
    if (totals[:, 1] > 0).all():
        per_trade = bootstrap.interval_of(total / trades, totals[:, 0] / totals[:, 1])
    return TakerResult(
        trades=int(trades),
        total=bootstrap.interval_of(total, totals[:, 0]),
        per_trade=per_trade,
        mid_bps=float(at_mid.sum() * _BPS),
        spread_bps=float((at_mid - at_touch).sum() * _BPS),
        fees_bps=float((at_touch - net).sum() * _BPS),
        held=float((position != 0).mean()),
    )


def _position(
    ts: Ints,
    span: Ints,
    called: Labels,
    latency_ns: int,
    *,
    short: bool,
    flat: Literal["keep", "close"],
) -> Ints:
    """Return the position held from each sample on: -1, 0 or 1; 0 at the last of each span."""
    rows = np.arange(len(ts))
    opens = np.searchsorted(span, span, side="left")
    # Which sample's decision has arrived last, by each sample; none of an earlier span counts.
    decided = rows
    if latency_ns:
        decided = np.searchsorted(ts + latency_ns, ts, side="right") - 1
    wish = np.full(4, _NOTHING)
    wish[UP], wish[DOWN] = 1, -1 if short else 0
    asked = np.where(decided >= opens, called[np.maximum(decided, 0)], _HELD)
    if flat == "keep":
        # The last call that was not flat holds on.
        said = np.where((asked == UP) | (asked == DOWN), rows, -1)
        since = np.maximum.accumulate(said)
        asked = np.where(since >= opens, asked[np.maximum(since, 0)], _HELD)
    position = wish[np.where(asked == FLAT, _HELD, asked)]
    last = np.append(np.diff(span) != 0, True)
    position[last] = 0
    return position


def _trades(position: Ints, span: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the row of the entry, that of the exit, and the side of every trade."""
    before = np.append(0, position[:-1])
    # The last of a span is 0, so that a change is never one from span to span.
    change = np.flatnonzero(position != before)
    entry = change[position[change] != 0]
    leave = change[before[change] != 0]
    return entry, leave, position[entry]


def _check(
    ts: Ints, span: Ints, bid: Floats, ask: Floats, called: Labels, fee: float, latency_ns: int
) -> None:
    check_labels(called, "calls")
    for what, array in (("span", span), ("bid", bid), ("ask", ask), ("call", called)):
        if array.shape != ts.shape:
            raise DataError(
                f"taker: a {what} for each of {len(ts)} samples was expected; found shape {array.shape}"
            )
    bad = np.flatnonzero(~((bid > 0) & (ask >= bid) & np.isfinite(ask)))
    if len(bad):
        when = np.datetime64(int(ts[bad[0]]), "ns")
        raise DataError(
            f"taker: a bid above 0 and an ask no lower were expected; found {bid[bad[0]]} and {ask[bad[0]]} at "
            f"{when}Z (row {bad[0]}) and {len(bad):,} such rows"
        )
    if not 0 <= fee < 1:
        raise DataError(
            f"taker: a fee as a share, such as 0.0005 for 5 bps, was expected; found {fee}"
        )
    if latency_ns < 0:
        raise DataError(f"taker: a latency of 0 ns or more was expected; found {latency_ns}")
