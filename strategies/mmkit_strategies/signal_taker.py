"""All in where a signal, alone or with advice, says up; all out where it does not any more."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from pydantic import Field

from mmkit.errors import StrategyError
from mmkit.fusion import NOBODY
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import Context, MarketView, Strategy, StrategyConfig, Target, Wake
from mmkit.units import Exact


class SignalTakerConfig(StrategyConfig):
    """Keys of `signal_taker`."""

    balance: Exact = Field(
        gt=0,
        description="Money at the start, in the settlement currency; what is won or lost is added to it.",
    )
    share: Exact = Field(
        Decimal("0.95"),
        gt=0,
        le=1,
        description="How much of the balance goes in; the rest is for fees.",
    )
    enter: float = Field(
        0.5, gt=0, lt=1, description="Go in when the probability of the move is at least this."
    )
    leave: float = Field(
        0.5, gt=0, lt=1, description="Go out when that of the opposite move is at least this."
    )
    short: bool = Field(False, description="Go short on down, too; not on a spot market.")
    signal: str = Field(
        "direction",
        description="Which signal, by its name under 'signals'; with a section 'fusion' that says which.",
    )


class SignalTaker(Strategy):
    """Take a position of a share of the balance when a signal says up, and give it back when it says down.

    Both by taking, at the best price there is, so that the taker's fee is paid twice. With `short` the same the other
    way round. A position stays while the signal says neither, and is given up when there is no signal any more: it is
    held for that reason alone. The size is fixed as the position is begun, of what the balance is worth then.

    In a run with the section ``fusion`` it goes by what that makes of signal and advice: BUY is up, SELL down, with the
    confidence in place of the probability; HOLD says neither, and a HOLD of nobody is no signal any more.
    """

    Config = SignalTakerConfig

    def __init__(self, config: SignalTakerConfig, context: Context) -> None:
        super().__init__(config, context)
        self._fused = context.fusion is not None
        if not self._fused:
            context.check_signal(config.signal)
        self._settings, self._instrument = config, context.instrument
        if config.short and context.instrument.kind is ContractKind.SPOT:
            raise StrategyError(
                f"strategy.short: false was expected, as {context.instrument.symbol} is a spot market; found true; leave "
                "it out"
            )
        self._target = 0

    @property
    def wake(self) -> Wake:
        """When to be asked; on signals and on the advice that is fused with them, and until what it wants is done on fills,
        unless the keys say otherwise.
        """
        if self._settings.every is None and not self._settings.on:
            fusion = self.context.fusion
            needs = ("signal",) if fusion is None else fusion.needs
            return Wake(on_signal="signal" in needs, on_advice="advice" in needs, on_fill=True)
        return super().wake

    def quote(self, view: MarketView) -> Target:
        """Return the position to be in."""
        said = self._said(view)
        if said is None:
            self._target = 0
            return Target(0)
        down, up = said
        enter, leave = self._settings.enter, self._settings.leave
        if (self._target > 0 and down >= leave) or (self._target < 0 and up >= leave):
            self._target = 0
        if self._target == 0 and view.position == 0:
            # Not into what would be left again at once.
            if up >= enter and down < min(leave, up):
                self._target = self._lots(view, view.best_ask)
            elif self._settings.short and down >= enter and up < min(leave, down):
                self._target = -self._lots(view, view.best_bid)
        return Target(self._target)

    def _said(self, view: MarketView) -> tuple[float, float] | None:
        """Return how likely down and up are; `None` if nobody says."""
        if self._fused:
            fused = view.fused
            if fused == NOBODY:
                return None
            return (
                fused.confidence if fused.side == "SELL" else 0.0,
                fused.confidence if fused.side == "BUY" else 0.0,
            )
        signal = view.signals.get(self._settings.signal)
        return None if signal is None else (signal.down, signal.up)

    def _lots(self, view: MarketView, price: int | None) -> int:
        """Return how many lots the share of the balance buys at a price in ticks; 0 if there is no price."""
        balance = Fraction(self._settings.balance) + Fraction(view.equity)
        if price is None or price <= 0 or balance <= 0:
            return 0
        return lots_for(balance * Fraction(self._settings.share), price, self._instrument)


def lots_for(money: Fraction, price: int, instrument: Instrument) -> int:
    """Return how many whole lots are worth at most `money`, in the settlement currency, at a price in ticks."""
    value = Fraction(instrument.tick) * price
    size = Fraction(instrument.contract_size)
    # An inverse contract is worth a fixed amount of quote currency, and is settled in the base.
    one = size / value if instrument.kind is ContractKind.INVERSE else size * value
    return instrument.floor_lots(money / one)
