from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from core_rows import BTCUSDT, INVERSE, SPOT, instrument_with
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mmkit.events import Liquidity, OrderFilled, Side
from mmkit.instruments import Instrument
from mmkit.portfolio import Portfolio, fee_of, half_even, value_of

FINE = instrument_with(tick="0.00000001", lot="0.00000001")
NEARLY = Fraction(1, 10**25)
UNIT = Fraction(1, 10**12)
"""Every value of an inverse contract is a whole number of these, in base currency."""


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
    # Half a unit for each value: of the trades, of what they opened, of the position.
    nearly = (len(trades) + 1) * UNIT
    assert portfolio.position == slow.position
    assert abs(Fraction(portfolio.realized_pnl) - slow.realized) <= nearly
    assert abs(equity - (slow.realized + unrealized - slow.fees)) <= nearly


@given(trades=trades, bid=st.integers(1, 10**7), spread=st.integers(1, 99))
def test_the_books_of_an_inverse_contract_close_to_the_last_unit(
    trades: list[Trade], bid: int, spread: int
) -> None:
    """Each value is rounded once, by Python's `round`, which takes halves to even; the sums are exact."""
    portfolio, cash, position, fees = Portfolio(INVERSE), Fraction(0), 0, Fraction(0)
    for side, price, lots, fee in trades:
        portfolio.apply(side, fill(price, lots, fee))
        units = round(Fraction(lots * 1000, price) / UNIT)  # 100 USD a contract, ticks of 0.1
        cash += units * UNIT * side.sign
        position += lots * side.sign
        fees += Fraction(fee)
    held = round(Fraction(position * 2000, 2 * bid + spread) / UNIT) * UNIT
    assert Fraction(portfolio.cash) == cash
    assert Fraction(portfolio.equity(bid, bid + spread)) == cash - held - fees


@pytest.mark.parametrize(
    ("entry", "exit_", "contracts", "earned"),
    [
        # (1 / entry - 1 / exit) x contracts x 100 USD, from COIN-M's formula, by hand.
        ("10000", "11000", 100, "0.090909090909"),
        ("11000", "10000", 100, "-0.090909090909"),
        ("50000", "60000", 100, "0.033333333333"),
        ("60000", "50000", 1, "-0.000333333333"),
        ("3000", "7000", 7, "0.133333333333"),
        ("40000", "80000", 900_000, "1125"),
    ],
)
def test_an_inverse_position_earns_what_the_venue_says(
    entry: str, exit_: str, contracts: int, earned: str
) -> None:
    begun, ended = INVERSE.ticks(entry), INVERSE.ticks(exit_)
    for side in Side:
        portfolio, won = Portfolio(INVERSE), Decimal(earned) * side.sign
        portfolio.apply(side, fill(begun, contracts))
        assert portfolio.equity(begun, begun) == portfolio.realized_pnl == 0
        assert portfolio.equity(ended - 1, ended + 1) == won
        portfolio.apply(next(other for other in Side if other is not side), fill(ended, contracts))
        assert (portfolio.position, portfolio.realized_pnl, portfolio.equity(1, 2)) == (0, won, won)


def test_an_inverse_position_closed_in_parts_at_its_average() -> None:
    # 100 contracts at 50,000 and 200 at 40,000: 0.2 + 0.5 BTC, 0.7 / 300 a contract. 150 closed at
    # 60,000 for 0.25: 0.35 - 0.25 earned. The other 150 turn over into a short of 50 at 30,000:
    # 0.35 - 0.5 lost, 1/6 owed.
    portfolio = Portfolio(INVERSE)
    portfolio.apply(Side.BUY, fill(500_000, 100))
    portfolio.apply(Side.BUY, fill(400_000, 200))
    portfolio.apply(Side.SELL, fill(600_000, 150))
    assert portfolio.realized_pnl == Decimal("0.1")
    portfolio.apply(Side.SELL, fill(300_000, 200))
    assert (portfolio.position, portfolio.realized_pnl) == (-50, Decimal("-0.05"))
    # At 40,000 the short has lost 5,000 x (1/30,000 - 1/40,000) BTC.
    assert portfolio.equity(399_999, 400_001) == Decimal("-0.05") - Decimal("0.041666666667")


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (-5, 2, -2), (7, 4, 2), (-7, 4, -2)],
)
def test_halves_go_to_the_even_neighbour_on_either_side_of_zero(
    numerator: int, denominator: int, rounded: int
) -> None:
    assert half_even(numerator, denominator) == rounded


@given(numerator=st.integers(), denominator=st.integers(1))
def test_rounding_is_that_of_python(numerator: int, denominator: int) -> None:
    assert half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(
    lots=st.integers(1, 10**9),
    price=st.integers(1, 10**7),
    rate=st.decimals("-0.01", "0.01", places=6),
)
def test_the_fee_of_an_inverse_contract_is_a_share_of_its_rounded_value(
    lots: int, price: int, rate: Decimal
) -> None:
    value = round(Fraction(lots * 1000, price) / UNIT)
    fee = fee_of(INVERSE, price, lots, rate)
    assert Fraction(fee) == round(value * Fraction(rate)) * UNIT


