"""Limits on orders, each held against a count made apart from it: of single orders, and of a whole run's journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from core_rows import INVERSE, SPOT
from hypothesis import given
from hypothesis import strategies as st

from mmkit.commands import AnyCommand, SubmitOrder
from mmkit.events import AnyEvent, OrderCanceled, OrderFilled, OrderLost, OrderRejected, Side
from mmkit.instruments import Instrument
from mmkit.interfaces import Context, PluginConfig, RiskCheck
from mmkit.kill_switches import (
    HaltPosition,
    LossLimit,
    MaxLossPerDay,
    MaxRejectsPerMinute,
    PositionLimit,
    RejectLimit,
)
from mmkit.order_limits import (
    CountLimit,
    Funds,
    FundsThere,
    MaxNotional,
    MaxOpenOrders,
    MaxOrderRate,
    MinNotional,
    RateLimit,
    ValueLimit,
)
from mmkit.orders import Order, Orders
from mmkit.risk import RiskGate, register_risk_checks
from mmkit.testing import BTCUSDT, build_strategy, random_tape, run_strategy
from mmkit_strategies.grid import Grid

S = 1_000_000_000
DAY = 86_400 * S


@dataclass
class View:
    now: int = 0
    instrument: Instrument = BTCUSDT
    best_bid: int | None = 599_999
    best_ask: int | None = 600_001
    position: int = 0
    equity: Decimal = Decimal(0)
    peak_equity: Decimal = Decimal(0)
    last_data_ns: int = 0
    working: Sequence[Order] = ()
    cash: Decimal = Decimal(0)
    funds: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def held(self) -> Decimal:
        return self.instrument.quantity(self.position)

    @property
    def exposure(self) -> tuple[int, int]:
        buys = sum(one.remaining for one in self.working if one.side is Side.BUY)
        return buys, sum(one.remaining for one in self.working) - buys


def order(
    side: Side = Side.BUY, quantity: int = 10, price: int = 600_000, order_id: int = 1
) -> SubmitOrder:
    return SubmitOrder(ts_local=0, order_id=order_id, side=side, price=price, quantity=quantity)


def made(
    check: type[RiskCheck],
    config: type[PluginConfig],
    instrument: Instrument = BTCUSDT,
    **keys: Any,
) -> Any:
    return check(config.model_validate(keys), Context(instrument))  # type: ignore[call-arg]


def worth(instrument: Instrument, price: int, quantity: int) -> Fraction:
    """Value in the settlement currency, by fractions."""
    amount = Fraction(instrument.lot) * quantity * Fraction(instrument.contract_size)
    at = Fraction(instrument.tick) * price
    return amount / at if instrument is INVERSE else amount * at


INSTRUMENTS = st.sampled_from([BTCUSDT, SPOT, INVERSE])
PRICES = st.integers(1, 2_000_000)
LOTS = st.integers(1, 100_000)
SIDES = st.sampled_from(Side)
MONEY = st.decimals("0.0001", "1000000", places=4)
WORKING = st.lists(st.tuples(SIDES, LOTS, PRICES), max_size=5)


def orders(drawn: list[tuple[Side, int, int]]) -> list[Order]:
    return [Order(order(*one, order_id=number)) for number, one in enumerate(drawn, 2)]


@given(INSTRUMENTS, PRICES, LOTS, MONEY)
def test_what_is_worth_more_than_the_most_or_less_than_the_least_is_refused(
    instrument: Instrument, price: int, lots: int, limit: Decimal
) -> None:
    most = made(MaxNotional, ValueLimit, instrument, limit=limit)
    least = made(MinNotional, ValueLimit, instrument, limit=limit)
    one = order(quantity=lots, price=price)
    value = worth(instrument, price, lots)
    if abs(value - Fraction(limit)) < Fraction(1, 10**11):
        return  # an inverse value is rounded to 12 places
    assert (most.veto(one, View()) is None) == (value <= Fraction(limit))
    assert (least.veto(one, View()) is None) == (value >= Fraction(limit))


def test_a_refused_order_says_by_how_much() -> None:
    most = made(MaxNotional, ValueLimit, limit="500")
    assert most.veto(order(quantity=10), View()) == (
        "order worth 600.0000 USDT, limit 500 (100.0000 above)"
    )
    funds = made(FundsThere, Funds, SPOT, base="1", settle="1")
    assert funds.veto(order(Side.SELL, 1), View(instrument=SPOT, position=-100)) == (
        f"{SPOT.lot} NEXO needed, 0.00 there ({SPOT.lot} missing)"
    )


@given(WORKING, st.integers(1, 6))
def test_never_more_orders_than_the_limit_are_open(
    drawn: list[tuple[Side, int, int]], limit: int
) -> None:
    refused = made(MaxOpenOrders, CountLimit, limit=limit).veto(
        order(), View(working=orders(drawn))
    )
    assert (refused is None) == (len(drawn) < limit)


@given(
    st.lists(st.integers(0, 3 * S), min_size=1, max_size=40),
    st.integers(1, 5),
    st.sampled_from(["1s", "300ms"]),
)
def test_in_no_span_of_time_are_there_more_orders_than_the_limit(
    steps: list[int], limit: int, per: str
) -> None:
    span = {"1s": S, "300ms": 300_000_000}[per]
    gate = RiskGate([("rate", made(MaxOrderRate, RateLimit, limit=limit, per=per))])
    sent: list[int] = []
    now = 0
    for step in steps:
        now += step // 10
        may = sum(at > now - span for at in sent) < limit
        assert (gate.approve(order(), View(now=now)) is not None) == may
        if may:
            sent.append(now)


@pytest.mark.parametrize(("after", "fits"), [(S - 1, False), (S, True)])
def test_a_span_ends_to_the_nanosecond(after: int, fits: bool) -> None:
    gate = RiskGate([("rate", made(MaxOrderRate, RateLimit, limit=1, per="1s"))])
    assert gate.approve(order(), View(now=7)) is not None
    assert (gate.approve(order(), View(now=7 + after)) is not None) == fits


def test_an_order_that_another_check_refuses_uses_up_no_rate() -> None:
    gate = RiskGate(
        [
            ("rate", made(MaxOrderRate, RateLimit, limit=1, per="1s")),
            ("most", made(MaxNotional, ValueLimit, limit="500")),
        ]
    )
    assert gate.approve(order(quantity=10), View()) is None
    assert gate.approve(order(quantity=1), View()) is not None
    assert gate.approve(order(quantity=1), View()) is None
    assert gate.first == {
        "most": "order worth 600.0000 USDT, limit 500 (100.0000 above)",
        "rate": "2 orders within 1s, limit 1",
    }


@given(SIDES, PRICES, LOTS, WORKING, st.integers(-200_000, 200_000), MONEY, MONEY, MONEY)
def test_on_spot_all_that_is_open_could_be_paid_for(
    side: Side,
    price: int,
    lots: int,
    drawn: list[tuple[Side, int, int]],
    position: int,
    base: Decimal,
    quote: Decimal,
    spent: Decimal,
) -> None:
    view = View(
        instrument=SPOT,
        working=orders(drawn),
        position=position,
        cash=-spent,
        funds={SPOT.base: base, "USDT": quote},
    )
    refused = made(FundsThere, Funds, SPOT).veto(order(side, lots, price), view)
    everything = [*drawn, (side, lots, price)]
    if side is Side.BUY:
        pays = sum(worth(SPOT, at, many) for way, many, at in everything if way is side)
        there = Fraction(quote) - Fraction(spent)
    else:
        pays = sum(Fraction(SPOT.lot) * many for way, many, _ in everything if way is side)
        there = Fraction(base) + Fraction(SPOT.lot) * position
    assert (refused is None) == (pays <= there)


@given(
    st.sampled_from([BTCUSDT, INVERSE]),
    SIDES,
    LOTS,
    WORKING,
    st.integers(-200_000, 200_000),
    MONEY,
    st.integers(1, 20),
)
def test_a_contract_never_needs_more_margin_than_there_is_unless_the_position_only_comes_down(
    instrument: Instrument,
    side: Side,
    lots: int,
    drawn: list[tuple[Side, int, int]],
    position: int,
    there: Decimal,
    leverage: int,
) -> None:
    view = View(instrument=instrument, working=orders(drawn), position=position)
    check = made(FundsThere, Funds, instrument, settle=there, leverage=leverage)
    refused = check.veto(order(side, lots), view)

    def reach(many: Sequence[tuple[Side, int, int]]) -> int:
        """The largest position that any part of the orders could lead to."""
        changes = [one if way is Side.BUY else -one for way, one, _ in many]
        held = {position}
        for change in changes:
            held |= {one + change for one in held}
        return max(abs(one) for one in held)

    before, after = reach(drawn), reach([*drawn, (side, lots, 600_000)])
    needed = worth(instrument, 599_999 if instrument is INVERSE else 600_001, after) / leverage
    if abs(needed - Fraction(there)) < Fraction(1, 10**9):
        return
    assert (refused is None) == (after == before or needed <= Fraction(there))


def test_what_nobody_has_told_is_not_there() -> None:
    refused = made(FundsThere, Funds, SPOT).veto(order(), View(instrument=SPOT))
    assert refused == (
        "nobody has said how much USDT there is; write it under 'risk.balance', or 0"
    )


# --- kill switches ---


@given(st.lists(st.tuples(st.integers(0, DAY), st.integers(-60, 60)), max_size=30))
def test_a_loss_counts_from_midnight(steps: list[tuple[int, int]]) -> None:
    check = made(MaxLossPerDay, LossLimit, limit="100")
    now, equity = 20_000 * DAY + 5, 0
    before_midnight: dict[int, int] = {}
    for step, change in steps:
        day, last = now // DAY, equity
        now, equity = now + step, equity + change
        if now // DAY != day or not before_midnight:
            before_midnight[now // DAY] = last
        loss = before_midnight[now // DAY] - equity
        halted = check.halt(View(now=now, equity=Decimal(equity)))
        assert halted == (f"lost {loss}.00000000 today, limit 100" if loss >= 100 else None)


@given(st.lists(st.integers(0, 40 * S), max_size=30), st.integers(1, 5))
def test_a_minute_never_holds_as_many_refusals_as_the_limit_without_a_halt(
    steps: list[int], limit: int
) -> None:
    check = made(MaxRejectsPerMinute, RejectLimit, limit=limit)
    times: list[int] = []
    now = 0
    for step in steps:
        now += step
        times.append(now)
        event = OrderRejected(ts_exchange=now, ts_local=now, order_id=1, reason="no")
        within = sum(at > now - 60 * S for at in times)
        assert (check.heard(event, View(now=now)) is not None) == (within >= limit)


@pytest.mark.parametrize(
    ("position", "halts"), [(50, False), (-50, False), (51, True), (-51, True)]
)
def test_a_position_beyond_the_limit_halts_by_whatever_way(position: int, halts: bool) -> None:
    check = made(HaltPosition, PositionLimit, limit="0.05")
    event = OrderCanceled(ts_exchange=0, ts_local=0, order_id=1)
    told = check.heard(event, View(position=position))
    assert told == (f"position of {position} lots, limit 50 (1 beyond)" if halts else None)


def test_every_check_that_ships_is_offered_under_a_name_of_its_own() -> None:
    names = [provider.name for provider in register_risk_checks()]
    assert len(set(names)) == len(names)
    assert {"max_notional", "balance", "max_loss_per_day", "halt_position"} <= set(names)


# --- a whole run ---


def entries(*checks: tuple[str, RiskCheck]) -> list[AnyCommand | AnyEvent]:
    strategy = build_strategy(
        Grid, levels=4, spacing="2ticks", half_spread="2ticks", size="0.01", max_position="1"
    )
    gate = RiskGate(checks)
    return run_strategy(strategy, random_tape(3), risk=gate)[1]


def test_over_a_whole_run_the_journal_shows_that_the_limits_held() -> None:
    free = entries()
    limited = entries(
        ("open", made(MaxOpenOrders, CountLimit, limit=5)),
        ("rate", made(MaxOrderRate, RateLimit, limit=6, per="1s")),
        ("most", made(MaxNotional, ValueLimit, limit="100000")),
    )

    def seen(journal: list[AnyCommand | AnyEvent]) -> tuple[int, int]:
        working = Orders()
        most, sent, busiest = 0, list[int](), 0
        for entry in journal:
            if isinstance(entry, SubmitOrder):
                sent.append(entry.ts_local)
                busiest = max(busiest, sum(at > entry.ts_local - S for at in sent))
            if isinstance(entry, AnyCommand):
                working.sent(entry)
            elif isinstance(entry, OrderFilled | OrderCanceled | OrderRejected | OrderLost):
                working.apply(entry)
            most = max(most, len(working.working))
        return most, busiest

    assert seen(free)[0] > 5
    assert seen(free)[1] > 6
    assert seen(limited) == (5, 6)
