"""Quotes that lean to where a signal says the mid will go: a part of every strategy that quotes around a center."""

from __future__ import annotations

from pydantic import Field

from mmkit.interfaces import Context, MarketView, StrategyConfig
from mmkit.units import Distance


class SignalSkewConfig(StrategyConfig):
    """Keys of every strategy that can lean to a signal."""

    signal_skew: Distance = Field(
        Distance.parse("0ticks"),
        description="How far both quotes move when the signal is sure: this x (up - down).",
    )
    signal: str = Field("direction", description="Which signal, by its name under 'signals'.")


class SignalSkew:
    """How far quotes move, in ticks: ``signal_skew x (up - down)``, and 0 while there is no signal.

    Args:
        config: How far, and by which signal.
        context: Of the strategy.

    Raises:
        UnknownSignal: if quotes are to move, and the run has no such signal.
    """

    def __init__(self, config: SignalSkewConfig, context: Context) -> None:
        self._skew, self._name = config.signal_skew, config.signal
        self._instrument = context.instrument
        self._moves = bool(config.signal_skew.amount)
        if self._moves:
            context.check_signal(config.signal)

    @property
    def name(self) -> str:
        """The signal that is looked at; empty for none (`mmkit.interfaces.Strategy.decision_signal`)."""
        return self._name if self._moves else ""

    def parameters(self) -> tuple[float, ...]:
        """Return how far for a compiled decision: numerator and denominator of a share of mid, and ticks."""
        return self._skew.formula(self._instrument)

    def ticks(self, view: MarketView, mid: float) -> float:
        """Return how far to move up now."""
        if not self._moves:
            return 0.0
        signal = view.signals.get(self._name)
        if signal is None:
            return 0.0
        return self._skew.ticks(mid, self._instrument) * (signal.up - signal.down)
