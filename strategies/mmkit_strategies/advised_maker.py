"""A market maker that listens to language models, and quotes on when they say nothing."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Literal

from pydantic import Field

from mmkit.answers import Anomaly, AnyAnswer, Conditions, MarketStructure, Volatility
from mmkit.errors import OtherQuestion, StrategyError
from mmkit.events import Advice, AnyEvent, Side
from mmkit.instruments import ContractKind
from mmkit.interfaces import (
    NO_QUOTES,
    Context,
    Level,
    MarketView,
    PluginConfig,
    Quotes,
    Strategy,
    StrategyConfig,
)
from mmkit.units import Distance, Duration, Exact
from mmkit_strategies.danger import Pause
from mmkit_strategies.placement import two_sided
from mmkit_strategies.purse import BalanceConfig, Purse
from mmkit_strategies.realized import RealizedVolatility
from mmkit_strategies.spread_factor import FactorsConfig, SpreadFactor

_LISTENS: dict[str, type[AnyAnswer]] = {
    "volatility": Volatility,
    "conditions": Conditions,
    "structure": MarketStructure,
    "anomaly": Anomaly,
}
"""The keys that name an advisor, and what that is asked."""


class MeasuredConfig(PluginConfig):
    """How measured volatility widens quotes."""

    window: Duration = Field(
        60_000_000_000, gt=0, description="How far back the moves of mid are looked at."
    )
    times: float = Field(
        1.0,
        ge=0,
        le=1000,
        description="The spread is wider by so many times what mid moves in one second (standard deviation); 0 for "
        "not at all.",
    )


class AdvisedMakerConfig(StrategyConfig):
    """Keys of `advised_maker`."""

    spread: Distance = Field(
        Distance.parse("15bps"),
        description="Whole distance from bid to ask, before advice and measured volatility.",
    )
    size: Exact = Field(
        Decimal("0.001"), gt=0, description="Quantity of each quote, a decimal in quotes."
    )
    min_size: Exact | None = Field(
        None,
        gt=0,
        description="Smaller than this, as balance or `max_position` leave no room for more, nothing is quoted; one "
        "lot unless given.",
    )
    max_position: Exact = Field(
        Decimal("0.1"), gt=0, description="Never hold more, long or short, a decimal in quotes."
    )
    skew: Distance = Field(
        Distance.parse("0ticks"),
        description="How far the center moves, against the inventory, for each `size` held.",
    )
    balance: BalanceConfig | None = Field(
        None,
        description="Coins and money at the start, on a spot market; not looked at unless given.",
    )
    measured: MeasuredConfig = MeasuredConfig()
    volatility: str = Field(
        "", description="Name of the advisor that is asked `volatility`; it moves the spread."
    )
    conditions: str = Field(
        "", description="Name of the advisor that is asked `conditions`; it moves the spread."
    )
    structure: str = Field(
        "",
        description="Name of the advisor that is asked `market_structure`; it moves both quotes, as `lean` says.",
    )
    anomaly: str = Field(
        "",
        description="Name of the advisor that is asked `explain_anomaly`; what it does is said by `on_danger`.",
    )
    factors: FactorsConfig = FactorsConfig()
    lean: Distance = Field(
        Distance.parse("0ticks"),
        description="How far both quotes move up on BUY and down on SELL if the advisor is sure: this x confidence.",
    )
    on_danger: Literal["widen", "pause", "nothing"] = Field(
        "widen",
        description="What a danger HIGH does: widen, by `factors.danger`; pause, quoting nothing for a while.",
    )
    pause: Duration = Field(
        30_000_000_000,
        gt=0,
        description="How long a pause is at most; for so long after it there is no other.",
    )


class AdvisedMaker(Strategy):
    """Quote at ``center -+ half``, where advice moves both within bounds.

    ``2 x half = spread x factor + measured.times x sigma``: the factor is that of `SpreadFactor`, sigma the
    realized volatility of mid per square root of a second. ``center = mid - skew x position / size + lean x
    confidence``, the last with the sign of the advisor's BUY or SELL. No quote crosses the book
    (`mmkit_strategies.placement`), none adds beyond `max_position`, and with a `balance` none could cost more than
    is held, all orders that may still be filled counted.

    Advice is taken note of as it becomes known, not when quotes are made. Without any, or with what says nothing, it
    quotes as if there were no advisor.
    """

    Config = AdvisedMakerConfig

    def __init__(self, config: AdvisedMakerConfig, context: Context) -> None:
        super().__init__(config, context)
        instrument = context.instrument
        self._settings, self._instrument = config, instrument
        self._names = _heard(config, context)
        self._size = instrument.lots(config.size)
        self._min_size = 1 if config.min_size is None else instrument.lots(config.min_size)
        if self._min_size > self._size:
            raise StrategyError(
                f"strategy.min_size: at most strategy.size, {config.size}, was expected; found {config.min_size}; no "
                "quote would ever be large enough"
            )
        self._max_position = instrument.lots(config.max_position)
        self._factor = SpreadFactor(config.factors)
        self._pause = Pause(config.pause)
        self._structure: Advice | None = None
        self._realized = RealizedVolatility(config.measured.window)
        self._purse: Purse | None = None
        if config.balance is not None:
            if instrument.kind is not ContractKind.SPOT:
                raise StrategyError(
                    f"strategy.balance: it was expected for a spot market alone, as contracts are held against margin; "
                    f"found it for {instrument.symbol}; leave it out, max_position and risk limit what is held"
                )
            self._purse = Purse(config.balance, instrument, _makers_fee(context))

    @property
    def factor(self) -> SpreadFactor:
        """What advice makes of the spread."""
        return self._factor

    def on_event(self, event: AnyEvent) -> None:
        """Take notice of advice."""
        if not isinstance(event, Advice) or event.answer is None:
            return
        key = self._names.get(event.name)
        if key is None:
            return
        if not isinstance(event.answer, _LISTENS[key]):
            # Recorded by a run whose advisor of that name was asked something else.
            raise OtherQuestion(event.name, _asked(key), event.question)
        now, expires = event.ts_local, event.expires_ns
        match event.answer:
            case MarketStructure():
                self._structure = event
            case Anomaly(danger=danger) if self._settings.on_danger != "widen":
                if danger == "HIGH" and self._settings.on_danger == "pause":
                    self._pause.hear(now, expires)
            case answer:
                self._factor.hear(event.name, answer, now, expires)

    def quote(self, view: MarketView) -> Quotes:
        """Quote both sides, as far as position, balance and advice allow."""
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        mid = (bid + ask) / 2
        self._realized.see(view.now, mid)
        if self._pause.at(view.now):
            return NO_QUOTES
        center = mid - self._settings.skew.ticks(mid, self._instrument) * view.position / self._size
        center += self._lean(view.now, mid)
        half = self._spread(view.now, mid) / 2
        placed = two_sided(
            bid,
            ask,
            center - half,
            center + half,
            size=self._size,
            position=view.position,
            max_position=self._max_position,
        )
        return Quotes(
            bids=[level for one in placed.bids for level in self._sized(view, Side.BUY, one)],
            asks=[level for one in placed.asks for level in self._sized(view, Side.SELL, one)],
        )

    def _spread(self, now: int, mid: float) -> float:
        """Return the whole spread in ticks."""
        target = self._settings.spread.ticks(mid, self._instrument)
        measured = self._settings.measured.times * self._realized.per_root_second()
        return target * self._factor.at(now) + measured

    def _lean(self, now: int, mid: float) -> float:
        """Return how far both quotes move up, in ticks."""
        advice = self._structure
        if advice is None or advice.expires_ns <= now:
            return 0.0
        answer = advice.answer
        assert isinstance(answer, MarketStructure)
        sign = {"BUY": 1, "SELL": -1, "NEUTRAL": 0}[answer.signal]
        return self._settings.lean.ticks(mid, self._instrument) * sign * answer.confidence

    def _sized(self, view: MarketView, side: Side, level: Level) -> list[Level]:
        """Return the level in the size that there is room for, and no level if that is too small."""
        price, size = level
        held = view.position * side.sign
        mine = [order for order in view.orders if order.side is side]
        # One that stands where it is wanted stays; every other may be filled before its cancel arrives.
        standing = next((order for order in mine if order.price == price), None)
        others = [order for order in mine if order is not standing]
        room = self._max_position - held - sum(order.remaining for order in others)
        if self._purse is not None:
            room = min(room, self._purse.lots(view, side, price, others))
        if standing is not None and standing.remaining <= room and standing.quantity <= size:
            return [(price, standing.quantity)]
        if standing is not None:
            # It will be replaced, and counts as the others do.
            room -= standing.remaining
        wanted = min(size, room)
        return [(price, wanted)] if wanted >= self._min_size else []


def _makers_fee(context: Context) -> Fraction:
    """Return the highest share of the traded value that a maker may be charged."""
    fees = context.sim.fees
    return Fraction(max([fees.maker, *(tier.maker for tier in fees.tiers)]))


def _heard(config: AdvisedMakerConfig, context: Context) -> dict[str, str]:
    """Return the key of each advisor that is listened to, by the advisor's name.

    Raises:
        UnknownAdvisor: if the run does not have it.
        OtherQuestion: if it is asked another question.
    """
    keys: dict[str, str] = {}
    for key in _LISTENS:
        if name := getattr(config, key):
            # Two keys listen to different questions, and an advisor has one: no name passes twice.
            context.check_advisor(name, _asked(key))
            keys[name] = key
    return keys


def _asked(key: str) -> str:
    """Return the question whose answers a key listens to."""
    return str(_LISTENS[key].__struct_config__.tag)
