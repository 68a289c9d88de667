from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.settings import QueueSettings
from mmkit.sim.queue import (
    Calibrated,
    Log,
    Optimistic,
    Pessimistic,
    Power,
    QueueModel,
    QueuePosition,
    RiskAverse,
    queue_model,
)


class Published:
    """hftbacktest 2.4.4, `queue.rs`: `RiskAdverseQueueModel` and `ProbQueueModel`, line by line.

    Two changes: |front| where the front is a fraction of a lot below zero, which for odd exponents and
    the logarithm would otherwise be a negative weight; and no more leave from ahead of us than are
    there, as the next trade would otherwise fill us by more than has traded.
    """

    def __init__(self, front: float, f: Callable[[float], float] | None) -> None:
        self.front_q_qty, self.cum_trade_qty, self.f = front, 0.0, f

    def trade(self, qty: float) -> None:
        self.front_q_qty -= qty
        self.cum_trade_qty += qty

    def depth(self, prev_qty: float, new_qty: float) -> None:
        if self.f is None:
            self.front_q_qty = min(self.front_q_qty, new_qty)
            return
        chg = prev_qty - new_qty
        chg -= self.cum_trade_qty
        self.cum_trade_qty = 0.0
        if chg < 0.0:
            self.front_q_qty = min(self.front_q_qty, new_qty)
            return
        front = self.front_q_qty
        back = prev_qty - front
        weight_back, weight_front = self.f(max(back, 0.0)), self.f(abs(front))
        prob = weight_back / (weight_back + weight_front) if weight_back + weight_front else 0.0
        est_front = front - (1.0 - prob) * chg + min(back - prob * chg, 0.0)
        self.front_q_qty = max(min(est_front, new_qty), min(front, 0.0))

    def is_filled(self) -> int:
        exec_lots = math.floor(-self.front_q_qty + 0.5)  # Rust rounds halves away from zero
        if exec_lots > 0:
            self.front_q_qty = 0.0
            return exec_lots
        return 0


def power(n: float) -> Callable[[float], float]:
    return lambda quantity: quantity**n


MODELS: list[tuple[QueueModel, Callable[[float], float] | None]] = [
    (RiskAverse(), None),
    (Power(1.0), power(1.0)),
    (Power(2.0), power(2.0)),
    (Power(3.0), power(3.0)),
    (Power(0.5), power(0.5)),
    (Log(), math.log1p),
]
NAMES = ["risk_averse", "power 1", "power 2", "power 3", "power 0.5", "log"]
both = pytest.mark.parametrize(("model", "f"), MODELS, ids=NAMES)
happenings = st.lists(
    st.tuples(st.sampled_from(["trade", "level"]), st.integers(0, 60)), max_size=25
)


@both
@given(total=st.integers(0, 100), happenings=happenings)
def test_an_order_moves_up_by_the_published_rule(
    model: QueueModel,
    f: Callable[[float], float] | None,
    total: int,
    happenings: list[tuple[str, int]],
) -> None:
    ours, theirs = QueuePosition(float(total)), Published(float(total), f)
    for what, quantity in happenings:
        if what == "trade":
            model.trade(ours, quantity)
            theirs.trade(quantity)
            assert model.fillable(ours) == theirs.is_filled()
        else:
            model.level(ours, total, quantity)
            theirs.depth(total, quantity)
            total = quantity
        assert ours.front == pytest.approx(theirs.front_q_qty, rel=1e-12, abs=1e-12)


@both
@given(total=st.integers(0, 100), happenings=happenings)
def test_an_order_never_falls_back_and_is_never_behind_more_than_there_is(
    model: QueueModel,
    f: Callable[[float], float] | None,
    total: int,
    happenings: list[tuple[str, int]],
) -> None:
    position = QueuePosition(float(total))
    for what, quantity in happenings:
        before = position.front
        if what == "trade":
            model.trade(position, quantity)
            lots = model.fillable(position)
            assert 0 <= lots <= quantity
            assert position.front <= max(before, 0.0)
        else:
            model.level(position, total, quantity)
            total = quantity
            assert position.front <= min(before, quantity)


@given(front=st.integers(0, 50), back=st.integers(0, 50), shrunk=st.integers(0, 50))
def test_a_larger_exponent_is_never_more_hopeful_to_whom_stands_in_the_first_half(
    front: int, back: int, shrunk: int
) -> None:
    total = front + back
    after = max(total - shrunk, 0)
    fronts = []
    for exponent in (0.5, 1.0, 2.0, 3.0):
        position = QueuePosition(float(front))
        Power(exponent).level(position, total, after)
        fronts.append(position.front)
    ordered = fronts if front <= back else fronts[::-1]
    assert all(less <= more + 1e-9 for less, more in pairwise(ordered))
    averse = QueuePosition(float(front))
    RiskAverse().level(averse, total, after)
    assert averse.front >= max(fronts) - 1e-9


