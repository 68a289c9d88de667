"""How what an account is asked is put to ccxt: the unified methods, and Binance's own where those tell less.

Weights: Binance Spot API docs of 2026-07-21, "rest-api.md"; binance-connector-python of 2026-08-21 for USD-M and COIN-M.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from mmkit.accounts import (
    AccountInfo,
    Amendment,
    Balance,
    FateUnknown,
    Margin,
    Refusal,
    Refused,
)
from mmkit.commands import Amends
from mmkit.events import Side
from mmkit.instruments import ContractKind, Instrument
from mmkit.venues.binance_codes import NO_NEED_TO_CHANGE_MARGIN, WAY_OUT_OF_HEDGE_MODE
from mmkit.venues.budget import Budget
from mmkit_ccxt.guard import Said

_log = logging.getLogger("mmkit.ccxt")

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS


class Weights(NamedTuple):
    """What requests weigh against the venue's limit."""

    place: int
    cancel: int
    cancel_all: int
    order: int
    open_orders: int
    fills: int
    account: int
    position: int
    countdown: int = 10
    fundings: int = 30


NONE = Weights(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
SPOT = Weights(1, 1, 1, 4, 6, 20, 20, 0)
# An order itself weighs nothing there; it is counted as an order.
FUTURES = Weights(0, 1, 1, 1, 1, 5, 5, 5)


class Ways:
    """By ccxt's unified methods, for any venue.

    Args:
        client: ccxt.pro's, made with `str` for numbers.
        instrument: What is traded.
    """

    weights = NONE
    page = 100
    """Trades that are asked for at once."""
    span_ms: int | None = None
    """How long a time trades are listed for from a given one; `None` if to the end."""
    amends = Amends.NOTHING
    """ccxt's ``editOrder`` is most often a cancel and another order, which is no amend."""
    confirms = False
    """Whether `subscribe` returns only when the venue has said yes."""

    def __init__(self, client: Any, instrument: Instrument) -> None:
        self.client, self.instrument = client, instrument

    async def info(self) -> AccountInfo:
        """Return what the venue tells of the account."""
        client, symbol = self.client, self.instrument.symbol
        # To see whether the key is taken at all; what is asked next, many venues have not for everybody.
        await client.fetch_balance()
        maker, taker = await self._fees()
        hedged = False
        if self.instrument.kind is not ContractKind.SPOT and client.has.get("fetchPositionMode"):
            hedged = bool((await client.fetch_position_mode(symbol)).get("hedged"))
        least = ((client.market(symbol).get("limits") or {}).get("cost") or {}).get("min")
        return AccountInfo(
            can_trade=True,
            can_withdraw=None,
            maker_fee=None if maker is None else Decimal(maker),
            taker_fee=None if taker is None else Decimal(taker),
            hedge_mode=hedged,
            min_notional=None if least is None else Decimal(least),
        )

    async def _fees(self) -> tuple[Any, Any]:
        if not self.client.has.get("fetchTradingFee"):
            return None, None
        try:
            fees = await self.client.fetch_trading_fee(self.instrument.symbol)
        except Exception as error:  # noqa: BLE001 - ccxt's, by whatever name: fees are only not known then
            _log.info("fees of the account unknown error=%s", type(error).__name__)
            return None, None
        return fees.get("maker"), fees.get("taker")

    def budget(self) -> Budget | None:
        """Return the venue's limits; `None` where ccxt keeps to its own idea of them."""
        return None

    async def balances(self) -> dict[str, Balance]:
        """Return what the account has."""
        told = await self.client.fetch_balance()
        return {
            asset: Balance(free=Decimal(free), locked=Decimal(told["used"].get(asset) or 0))
            for asset, free in told["free"].items()
            if free is not None
        }

    async def position(self) -> Decimal:
        """Return the position of a contract."""
        told = await self.client.fetch_positions([self.instrument.symbol])
        return sum((position_of(one) for one in told), Decimal(0))

    async def countdown(self, ms: int) -> bool:
        """Start the dead man's switch; `False` if there is none."""
        return False

    async def most_leverage(self) -> int | None:
        """Return the highest leverage that ccxt knows of the market."""
        limits = self.client.market(self.instrument.symbol).get("limits") or {}
        most = (limits.get("leverage") or {}).get("max")
        return None if most is None else int(Decimal(most))

    async def set_leverage(self, leverage: int) -> None:
        """Set the leverage of the market."""
        if not self.client.has.get("setLeverage"):
            raise Refused(Refusal.OTHER, "not sent: ccxt cannot set leverage at this venue")
        await self.client.set_leverage(leverage, self.instrument.symbol)

    async def set_margin(self, margin: Margin) -> None:
        """Set how the margin of a position is kept; as it is already is as good."""
        import ccxt

        if not self.client.has.get("setMarginMode"):
            raise Refused(
                Refusal.OTHER, "not sent: ccxt cannot set the kind of margin at this venue"
            )
        try:
            await self.client.set_margin_mode(margin.value, self.instrument.symbol)
        except ccxt.NoChange:
            return

    async def amend(self, amendment: Amendment) -> Mapping[str, Any]:
        """Return ccxt's order, amended."""
        raise Refused(Refusal.OTHER, "this venue amends no orders")

    async def subscribe(self) -> None:
        """Begin what the user stream needs."""

    def forget(self) -> None:
        """Do not use again what the user stream was subscribed with."""


class BinanceWays(Ways):
    """By Binance's own requests, as ccxt signs and sends them, where its unified methods ask too much or tell too little."""

    page = 1000
    confirms = True

    def __init__(self, client: Any, instrument: Instrument) -> None:
        super().__init__(client, instrument)
        self.weights = SPOT if instrument.market == "spot" else FUTURES
        self.span_ms = None if instrument.market == "spot" else _WEEK_MS
        self._limits: Sequence[Mapping[str, Any]] = ()
        # ccxt's own name of the market, in its options and streams.
        if instrument.market == "usdm":
            self.amends = Amends.PRICE_AND_QUANTITY
        self._type = {"spot": "spot", "usdm": "linear", "coinm": "inverse"}[instrument.market]
        # Its methods of contracts begin with the name of their address; those of spot do not.
        self._prefix = {"spot": "", "usdm": "fapi", "coinm": "dapi"}[instrument.market]

    async def info(self) -> AccountInfo:
        """Return what exchange information, account, fees and position mode say."""
        client, native = self.client, self.instrument.native
        symbol = {"symbol": native}
        if self._type == "spot":
            listing = await client.publicGetExchangeInfo(symbol)
            account = await client.privateGetAccount({"omitZeroBalances": "true"})
            fees = await client.privateGetAccountCommission(symbol)
            kinds = ("standardCommission", "specialCommission", "taxCommission")
            maker, taker = (
                sum(
                    (Decimal(str((fees.get(kind) or {}).get(side, 0))) for kind in kinds),
                    Decimal(0),
                )
                for side in ("maker", "taker")
            )
            can_trade, hedged, shared = bool(account.get("canTrade", True)), False, False
            set_up = {}
        else:
            linear = self._type == "linear"
            listing = await (
                client.fapiPublicGetExchangeInfo if linear else client.dapiPublicGetExchangeInfo
            )()
            rates = await (
                client.fapiPrivateGetCommissionRate
                if linear
                else client.dapiPrivateGetCommissionRate
            )(symbol)
            config = await (
                client.fapiPrivateGetAccountConfig
                if linear
                else client.dapiPrivateGetPositionSideDual
            )()
            maker, taker = (
                Decimal(str(rates[f"{side}CommissionRate"])) for side in ("maker", "taker")
            )
            can_trade = _true(config.get("canTrade", True))
            hedged = _true(config.get("dualSidePosition"))
            shared = _true(config.get("multiAssetsMargin"))
            set_up = await self._set_up()
        ticker = (
            f"{self._prefix}PublicGetTickerBookTicker"
            if self._prefix
            else "publicGetTickerBookTicker"
        )
        top = await getattr(client, ticker)(symbol)
        self._limits = listing.get("rateLimits") or ()
        rights = await self._rights()
        if rights is not None:
            may = rights.get(
                "enableSpotAndMarginTrading" if self._type == "spot" else "enableFutures"
            )
            can_trade = can_trade and (may is None or _true(may))
        filters = {
            one["filterType"]: one
            for one in client.market(self.instrument.symbol)["info"].get("filters", ())
        }
        return AccountInfo(
            can_trade=can_trade,
            can_withdraw=None if rights is None else _true(rights.get("enableWithdrawals")),
            maker_fee=maker,
            taker_fee=taker,
            hedge_mode=hedged,
            orders_per_10s=self._orders().get(10_000),
            min_notional=_least_notional(filters),
            max_open_orders=_most_orders(filters),
            countdown=self._type != "spot",
            price=_price(top),
            multi_assets=shared,
            way_out=WAY_OUT_OF_HEDGE_MODE,
            **set_up,
            amends=self.amends,
        )

    async def _set_up(self) -> dict[str, Any]:
        """Return leverage and kind of margin; of COIN-M they stand with the positions."""
        client, native = self.client, self.instrument.native
        if self._type == "linear":
            rows = await client.fapiPrivateGetSymbolConfig({"symbol": native})
        else:
            rows = await client.dapiPrivateGetPositionRisk({"pair": native.partition("_")[0]})
        found = next((one for one in rows if one["symbol"] == native), None)
        if found is None:
            return {}
        isolated = str(found["marginType"]).lower() == "isolated"
        margin = Margin.ISOLATED if isolated else Margin.CROSS
        return {"leverage": Decimal(str(found["leverage"])), "margin": margin}

    def budget(self) -> Budget:
        """Return the limits that Binance has told."""
        default = 6000 if self._type == "spot" else 2400
        weight = next(
            (
                int(one["limit"])
                for one in self._limits
                if one.get("rateLimitType") == "REQUEST_WEIGHT" and _length_ms(one) == 60_000
            ),
            default,
        )
        return Budget(weight, self._orders())

    async def balances(self) -> dict[str, Balance]:
        """Return what the account has; of contracts, `free` and `locked` add up to the wallet's balance."""
        client = self.client
        if self._type == "spot":
            told = await client.privateGetAccount({"omitZeroBalances": "true"})
            return {
                one["asset"]: Balance(free=Decimal(one["free"]), locked=Decimal(one["locked"]))
                for one in told["balances"]
            }
        told = await (
            client.fapiPrivateV3GetAccount()
            if self._type == "linear"
            else client.dapiPrivateGetAccount()
        )
        balances = {}
        for one in told["assets"]:
            margin = Decimal(one.get("initialMargin") or 0)
            balances[one["asset"]] = Balance(
                free=Decimal(one["walletBalance"]) - margin, locked=margin
            )
        return balances

    async def position(self) -> Decimal:
        """Return the position; one that is not listed is none."""
        client, native = self.client, self.instrument.native
        if self._type == "linear":
            told = await client.fapiPrivateV3GetPositionRisk({"symbol": native})
        else:
            told = await client.dapiPrivateGetPositionRisk({"pair": native.partition("_")[0]})
        found = (Decimal(one["positionAmt"]) for one in told if one["symbol"] == native)
        return sum(found, Decimal(0))

    async def countdown(self, ms: int) -> bool:
        """Start or stop Binance's countdown, which is by symbol; spot has none."""
        if self._type == "spot":
            return False
        start = (
            self.client.fapiPrivatePostCountdownCancelAll
            if self._type == "linear"
            else self.client.dapiPrivatePostCountdownCancelAll
        )
        await start({"symbol": self.instrument.native, "countdownTime": ms})
        return True

    async def most_leverage(self) -> int | None:
        """Return the leverage of the first bracket, which is the highest."""
        if self._type == "spot":
            return None
        ask = (
            self.client.fapiPrivateGetLeverageBracket
            if self._type == "linear"
            else self.client.dapiPrivateV2GetLeverageBracket
        )
        native = self.instrument.native
        told = await ask({"symbol": native} if self._type == "linear" else {})
        rows = [one for one in told if one["symbol"] == native]
        return max(
            (int(one["initialLeverage"]) for row in rows for one in row["brackets"]), default=None
        )

    async def set_leverage(self, leverage: int) -> None:
        """Set the leverage of the market."""
        ask = getattr(self.client, f"{self._prefix}PrivatePostLeverage")
        await ask({"symbol": self.instrument.native, "leverage": leverage})

    async def set_margin(self, margin: Margin) -> None:
        """Set how the margin of a position is kept."""
        ask = getattr(self.client, f"{self._prefix}PrivatePostMarginType")
        kind = "ISOLATED" if margin is Margin.ISOLATED else "CROSSED"
        try:
            await ask({"symbol": self.instrument.native, "marginType": kind})
        except Said as answer:
            if answer.code != NO_NEED_TO_CHANGE_MARGIN:
                raise

    async def amend(self, amendment: Amendment) -> Mapping[str, Any]:
        """Amend an order of USD-M by its own request, ``PUT /fapi/v1/order``; ccxt's ``editOrder`` wants the venue's number."""
        if self._type != "linear":
            return await super().amend(amendment)
        told = await self.client.fapiPrivatePutOrder(
            {
                "symbol": self.instrument.native,
                "origClientOrderId": amendment.client_id,
                "side": "BUY" if amendment.side is Side.BUY else "SELL",
                "quantity": f"{amendment.quantity:f}",
                "price": f"{amendment.price:f}",
            }
        )
        order: Mapping[str, Any] = self.client.parse_order(
            told, self.client.market(self.instrument.symbol)
        )
        return order

    async def subscribe(self) -> None:
        """Spot: subscribe by signature over the WebSocket API. Contracts: get a listen key."""
        await self.client.authenticate(
            {"type": "spot" if self._type == "spot" else "swap", "subType": self._type}
        )

    def forget(self) -> None:
        """Have a new listen key made next time."""
        if self._type in ("linear", "inverse"):
            self.client.options[self._type] = {}

    def _orders(self) -> dict[int, int]:
        return {
            _length_ms(one): int(one["limit"])
            for one in self._limits
            if one.get("rateLimitType") == "ORDERS"
        }

    async def _rights(self) -> Mapping[str, Any] | None:
        """Return what the key may do; `None` where the venue has no such answer, such as its test networks."""
        if "sapi" not in self.client.urls["api"]:
            return None
        try:
            rights: Mapping[str, Any] = await self.client.sapiGetAccountApiRestrictions()
        except Exception as error:  # noqa: BLE001 - ccxt's or ours, by whatever name: it is only not known then
            _log.info("rights of the key unknown error=%s", type(error).__name__)
            return None
        return rights if isinstance(rights, Mapping) else None


def position_of(told: Mapping[str, Any]) -> Decimal:
    """Return the contracts of a ccxt position; negative is short.

    Raises:
        FateUnknown: if ccxt does not say how many, or which side.
    """
    contracts, side = told.get("contracts"), told.get("side")
    if contracts is None or (Decimal(contracts) and side not in ("long", "short")):
        raise FateUnknown(
            f"a position with contracts and a side was expected; found {contracts!r} and {side!r}"
        )
    return -Decimal(contracts) if side == "short" else Decimal(contracts)


def _price(told: Any) -> Decimal | None:
    # COIN-M answers with a list also where one symbol is asked for.
    one = told[0] if isinstance(told, list) else told
    return Decimal(one["askPrice"]) or Decimal(one["bidPrice"]) or None


def _least_notional(filters: Mapping[str, Any]) -> Decimal | None:
    # NOTIONAL and MIN_NOTIONAL of spot call it minNotional, MIN_NOTIONAL of USD-M notional.
    for kind in ("NOTIONAL", "MIN_NOTIONAL"):
        told = filters.get(kind) or {}
        for key in ("minNotional", "notional"):
            if key in told:
                return Decimal(str(told[key]))
    return None


def _most_orders(filters: Mapping[str, Any]) -> int | None:
    told = filters.get("MAX_NUM_ORDERS") or {}
    for key in ("maxNumOrders", "limit"):
        if key in told:
            return int(told[key])
    return None


_INTERVALS_MS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": _DAY_MS}


def _length_ms(limit: Mapping[str, Any]) -> int:
    return _INTERVALS_MS[str(limit["interval"])] * int(limit["intervalNum"])


def _true(told: Any) -> bool:
    return told is True or str(told).lower() == "true"
