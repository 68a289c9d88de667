"""A risk check that cannot answer, or that asks to be asked for ever."""

import pytest

from mmkit.commands import SubmitOrder
from mmkit.errors import PluginError
from mmkit.interfaces import MarketView, Quotes, RiskCheck, RiskView, Target
from mmkit.risk import RiskGate
from mmkit.testing import build_strategy, random_tape, run_strategy
from mmkit_strategies.join_best import JoinBest


class Unable(RiskCheck):
    """Raises where it is asked about an order."""

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        raise ZeroDivisionError("no mid")


class Impatient(RiskCheck):
    """Asks to be asked at whatever time it is."""

    def next_ns(self, view: RiskView) -> int:
        return view.now


def test_a_check_that_raises_ends_the_run_by_name_and_lets_no_order_through() -> None:
    strategy = build_strategy(JoinBest, size="0.01", max_position="0.05")

    with pytest.raises(PluginError, match="'unable' raised ZeroDivisionError: no mid") as caught:
        run_strategy(strategy, random_tape(1), risk=RiskGate([("unable", Unable())]))

    assert isinstance(caught.value.__cause__, ZeroDivisionError)


class Noting(JoinBest):
    """Notes when it is asked."""

    def quote(self, view: MarketView) -> Quotes | Target:
        asked.append(view.now)
        return super().quote(view)


asked: list[int] = []


def test_a_check_that_asks_for_the_present_for_ever_does_not_hold_time_up() -> None:
    asked.clear()
    tape = random_tape(1)
    strategy = build_strategy(Noting, size="0.01", max_position="0.05")

    run_strategy(strategy, tape, risk=RiskGate([("impatient", Impatient())]))

    assert len(asked) > 1_000
    assert asked == sorted(set(asked))  # once at each instant
    assert asked[-1] <= tape.end_ns
