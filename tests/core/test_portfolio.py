from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from core_rows import BTCUSDT, INVERSE, SPOT, instrument_with
from hypothesis import given
from hypothesis import strategies as st

from mmkit.events import Liquidity, OrderFilled, Side
from mmkit.instruments import Instrument
from mmkit.portfolio import Portfolio, value_of

FINE = instrument_with(tick="0.00000001", lot="0.00000001")
NEARLY = Fraction(1, 10**25)


def fill(price: int, quantity: int, fee: Decimal = Decimal(0)) -> OrderFilled:
    return OrderFilled(
        ts_exchange=0,
        ts_local=0,
        order_id=1,
        price=price,
        quantity=quantity,
        remaining=0,
        liquidity=Liquidity.MAKER,
        fee=fee,
    )


Trade = tuple[Side, int, int, Decimal]
trades = st.lists(
    st.tuples(
        st.sampled_from(Side),
        st.integers(1, 10**7),
        st.integers(1, 10**6),
        st.decimals(-10, 10, places=8),
    ),
    max_size=25,
)


def worth(instrument: Instrument, price: Fraction | int, lots: int) -> Fraction:
    """What `lots` are worth, as the venues' documents say it."""
    quantity = Fraction(instrument.lot) * lots * Fraction(instrument.contract_size)
    price = Fraction(instrument.tick) * price
    return -quantity / price if instrument is INVERSE else quantity * price


class Slow:
    """Positions by average price, in fractions: every sum as in a textbook, nothing rounded.

    Inverse contracts: a long of Q quote currency bought at p owes nothing and owns Q x (1/p - 1/now); so
    it is a holding worth -Q/p, and all else is the same.
    """

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.position = 0
        self.entry = Fraction(0)  # worth of one lot, at which the position was opened on average
        self.realized = self.fees = self.cash = self.turnover = Fraction(0)

    def trade(self, side: Side, price: int, lots: int, fee: Decimal) -> None:
        each = worth(self.instrument, price, 1)
        signed = lots if side is Side.BUY else -lots
        self.cash -= each * signed
        self.fees += Fraction(fee)
        self.turnover += abs(each) * lots
        while signed:
            step = 1 if signed > 0 else -1
            if self.position * step >= 0:  # opens: all that is left
                size = abs(self.position)
                self.entry = (self.entry * size + each * abs(signed)) / (size + abs(signed))
                self.position += signed
                return
            closed = min(abs(signed), abs(self.position))
            direction = 1 if self.position > 0 else -1
            self.realized += direction * closed * (each - self.entry)
            self.position += step * closed
            signed -= step * closed

    def unrealized(self, bid: int, ask: int) -> Fraction:
        if not self.position:
            return Fraction(0)
        now = worth(self.instrument, Fraction(bid + ask, 2), 1)
        return self.position * (now - self.entry)


@given(trades=trades, bid=st.integers(1, 10**7), spread=st.integers(1, 99))
@pytest.mark.parametrize("instrument", [BTCUSDT, SPOT, FINE], ids=["linear", "spot", "fine"])
def test_the_books_close_exactly_for_spot_and_linear(
    instrument: Instrument, trades: list[Trade], bid: int, spread: int
) -> None:
    portfolio, slow = Portfolio(instrument), Slow(instrument)
    for side, price, lots, fee in trades:
        portfolio.apply(side, fill(price, lots, fee))
        slow.trade(side, price, lots, fee)
    equity = Fraction(portfolio.equity(bid, bid + spread))
    mid = Fraction(2 * bid + spread, 2)
    assert (
        portfolio.position,
        Fraction(portfolio.cash),
        Fraction(portfolio.fees),
        Fraction(portfolio.turnover),
        portfolio.volume,
    ) == (
        slow.position,
        slow.cash,
        slow.fees,
        slow.turnover,
        sum(lots for _, _, lots, _ in trades),
    )
    assert equity == slow.cash + worth(instrument, mid, slow.position) - slow.fees
    # The average price has no exact decimal; 50 digits are kept.
    assert abs(Fraction(portfolio.realized_pnl) - slow.realized) < NEARLY
    unrealized = slow.unrealized(bid, bid + spread)
    assert abs(equity - (slow.realized + unrealized - slow.fees)) == 0


@given(trades=trades, bid=st.integers(1, 10**7), spread=st.integers(1, 99))
def test_inverse_contracts_equal_the_slow_calculation(
    trades: list[Trade], bid: int, spread: int
) -> None:
    portfolio, slow = Portfolio(INVERSE), Slow(INVERSE)
    for side, price, lots, fee in trades:
        portfolio.apply(side, fill(price, lots, fee))
        slow.trade(side, price, lots, fee)
    unrealized = slow.unrealized(bid, bid + spread)
    equity = Fraction(portfolio.equity(bid, bid + spread))
    # Values reach 1e9 BTC here and have 50 digits.
    nearly = Fraction(1, 10**18)
    assert portfolio.position == slow.position
    assert abs(Fraction(portfolio.realized_pnl) - slow.realized) < nearly
    assert abs(equity - (slow.realized + unrealized - slow.fees)) < nearly


