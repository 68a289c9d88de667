"""The questions that a language model can be asked about a market, and what counts as an answer to each.

An answer is data: bounded here, by its type, and nowhere obeyed. What is out of bounds is no answer.
"""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

import msgspec

Confidence = Annotated[float, msgspec.Meta(ge=0, le=1)]
Words = Annotated[str, msgspec.Meta(max_length=300)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
Grade = Annotated[int, msgspec.Meta(ge=1, le=10)]

Level = Literal["LOW", "MEDIUM", "HIGH"]
Direction = Literal["UP", "DOWN", "SIDEWAYS"]


class Answer(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="question", forbid_unknown_fields=True
):
    """What a language model says to one question."""


class MarketStructure(Answer, frozen=True, kw_only=True, tag="market_structure"):
    """Which side to be on.

    Attributes:
        signal: What to do.
        confidence: How sure it is of that, 0 to 1.
        direction: Where the price goes.
        risk: Of being wrong.
        reason: Why.
    """

    signal: Literal["BUY", "SELL", "NEUTRAL"]
    confidence: Confidence
    direction: Direction
    risk: Level
    reason: Words


class Conditions(Answer, frozen=True, kw_only=True, tag="conditions"):
    """What the market is like for who makes it.

    Attributes:
        spread: Beside what is usual.
        volatility: Of the last minutes.
        liquidity: Which side of the book has more.
        suggested_spread_bps: Whole distance from bid to ask that it would quote, bps of mid.
        warnings: What to mind.
    """

    spread: Literal["NARROW", "NORMAL", "WIDE"]
    volatility: Level
    liquidity: Literal["BID", "ASK", "BALANCED"]
    suggested_spread_bps: Annotated[float, msgspec.Meta(gt=0, le=1000)]
    warnings: Annotated[tuple[Words, ...], msgspec.Meta(max_length=5)]


class Volatility(Answer, frozen=True, kw_only=True, tag="volatility"):
    """How much the price will move in the next five minutes.

    Attributes:
        level: How much.
        direction: Where to.
        confidence: 0 to 1.
        reason: Why.
    """

    level: Level
    direction: Direction
    confidence: Confidence
    reason: Words


class Sentiment(Answer, frozen=True, kw_only=True, tag="sentiment"):
    """The mood of the market.

    Attributes:
        mood: 0 fear to 100 greed.
        summary: One line.
    """

    mood: Annotated[int, msgspec.Meta(ge=0, le=100)]
    summary: Annotated[str, msgspec.Meta(max_length=50)]


class Anomaly(Answer, frozen=True, kw_only=True, tag="explain_anomaly"):
    """Why something unusual may have happened.

    Attributes:
        cause: The likeliest.
        danger: For who has quotes on the book.
        lines: What to know of it, in three lines.
    """

    cause: Words
    danger: Level
    lines: Annotated[tuple[Words, ...], msgspec.Meta(min_length=3, max_length=3)]


class News(Answer, frozen=True, kw_only=True, tag="news"):
    """What a headline means for the symbol.

    Attributes:
        direction: Where it pushes the price.
        strength: How much, 0 to 1.
        horizon: How soon.
        reason: Why.
    """

    direction: Direction
    strength: Confidence
    horizon: Literal["MINUTES", "HOURS", "DAYS"]
    reason: Words


class Signal5(Answer, frozen=True, kw_only=True, tag="signal5"):
    """A call in five steps.

    Attributes:
        signal: The call.
        liquidity: Of the book, 1 poor to 10 good.
        hint: For the trader.
    """

    signal: Literal["STRONG_SELL", "SELL", "NEUTRAL", "BUY", "STRONG_BUY"]
    liquidity: Grade
    hint: Words


class FeatureIdea(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One feature that a model could be trained on.

    Attributes:
        name: What it would be called.
        formula: How it is had from book and trades.
        relevance: 1 to 10.
    """

    name: Name
    formula: Words
    relevance: Grade


class FeatureIdeas(Answer, frozen=True, kw_only=True, tag="features"):
    """Features worth trying, for research.

    Attributes:
        features: Five at least.
    """

    features: Annotated[tuple[FeatureIdea, ...], msgspec.Meta(min_length=5, max_length=12)]


AnyAnswer: TypeAlias = (
    MarketStructure | Conditions | Volatility | Sentiment | Anomaly | News | Signal5 | FeatureIdeas
)

Question = Literal[
    "market_structure",
    "conditions",
    "volatility",
    "sentiment",
    "explain_anomaly",
    "news",
    "signal5",
    "features",
]

ANSWERS: MappingProxyType[str, type[AnyAnswer]] = MappingProxyType(
    {
        "market_structure": MarketStructure,
        "conditions": Conditions,
        "volatility": Volatility,
        "sentiment": Sentiment,
        "explain_anomaly": Anomaly,
        "news": News,
        "signal5": Signal5,
        "features": FeatureIdeas,
    }
)
"""The type of the answer to each question."""


class AdvisorCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a language model: it is paid for, whatever came of it.

    Attributes:
        asked_model: Which was asked.
        answered_model: Which says that it answered; empty if nothing does.
        form: How the answer was asked for.
        repair: Whether it asked again, because the answer before could not be read.
        outcome: ``ok``, or why there was no answer to read, such as ``timeout`` or ``http_429``; what was
            there and could not be read is ``unreadable``.
        prompt_tokens: As the gateway counts them; `None` if it does not say.
        cached_tokens: Of those, read from a cache.
        completion_tokens: As the gateway counts them, those of reasoning included.
        cost: USD, exact; `None` where the model has no price or the gateway no count: unknown, not free.
        took_ns: From the request to the answer.
    """

    asked_model: str
    answered_model: str
    form: Literal["json_schema", "json_object", "text"]
    repair: bool
    outcome: str
    prompt_tokens: int | None
    cached_tokens: int
    completion_tokens: int | None
    cost: Decimal | None
    took_ns: int