@pytest.mark.parametrize(
    # 1000 x lots / 65536 BTC: 15258789062.5 units a lot.
    ("lots", "value"),
    [(1, "0.015258789062"), (3, "0.045776367188"), (5, "0.076293945312"), (7, "0.106811523438")],
)
def test_an_inverse_value_half_way_between_two_units_goes_to_the_even_one(
    lots: int, value: str
) -> None:
    assert value_of(INVERSE, 65_536, lots) == Decimal(value)
    portfolio = Portfolio(INVERSE)
    portfolio.trade_all([(1, 65_536, lots)])
    assert portfolio.cash == Decimal(value)


large_trades = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 10**12), st.integers(1, 10**13)), max_size=12
)
usual_trades = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 10**7), st.integers(1, 4)), max_size=40
)


@given(trades=usual_trades | large_trades, cut=st.integers(0, 40))
@pytest.mark.parametrize("instrument", [BTCUSDT, FINE, INVERSE], ids=["linear", "fine", "inverse"])
def test_many_trades_at_once_are_the_same_trades_one_by_one(
    instrument: Instrument, trades: list[tuple[int, int, int]], cut: int
) -> None:
    one_by_one, at_once = Portfolio(instrument), Portfolio(instrument)
    for sign, price, lots in trades:
        one_by_one.trade(Side.BUY if sign > 0 else Side.SELL, price, lots, Decimal(0))
    at_once.trade_all(trades[:cut])
    at_once.trade_all(iter(trades[cut:]))
    for name in ("position", "cash", "volume", "turnover", "realized_pnl"):
        assert getattr(one_by_one, name) == getattr(at_once, name), name
    for touch in ((100, 103), (None, None)):
        assert one_by_one.equity(*touch) == at_once.equity(*touch)


@pytest.mark.parametrize("instrument", [BTCUSDT, INVERSE], ids=["linear", "inverse"])
def test_many_trades_cost_python_only_what_followed_the_last_time_it_was_flat(
    instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    carry = Portfolio._carry
    monkeypatch.setattr(
        Portfolio,
        "_carry",
        lambda self, change, at: (asked.append(change), carry(self, change, at)),
    )
    sign = np.array([1, -1] * 50_000 + [1, 1, -1])
    Portfolio(instrument).trade_columns(sign, np.full(len(sign), 600_000), np.full(len(sign), 5))
    assert len(asked) == 4  # from the one that made it flat


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
        nearly = len(trades) * UNIT if instrument is INVERSE else NEARLY
        assert abs(equity - (slow.realized - slow.fees)) <= nearly


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
        (INVERSE, "0.016666666667"),
    ],
)
def test_the_value_of_ten_lots_at_600000_ticks(instrument: Instrument, value: str) -> None:
    assert value_of(instrument, 600_000, 10) == Decimal(value)


@given(trades=trades, rate=st.decimals("-0.02", "0.02", places=5), bid=st.integers(1, 10**7))
@pytest.mark.parametrize("instrument", [SPOT, FINE], ids=["spot", "fine"])
def test_with_fees_in_base_what_is_held_and_what_was_paid_are_those_of_two_purses(
    instrument: Instrument, trades: list[Trade], rate: Decimal, bid: int
) -> None:
    """The slow calculation: a purse of base and one of quote, from which is taken what leaves and into which what comes."""
    portfolio = Portfolio(instrument)
    base = quote = Fraction(0)
    for side, price, lots, fee in trades:
        quantity, at = instrument.quantity(lots), instrument.price(price)
        base += side.sign * Fraction(quantity)
        quote -= side.sign * Fraction(quantity) * Fraction(at)
        filled = fill(price, lots, fee)
        if side is Side.BUY:
            taken = quantity * rate
            base -= Fraction(taken)
            filled = replace(filled, fee=taken * at, fee_in_base=taken)
        else:
            quote -= Fraction(fee)
        portfolio.apply(side, filled)
        assert Fraction(portfolio.held) == base
        assert 0 <= portfolio.dust < instrument.lot
        assert portfolio.position == -(-base // Fraction(instrument.lot))
        assert Fraction(portfolio.cash - portfolio.fees) == quote
        mid = Fraction(2 * bid + 1, 2) * Fraction(instrument.tick)
        assert Fraction(portfolio.equity(bid, bid + 1)) == quote + base * mid
    assert portfolio.volume == sum(lots for _, _, lots, _ in trades)


@given(st.integers(-(10**6), 10**6), st.integers(0, 999), st.integers(1, 10**6))
def test_a_position_of_which_some_dust_is_gone_is_worth_nothing_at_the_price_it_is_begun_with(
    position: int, part: int, price: int
) -> None:
    portfolio = Portfolio(SPOT)
    dust = SPOT.lot * part / 1000
    portfolio.begin_with(position, price, dust)
    assert portfolio.equity(price, price) == 0
    assert portfolio.held == SPOT.quantity(position) - dust
    assert (portfolio.volume, portfolio.fees, portfolio.turnover) == (0, 0, 0)
