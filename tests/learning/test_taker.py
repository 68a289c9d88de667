from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_market import market

from mmkit.errors import DataError
from mmkit.learning import BlockBootstrap, take

ONE = BlockBootstrap(length=1, resamples=50)


def slowly(
    ts: list[int],
    span: list[int],
    bid: list[float],
    ask: list[float],
    called: list[int],
    fee: float,
    latency: int,
    short: bool,
    flat: str,
) -> list[float]:
    """One sample after the other, as somebody at a screen would do it; what each trade earned, in bps."""
    earned: list[float] = []
    held, paid = 0, 0.0
    waiting: list[tuple[int, int]] = []
    for row in range(len(ts)):
        if row and span[row] != span[row - 1]:
            waiting = []
        waiting.append((ts[row] + latency, called[row]))
        wish = held
        while waiting and waiting[0][0] <= ts[row]:
            call = waiting.pop(0)[1]
            if call == 2:
                wish = 1
            elif call == 0:
                wish = -1 if short else 0
            elif flat == "close":
                wish = 0
        if row == len(ts) - 1 or span[row + 1] != span[row]:
            wish = 0
        if wish != held:
            if held == 1:
                earned.append((bid[row] * (1 - fee) / paid - 1) * 1e4)
            if held == -1:
                earned.append(((1 - fee) - ask[row] * (1 + fee) / paid) * 1e4)
            if wish == 1:
                paid = ask[row] * (1 + fee)
            if wish == -1:
                paid = bid[row]
            held = wish
    return earned


@given(
    st.lists(
        st.tuples(
            st.integers(1, 9),
            st.sampled_from([0, 0, 0, 0, 1]),
            st.integers(-3, 3),
            st.integers(1, 3),
        ),
        min_size=10,
        max_size=40,
    ),
    st.data(),
    st.sampled_from([0, 1, 4, 11, 30]),
    st.booleans(),
    st.sampled_from(["keep", "close"]),
)
def test_the_earnings_are_those_of_a_loop_over_the_samples(
    drawn: list[tuple[int, int, int, int]],
    data: st.DataObject,
    latency: int,
    short: bool,
    flat: Literal["keep", "close"],
) -> None:
    step, breaks, moves, wide = (np.array(column) for column in zip(*drawn, strict=True))
    n = len(drawn)
    calls = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    ts, span = np.cumsum(step), np.cumsum(breaks)
    bid = 100.0 + np.cumsum(moves)
    bid -= min(bid.min() - 1, 0)
    ask = bid + wide
    found = take(
        ts, span, bid, ask, np.array(calls, np.int8), fee=0.001, bootstrap=ONE,
        latency_ns=latency, short=short, flat=flat,
    )  # fmt: skip
    expected = slowly(
        ts.tolist(), span.tolist(), bid.tolist(), ask.tolist(), calls, 0.001, latency, short, flat
    )
    assert found.trades == len(expected)
    assert found.total.value == pytest.approx(sum(expected), abs=1e-8)
    assert found.mid_bps - found.spread_bps - found.fees_bps == pytest.approx(
        sum(expected), abs=1e-8
    )


def test_a_taker_who_never_trades_earns_nothing() -> None:
    made = market(100, seed=1)
    nothing = take(
        made.samples.ts, made.samples.span, made.bid, made.ask, np.ones(100, np.int8), fee=0.001, bootstrap=ONE
    )  # fmt: skip
    assert (nothing.trades, nothing.total.value, nothing.per_trade) == (0, 0, None)
    assert nothing.sentence == "a taker would not have traded"
    assert not nothing.better_than_nothing


def test_who_knows_the_future_earns_and_who_guesses_pays_the_spread_and_the_fees() -> None:
    made = market(20_000, seed=2)
    samples, n = made.samples, 20_000
    bootstrap = BlockBootstrap(length=50, resamples=500)
    ahead = np.append(samples.mid[20:], np.full(20, samples.mid[-1])) - samples.mid
    knows = (np.sign(ahead) + 1).astype(np.int8)
    guesses = np.random.default_rng(3).integers(0, 3, n).astype(np.int8)

    rich = take(samples.ts, samples.span, made.bid, made.ask, knows, fee=0.0, bootstrap=bootstrap, short=True)  # fmt: skip
    poor = take(samples.ts, samples.span, made.bid, made.ask, guesses, fee=0.0005, bootstrap=bootstrap, short=True)  # fmt: skip
    assert rich.better_than_nothing
    assert rich.sentence.startswith(
        "better than doing nothing: after fees a taker would have earned"
    )
    assert poor.total.high < 0
    assert poor.per_trade is not None
    assert poor.per_trade.high < 0
    # Each guess crosses the whole spread of a tick once there and back, and pays the fee twice.
    assert poor.spread_bps / poor.trades == pytest.approx(1.0, rel=0.2)
    assert poor.fees_bps / poor.trades == pytest.approx(10.0, rel=0.01)
    assert poor.sentence.startswith("worse than doing nothing: after fees a taker would have lost")


def test_the_future_changes_no_trade_that_is_over() -> None:
    made = market(1_000, seed=4)
    calls = np.random.default_rng(5).integers(0, 3, 1_000).astype(np.int8)
    span = np.repeat([0, 1], 500)

    def first_half(bid: np.ndarray, ask: np.ndarray, calls: np.ndarray) -> list[float]:  # type: ignore[type-arg]
        whole = take(
            made.samples.ts, span, bid, ask, calls, fee=0.001, bootstrap=ONE, latency_ns=10**8
        )
        later = take(
            made.samples.ts[500:], span[500:], bid[500:], ask[500:], calls[500:],
            fee=0.001, bootstrap=ONE, latency_ns=10**8,
        )  # fmt: skip
        return [whole.total.value - later.total.value, whole.trades - later.trades]

    noisy, other = made.bid.copy(), calls.copy()
    noisy[500:] = np.random.default_rng(6).uniform(1, 2, 500)
    other[500:] = 2
    before = first_half(made.bid, made.ask, calls)
    after = first_half(noisy, np.where(span == 1, noisy + 1, made.ask), other)
    assert after == pytest.approx(before, abs=1e-6)


def test_a_taker_who_cannot_be_is_refused() -> None:
    ts, span, calls = np.arange(20), np.zeros(20, np.int64), np.full(20, 2, np.int8)
    bid, ask = np.full(20, 1.0), np.full(20, 2.0)
    crossed = ask.copy()
    crossed[3] = 0.5
    for arguments, options, words in (
        (
            (ts, span, bid, crossed, calls),
            {"fee": 0.0},
            r"found 1.0 and 0.5 at .*000000003Z \(row 3\)",
        ),
        ((ts, span, bid[:5], ask, calls), {"fee": 0.0}, "a bid for each of 20 samples"),
        ((ts, span, bid, ask, calls - 3), {"fee": 0.0}, "calls: 0"),
        ((ts, span, bid, ask, calls), {"fee": 5.0}, "fee as a share, such as 0.0005 for 5 bps"),
        ((ts, span, bid, ask, calls), {"fee": 0.0, "latency_ns": -1}, "latency of 0 ns or more"),
    ):
        with pytest.raises(DataError, match=words):
            take(*arguments, bootstrap=ONE, **options)  # type: ignore[arg-type]