def test_a_shrinkage_by_hand() -> None:
    # 40 ahead, 60 behind, 10 leave. Power 2: 3600 / (3600 + 1600) of them behind us.
    position = QueuePosition(40.0)
    Power(2.0).level(position, 100, 90)
    assert position.front == pytest.approx(40 - 10 * 1600 / 5200)


def test_a_shrinkage_that_trades_explain_moves_nobody_twice() -> None:
    position = QueuePosition(40.0)
    model = Power(2.0)
    model.trade(position, 10)
    assert position.front == 30
    model.level(position, 100, 90)
    assert position.front == 30


@both
def test_a_level_that_is_gone_puts_us_first(
    model: QueueModel, f: Callable[[float], float] | None
) -> None:
    position = QueuePosition(40.0)
    model.level(position, 100, 0)
    assert position.front <= 0
    assert model.fillable(position) == 0  # nothing has traded


@both
def test_what_has_traded_beyond_us_is_told_once(
    model: QueueModel, f: Callable[[float], float] | None
) -> None:
    position = QueuePosition(4.0)
    model.trade(position, 10)
    assert [model.fillable(position), model.fillable(position)] == [6, 0]
    model.trade(position, 3)
    assert model.fillable(position) == 3


def power_as_knots(exponent: float, knots: int) -> tuple[float, ...]:
    places = [number / (knots - 1) for number in range(knots)]
    return tuple((1 - x) ** exponent / ((1 - x) ** exponent + x**exponent) for x in places)


@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
@given(front=st.integers(0, 200), back=st.integers(0, 200), shrunk=st.integers(0, 400))
def test_power_is_a_special_case_of_calibrated(
    exponent: float, front: int, back: int, shrunk: int
) -> None:
    total = front + back
    measured, formula = QueuePosition(float(front)), QueuePosition(float(front))
    Calibrated(power_as_knots(exponent, 2001)).level(measured, total, max(total - shrunk, 0))
    Power(exponent).level(formula, total, max(total - shrunk, 0))
    assert measured.front == pytest.approx(formula.front, abs=1e-3)


@pytest.mark.parametrize(
    ("front", "front_after"),
    [
        (0, 0),  # at the front: nobody is ahead of us who could leave
        (25, 25 - 0.3 * 8),  # at a quarter, half way from 0.9 to 0.5: 0.7 behind us
        (50, 50 - 0.5 * 8),
        (100, 92),  # at the end nobody is behind us: all 8 were ahead
    ],
)
def test_a_calibrated_shrinkage_by_hand(front: int, front_after: float) -> None:
    position = QueuePosition(float(front))
    Calibrated((0.9, 0.5, 0.1)).level(position, 100, 92)
    assert position.front == pytest.approx(front_after)


@given(
    behind=st.lists(st.floats(0, 1), min_size=2, max_size=9).map(
        lambda knots: tuple(sorted(knots, reverse=True))
    ),
    front=st.integers(0, 100),
    back=st.integers(0, 100),
    shrunk=st.integers(0, 200),
)
def test_a_calibrated_share_lies_between_its_knots(
    behind: tuple[float, ...], front: int, back: int, shrunk: int
) -> None:
    total = front + back
    after = max(total - shrunk, 0)
    position = QueuePosition(float(front))
    Calibrated(behind).level(position, total, after)
    for bound in (behind[0], behind[-1]):
        other = QueuePosition(float(front))
        Calibrated((bound, bound)).level(other, total, after)
        if bound == behind[0]:
            assert position.front <= other.front + 1e-9
        else:
            assert position.front >= other.front - 1e-9


@pytest.mark.parametrize("exponent", [0.1, 2.0, 20.0])
def test_no_quantity_is_too_large_for_the_power_model(exponent: float) -> None:
    # A token of which a quadrillion lots are quoted at one price.
    total = 10**18
    position = QueuePosition(float(total))
    Power(exponent).level(position, 2 * total, total)
    assert 0 <= position.front <= total


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (QueueSettings(), Power),
        (QueueSettings(model="risk_averse"), RiskAverse),
        (QueueSettings(model="power", exponent=3), Power),
        (QueueSettings(model="log"), Log),
        (QueueSettings(model="optimistic"), Optimistic),
        (QueueSettings(model="pessimistic"), Pessimistic),
        (QueueSettings(model="calibrated", behind=(1.0, 0.0)), Calibrated),
    ],
)
def test_the_settings_name_the_model(settings: QueueSettings, kind: type[QueueModel]) -> None:
    assert type(queue_model(settings)) is kind


def test_the_settings_carry_the_exponent() -> None:
    here, there = QueuePosition(40.0), QueuePosition(40.0)
    queue_model(QueueSettings(exponent=3)).level(here, 100, 90)
    Power(3.0).level(there, 100, 90)
    assert here.front == there.front != 40.0
