"""The oracle's two-sided quoter, function ``mm`` of ``../shared/oracle/bench_hftbacktest.py``, for mmkit."""

from __future__ import annotations

import math
from decimal import Decimal

from pydantic import Field

from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy, StrategyConfig
from mmkit.settings import SimSettings
from mmkit.testing import build_strategy
from mmkit.units import Exact

SIM = SimSettings.model_validate(
    {
        "latency": {"entry": "2ms", "response": "1ms"},
        "queue": {"model": "power", "exponent": 2},
        "fees": {"maker": "0.0002", "taker": "0.0005"},
        "partial_fills": False,
        "fill_reports": "plain",
    }
)
"""The rules of the oracle's run."""


class MidQuoterConfig(StrategyConfig):
    """Keys of `MidQuoter`."""

    size: Exact = Field(Decimal("0.01"), gt=0, description="Quantity of each quote.")
    max_position: Exact = Field(Decimal("0.1"), gt=0, description="Add nothing from here on.")
    half_spread: float = Field(5.0, ge=0, description="From the center to each quote, in ticks.")
    skew: float = Field(10.0, ge=0, description="Ticks the center moves at the position limit.")


class MidQuoter(Strategy):
    """Quote around ``mid - skew * position / max_position``, never better than the touch.

    One concession, so that it decides as the oracle's does: the position is a running sum of floats, 0.0999...
    where ten fills of 0.01 make 0.1. The oracle compares that with the limit and rounds its quotes by it.
    Counted in whole lots the limit is the limit, and 51,886 and 42,285 fills come of it instead of 51,888 and
    42,301 (docs/oracle.md).

    The oracle names an order by its price, so it cannot bid where its ask still rests. That never happens
    on its feeds, and nothing is done about it here.
    """

    Config = MidQuoterConfig

    def __init__(self, config: MidQuoterConfig, context: Context) -> None:
        super().__init__(config, context)
        self._lots = context.instrument.lots(config.size)
        self._size, self._max_position = float(config.size), float(config.max_position)
        self._half_spread, self._skew = config.half_spread, config.skew
        self._position = 0.0
        self._counted = 0  # lots of the view's position that are in the sum

    def quote(self, view: MarketView) -> Quotes:
        """Quote both sides, but not the one that would add beyond the limit."""
        best_bid, best_ask = view.best_bid, view.best_ask
        if best_bid is None or best_ask is None:
            return NO_QUOTES
        if view.position != self._counted:
            self._count(view.position)
        held, limit = self._position, self._max_position
        center = (best_bid + best_ask) / 2.0 - held / limit * self._skew
        bid = min(math.floor(center - self._half_spread), best_bid)
        ask = max(math.ceil(center + self._half_spread), best_ask)
        return Quotes(
            bid=(bid, self._lots) if held < limit else None,
            ask=(ask, self._lots) if held > -limit else None,
        )

    def _count(self, position: int) -> None:
        """Add to the sum, fill by fill, what has been filled since the last time."""
        filled = (position - self._counted) // self._lots
        for _ in range(abs(filled)):
            self._position += self._size if filled > 0 else -self._size
        self._counted = position


class CompiledMidQuoter(MidQuoter):
    """The same with a compiled decision, which mmkit then takes."""

    decision = "benchmarks.backtest.mm_compiled:decide"

    def parameters(self) -> list[float]:
        """What stands in `mm_compiled` by name; the last two are its memory."""
        numbers = [self._lots, self._size, self._max_position, self._half_spread, self._skew]
        return [*numbers, 0.0, 0.0]


def mid_quoter(
    half_spread: float = 5.0, skew: float = 10.0, *, compiled: bool = False
) -> MidQuoter:
    """Return the quoter with the oracle's parameters, or others. One for each run."""
    form = CompiledMidQuoter if compiled else MidQuoter
    strategy = build_strategy(form, every="100ms", half_spread=half_spread, skew=skew)
    assert isinstance(strategy, MidQuoter)
    return strategy
