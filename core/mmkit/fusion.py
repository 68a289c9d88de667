"""How a signal and an advice become one view of where the market goes: a policy decides, and says who decided."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mmkit.answers import AnyAnswer, MarketStructure, Signal5
from mmkit.events import Advice, Signal

FusedSide = Literal["BUY", "SELL", "HOLD"]
By = Literal["model", "advisor", "both", "nobody"]
Policy = Literal["confidence", "model", "advisor", "agree", "veto"]

FUSED_QUESTIONS = ("market_structure", "signal5")
"""Questions whose answers say which side to be on."""


class Fused(NamedTuple):
    """What a policy makes of what the model and the advisor say.

    Attributes:
        side: Where to be.
        by: Who decided: the signal's model, the advisor, both; nobody where the policy has not what it goes by.
        confidence: Of who decided, 0 to 1; 0 of nobody.
    """

    side: FusedSide
    by: By
    confidence: float


class Vote(NamedTuple):
    """What one of the two says.

    Attributes:
        side: Where to be.
        confidence: How sure it is, 0 to 1.
    """

    side: FusedSide
    confidence: float


NOBODY = Fused("HOLD", "nobody", 0.0)
_OPPOSITE: dict[FusedSide, FusedSide] = {"BUY": "SELL", "SELL": "BUY"}
# An answer in five steps has no confidence. So that with the default limits a strong call decides, a plain one leaves
# it to the model.
_STRONG, _PLAIN = 0.9, 0.7
_FIVE: dict[str, Vote] = {
    "STRONG_BUY": Vote("BUY", _STRONG),
    "BUY": Vote("BUY", _PLAIN),
    "NEUTRAL": Vote("HOLD", _PLAIN),
    "SELL": Vote("SELL", _PLAIN),
    "STRONG_SELL": Vote("SELL", _STRONG),
}


def vote_of_signal(signal: Signal | None) -> Vote | None:
    """Return the likeliest of the three, with its probability; hold where two are as likely. `None` for no signal."""
    if signal is None:
        return None
    if signal.up > max(signal.flat, signal.down):
        return Vote("BUY", signal.up)
    if signal.down > max(signal.flat, signal.up):
        return Vote("SELL", signal.down)
    return Vote("HOLD", max(signal.down, signal.flat, signal.up))


def vote_of_answer(answer: AnyAnswer | None) -> Vote | None:
    """Return what an answer says of the side; `None` for none, and for one to a question that is not about it."""
    match answer:
        case MarketStructure():
            neutral = answer.signal == "NEUTRAL"
            return Vote("HOLD" if neutral else answer.signal, answer.confidence)  # type: ignore[arg-type]
        case Signal5():
            return _FIVE[answer.signal]
        case _:
            return None


class FusionPolicy(ABC):
    """Makes one view of two.

    Args:
        trust: Above this confidence the advisor is trusted.
        defer: Above this it is deferred to the model.
    """

    needs: ClassVar[tuple[Literal["signal", "advice"], ...]] = ("signal", "advice")
    """What there has to be in the configuration."""

    def __init__(self, trust: float, defer: float) -> None:
        self.trust, self.defer = trust, defer

    @abstractmethod
    def fuse(self, model: Vote | None, advisor: Vote | None) -> Fused:
        """Return what the two come to; `None` for one who says nothing now."""


def _decides(who: By, vote: Vote | None) -> Fused:
    return NOBODY if vote is None else Fused(vote.side, who, vote.confidence)


class Confidence(FusionPolicy):
    """Advisor's confidence above `trust`: the advisor decides; above `defer`: the model; below: hold. No advice: the model."""

    def fuse(self, model: Vote | None, advisor: Vote | None) -> Fused:
        """Return what the two come to."""
        if advisor is None:
            return _decides("model", model)
        if advisor.confidence > self.trust:
            return _decides("advisor", advisor)
        if advisor.confidence > self.defer:
            return _decides("model", model)
        return Fused("HOLD", "advisor", advisor.confidence)


class ModelAlone(FusionPolicy):
    """The signal; advice changes nothing."""

    needs = ("signal",)

    def fuse(self, model: Vote | None, advisor: Vote | None) -> Fused:
        """Return what the model says."""
        return _decides("model", model)


class AdvisorAlone(FusionPolicy):
    """The advice; the signal changes nothing."""

    needs = ("advice",)

    def fuse(self, model: Vote | None, advisor: Vote | None) -> Fused:
        """Return what the advisor says."""
        return _decides("advisor", advisor)


class Agree(FusionPolicy):
    """Where both are for the same side, that side; else hold."""

    def fuse(self, model: Vote | None, advisor: Vote | None) -> Fused:
        """Return what the two agree on, as sure as the less sure of them."""
        if model is None or advisor is None:
            return NOBODY
        side: FusedSide = model.side if model.side == advisor.side else "HOLD"
        return Fused(side, "both", min(model.confidence, advisor.confidence))


class Veto(FusionPolicy):
    """The model, unless the advisor says the opposite with a confidence above `trust`: hold then."""

    def fuse(self, model: Vote | None, advisor: Vote | None) -> Fused:
        """Return what the model says, if the advisor lets it."""
        if (
            model is not None
            and advisor is not None
            and advisor.confidence > self.trust
            and _OPPOSITE.get(model.side) == advisor.side
        ):
            return Fused("HOLD", "advisor", advisor.confidence)
        return _decides("model", model)


POLICIES: dict[Policy, type[FusionPolicy]] = {
    "confidence": Confidence,
    "model": ModelAlone,
    "advisor": AdvisorAlone,
    "agree": Agree,
    "veto": Veto,
}


class FusionSettings(BaseModel):
    """Everything under ``fusion:``. The limits are the tutorials'."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    policy: Policy = Field(
        "confidence",
        description="Who decides. confidence: by the advisor's confidence; model, advisor: that one alone; agree: both "
        "or hold; veto: the model, unless the advisor is sure of the opposite.",
    )
    trust: float = Field(
        0.8, ge=0, le=1, description="Above this confidence the advisor is trusted."
    )
    defer: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Above this confidence, and up to trust, the model decides; below, hold.",
    )
    signal: str = Field("direction", description="Which signal, by its name under 'signals'.")
    advice: str = Field(
        "market_structure", description="Which advice, by its name under 'advisors'."
    )

    @property
    def needs(self) -> tuple[Literal["signal", "advice"], ...]:
        """What there has to be in the configuration."""
        return POLICIES[self.policy].needs

    @model_validator(mode="after")
    def _limits_ascend(self) -> Self:
        if self.defer > self.trust:
            raise ValueError(
                f"defer must not be above trust, but {self.defer} is above {self.trust}"
            )
        return self


class Fusion:
    """Applies the policy that the settings choose.

    Args:
        settings: Which, and to what.
    """

    def __init__(self, settings: FusionSettings) -> None:
        self.settings = settings
        self._policy = POLICIES[settings.policy](settings.trust, settings.defer)

    def fuse(self, signal: Signal | None, advice: Advice | None) -> Fused:
        """Return what the two come to; `None` for what does not hold now."""
        answer = None if advice is None else advice.answer
        return self._policy.fuse(vote_of_signal(signal), vote_of_answer(answer))
