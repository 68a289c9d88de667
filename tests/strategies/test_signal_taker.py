"""All in where a signal says up, all out where it says down or nothing any more; the taker's fee is paid."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies_on_books import NEXO

from mmkit.engine import Engine
from mmkit.errors import StrategyError
from mmkit.events import MAIN, OrderFilled, Signal
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import Context, Target
from mmkit.recorder import Recorder
from mmkit.risk import RiskGate
from mmkit.run.replay import received, replay_received
from mmkit.run.session import Session
from mmkit.run.signals.known import Known
from mmkit.settings import FillReports, SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import Row, Tape
from mmkit.testing import BTCUSDT, build_strategy, market_view, snapshot_rows
from mmkit_strategies.signal_taker import SignalTaker, lots_for

MS = 1_000_000
INVERSE = Instrument(
    venue="binance",
    market="coinm",
    symbol="BTC/USD:BTC",
    native="BTCUSD_PERP",
    base="BTC",
    quote="USD",
    kind=ContractKind.INVERSE,
    tick=BTCUSDT.tick,
    lot=BTCUSDT.contract_size,
    contract_size=BTCUSDT.contract_size * 100,
)


@given(
    money=st.fractions(0, 10**7),
    price=st.integers(1, 10**7),
    instrument=st.sampled_from([BTCUSDT, NEXO, INVERSE]),
)
def test_the_lots_are_the_most_that_the_money_buys(
    money: Fraction, price: int, instrument: Instrument
) -> None:
    def worth(lots: int) -> Fraction:
        paid, quantity = Fraction(instrument.price(price)), Fraction(instrument.quantity(lots))
        return quantity * 100 / paid if instrument is INVERSE else quantity * paid

    lots = lots_for(money, price, instrument)
    assert worth(lots) <= money < worth(lots + 1)


def taker(**config: Any) -> SignalTaker:
    built = build_strategy(SignalTaker, signals=["direction"], balance="1000", **config)
    assert isinstance(built, SignalTaker)
    return built


def wanted(
    strategy: SignalTaker, said: tuple[float, float, float] | None, position: int = 0
) -> int:
    answer = strategy.quote(
        market_view(position=position, signals={"direction": said} if said else None)
    )
    assert isinstance(answer, Target)
    return answer.position


# 95 % of 1000 at 60,000.1: 0.0158 BTC.
IN = 15


def test_it_goes_in_on_up_stays_while_nothing_is_said_and_goes_out_on_down() -> None:
    strategy = taker()
    assert wanted(strategy, (0.2, 0.4, 0.4)) == 0
    assert wanted(strategy, (0.2, 0.2, 0.6)) == IN
    # In part so far: the rest is still wanted.
    assert wanted(strategy, (0.2, 0.2, 0.6), position=4) == IN
    assert wanted(strategy, (0.3, 0.4, 0.3), position=IN) == IN
    assert wanted(strategy, (0.6, 0.2, 0.2), position=IN) == 0
    # Out first, then in again.
    assert wanted(strategy, (0.1, 0.2, 0.7), position=3) == 0
    assert wanted(strategy, (0.1, 0.2, 0.7)) == IN


def test_without_a_signal_it_goes_out() -> None:
    strategy = taker()
    assert wanted(strategy, (0.0, 0.0, 1.0)) == IN
    assert wanted(strategy, None, position=IN) == 0


def test_short_is_the_same_the_other_way_round_and_only_if_asked_for() -> None:
    assert wanted(taker(), (0.7, 0.2, 0.1)) == 0
    strategy = taker(short=True)
    assert wanted(strategy, (0.7, 0.2, 0.1)) == -IN
    assert wanted(strategy, (0.2, 0.6, 0.2), position=-IN) == -IN
    assert wanted(strategy, (0.1, 0.2, 0.7), position=-IN) == 0
    with pytest.raises(StrategyError, match=r"strategy\.short: false was expected"):
        build_strategy(SignalTaker, NEXO, signals=["direction"], balance="10", short=True)


@given(
    enter=st.floats(0.01, 0.99),
    leave=st.floats(0.01, 0.99),
    down=st.floats(0, 1),
    up=st.floats(0, 1),
)
def test_one_signal_never_sends_it_in_and_out(
    enter: float, leave: float, down: float, up: float
) -> None:
    total = max(1.0, down + up)
    said = (down / total, 1 - (down + up) / total, up / total)
    strategy = taker(enter=enter, leave=leave, short=True)
    first = wanted(strategy, said)
    assert wanted(strategy, said, position=first) == first


class Fills(Recorder):
    def __init__(self) -> None:
        self.fills: list[OrderFilled] = []
        self.signals: list[Signal] = []

    def note(self, entry: Any) -> None:
        if isinstance(entry, OrderFilled):
            self.fills.append(entry)
        if isinstance(entry, Signal):
            self.signals.append(entry)


def test_in_a_run_a_share_of_the_balance_goes_in_all_of_it_comes_out_and_both_cost_the_takers_fee() -> (
    None
):
    begin = 1_700_000_000_000_000_000
    rows: list[Row] = []
    for number in range(100):
        at = begin + number * 10 * MS
        low = 600_000 + (number >= 50) * 300
        rows += snapshot_rows([(low, 10_000)], [(low + 1, 10_000)], at, at)

    def said(at: int, down: float, up: float) -> Signal:
        ts = begin + at * MS
        return Signal(
            ts_exchange=ts,
            ts_local=ts + MS,
            name="direction",
            down=down,
            flat=1 - down - up,
            up=up,
            expires_ns=ts + 300 * MS,
        )

    sim = SimSettings.model_validate(
        {"fees": {"maker": "0", "taker": "0.001"}, "fill_reports": FillReports.AFTER_DATA}
    )
    context = Context(BTCUSDT, sim, signals=("direction",))
    config = SignalTaker.Config.model_validate({"balance": "1000"})
    fills = Fills()
    engine = Engine(BTCUSDT, SignalTaker(config, context), RiskGate(), begin)
    # Up, down; then up, and nothing more: it expires at 800.
    feed = Known([said(100, 0.1, 0.8), said(300, 0.9, 0.1), said(500, 0.1, 0.9)])
    tape = Tape.from_rows(BTCUSDT, rows)
    session = Session(
        engine, PaperVenue(PaperConfig(), context), fills, FillReports.AFTER_DATA, signals=feed
    )
    replay_received(session, received({MAIN: tape}))

    assert len(fills.signals) == 3
    buy, sell, again, out = fills.fills
    # 950 / 60,000.1 and 950 less what the two fees took off / 60,030.1, in thousandths.
    assert (buy.quantity, buy.price) == (15, 600_001)
    assert (sell.quantity, sell.price) == (15, 600_000)
    first = Fraction(1000) - Fraction(15, 1000) * (Fraction(1, 10) + Fraction("120.0001"))
    assert again.quantity == int(first * Fraction(95, 100) / Fraction("60030.1") * 1000)
    assert (again.price, out.price, out.quantity) == (600_301, 600_300, again.quantity)
    # It leaves as the signal expires, one way of 10 ms later.
    assert out.ts_exchange == begin + 810 * MS
    assert engine.position == 0
    turnover = Fraction(15, 1000) * Fraction("120000.1")
    turnover += Fraction(again.quantity, 1000) * Fraction("120060.1")
    assert Fraction(engine.portfolio.fees) == turnover / 1000
    lost = Fraction(15 + again.quantity, 1000) / 10
    assert Fraction(engine.equity) == -lost - turnover / 1000
