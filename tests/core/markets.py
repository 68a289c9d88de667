"""Random markets with mark prices and funding rates, and strategies that do anything, for the tests of the core."""

from __future__ import annotations

import random
from collections.abc import Iterable

from scripted import Scripted

from mmkit.interfaces import MarketView, Quotes, Target
from mmkit.tape import LAST, SCALE, Kind, Row, Tape

S = 10**9
TO_MIDNIGHT = 6_395 * S
"""Random tapes begin at 22:13:20; moved by so much, that day ends five seconds later."""


def with_funding(tape: Tape, seed: int, *, every_s: int = 3, shift_ns: int = 0) -> Tape:
    """Return `tape` with a mark price and a funding rate after some messages, moved in time by `shift_ns`.

    Funding is due at every multiple of `every_s` seconds.
    """
    dice = random.Random(seed)
    price, rows = 60_000 * SCALE, []
    for ts_exchange, ts_local, kind, *rest in tape.rows():
        at, local = ts_exchange + shift_ns, ts_local + shift_ns
        rows.append((at, local, kind, *rest))
        if kind & LAST and dice.random() < 0.2:
            price += dice.randrange(-(10**10), 10**10)
            due = (at // S // every_s + 1) * every_s
            rate = dice.randrange(-300_000, 300_000)
            rows.append((at, local, int(Kind.MARK), 0, price))
            rows.append((at, local, Kind.FUNDING | LAST, due, rate))
    return Tape.from_rows(tape.instrument, rows)


def anything(seed: int, every: str = "100ms", on: Iterable[str] = ()) -> Scripted:
    """Return a strategy that quotes at random, and now and then takes."""
    dice = random.Random(seed)

    def quote(view: MarketView) -> Quotes | Target:
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return Quotes()
        if dice.random() < 0.1:
            return Target(dice.randrange(-30, 31))
        own = sorted(dice.sample(range(bid - 3, ask + 4), 4))
        return Quotes(
            bids=[(price, dice.randrange(1, 9)) for price in own[: dice.randrange(3)]],
            asks=[(price, dice.randrange(1, 9)) for price in own[2 : 2 + dice.randrange(3)]],
        )

    return Scripted(quote, every=every, on=list(on))


def rows_of(tape: Tape) -> list[Row]:
    return list(tape.rows())
