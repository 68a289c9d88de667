"""The sandbox's advisor: a rule that answers what a language model would be asked. It says that it is a rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from statistics import pstdev
from typing import Literal

import msgspec

from mmkit.advisors import Language
from mmkit.answers import (
    Anomaly,
    AnyAnswer,
    Conditions,
    Direction,
    FeatureIdea,
    FeatureIdeas,
    Level,
    MarketStructure,
    News,
    Question,
    Sentiment,
    Signal5,
    Volatility,
)
from mmkit_sandbox.exchange import Depth, PublicTrade

MODEL = "sandbox-rule"
"""The model that the sandbox has."""

_LEVELS = 5  # of the book that pressure is worked out from, as in the facts of a prompt
_QUIET_BPS, _LIVELY_BPS = (
    0.5,
    2.0,
)  # of one second: half and twice of what the sandbox's market does
_CLEAR, _STRONG = 0.2, 0.6  # pressure from which on a side is taken, and taken strongly


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The market as the rule sees it.

    Attributes:
        imbalance: ``(bids - asks) / (bids + asks)`` of the best five levels' quantities.
        bought_share: Of the traded quantity, what buyers took; `None` without a trade.
        spread_bps: From bid to ask, bps of mid.
        mean_spread_bps: What that is usually.
        volatility_bps: Standard deviation of returns over a second, bps.
    """

    imbalance: float
    bought_share: float | None
    spread_bps: float
    mean_spread_bps: float
    volatility_bps: float

    @property
    def pressure(self) -> float:
        """Where the book and the trades push, -1 down to 1 up: the mean of the two."""
        if self.bought_share is None:
            return self.imbalance
        return (self.imbalance + 2 * self.bought_share - 1) / 2


def seen_in(numbers: Mapping[str, float]) -> Seen | None:
    """Return what a prompt's numbers say of the market, `None` if they do not say enough."""
    if "imbalance" not in numbers or "spread_bps" not in numbers:
        return None
    share = numbers.get("bought_share")
    return Seen(
        imbalance=_within(numbers["imbalance"], -1, 1),
        bought_share=None if share is None else _within(share, 0, 1),
        spread_bps=_within(numbers["spread_bps"], 0, 1000),
        mean_spread_bps=_within(numbers.get("mean_spread_bps", numbers["spread_bps"]), 0, 1000),
        volatility_bps=_within(numbers.get("volatility_bps", 0.0), 0, 1000),
    )


