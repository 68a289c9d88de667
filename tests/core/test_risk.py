from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from core_rows import BTCUSDT
from pydantic import ValidationError

from mmkit.commands import SubmitOrder
from mmkit.events import Side
from mmkit.instruments import Instrument
from mmkit.interfaces import Context, RiskCheck, RiskView, WorkingOrder
from mmkit.risk import (
    DistanceLimit,
    MaxDrawdown,
    MaxOrder,
    MaxPosition,
    MoneyLimit,
    PriceBand,
    QuantityLimit,
    RiskApproved,
    RiskGate,
    StaleAfter,
    TimeLimit,
)
from mmkit.tape import NEVER

CONTEXT = Context(BTCUSDT)
SECOND = 1_000_000_000


@dataclass
class View:
    now: int = 0
    instrument: Instrument = BTCUSDT
    best_bid: int | None = 599_999
    best_ask: int | None = 600_001
    position: int = 0
    exposure: tuple[int, int] = (0, 0)
    equity: Decimal = Decimal(0)
    peak_equity: Decimal = Decimal(0)
    last_data_ns: int = 0
    working: Sequence[WorkingOrder] = ()
    cash: Decimal = Decimal(0)
    funds: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def held(self) -> Decimal:
        return self.instrument.quantity(self.position)


def order(side: Side, quantity: int = 10, price: int = 600_000) -> SubmitOrder:
    return SubmitOrder(ts_local=0, order_id=1, side=side, price=price, quantity=quantity)


def max_position(limit: str) -> MaxPosition:
    return MaxPosition(QuantityLimit.model_validate({"limit": limit}), CONTEXT)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(
    ("position", "open_lots", "quantity", "fits"),
    [
        (0, 0, 49, True),
        (0, 0, 50, True),
        (0, 0, 51, False),
        (40, 0, 10, True),
        (40, 0, 11, False),
        (20, 20, 10, True),
        (20, 20, 11, False),
        (50, 0, 1, False),
        (-50, 0, 100, True),
        (-50, 0, 101, False),
        # Beyond the limit already, by whatever way: what brings it down is free, what adds is not.
        (-80, 0, 30, True),
        (-80, 0, 130, True),
        (80, 0, 1, False),
    ],
)
def test_max_position_counts_everything_open_on_its_side(
    side: Side, position: int, open_lots: int, quantity: int, fits: bool
) -> None:
    # Told for buys; for sells the mirror image. What is open on the other side does not matter.
    buys = side is Side.BUY
    view = View(
        position=position if buys else -position,
        exposure=(open_lots, 999) if buys else (999, open_lots),
    )
    refused = max_position("0.05").veto(order(side, quantity), view)
    reach = position + open_lots + quantity
    assert refused == (None if fits else f"position could reach {reach} lots, limit 50")


def test_a_limit_between_two_lots_is_the_lower_one() -> None:
    check = max_position("0.0509")
    assert check.veto(order(Side.BUY, 50), View()) is None
    assert check.veto(order(Side.BUY, 51), View()) is not None


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("quantity", "fits"), [(19, True), (20, True), (21, False)])
def test_max_order_is_about_one_order(side: Side, quantity: int, fits: bool) -> None:
    check = MaxOrder(QuantityLimit.model_validate({"limit": "0.02"}), CONTEXT)
    refused = check.veto(order(side, quantity), View(position=999, exposure=(999, 999)))
    assert refused == (None if fits else f"order of {quantity} lots, limit 20")


def price_band(limit: str) -> PriceBand:
    return PriceBand(DistanceLimit.model_validate({"limit": limit}), CONTEXT)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("limit", ["1%", "100bps", "6000ticks", "600"])
@pytest.mark.parametrize(("away", "fits"), [(5_999, True), (6_000, True), (6_001, False)])
def test_the_price_band_holds_on_both_sides_of_mid(
    side: Side, limit: str, away: int, fits: bool
) -> None:
    for price in (600_000 - away, 600_000 + away):
        refused = price_band(limit).veto(order(side, price=price), View())
        assert refused == (None if fits else f"{away} ticks from mid, limit 6000")


@pytest.mark.parametrize(("best_bid", "best_ask"), [(None, 600_001), (599_999, None), (None, None)])
def test_nothing_is_within_a_band_around_no_price(
    best_bid: int | None, best_ask: int | None
) -> None:
    view = View(best_bid=best_bid, best_ask=best_ask)
    assert price_band("99%").veto(order(Side.BUY), view) == "there is no mid price to compare with"


