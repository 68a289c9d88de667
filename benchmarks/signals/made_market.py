"""A market whose next move is drawn from a known function of its book and flow, so that the best forecast is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmkit.tape import LAST, SELL, Kind, Row, Tape
from mmkit.testing import BTCUSDT

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[np.int8]

STEP = 100_000_000
"""From one update of the book to the next, ns."""
START = 1_700_000_000_000_000_000
SEEN = 4
"""Samples that a law may look at: a model needs a window as long."""

_LARGEST = 200  # lots on a level, and of a trade
_LEAN = 3.0  # of up against down, at the strongest: their odds are then e^6
EVEN, RARE = 0.6, 2.4
"""Weight of flat in `odds`: a third of the moves are flat, or three quarters."""


_Place = tuple[int, int]
"""Side and price of a level."""


class _Best(NamedTuple):
    bid: int
    bid_size: int
    ask_size: int


class Step(NamedTuple):
    """What a law sees of an update of the book, all of it after the update.

    Attributes:
        imbalance: Of the best level, -1 to 1.
        ofi: Order flow imbalance of the update, best level, lots.
        flow: Bought less sold over both, of the trades since the update before, -1 to 1.
    """

    imbalance: float
    ofi: float
    flow: float


Law = Callable[[Sequence[Step]], float]
"""How much the next move leans, -1 down to 1 up, from the last `SEEN` updates, oldest first."""


def last(steps: Sequence[Step]) -> float:
    """Lean with the imbalance and the order flow of the last update."""
    return 0.6 * steps[-1].imbalance + 0.4 * float(np.tanh(steps[-1].ofi / _LARGEST))


def pattern(steps: Sequence[Step]) -> float:
    """Lean up if trades before the last went the same way twice, down if they turned; the last ones tell nothing.

    No single update tells anything by itself: each product is as often positive as negative whatever one factor is.
    """
    product = steps[-2].flow * steps[-4].flow
    return float(np.sign(product) * np.sqrt(abs(product)))


def nothing(steps: Sequence[Step]) -> float:
    """Lean nowhere."""
    del steps
    return 0.0


@dataclass(frozen=True, eq=False)
class MadeMarket:
    """A tape, and what the best forecaster would know.

    Attributes:
        tape: A book of two levels a side, a tick wide, and trades.
        ts: int64[n], local time of each update of the book.
        probabilities: float64[n, 3], of the move from this update to the next: down, flat, up. They are what the
            move was drawn with, given all that was before.
    """

    tape: Tape
    ts: Ints
    probabilities: Floats


MARKETS: dict[str, tuple[Law, float]] = {
    "last": (last, EVEN),
    "pattern": (pattern, EVEN),
    "nothing": (nothing, EVEN),
    "rare": (last, RARE),
}
"""By name: the law, and the weight of flat."""


def made_market(n: int, seed: int, law: Law, flat: float = EVEN) -> MadeMarket:
    """Return a market of `n` updates of the book, with trades between two of them; the more `flat`, the rarer moves.

    Sizes and trades are drawn anew each time and hang on nothing. The same seed gives the same market.
    """
    dice = np.random.default_rng(seed)
    sizes = dice.integers(1, _LARGEST + 1, (n, 4))
    traded = dice.integers(1, _LARGEST + 1, (n, 2))
    luck = dice.random(n)
    probabilities = np.full((n, 3), 1 / 3)
    rows: list[Row] = []
    steps: list[Step] = []
    bid, before, book = 10_000, None, dict[_Place, int]()
    for number in range(n):
        at = START + number * STEP
        bid_size, deep_bid, ask_size, deep_ask = sizes[number].tolist()
        bought, sold = traded[number].tolist()
        now = _Best(bid, bid_size, ask_size)
        if before is not None:
            rows += _trades(at - STEP // 2, before.bid, bought, sold)
        then, book = (
            book,
            {
                (0, bid): bid_size,
                (0, bid - 1): deep_bid,
                (int(SELL), bid + 1): ask_size,
                (int(SELL), bid + 2): deep_ask,
            },
        )
        rows += _update(at, then, book)
        step = Step(
            imbalance=(bid_size - ask_size) / (bid_size + ask_size),
            ofi=0 if before is None else _flow(before, now),
            flow=(bought - sold) / (bought + sold),
        )
        steps, before = [*steps[1 - SEEN :], step], now
        if len(steps) == SEEN:
            probabilities[number] = odds(law(steps), flat)
        down, stays, _ = probabilities[number].tolist()
        bid += 1 - int(luck[number] < down + stays) - int(luck[number] < down)
    return MadeMarket(Tape.from_rows(BTCUSDT, rows), START + STEP * np.arange(n), probabilities)


def odds(lean: float, flat: float = EVEN) -> Floats:
    """Return the probabilities of down, flat and up that a lean stands for, float64[3]."""
    weights = np.exp([-_LEAN * lean, flat, _LEAN * lean])
    shares: Floats = weights / weights.sum()
    return shares


def _flow(before: _Best, now: _Best) -> int:
    """Return the order flow imbalance of an update of a book a tick wide; docs/features.md has the formula."""
    up, down = now.bid >= before.bid, now.bid <= before.bid
    return up * (now.bid_size + before.ask_size) - down * (before.bid_size + now.ask_size)


def _trades(at: int, bid: int, bought: int, sold: int) -> list[Row]:
    """Return a message for what was bought at the ask and one for what was sold at the bid."""
    return [
        (at, at, int(Kind.TRADE) | LAST, bid + 1, bought),
        (at, at, int(Kind.TRADE) | SELL | LAST, bid, sold),
    ]


def _update(at: int, before: dict[_Place, int], book: dict[_Place, int]) -> list[Row]:
    changes = [
        (int(Kind.LEVEL) | side, price, 0) for side, price in before if (side, price) not in book
    ]
    changes += [(int(Kind.LEVEL) | side, price, size) for (side, price), size in book.items()]
    if not before:
        changes.insert(0, (int(Kind.SNAPSHOT), 0, 0))
    *first, (kind, price, size) = [(int(kind), price, size) for kind, price, size in changes]
    return [(at, at, *change) for change in first] + [(at, at, kind | LAST, price, size)]


def best_calls(probabilities: Floats) -> Labels:
    """Return the calls with the best macro-F1 that can be expected of any, int8[n].

    With `r_c` how many samples are of class c, `s_c` how many are called so and `f_c` the F1 of it, a call of c adds
    ``2 (p_c - f_c / 2) / (r_c + s_c)`` to the sum of the three F1, to first order; at the optimum each call is the one
    that adds most. It is approached step by step, from several beginnings. The plain argmax of the probabilities is
    best for accuracy and not for macro-F1. Source: Narasimhan, Ramaswamy, Saket, Agarwal, "Consistent multiclass
    algorithms for complex performance measures", ICML 2015.
    """
    best, found = -1.0, probabilities.argmax(axis=1)
    were = probabilities.sum(axis=0)
    for flat in (0.5, 0.7, 1.0, 1.4, 2.0):
        calls = (probabilities * [flat, 1.0, flat]).argmax(axis=1)
        half, weight = np.zeros(3), np.zeros(3)
        for number in range(1, 61):
            f1, called = _expected(probabilities, calls)
            if f1.mean() > best:
                best, found = float(f1.mean()), calls
            # The mean of all so far: from the last alone it would swing to and fro.
            half += (f1 / 2 - half) / number
            weight += (1 / (were + called) - weight) / number
            calls = ((probabilities - half) * weight).argmax(axis=1)
    return found.astype(np.int8)


def expected_f1(probabilities: Floats, calls: Labels) -> float:
    """Return the macro-F1 that is to be expected of calls if classes are drawn with these probabilities."""
    return float(_expected(probabilities, calls)[0].mean())


def _expected(probabilities: Floats, calls: npt.NDArray[np.integer]) -> tuple[Floats, Floats]:
    """Return F1 and number of calls, by class."""
    chosen = np.eye(3)[calls]
    called = chosen.sum(axis=0)
    return 2 * (probabilities * chosen).sum(axis=0) / (probabilities.sum(axis=0) + called), called
