"""Advisors: what asks a language model about the market. What it says is data, which comes late and expires."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from mmkit.answers import AdvisorCall, AnyAnswer, Question
from mmkit.clock import Clock
from mmkit.instruments import InstrumentSpec

Language = Literal["en", "ko"]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a language model is told of a market: public, and nothing of ours.

    Prices and quantities are decimals as the venue writes them; shares are from -1 to 1.

    Attributes:
        venue: ccxt's exchange id.
        symbol: Unified symbol.
        time: When, UTC, ISO 8601.
        bids: The best levels, best first, ``(price, quantity)``; five at most.
        asks: The best levels, best first.
        mid: In quote currency.
        spread_bps: From bid to ask, bps of mid.
        bid_volume: Sum of quantities of `bids`.
        ask_volume: Sum of quantities of `asks`.
        imbalance: ``(bid_volume - ask_volume) / (bid_volume + ask_volume)``.
        records: How many records, one a second, the following are of; 0 for none yet.
        mean_mid: Over the records.
        mean_spread_bps: Over the records.
        mean_imbalance: Over the records.
        deviation_bps: Of `mid` from `mean_mid`, bps.
        volatility_bps: Standard deviation of the records' returns, bps; 0 with less than three.
        trades: How many trades in the time of the records.
        bought_share: Of the traded quantity, what buyers took; `None` without a trade.
        happened: The event that is asked about, in words; empty for none.
    """

    venue: str
    symbol: str
    time: str
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    mid: float
    spread_bps: float
    bid_volume: float
    ask_volume: float
    imbalance: float
    records: int
    mean_mid: float
    mean_spread_bps: float
    mean_imbalance: float
    deviation_bps: float
    volatility_bps: float
    trades: int
    bought_share: float | None
    happened: str = ""


class Inquiry(msgspec.Struct, frozen=True, kw_only=True):
    """One question.

    Attributes:
        question: Which.
        facts: What the model is told.
        language: Of the words in the answer.
        text: Words of others that are asked about, such as a headline. Not to be trusted.
    """

    question: Question
    facts: Facts
    language: Language = "en"
    text: str = ""


class Consulted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one question.

    Attributes:
        answer: Within its bounds; `None` if there is no advice.
        refused: Why there is none, in a few words that begin with what to count it under, such as
            ``timeout: 8 s have passed``; empty if there is an answer.
        prompt_sha256: Of all that was sent as messages, hexadecimal; empty if nothing was.
        text: The last answer as it came, cut to 4,000 characters.
        calls: Every request, in order; empty if none was made.
    """

    answer: AnyAnswer | None
    refused: str
    prompt_sha256: str
    text: str
    calls: tuple[AdvisorCall, ...]


@dataclass(frozen=True)
class AdvisorContext:
    """What an advisor is built with.

    Attributes:
        spec: What the user wrote under ``instrument:``.
        clock: The run's clock.
        userdir: The user's folder, usually ``user_data``.
        endpoints: Addresses that running services offer, by service: ``{"sandbox": "http://127.0.0.1:8787"}``.
    """

    spec: InstrumentSpec
    clock: Clock
    userdir: Path
    endpoints: Mapping[str, str] = field(default_factory=dict)


class Advisor(ABC):
    """Asks a language model. One instance per run and advisor; lives in an event loop of its own thread."""

    @abstractmethod
    async def ask(self, inquiry: Inquiry) -> Consulted:
        """Ask, and return what came of it.

        A gateway that fails in whatever way is no exception but a `Consulted` without an answer. It
        returns within a time of its own, and may be canceled.
        """

    async def close(self) -> None:
        """Let go of connections."""
