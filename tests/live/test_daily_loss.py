"""The loss of a day goes on over restarts: it is what the whole day has cost, whatever run it was in."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_venue import SPOT

from mmkit.engine import Engine
from mmkit.errors import RunError
from mmkit.events import Liquidity, OrderFilled, Side
from mmkit.instruments import Instrument
from mmkit.interfaces import (
    NO_QUOTES,
    Context,
    MarketView,
    Quotes,
    Strategy,
    StrategyConfig,
)
from mmkit.kill_switches import LossLimit, MaxLossPerDay
from mmkit.live.days import DAY_NS
from mmkit.live.known import KnownFill
from mmkit.live.ledger import Ledger
from mmkit.live.memory import MemoryStore
from mmkit.live.store import Store
from mmkit.risk import RiskGate
from mmkit.run.daily_loss import DailyLoss
from mmkit.tape import LAST, SELL, Kind
from mmkit.testing import BTCUSDT

START = 20_000 * DAY_NS + DAY_NS // 2


class Idle(Strategy):
    def quote(self, view: MarketView) -> Quotes:
        return NO_QUOTES


class Life:
    """One run: an engine that does nothing by itself, on the journal of earlier ones."""

    def __init__(
        self,
        store: Store | MemoryStore,
        instrument: Instrument,
        now: int,
        limit: str = "1000000000",
        outside: int = 0,
    ) -> None:
        self.store, self.instrument, self.now = store, instrument, now
        self.check = MaxLossPerDay(LossLimit(limit=Decimal(limit)), Context(instrument))
        risk = RiskGate([("max_loss_per_day", self.check)])
        strategy = Idle(StrategyConfig(on=("best",)), Context(instrument))
        self.engine = Engine(instrument, strategy, risk, now)
        self.ledger = Ledger(instrument, store.fills())
        self.loss = DailyLoss(self.check, self.engine, self.ledger, store, Path("j"), outside)
        position, dust = self.ledger.held
        self.engine.begin_with(position + outside, dust)
        self.loss.begin(position + outside, dust)

    def book(self, price: int) -> None:
        self.now += 10**9
        rows = [(self.now, self.now, int(Kind.SNAPSHOT), 0, 0)]
        rows.append((self.now, self.now, int(Kind.LEVEL), price - 1, 5))
        rows.append((self.now, self.now, int(Kind.LEVEL) | int(SELL) | int(LAST), price + 1, 5))
        for row in rows:
            self.engine.on_row(row)
        self.engine._mark_to_market()

    def fill(self, number: int, side: Side, price: int, lots: int, *, in_base: bool) -> None:
        quantity, at = self.instrument.quantity(lots), self.instrument.price(price)
        spot_buy = in_base and side is Side.BUY and self.instrument is SPOT
        fee = quantity * Decimal("0.001") * (1 if spot_buy else at)
        one = KnownFill(
            trade_id=str(number),
            client_id=f"mm1-{number}",
            side=side,
            price=price,
            quantity=lots,
            fee=fee,
            fee_asset="BTC" if spot_buy else "USDT",
            maker=True,
            ts_ns=number,
        )
        self.store.write([], [one])
        self.ledger.apply(one)
        told = OrderFilled(
            ts_exchange=0,
            ts_local=0,
            order_id=number,
            price=price,
            quantity=lots,
            remaining=0,
            liquidity=Liquidity.MAKER,
            fee=fee * at if spot_buy else fee,
            fee_in_base=fee if spot_buy else Decimal(0),
        )
        self.engine.portfolio.apply(side, told)
        self.engine._mark_to_market()

    @property
    def lost(self) -> Decimal:
        return self.check.today[1] - self.engine.equity


def purse(store: Store | MemoryStore, instrument: Instrument, price: int, outside: int) -> Fraction:
    """What everything is worth, by two purses."""
    base = Fraction(instrument.quantity(outside))
    quote = Fraction(0)
    for one in store.fills():
        quantity, at = instrument.quantity(one.quantity), instrument.price(one.price)
        base += one.side.sign * Fraction(quantity)
        quote -= one.side.sign * Fraction(quantity) * Fraction(at)
        base -= Fraction(one.fee) if one.fee_asset == "BTC" else 0
        quote -= Fraction(one.fee) if one.fee_asset == "USDT" else 0
    return quote + base * Fraction(instrument.price(price))


@given(st.sampled_from([SPOT, BTCUSDT]), st.integers(0, 3), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_over_any_number_of_lives_the_loss_is_what_the_day_has_cost(
    instrument: Instrument, outside: int, luck: Random
) -> None:
    outside = 0 if instrument is SPOT else outside
    store, now, price, number = MemoryStore(), START, 600_000, 0
    first: dict[int, Fraction] = {}
    for _ in range(4):
        life = Life(store, instrument, now, outside=outside)
        for step in range(luck.randrange(1, 6)):
            last = price
            price += luck.randrange(-500, 500)
            if step and luck.random() < 0.1:
                life.now = (life.now // DAY_NS + 1) * DAY_NS
                # What it was when it was last looked at: the price's move over midnight is of the new day.
                before = purse(store, instrument, last, outside)
                life.book(price)
                first.setdefault(life.now // DAY_NS, before)
            else:
                life.book(price)
                first.setdefault(life.now // DAY_NS, purse(store, instrument, price, outside))
            if luck.random() < 0.7:
                number += 1
                side, lots = luck.choice(list(Side)), luck.randrange(1, 50)
                life.fill(number, side, price + luck.randrange(-9, 9), lots, in_base=True)
            life.loss.keep()
            cost = first[life.now // DAY_NS] - purse(store, instrument, price, outside)
            assert abs(Fraction(life.lost) - cost) < Fraction(1, 10**15)
        now = life.now + 10**9
        if luck.random() < 0.5:
            # Filled while nobody was there.
            number += 1
            life.fill(number, luck.choice(list(Side)), price, luck.randrange(1, 50), in_base=True)


def test_a_day_that_was_stopped_is_refused_until_it_is_over_or_the_limit_is_higher(
    tmp_path: Path,
) -> None:
    for store in (Store(tmp_path / "orders.sqlite"), MemoryStore()):
        life = Life(store, SPOT, START, limit="50")
        life.book(600_000)
        life.fill(1, Side.BUY, 600_000, 1000, in_base=False)
        assert life.engine.halted is not None  # its fee alone is 60
        life.loss.keep()
        words = "has stopped this market today, with a loss of 60; the limit is 50; it can be traded again from 2024-10-05 00:00"
        with pytest.raises(RunError, match=words):
            Life(store, SPOT, START + 10**10, limit="50")
        raised = Life(store, SPOT, START + 10**10, limit="70")
        raised.book(600_000)
        assert raised.engine.halted is None
        assert raised.lost == 60
        raised.book(599_800)
        assert raised.engine.halted == "max_loss_per_day: lost 80.00000000 today, limit 70"
        tomorrow = Life(store, SPOT, START + DAY_NS, limit="50")
        tomorrow.book(599_000)
        assert tomorrow.engine.halted is None
        assert tomorrow.lost == 0


def test_a_loss_that_has_no_word_of_its_stop_on_the_disk_stops_the_next_run_all_the_same() -> None:
    store = MemoryStore()
    life = Life(store, SPOT, START, limit="50")
    life.book(600_000)
    life.loss.keep()
    life.fill(1, Side.BUY, 600_000, 1000, in_base=False)  # and the process dies
    again = Life(store, SPOT, START + 10**10, limit="50")
    again.book(600_000)
    assert again.engine.halted == "max_loss_per_day: lost 60.00000000 today, limit 50"