@pytest.mark.parametrize(
    ("peak", "equity", "halts"),
    [
        ("0", "0", False),
        ("0", "-99.99", False),
        ("0", "-100", True),
        ("0", "-100.01", True),
        ("50", "-49.99", False),
        ("50", "-50", True),
        ("500", "400.00000001", False),
        ("500", "400", True),
    ],
)
def test_max_drawdown_is_measured_from_the_peak(peak: str, equity: str, halts: bool) -> None:
    check = MaxDrawdown(MoneyLimit.model_validate({"limit": "100"}), CONTEXT)
    view = View(peak_equity=Decimal(peak), equity=Decimal(equity))
    drawdown = Decimal(peak) - Decimal(equity)
    reason = f"drawdown {drawdown:.8f} reached the limit 100"
    assert check.halt(view) == (reason if halts else None)
    assert (check.veto(order(Side.BUY), view), check.pull(view), check.next_ns(view)) == (
        *(None, None),
        NEVER,
    )


def test_stale_after_pulls_from_the_moment_the_data_is_as_old_as_the_limit() -> None:
    check = StaleAfter(TimeLimit.model_validate({"limit": "5s"}), CONTEXT)
    fresh = View(now=12 * SECOND - 1, last_data_ns=7 * SECOND)
    stale = View(now=12 * SECOND, last_data_ns=7 * SECOND)
    assert (check.pull(fresh), check.next_ns(fresh)) == (None, 12 * SECOND)
    assert (check.pull(stale), check.next_ns(stale)) == ("no market data for 5.000 s", 12 * SECOND)


@pytest.mark.parametrize(
    ("config", "bad"),
    [
        (QuantityLimit, "0"),
        (QuantityLimit, "-1"),
        (QuantityLimit, 0.05),
        (MoneyLimit, "0"),
        (TimeLimit, "0s"),
        (TimeLimit, 5),
        (DistanceLimit, 1),
        (DistanceLimit, "-1%"),
    ],
)
def test_a_limit_that_is_none_is_refused(config: Any, bad: Any) -> None:
    with pytest.raises(ValidationError):
        config.model_validate({"limit": bad})


# --- the gate ---


class Says(RiskCheck):
    """Refuses sells, and pulls and halts as it is told."""

    def __init__(self, word: str, due: int = NEVER) -> None:
        self.word, self.due, self.asked = word, due, 0

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        self.asked += 1
        return self.word if order.side is Side.SELL else None

    def pull(self, view: RiskView) -> str | None:
        return self.word if view.now > 5 else None

    def halt(self, view: RiskView) -> str | None:
        return self.word if view.equity < 0 else None

    def next_ns(self, view: RiskView) -> int:
        return self.due


def test_the_gate_lets_through_what_every_check_allows() -> None:
    gate = RiskGate([("one", Says("no")), ("two", Says("never"))])
    buy = order(Side.BUY)
    assert gate.approve(buy, View()) == RiskApproved(buy)
    assert gate.vetoes == {}


def test_the_gate_counts_vetoes_by_the_check_that_refused_first() -> None:
    first, second = Says("no"), Says("never")
    gate = RiskGate([("one", first), ("two", second)])
    assert [gate.approve(order(Side.SELL), View()) for _ in range(3)] == [None] * 3
    assert (gate.vetoes, first.asked, second.asked) == ({"one": 3}, 3, 0)


def test_the_gate_gives_the_first_reason_with_the_name_of_its_check() -> None:
    gate = RiskGate([("quiet", RiskCheck()), ("one", Says("no")), ("two", Says("never"))])
    assert (gate.pull(View(now=5)), gate.halt(View())) == (None, None)
    assert gate.pull(View(now=6)) == "one: no"
    assert gate.halt(View(equity=Decimal(-1))) == "one: no"


def test_the_gate_wants_to_be_asked_at_the_earliest_of_its_checks_that_is_still_to_come() -> None:
    gate = RiskGate([("a", Says("x", 9)), ("b", Says("x", 4)), ("c", Says("x"))])
    assert [gate.next_ns(View(), after) for after in (3, 4, 9)] == [4, 9, NEVER]
    assert RiskGate().next_ns(View(), 0) == NEVER


def test_without_checks_everything_is_approved() -> None:
    sell = order(Side.SELL)
    assert RiskGate().approve(sell, View()) == RiskApproved(sell)
