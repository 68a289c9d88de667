"""What Binance's answers about account and market hold; fields that are not used are skipped while decoding.

Wire format: Binance Spot API docs of 2026-07-21, "rest-api.md"; for USD-M the models of binance-connector-python 17.2.0.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from mmkit.accounts import Balance, FateUnknown
from mmkit_binance.account.answer import Limit
from mmkit_binance.account.records import Amended, Order, Trade


class Time(msgspec.Struct, rename="camel"):
    """The venue's clock, ms."""

    server_time: int


class Symbol(msgspec.Struct):
    """A market that is listed."""

    symbol: str
    status: str
    filters: list[dict[str, Any]]


class Listing(msgspec.Struct, rename="camel"):
    """``exchangeInfo``."""

    symbols: list[Symbol]
    rate_limits: list[Limit] = []


class _Rates(msgspec.Struct):
    maker: Decimal = Decimal(0)
    taker: Decimal = Decimal(0)


class Fees(msgspec.Struct, rename="camel"):
    """Spot's ``account/commission``, which add up, or USD-M's ``commissionRate``."""

    standard_commission: _Rates = msgspec.field(default_factory=_Rates)
    special_commission: _Rates = msgspec.field(default_factory=_Rates)
    tax_commission: _Rates = msgspec.field(default_factory=_Rates)
    maker_commission_rate: Decimal = Decimal(0)
    taker_commission_rate: Decimal = Decimal(0)

    @property
    def rates(self) -> tuple[Decimal, Decimal]:
        """Shares of the value: maker, taker."""
        kinds = (self.standard_commission, self.special_commission, self.tax_commission)
        maker = sum((one.maker for one in kinds), self.maker_commission_rate)
        return maker, sum((one.taker for one in kinds), self.taker_commission_rate)


class _SpotBalance(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class _Asset(msgspec.Struct, rename="camel"):
    asset: str
    wallet_balance: Decimal
    initial_margin: Decimal


class Account(msgspec.Struct, rename="camel"):
    """Spot's ``account``, USD-M's ``account`` or ``accountConfig``: each has a part of it."""

    can_trade: bool = True
    dual_side_position: bool = False
    multi_assets_margin: bool = False
    balances: list[_SpotBalance] | None = None
    assets: list[_Asset] | None = None

    @property
    def held(self) -> dict[str, Balance]:
        """What is on spot."""
        return {one.asset: Balance(free=one.free, locked=one.locked) for one in self.balances or ()}

    @property
    def wallets(self) -> dict[str, Balance]:
        """What is on USD-M; both parts add up to the wallet's balance.

        Raises:
            FateUnknown: if the answer does not say it.
        """
        if self.assets is None:
            raise FateUnknown("an account with assets was expected; found one without")
        return {
            one.asset: Balance(
                free=one.wallet_balance - one.initial_margin, locked=one.initial_margin
            )
            for one in self.assets
        }


class Position(msgspec.Struct, rename="camel"):
    """One of ``positionRisk``."""

    symbol: str
    position_amt: Decimal


class Top(msgspec.Struct, rename="camel"):
    """``ticker/bookTicker`` of one symbol."""

    bid_price: Decimal
    ask_price: Decimal

    @property
    def price(self) -> Decimal | None:
        """What the market is at; `None` if nobody is in it."""
        return self.ask_price or self.bid_price or None


class SymbolConfig(msgspec.Struct, rename="camel"):
    """One of ``symbolConfig``."""

    symbol: str
    margin_type: str
    leverage: Decimal


class _Bracket(msgspec.Struct, rename="camel"):
    initial_leverage: int


class Brackets(msgspec.Struct):
    """One of ``leverageBracket``: what leverage there is, by the value of the position."""

    symbol: str
    brackets: list[_Bracket]


class Income(msgspec.Struct, rename="camel"):
    """One of ``income``: money that came in, negative for gone; ``tranId`` is unique for its kind."""

    symbol: str
    income_type: str
    income: Decimal
    asset: str
    time: int
    tran_id: int


class Rights(msgspec.Struct, rename="camel"):
    """``apiRestrictions``."""

    enable_withdrawals: bool | None = None
    enable_spot_and_margin_trading: bool = True
    enable_futures: bool = True


class ListenKey(msgspec.Struct, rename="camel"):
    """What a USD-M user stream is named by."""

    listen_key: str


ORDER = msgspec.json.Decoder(Order)
AMENDED = msgspec.json.Decoder(Amended)
ORDERS = msgspec.json.Decoder(list[Order])
TRADES = msgspec.json.Decoder(list[Trade])
TIME = msgspec.json.Decoder(Time)
LISTING = msgspec.json.Decoder(Listing)
FEES = msgspec.json.Decoder(Fees)
ACCOUNT = msgspec.json.Decoder(Account)
POSITIONS = msgspec.json.Decoder(list[Position])
TOP = msgspec.json.Decoder(Top)
SYMBOL_CONFIGS = msgspec.json.Decoder(list[SymbolConfig])
BRACKETS = msgspec.json.Decoder(list[Brackets])
INCOMES = msgspec.json.Decoder(list[Income], strict=False)
RIGHTS = msgspec.json.Decoder(Rights)
LISTEN_KEY = msgspec.json.Decoder(ListenKey)
