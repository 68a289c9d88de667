"""Answers of language models in a few words, for a line of the log or of the screen."""

from __future__ import annotations

from mmkit.answers import (
    Anomaly,
    AnyAnswer,
    Conditions,
    FeatureIdeas,
    MarketStructure,
    News,
    Sentiment,
    Signal5,
    Volatility,
)
from mmkit.events import Advice
from mmkit.report import AdvisorFigures, cost_words


def answer_words(answer: AnyAnswer) -> str:
    """Return what an answer says, without the model's own words, which nobody has checked."""
    match answer:
        case MarketStructure():
            return f"{answer.signal} {answer.confidence:.2f} {answer.direction} risk {answer.risk}"
        case Conditions():
            return (
                f"spread {answer.spread} volatility {answer.volatility} liquidity {answer.liquidity} "
                f"suggests {answer.suggested_spread_bps:g} bps"
            )
        case Volatility():
            return f"{answer.level} {answer.direction} {answer.confidence:.2f}"
        case Sentiment():
            return f"mood {answer.mood}"
        case Anomaly():
            return f"danger {answer.danger}"
        case News():
            return f"{answer.direction} {answer.strength:.2f} {answer.horizon}"
        case Signal5():
            return f"{answer.signal} liquidity {answer.liquidity}"
        case FeatureIdeas():
            return f"{len(answer.features)} features"


def advice_line(advice: Advice) -> str:
    """Return what came of a question as one line of the log."""
    figures = AdvisorFigures(plugin="", question=advice.question, expires_ns=0)
    figures.count(advice)
    said = f"refused='{advice.refused}'"
    if advice.answer is not None:
        said = f"answer='{answer_words(advice.answer)}'"
    took_s = (advice.ts_local - advice.ts_exchange) / 1e9
    return (
        f"advice name={advice.name} question={advice.question} {said} took={took_s:.2f}s "
        f"cost='{cost_words([figures])}'"
    )
