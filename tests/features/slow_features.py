"""Every feature once more, straight from its definition: slow, plain, and without a line of the other."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from mmkit.features import FeatureSpec
from mmkit.tape import KIND, LAST, SELL, Kind, Row

MS = 1_000_000
Levels = list[tuple[int, int]]


@dataclass
class Moment:
    """What was known after one message."""

    ts: int
    usable: bool
    bids: Levels
    asks: Levels
    trades: list[tuple[bool, int]]

    @property
    def mid(self) -> Fraction:
        return Fraction(self.bids[0][0] + self.asks[0][0], 2)


def moments(rows: list[Row]) -> list[Moment]:
    found: list[Moment] = []
    book: dict[bool, dict[int, int]] = {False: {}, True: {}}
    known = filling = False
    trades: list[tuple[bool, int]] = []
    for number, (_, ts, kind, price, quantity) in enumerate(rows, 1):
        what, sell, last = kind & KIND, bool(kind & SELL), bool(kind & LAST)
        if what == Kind.LEVEL:
            book[sell][price] = quantity
        elif what == Kind.TRADE:
            trades.append((sell, quantity))
        elif what in (Kind.SNAPSHOT, Kind.GAP):
            book = {False: {}, True: {}}
            filling = what == Kind.SNAPSHOT
            known = known and filling
        if filling and last:
            known, filling = True, False
        if last or what == Kind.GAP or number == len(rows):
            bids, asks = (
                sorted(((p, q) for p, q in book[side].items() if q), reverse=not side)
                for side in (False, True)
            )
            usable = bool(known and bids and asks and bids[0][0] < asks[0][0])
            found.append(Moment(ts, usable, bids, asks, trades))
            trades = []
    return found


def slow(known: list[Moment], specs: Iterable[FeatureSpec], lot: Fraction, at: int) -> list[float]:
    """Return the values at a time, of what `moments` told; NaN where one is not known."""
    specs = list(specs)
    past = [moment for moment in known if moment.ts <= at]
    if not past or not past[-1].usable:
        return [math.nan] * len(specs)
    first = len(past) - 1
    while first > 0 and past[first - 1].usable:
        first -= 1
    values = (_value(spec, past[first:], lot, at) for spec in specs)
    return [math.nan if value is None else float(value) for value in values]


def _value(
    spec: FeatureSpec, past: list[Moment], lot: Fraction, at: int
) -> Fraction | float | None:
    now = past[-1]
    (bid, bid_size), (ask, ask_size) = now.bids[0], now.asks[0]
    level = (spec.level or 1) - 1
    bids = sum(quantity for _, quantity in now.bids[: spec.levels])
    asks = sum(quantity for _, quantity in now.asks[: spec.levels])
    match spec.name:
        case "spread":
            return Fraction(ask - bid)
        case "mid":
            return now.mid
        case "microprice":
            return Fraction(ask * bid_size + bid * ask_size, bid_size + ask_size)
        case "bid_price" | "ask_price":
            levels = now.bids if spec.name == "bid_price" else now.asks
            return levels[level][0] - now.mid if level < len(levels) else None
        case "bid_size" | "ask_size":
            levels = now.bids if spec.name == "bid_size" else now.asks
            return Fraction(levels[level][1]) if level < len(levels) else None
        case "bid_volume":
            return Fraction(bids)
        case "ask_volume":
            return Fraction(asks)
        case "imbalance":
            return Fraction(bids - asks, bids + asks)
        case "bid_slope":
            return _slope(now.bids[: spec.levels], now.mid)
        case "ask_slope":
            return _slope(now.asks[: spec.levels], now.mid)
        case "age":
            changed = past[0].ts
            for before, after in pairwise(past):
                if (before.bids[0], before.asks[0]) != (after.bids[0], after.asks[0]):
                    changed = after.ts
            return Fraction(at - changed, 10**9)
        case "vpin":
            assert spec.bucket is not None
            assert spec.buckets is not None
            return _vpin(past[1:], int(Fraction(spec.bucket) / lot), spec.buckets)
    assert spec.window is not None
    begin = at - spec.window
    if past[0].ts > begin:
        return None
    inside = [n for n, moment in enumerate(past) if n and moment.ts > begin]
    trades = [trade for n in inside for trade in past[n].trades]
    bought = sum(quantity for sell, quantity in trades if not sell)
    sold = sum(quantity for sell, quantity in trades if sell)
    buys = sum(not sell for sell, _ in trades)
    match spec.name:
        case "ofi":
            assert spec.levels is not None
            return sum(
                (
                    _flow(past[n - 1], past[n], level)
                    for n in inside
                    for level in range(spec.levels)
                ),
                Fraction(0),
            )
        case "trade_imbalance":
            return Fraction(bought - sold, bought + sold) if bought + sold else Fraction(0)
        case "buy_sell_ratio":
            return Fraction(buys + 1, len(trades) - buys + 1)
        case "volatility":
            squares = sum(((past[n].mid - past[n - 1].mid) ** 2 for n in inside), Fraction(0))
            return 10_000 * math.sqrt(squares) / float(now.mid)
        case "return":
            before = next(moment for moment in reversed(past) if moment.ts <= begin)
            return 10_000 * math.log(now.mid / before.mid)
    raise AssertionError(spec.name)


def _slope(levels: Levels, mid: Fraction) -> Fraction:
    """The line through the origin that is nearest, in squares, to volume over distance."""
    distances = [abs(price - mid) for price, _ in levels]
    volumes = [sum(quantity for _, quantity in levels[: n + 1]) for n in range(len(levels))]
    products = sum((d * v for d, v in zip(distances, volumes, strict=True)), Fraction(0))
    return products / sum((d * d for d in distances), Fraction(0))


def _flow(before: Moment, after: Moment, level: int) -> Fraction:
    """e_n of Cont, Kukanov and Stoikov, at one level."""

    def at(levels: Levels, worst: float) -> tuple[float, int]:
        return levels[level] if level < len(levels) else (worst, 0)

    (bid0, bids0), (bid1, bids1) = at(before.bids, -math.inf), at(after.bids, -math.inf)
    (ask0, asks0), (ask1, asks1) = at(before.asks, math.inf), at(after.asks, math.inf)
    flow = bids1 * (bid1 >= bid0) - bids0 * (bid1 <= bid0)
    return Fraction(flow - asks1 * (ask1 <= ask0) + asks0 * (ask1 >= ask0))


def _vpin(past: list[Moment], bucket: int, buckets: int) -> Fraction | None:
    """One lot after the other into buckets."""
    full: list[int] = []
    signs: list[int] = []
    for sell, quantity in (trade for moment in past for trade in moment.trades):
        for _ in range(quantity):
            signs.append(-1 if sell else 1)
            if len(signs) == bucket:
                full.append(abs(sum(signs)))
                signs = []
    if len(full) < buckets:
        return None
    return Fraction(sum(full[-buckets:]), buckets * bucket)


def wild_rows(seed: int, messages: int = 120) -> list[Row]:
    """Return rows of anything a tape may hold: crossed and empty books, snapshots, gaps, prints off the book,
    prices far away, and a last message that is cut.
    """
    dice = random.Random(seed)
    now = 1_700_000_000 * 10**9
    rows: list[Row] = []
    steady = dice.random() < 0.6  # bids below the asks, so that books live longer

    def level() -> tuple[int, int, int]:
        sell = dice.random() < 0.5
        low, high = ((106, 112) if sell else (99, 105)) if steady else (100, 110)
        price = dice.choice([1, 90_000]) if dice.random() < 0.02 else dice.randint(low, high)
        return Kind.LEVEL | (SELL if sell else 0), price, dice.choice([0, 1, 2, 3, 40])

    for number in range(messages):
        now += dice.choice([0, 0, MS, 30 * MS, 100 * MS, 400 * MS])
        chance = dice.random()
        if number == 0 or chance < 0.04:
            new: list[tuple[int, int, int]] = [(Kind.SNAPSHOT, 0, 0)]
            new += [
                (
                    Kind.LEVEL | (SELL if sell else 0),
                    (106 if sell else 105) + step * (1 if sell else -1),
                    5,
                )
                for sell in (False, True)
                for step in range(dice.randint(0 if chance < 0.01 else 1, 4))
            ]
        elif chance < 0.06:
            new = [(Kind.GAP, 1, 0)]
        elif chance < 0.35:
            new = [
                (
                    Kind.TRADE | (SELL if dice.random() < 0.5 else 0),
                    105,
                    dice.choice([1, 2, 7, 300]),
                )
                for _ in range(dice.randint(1, 3))
            ]
        elif chance < 0.40:
            new = [(dice.choice([Kind.OFF_BOOK, Kind.BEST, Kind.MARK]), 105, 50)]
        else:
            new = [level() for _ in range(dice.randint(1, 4))]
            if dice.random() < 0.1:
                new.append((Kind.TRADE, 105, 3))
        ends = [0] * (len(new) - 1) + [LAST if number < messages - 1 else 0]
        rows += [
            (now, now, kind | end, price, quantity)
            for (kind, price, quantity), end in zip(new, ends, strict=True)
        ]
    return rows


def messages_of(rows: list[Row]) -> list[list[Row]]:
    found: list[list[Row]] = [[]]
    for row in rows:
        found[-1].append(row)
        if row[2] & LAST:
            found.append([])
    return [message for message in found if message]