def test_a_long_inverse_position_earns_what_the_venue_says() -> None:
    # 100 contracts of 100 USD from 50,000 to 60,000: 10,000 x (1/50,000 - 1/60,000) BTC.
    portfolio = Portfolio(INVERSE)
    portfolio.apply(Side.BUY, fill(500_000, 100))
    assert portfolio.equity(500_000, 500_000) == 0
    earned = Fraction(10_000) * (Fraction(1, 50_000) - Fraction(1, 60_000))
    assert abs(Fraction(portfolio.equity(599_999, 600_001)) - earned) < NEARLY
    portfolio.apply(Side.SELL, fill(600_000, 100))
    assert (portfolio.position, portfolio.volume) == (0, 200)
    assert abs(Fraction(portfolio.realized_pnl) - earned) < NEARLY
    assert abs(Fraction(portfolio.equity(1, 2)) - earned) < NEARLY
    assert f"{portfolio.realized_pnl:.8f}" == "0.03333333"


def test_a_short_inverse_position_loses_base_currency_as_the_price_rises() -> None:
    portfolio = Portfolio(INVERSE)
    portfolio.apply(Side.SELL, fill(500_000, 100))
    portfolio.apply(Side.BUY, fill(600_000, 100))
    assert f"{portfolio.realized_pnl:.8f}" == "-0.03333333"


def test_a_linear_round_trip_by_hand() -> None:
    # 0.010 BTC bought at 60,000.0 and sold at 60,010.5, 0.12 paid in fees.
    portfolio = Portfolio(BTCUSDT)
    portfolio.apply(Side.BUY, fill(600_000, 10, Decimal("0.12")))
    assert portfolio.equity(600_100, 600_100) == Decimal("-0.02")
    portfolio.apply(Side.SELL, fill(600_105, 10))
    assert (portfolio.position, portfolio.cash, portfolio.realized_pnl) == (
        0,
        Decimal("0.105"),
        Decimal("0.105"),
    )
    assert portfolio.equity(None, None) == Decimal("-0.015")


def test_realized_profit_is_counted_at_the_average_price() -> None:
    # Bought 1 at 100 and 3 at 104: 103 on average. Sold 2 at 106, then 4 at 100: short 2 from 100.
    portfolio = Portfolio(instrument_with(tick="1", lot="1"))
    for price, lots in ((100, 1), (104, 3)):
        portfolio.apply(Side.BUY, fill(price, lots))
    portfolio.apply(Side.SELL, fill(106, 2))
    assert portfolio.realized_pnl == 6
    portfolio.apply(Side.SELL, fill(100, 4))
    assert (portfolio.position, portfolio.realized_pnl) == (-2, 0)
    assert portfolio.equity(89, 91) == 20


@given(trades=trades)
@pytest.mark.parametrize("instrument", [BTCUSDT, INVERSE], ids=["linear", "inverse"])
def test_a_position_that_cannot_be_valued_stands_at_what_it_cost(
    instrument: Instrument, trades: list[Trade]
) -> None:
    portfolio, slow = Portfolio(instrument), Slow(instrument)
    for side, price, lots, fee in trades:
        portfolio.apply(side, fill(price, lots, fee))
        slow.trade(side, price, lots, fee)
    for touch in ((None, None), (1, None), (None, 1)):
        equity = Fraction(portfolio.equity(*touch))
        assert abs(equity - (slow.realized - slow.fees)) < Fraction(1, 10**15)


def test_a_rebate_is_a_negative_fee_and_adds_to_equity() -> None:
    portfolio = Portfolio(BTCUSDT)
    portfolio.apply(Side.BUY, fill(600_000, 10, Decimal("-0.06")))
    portfolio.apply(Side.SELL, fill(600_000, 10, Decimal("-0.06")))
    assert (portfolio.fees, portfolio.equity(None, None)) == (Decimal("-0.12"), Decimal("0.12"))


@pytest.mark.parametrize(
    ("instrument", "value"),
    [
        (BTCUSDT, "600"),
        (SPOT, "60"),
        (INVERSE, "0.016666666666666666666666666666666666666666666666667"),
    ],
)
def test_the_value_of_ten_lots_at_600000_ticks(instrument: Instrument, value: str) -> None:
    assert value_of(instrument, 600_000, 10) == Decimal(value)