def seen_at(depth: Depth | None, trades: list[PublicTrade]) -> Seen:
    """Return what a market of the sandbox looks like; one without a book looks calm."""
    bids = depth.bids[:_LEVELS] if depth is not None else []
    asks = depth.asks[:_LEVELS] if depth is not None else []
    bid = sum(float(quantity) for _, quantity in bids)
    ask = sum(float(quantity) for _, quantity in asks)
    spread = 0.0
    if bids and asks:
        low, high = float(bids[0][0]), float(asks[0][0])
        spread = (high - low) / (high + low) * 2e4
    bought = sum(float(one.quantity) for one in trades if not one.buyer_is_maker)
    traded = sum(float(one.quantity) for one in trades)
    closes = {one.ts_ms // 1000: float(one.price) for one in trades}
    returns = [(after / before - 1) * 1e4 for before, after in pairwise(closes.values())]
    return Seen(
        imbalance=(bid - ask) / (bid + ask) if bid + ask else 0.0,
        bought_share=bought / traded if traded else None,
        spread_bps=spread,
        mean_spread_bps=spread,
        volatility_bps=pstdev(returns) if len(returns) > 1 else 0.0,
    )


def answer(question: Question, seen: Seen, text: str, language: Language) -> AnyAnswer:
    """Return the rule's answer, which is always within its bounds.

    Args:
        question: Which.
        seen: The market.
        text: What was asked; of a headline the words count.
        language: Of the words.
    """
    said, reason = _Words(language), _Words(language).reason(seen)
    pressure, volatility = seen.pressure, _level(seen.volatility_bps)
    confidence = round(min(0.5 + abs(pressure) / 2, 0.95), 2)
    match question:
        case "market_structure":
            signal: Literal["BUY", "SELL", "NEUTRAL"] = "NEUTRAL"
            if abs(pressure) >= _CLEAR:
                signal = "BUY" if pressure > 0 else "SELL"
            return MarketStructure(
                signal=signal,
                confidence=confidence,
                direction=_direction(pressure),
                risk=volatility,
                reason=reason,
            )
        case "conditions":
            return Conditions(
                spread=_width(seen),
                volatility=volatility,
                liquidity="BALANCED"
                if abs(seen.imbalance) < _CLEAR
                else ("BID" if seen.imbalance > 0 else "ASK"),
                # Two standard deviations of a second on either side, and no less than there is.
                suggested_spread_bps=round(
                    _within(max(seen.spread_bps, 4 * seen.volatility_bps), 0.1, 1000), 2
                ),
                warnings=(said.prefix + said.rule,),
            )
        case "volatility":
            return Volatility(
                level=volatility,
                direction=_direction(pressure),
                confidence=confidence,
                reason=reason,
            )
        case "sentiment":
            return Sentiment(mood=round(50 + 50 * pressure), summary=said.prefix + said.rule)
        case "explain_anomaly":
            one_sided = abs(pressure) >= _STRONG
            return Anomaly(
                cause=said.prefix + (said.one_sided if one_sided else said.ordinary),
                danger="HIGH" if one_sided else volatility,
                lines=(reason, said.prefix + said.rule, said.prefix + said.no_news),
            )
        case "news":
            score = _score(text)
            return News(
                direction=_direction(score),
                strength=round(min(abs(score) / 3, 1.0), 2),
                horizon="HOURS",
                reason=f"{said.prefix}{said.headline} ({score:+d})",
            )
        case "signal5":
            steps: tuple[Literal["STRONG_SELL", "SELL", "NEUTRAL", "BUY", "STRONG_BUY"], ...]
            steps = ("STRONG_SELL", "SELL", "NEUTRAL", "BUY", "STRONG_BUY")
            far = 2 if abs(pressure) >= _STRONG else int(abs(pressure) >= _CLEAR)
            return Signal5(
                signal=steps[2 + (far if pressure > 0 else -far)],
                liquidity={"NARROW": 9, "NORMAL": 7, "WIDE": 3}[_width(seen)],
                hint=reason,
            )
        case "features":
            return FeatureIdeas(features=_ideas(said))


class _Words:
    """What the rule says in a language."""

    def __init__(self, language: Language) -> None:
        korean = language == "ko"
        # The English words stay in Korean answers, so that they are found by whoever looks for them.
        self.prefix = "sandbox rule: "
        self.rule = "언어 모델이 아니라 규칙의 답" if korean else "no language model"
        self.one_sided = "한쪽으로 치우친 흐름" if korean else "the flow goes one way"
        self.ordinary = "평소와 다르지 않음" if korean else "nothing unusual in the facts"
        self.no_news = "뉴스는 읽지 않음" if korean else "it has read no news"
        self.headline = "제목의 단어 수" if korean else "words of the headline, counted"
        self._reason = (
            "호가 {:+.2f}, 체결 {}, 변동 {:.2f}bps"
            if korean
            else "book {:+.2f}, trades {}, volatility {:.2f} bps"
        )

    def reason(self, seen: Seen) -> str:
        flow = "-" if seen.bought_share is None else f"{2 * seen.bought_share - 1:+.2f}"
        return self.prefix + self._reason.format(seen.imbalance, flow, seen.volatility_bps)


def _level(volatility_bps: float) -> Level:
    if volatility_bps < _QUIET_BPS:
        return "LOW"
    return "MEDIUM" if volatility_bps < _LIVELY_BPS else "HIGH"


def _direction(pressure: float) -> Direction:
    if abs(pressure) < _CLEAR:
        return "SIDEWAYS"
    return "UP" if pressure > 0 else "DOWN"


def _width(seen: Seen) -> Literal["NARROW", "NORMAL", "WIDE"]:
    if seen.spread_bps > 2 * seen.mean_spread_bps:
        return "WIDE"
    return "NARROW" if seen.spread_bps < seen.mean_spread_bps / 2 else "NORMAL"


_GOOD = frozenset(
    [
        "approval",
        "approved",
        "approves",
        "adopts",
        "gains",
        "record",
        "rally",
        "surge",
        "upgrade",
        "wins",
    ]
)
_BAD = frozenset(
    [
        "ban",
        "bans",
        "bankruptcy",
        "exploit",
        "fraud",
        "hack",
        "hacked",
        "halts",
        "lawsuit",
        "plunge",
        "sues",
    ]
)


def _score(text: str) -> int:
    """Return the good words of a text less the bad ones."""
    words = Counter(re.findall(r"[a-z]+", text.lower()))
    return sum(words[one] for one in _GOOD) - sum(words[one] for one in _BAD)


def _ideas(said: _Words) -> tuple[FeatureIdea, ...]:
    """Return what books and papers name first; the rule has no ideas of its own."""
    known = (
        ("imbalance_5", "(bid_volume - ask_volume) / (bid_volume + ask_volume), 5 levels", 9),
        ("microprice_gap", "(microprice - mid) / mid", 8),
        ("order_flow_imbalance", "change of best bid quantity - change of best ask quantity", 9),
        ("bought_share", "bought / traded, last 10 s", 7),
        ("spread_bps", "(ask - bid) / mid * 10000", 5),
        ("volatility", "standard deviation of 1 s returns, last minute", 6),
    )
    return tuple(
        FeatureIdea(name=name, formula=said.prefix + formula, relevance=relevance)
        for name, formula, relevance in known
    )


def _within(number: float, low: float, high: float) -> float:
    return min(max(number, low), high)
