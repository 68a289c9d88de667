"""The sections of the configuration that no plugin defines."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from mmkit.advisors import Language
from mmkit.answers import Question
from mmkit.events import MAIN
from mmkit.instruments import InstrumentSpec
from mmkit.units import Duration, Exact

Mode = Literal["dry_run", "live"]
Level = Literal["debug", "info", "warning", "error"]

_SYMBOLS = {"spot": "BTC/USDT", "usdm": "BTC/USDT:USDT", "coinm": "BTC/USD:BTC"}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class InstrumentSection(_Section):
    """What is traded."""

    venue: str = Field(min_length=1, description="ccxt's exchange id, such as binance.")
    market: Literal["spot", "usdm", "coinm"] = Field(
        description="spot; usdm: contracts settled in the quote currency; coinm: in the base currency."
    )
    symbol: str = Field(
        pattern=r"^[^/:\s]+/[^/:\s]+(:[^/:\s]+)?$",
        description="ccxt's unified symbol, such as BTC/USDT or BTC/USDT:USDT.",
    )
    tick: Exact | None = Field(
        None, gt=0, description="Smallest price step; where neither data nor venue can tell."
    )
    lot: Exact | None = Field(
        None, gt=0, description="Smallest quantity step; where neither data nor venue can tell."
    )
    contract_size: Exact | None = Field(
        None, gt=0, description="Value of one contract; where neither data nor venue can tell."
    )

    @model_validator(mode="after")
    def _symbol_fits_market(self) -> Self:
        pair, _, settle = self.symbol.partition(":")
        base, _, quote = pair.partition("/")
        wanted = {"spot": "", "usdm": quote, "coinm": base}[self.market]
        if settle != wanted:
            symbol = f"{pair}:{wanted}" if wanted else pair
            raise ValueError(
                f"market {self.market} settles in {wanted or 'nothing'}, so that its symbols look like "
                f"'{_SYMBOLS[self.market]}'; for '{self.symbol}' write '{symbol}', or another market"
            )
        return self

    def spec(self) -> InstrumentSpec:
        """Return the section as the rest of mmkit knows it."""
        return InstrumentSpec(**dict(self))


Gaps = Literal["mask", "refuse"]
"""What to do with recorded data in which the book is unknown for a while."""


class PluginsSection(_Section):
    """Which plugins are loaded."""

    disabled: tuple[str, ...] = Field((), description="Names of plugins that are not loaded.")


class QuotingSection(_Section):
    """How what a strategy wants is brought about."""

    amend: bool = Field(
        False,
        description="Amend an order where the venue can, in place of canceling it and placing another.",
    )


class LoggingSection(_Section):
    """What is logged."""

    level: Level = Field("info", description="The least important that is shown; -v shows more.")


def _address(url: SecretStr) -> SecretStr:
    if not re.match(r"[A-Za-z][A-Za-z0-9]*://.", url.get_secret_value()):
        # Whatever it is, it may be a password; so it is not repeated.
        raise ValueError(
            "an address of apprise that begins with a service, such as json:// or tgram://, was expected; found another"
        )
    return url


Address = Annotated[SecretStr, AfterValidator(_address)]
"""Where apprise sends to; it holds passwords, so that it is never shown."""


class SignalSection(_Section):
    """One signal: which model, how often, and for how long what it says holds."""

    model: str = Field(
        min_length=1, description="Folder of the saved model, such as user_data/models/example."
    )
    name: str = Field(
        "direction",
        alias="as",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="What strategies call it: view.signals[...].",
    )
    market: str = Field(
        MAIN,
        description="About which market, by its name under 'markets'; the main one unless given.",
    )
    every: Literal["update"] | Duration | None = Field(
        None,
        description="How often it is computed: at every update of the book, or at this interval; as the model's "
        "card has it unless given.",
    )
    expires: Duration = Field(
        1_000_000_000, gt=0, description="How long it holds, from the time of its last sample on."
    )
    latency: Duration | None = Field(
        None,
        ge=0,
        description="In a backtest, how long after its last sample it is known; measured when the model is loaded "
        "unless given.",
    )

    @field_validator("every")
    @classmethod
    def _is_positive(cls, every: str | int | None) -> str | int | None:
        if every == 0:
            raise ValueError("update, or a duration above 0, was expected")
        return every


_MINUTE = 60_000_000_000


class AdvisorSection(_Section):
    """One advisor: what it is asked, when, and for how long an answer holds."""

    question: Question = Field("market_structure", description="What the language model is asked.")
    name: str | None = Field(
        None,
        alias="as",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="What strategies call it: view.advice[...]; the question's name unless given.",
    )
    every: Duration | None = Field(
        None,
        ge=1_000_000_000,
        description="Ask at this interval, 1s at least; 60s unless messages or on is given.",
    )
    messages: int | None = Field(
        None, ge=1, description="Ask after every so many messages of market data."
    )
    on: tuple[Literal["anomaly", "large_trade"], ...] = Field(
        (), description="Ask when the market watch tells a PriceAnomaly, a LargeTrade."
    )
    expires: Duration | None = Field(
        None,
        gt=0,
        description="How long an answer holds, from when it was asked on; twice every unless given, or 2m.",
    )
    language: Language = Field("en", description="Of the words in an answer.")
    journal: str | None = Field(
        None,
        min_length=1,
        description="Folder of a recorded run, from which a backtest tells this advice as it came.",
    )

    @field_validator("question")
    @classmethod
    def _needs_no_text(cls, question: str) -> str:
        if question == "news":
            raise ValueError(
                "a question about the market was expected; found 'news', which is about a headline, and a run has none; "
                "ask it by hand with 'mmkit advisor ask'"
            )
        return question

    def filled(self) -> Self:
        """Return the section with every default that hangs on other keys."""
        every = self.every
        if every is None and self.messages is None and not self.on:
            every = _MINUTE
        expires = self.expires
        if expires is None:
            expires = 2 * _MINUTE if every is None else 2 * every
        return self.model_copy(
            update={"name": self.name or self.question, "every": every, "expires": expires}
        )


class NotifySection(_Section):
    """Where the market watch's events, and what becomes of a run, are sent, by way of `apprise`."""

    urls: tuple[Address, ...] = Field(
        (),
        description='Addresses as apprise has them, such as ["${CHAT_URL}"]; they hold passwords, so that '
        "they are never shown.",
    )
    events: tuple[
        Literal["PriceAnomaly", "LargeTrade", "HighVolatility", "OneSidedTrades", "StrongFlow"], ...
    ] = Field(("PriceAnomaly", "LargeTrade"), description="Which events are sent.")
    every: Duration = Field(
        10_000_000_000,
        ge=0,
        description="At most one message in so long; what comes in between is gathered in the next.",
    )
