"""Binance's private endpoints as functions of account and parameters, without I/O.

Sources: Binance Spot API, "Trading endpoints" and "Account endpoints"; USD-M Futures API, "Trade" and
"Account". What is asked over the WebSocket API is answered by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import msgspec

from mmkit_sandbox import accountpayload as say
from mmkit_sandbox.account import Account
from mmkit_sandbox.accountorder import AccountOrder, OrderKind
from mmkit_sandbox.accounts import Accounts
from mmkit_sandbox.ledger import ZERO, text
from mmkit_sandbox.limits import Limits
from mmkit_sandbox.listenkeys import ListenKeys
from mmkit_sandbox.listing import SPOT, USDM, Listing
from mmkit_sandbox.parameters import Parameters
from mmkit_sandbox.refused import Refused

_MS = 1_000_000
_DAY_MS = 86_400_000
_UNIT = Decimal("1E-8")
_MOST_LEVERAGE = 125
T = TypeVar("T")


class Call(NamedTuple):
    """One private request.

    Attributes:
        accounts: Where it is asked.
        account: Who asks.
        market: ``spot``, ``usdm`` or ``coinm``.
        params: What was sent.
        limits: Of requests and orders.
        listen_keys: Of contracts.
        now_ns: The exchange's time.
    """

    accounts: Accounts
    account: Account
    market: str
    params: Parameters
    limits: Limits
    listen_keys: ListenKeys
    now_ns: int

    def listing(self) -> Listing:
        """Return the symbol that is asked about."""
        found = self.accounts.exchange.listing(self.market, self.params.text("symbol"))
        if found is None:
            raise Refused(-1121, "Invalid symbol.")
        return found

    def listings(self) -> list[Listing]:
        """Return the symbol that is asked about, or all of the market."""
        if self.params.values.get("symbol"):
            return [self.listing()]
        return self.accounts.listings(self.market)


class Endpoint(NamedTuple):
    """What answers, what it weighs, and what it takes to be let in.

    Attributes:
        answer: Returns the JSON body.
        weight: Against the minute's limit.
        free: Whether it weighs nothing if it succeeds.
        orders: How many orders it counts as.
        signed: Whether it must be signed; otherwise the key is enough.
        acts: Whether it changes something: what a lost answer hurts.
    """

    answer: Callable[[Call], Any]
    weight: int
    free: bool = False
    orders: int = 0
    signed: bool = True
    acts: bool = False


# --- orders ------------------------------------------------------------------------------------------


def _place(call: Call) -> Any:
    order = call.accounts.place(call.account, call.listing(), call.params.placing(call.market))
    return say.placed(order, _how(call, order.asked.kind))


def _how(call: Call, kind: OrderKind) -> str:
    """Return how much of the order is told: ``ACK``, ``RESULT`` or ``FULL``."""
    spot = call.market == SPOT
    default = "FULL" if spot and kind is not OrderKind.LIMIT_MAKER else "ACK"
    found = call.params.values.get("newOrderRespType", default)
    if found not in ({"ACK", "RESULT", "FULL"} if spot else {"ACK", "RESULT"}):
        raise Refused(-1130, "Data sent for parameter 'newOrderRespType' is not valid.")
    return found


def _test(call: Call) -> Any:
    call.accounts.check(call.account, call.listing(), call.params.placing(call.market))
    return {}


def _named(
    call: Call,
    refused: Refused,
    number: str = "orderId",
    name: str = "origClientOrderId",
    *,
    hidden: bool = False,
) -> AccountOrder:
    """Return the order that is meant, a hidden one only if `hidden`, or refuse."""
    params = call.params
    order_id, client_id = params.whole(number), params.values.get(name, "")
    if order_id is None and not client_id:
        raise Refused(
            -1102, f"Param '{name}' or '{number}' must be sent, but both were empty/null!"
        )
    order = call.accounts.find(call.account, call.listing(), order_id, client_id, hidden=hidden)
    if order is None or (client_id and order.client_id != client_id):
        raise refused
    return order


def _cancel(call: Call) -> Any:
    # On contracts a cancel acts on the book itself, which knows of an order whatever those say that answer queries.
    order = _named(call, _unknown_order(), hidden=call.market != SPOT)
    cancel_id = call.params.name("newClientOrderId", call.market)
    return say.canceled(call.accounts.cancel(call.account, order, cancel_id))


def _unknown_order() -> Refused:
    return Refused(-2011, "Unknown order sent.")


def _no_order() -> Refused:
    return Refused(-2013, "Order does not exist.")


def _cancel_all(call: Call) -> Any:
    listing = call.listing()
    canceled = call.accounts.cancel_all(call.account, listing)
    if call.market != SPOT:
        return {"code": 200, "msg": "The operation of cancel all open order is done."}
    if not canceled:
        raise _unknown_order()
    return [say.canceled(order) for order in canceled]


def _query(call: Call) -> Any:
    return say.order(_named(call, _no_order()))


def _open_order(call: Call) -> Any:
    order = _named(call, _no_order())
    if not order.open:
        raise _no_order()
    return say.order(order)


def _open_orders(call: Call) -> Any:
    return [
        say.order(order)
        for listing in call.listings()
        for order in call.account.open_orders(listing)
        if not call.accounts.hidden(order)
    ]


def _all_orders(call: Call) -> Any:
    first = call.params.whole("orderId")
    found = [
        order
        for order in call.account.orders(call.listing())
        if (first is None or order.order_id >= first) and not call.accounts.hidden(order)
    ]
    return [say.order(order) for order in _page(call, found, first, lambda one: one.created_ns)]


def _trades(call: Call) -> Any:
    listing = call.listing()
    first, of = call.params.whole("fromId"), call.params.whole("orderId")
    found = [
        traded
        for traded in call.account.trades
        if traded.order.listing is listing
        and (first is None or traded.trade.trade_id >= first)
        and (of is None or traded.order.order_id == of)
        and not call.accounts.hidden(traded.order)
    ]
    return [say.trade(one) for one in _page(call, found, first, lambda one: one.trade.ts_ns)]


def _page(call: Call, found: list[T], first: int | None, when: Callable[[T], int]) -> Sequence[T]:
    """Return the part that is asked for: the oldest from somewhere on, else the newest."""
    params = call.params
    start, end = params.whole("startTime"), params.whole("endTime")
    longest = _DAY_MS if call.market == SPOT else 7 * _DAY_MS
    if start is not None and end is not None and end - start > longest:
        hours = longest // 3_600_000
        if call.market == SPOT:
            raise Refused(-1127, f"More than {hours} hours between startTime and endTime.")
        raise Refused(-4166, "Search window is restricted to recent 7 days only.")
    within = [
        one
        for one in found
        if (start is None or when(one) // _MS >= start) and (end is None or when(one) // _MS <= end)
    ]
    limit = params.limit()
    return within[-limit:] if first is start is None else within[:limit]


def _cancel_replace(call: Call) -> Any:
    mode = call.params.text("cancelReplaceMode")
    if mode not in {"STOP_ON_FAILURE", "ALLOW_FAILURE"}:
        raise Refused(-1145, "Invalid cancelReplaceMode.")
    listing, asked = call.listing(), call.params.placing(call.market)
    # Before anything is done, as Binance does: "Filters and Order Count are evaluated before the processing
    # of the cancellation and order placement occurs."
    call.accounts.check(call.account, listing, asked)
    canceled: dict[str, Any] | None = None
    placed: dict[str, Any] | None = None
    refused_cancel = refused_order = None
    try:
        order = _named(call, _unknown_order(), "cancelOrderId", "cancelOrigClientOrderId")
        cancel_id = call.params.name("cancelNewClientOrderId", call.market)
        canceled = say.canceled(call.accounts.cancel(call.account, order, cancel_id))
    except Refused as refused:
        if refused.code != -2011:
            raise
        refused_cancel = refused
    if canceled is not None or mode == "ALLOW_FAILURE":
        try:
            new = call.accounts.place(call.account, listing, asked)
            placed = say.placed(new, _how(call, asked.kind))
        except Refused as refused:
            refused_order = refused
    body = {
        "cancelResult": "SUCCESS" if canceled is not None else "FAILURE",
        "newOrderResult": "SUCCESS"
        if placed is not None
        else "FAILURE"
        if refused_order is not None
        else "NOT_ATTEMPTED",
        "cancelResponse": canceled if refused_cancel is None else refused_cancel.body,
        "newOrderResponse": placed if refused_order is None else refused_order.body,
    }
    if canceled is not None and placed is not None:
        return body
    if canceled is not None or placed is not None:
        raise Refused(-2021, "Order cancel-replace partially failed.", 409, body)
    raise Refused(-2022, "Order cancel-replace failed.", 400, body)


def _keep_priority(call: Call) -> Any:
    order = _named(call, _no_order())
    quantity, before = call.params.decimal("newQty"), order.client_id
    name = call.params.name("newClientOrderId", call.market)
    amended = call.accounts.reduce(call.account, order, quantity, name)
    return {
        "transactTime": amended.updated_ns // _MS,
        "executionId": amended.order_id,
        "amendedOrder": {
            "symbol": amended.listing.symbol,
            "orderId": amended.order_id,
            "orderListId": -1,
            "origClientOrderId": before,
            "clientOrderId": amended.client_id,
            "price": say.price_text(amended.listing, amended.price),
            "qty": say.quantity_text(amended.listing, amended.quantity),
            "executedQty": say.quantity_text(amended.listing, amended.executed),
            "preventedQty": say.quantity_text(amended.listing, ZERO),
            "quoteOrderQty": "0.00000000",
            "cumulativeQuoteQty": text(amended.value),
            "status": amended.status.value,
            "timeInForce": amended.asked.lasting.value,
            "type": amended.asked.kind.value,
            "side": say.side(amended),
            "workingTime": amended.created_ns // _MS,
            "selfTradePreventionMode": "NONE",
        },
    }


def _modify(call: Call) -> Any:
    order = _named(call, _no_order())
    params = call.params
    if params.side() is not order.asked.side or order.asked.kind is not OrderKind.LIMIT:
        raise Refused(-5025, "Only limit order is supported.")
    amended = call.accounts.amend(
        call.account, order, params.decimal("price"), params.decimal("quantity")
    )
    return say.canceled(amended)


def _batch(call: Call) -> Any:
    """Place up to five orders; each is answered for itself."""
    try:
        wanted = msgspec.json.decode(call.params.text("batchOrders"), type=list[dict[str, Any]])
    except msgspec.DecodeError:
        raise Refused(-1130, "Data sent for parameter 'batchOrders' is not valid.") from None
    if not 1 <= len(wanted) <= 5:
        raise Refused(-4082, "Invalid number of batch orders")
    answers = []
    for one in wanted:
        params = Parameters({name: _word(value) for name, value in one.items()})
        try:
            answers.append(_place(call._replace(params=params)))
        except Refused as refused:
            answers.append(refused.body)
    return answers


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cancel_batch(call: Call) -> Any:
    values = call.params.values
    # ccxt writes it in lower case, and Binance takes that.
    numbers = values.get("orderIdList") or values.get("orderidlist")
    names = values.get("origClientOrderIdList") or values.get("origclientorderidlist")
    key, listed = ("orderId", numbers) if numbers else ("origClientOrderId", names)
    try:
        wanted = msgspec.json.decode(listed or "", type=list[Any])
    except msgspec.DecodeError:
        raise Refused(
            -1102, "Param 'orderIdList' or 'origClientOrderIdList' must be sent."
        ) from None
    answers = []
    for one in wanted[:10]:
        params = Parameters({"symbol": values.get("symbol", ""), key: str(one)})
        try:
            answers.append(_cancel(call._replace(params=params)))
        except Refused as refused:
            answers.append(refused.body)
    return answers


def _countdown(call: Call) -> Any:
    ms = call.params.whole("countdownTime")
    if ms is None:
        call.params.text("countdownTime")
    call.accounts.countdown(call.account, call.listing(), ms or 0)
    return {"symbol": call.listing().symbol, "countdownTime": str(ms)}


def _order_count(call: Call) -> Any:
    return call.limits.orders(call.market, call.account.key, call.now_ns)


# --- spot: the account --------------------------------------------------------------------------------


def _spot_account(call: Call) -> Any:
    account = call.account
    maker, taker = account.fees(SPOT)
    omit = call.params.flag("omitZeroBalances")
    return {
        "makerCommission": int(maker * 10_000),
        "takerCommission": int(taker * 10_000),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": _rates(maker, taker),
        "canTrade": account.config.can_trade,
        "canWithdraw": account.config.can_withdraw,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": call.now_ns // _MS,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": text(balance.free), "locked": text(balance.locked)}
            for asset, balance in account.spot.balances.items()
            if not omit or balance.free or balance.locked
        ],
        "permissions": ["SPOT"],
        "uid": 1,
    }


def _rates(maker: Decimal, taker: Decimal) -> dict[str, str]:
    return {
        "maker": text(maker),
        "taker": text(taker),
        "buyer": text(ZERO),
        "seller": text(ZERO),
    }


def _spot_commission(call: Call) -> Any:
    nothing = _rates(ZERO, ZERO)
    return {
        "symbol": call.listing().symbol,
        "standardCommission": _rates(*call.account.fees(SPOT)),
        "specialCommission": nothing,
        "taxCommission": nothing,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0.25000000",
        },
    }


def _restrictions(call: Call) -> Any:
    config = call.account.config
    return {
        "ipRestrict": False,
        "createTime": 1_700_000_000_000,
        "enableReading": True,
        "enableWithdrawals": config.can_withdraw,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": config.can_trade,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": True,
        "enableSpotAndMarginTrading": config.can_trade,
        "enablePortfolioMarginTrading": False,
    }


def _trade_fees(call: Call) -> Any:
    maker, taker = call.account.fees(SPOT)
    return [
        {"symbol": one.symbol, "makerCommission": str(maker), "takerCommission": str(taker)}
        for one in call.listings()
    ]


def _nothing(call: Call) -> Any:
    return []


# --- contracts: the account, as USD-M tells it --------------------------------------------------------


def _positions(call: Call) -> Any:
    """Answer as v3: symbols with a position or an order."""
    return [
        position_row(call, listing)
        for listing in call.listings()
        if call.account.position(listing).quantity or call.account.open_orders(listing)
    ]


def _positions_v2(call: Call) -> Any:
    return [
        position_row(call, listing)
        | {
            "leverage": str(call.account.position(listing).leverage),
            "maxNotionalValue": "1000000000",
            "marginType": call.account.position(listing).margin,
            "isAutoAddMargin": "false",
        }
        for listing in call.listings()
    ]


def position_row(call: Call, listing: Listing) -> dict[str, Any]:
    """Return a position as positionRisk v3 tells it."""
    accounts, account = call.accounts, call.account
    position = account.position(listing)
    mark = accounts.mark(listing) or position.entry
    held, both = accounts.margins(account, listing)
    bids, asks = say.open_value(account.open_orders(listing))
    return {
        "symbol": listing.symbol,
        "positionSide": "BOTH",
        "positionAmt": say.quantity_text(listing, position.quantity),
        "entryPrice": _rounded(position.entry),
        "breakEvenPrice": _rounded(position.entry),
        "markPrice": _rounded(mark),
        "unRealizedProfit": _rounded(position.unrealised(mark)),
        "liquidationPrice": "0",
        "isolatedMargin": "0",
        "notional": _rounded(position.value(mark)),
        "marginAsset": listing.settle,
        "isolatedWallet": "0",
        "initialMargin": _rounded(both),
        "maintMargin": "0",
        "positionInitialMargin": _rounded(held),
        "openOrderInitialMargin": _rounded(both - held),
        "adl": 0,
        "bidNotional": _rounded(bids),
        "askNotional": _rounded(asks),
        "updateTime": position.updated_ns // _MS,
    }


def _rounded(amount: Decimal) -> str:
    return text(amount.quantize(_UNIT))


def asset_rows(call: Call) -> list[dict[str, Any]]:
    """Return the wallets of the market that is asked about, with their margin."""
    accounts, account = call.accounts, call.account
    rows = []
    for asset, wallet in account.wallets[call.market].items():
        equity = accounts.equity(account, asset, call.market)
        committed = accounts.committed(account, asset, call.market)
        held = sum(
            (
                accounts.margins(account, listing)[0]
                for listing in accounts.listings(call.market)
                if listing.settle == asset
            ),
            ZERO,
        )
        available = max(ZERO, equity - committed)
        rows.append(
            {
                "asset": asset,
                "walletBalance": text(wallet),
                "unrealizedProfit": _rounded(equity - wallet),
                "marginBalance": _rounded(equity),
                "maintMargin": "0.00000000",
                "initialMargin": _rounded(committed),
                "positionInitialMargin": _rounded(held),
                "openOrderInitialMargin": _rounded(committed - held),
                "crossWalletBalance": text(wallet),
                "crossUnPnl": _rounded(equity - wallet),
                "availableBalance": _rounded(available),
                "maxWithdrawAmount": _rounded(min(available, wallet)),
                "updateTime": call.now_ns // _MS,
            }
        )
    return rows


def _usdm_account(call: Call) -> Any:
    assets = asset_rows(call)
    first = next((row for row in assets if row["asset"] == "USDT"), None) or {}
    nothing = "0.00000000"
    return {
        "totalInitialMargin": first.get("initialMargin", nothing),
        "totalMaintMargin": nothing,
        "totalWalletBalance": first.get("walletBalance", nothing),
        "totalUnrealizedProfit": first.get("unrealizedProfit", nothing),
        "totalMarginBalance": first.get("marginBalance", nothing),
        "totalPositionInitialMargin": first.get("positionInitialMargin", nothing),
        "totalOpenOrderInitialMargin": first.get("openOrderInitialMargin", nothing),
        "totalCrossWalletBalance": first.get("crossWalletBalance", nothing),
        "totalCrossUnPnl": first.get("crossUnPnl", nothing),
        "availableBalance": first.get("availableBalance", nothing),
        "maxWithdrawAmount": first.get("maxWithdrawAmount", nothing),
        "assets": assets,
        "positions": [_account_position(row) for row in _positions(call)],
    }


def _account_position(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "symbol": row["symbol"],
        "positionSide": row["positionSide"],
        "positionAmt": row["positionAmt"],
        "unrealizedProfit": row["unRealizedProfit"],
        "isolatedMargin": row["isolatedMargin"],
        "notional": row["notional"],
        "isolatedWallet": row["isolatedWallet"],
        "initialMargin": row["initialMargin"],
        "maintMargin": row["maintMargin"],
        "updateTime": row["updateTime"],
    }


def _usdm_account_v2(call: Call) -> Any:
    account = call.account
    positions = []
    for listing in call.accounts.listings(USDM):
        row = position_row(call, listing)
        positions.append(
            _account_position(row)
            | {
                "entryPrice": row["entryPrice"],
                "breakEvenPrice": row["breakEvenPrice"],
                "leverage": str(account.position(listing).leverage),
                "isolated": account.position(listing).isolated,
                "maxNotional": "1000000000",
                "positionInitialMargin": row["positionInitialMargin"],
                "openOrderInitialMargin": row["openOrderInitialMargin"],
                "bidNotional": row["bidNotional"],
                "askNotional": row["askNotional"],
            }
        )
    return _usdm_account(call) | rights(call) | {"positions": positions}


def rights(call: Call) -> dict[str, Any]:
    """Return what the account may do."""
    config = call.account.config
    return {
        "feeTier": 0,
        "canTrade": config.can_trade,
        "canDeposit": True,
        "canWithdraw": config.can_withdraw,
        "multiAssetsMargin": call.account.multi_assets,
        "tradeGroupId": -1,
        "updateTime": call.now_ns // _MS,
    }


def _account_config(call: Call) -> Any:
    return rights(call) | {"dualSidePosition": call.account.hedge_mode}


def _symbol_config(call: Call) -> Any:
    return [
        {
            "symbol": listing.symbol,
            "marginType": "ISOLATED" if call.account.position(listing).isolated else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": call.account.position(listing).leverage,
            "maxNotionalValue": "1000000000",
        }
        for listing in call.listings()
    ]


def _balance(call: Call) -> Any:
    return [
        {
            "accountAlias": "sandbox",
            "asset": row["asset"],
            "balance": row["walletBalance"],
            "crossWalletBalance": row["crossWalletBalance"],
            "crossUnPnl": row["crossUnPnl"],
            "availableBalance": row["availableBalance"],
            "maxWithdrawAmount": row["maxWithdrawAmount"],
            "marginAvailable": True,
            "updateTime": row["updateTime"],
        }
        for row in asset_rows(call)
    ]


def _usdm_commission(call: Call) -> Any:
    maker, taker = call.account.fees(call.market)
    return {
        "symbol": call.listing().symbol,
        "makerCommissionRate": str(maker),
        "takerCommissionRate": str(taker),
        "rpiCommissionRate": "0",
    }


def _leverage(call: Call) -> Any:
    listing, wanted = call.listing(), call.params.text("leverage")
    if not wanted.isdecimal() or not 1 <= int(wanted) <= _MOST_LEVERAGE:
        raise Refused(-4028, f"Leverage {wanted} is not valid")
    position = call.account.position(listing)
    before, position.leverage = position.leverage, int(wanted)
    if int(wanted) < before and call.accounts.committed(
        call.account, listing.settle, listing.market
    ) > call.accounts.equity(call.account, listing.settle, listing.market):
        position.leverage = before
        raise Refused(-2028, "Leverage is smaller than permitted: insufficient margin balance.")
    return {
        "symbol": listing.symbol,
        "leverage": int(wanted),
        "maxNotionalValue": "1000000000",
    }


def _leverage_brackets(call: Call) -> Any:
    """Answer with one bracket a symbol: the sandbox has no maintenance margin and no largest position."""
    bracket = {
        "bracket": 1,
        "initialLeverage": _MOST_LEVERAGE,
        "notionalCap": 1_000_000_000,
        "notionalFloor": 0,
        "maintMarginRatio": 0.0,
        "cum": 0.0,
    }
    return [{"symbol": one.symbol, "brackets": [bracket]} for one in call.listings()]


def _margin_type(call: Call) -> Any:
    """Note what the symbol's margin is to be; what orders need is reckoned as cross all the same."""
    listing, wanted = call.listing(), call.params.text("marginType")
    if wanted not in ("CROSSED", "ISOLATED"):
        raise Refused(-1128, "Combination of optional parameters invalid.")
    account, position = call.account, call.account.position(listing)
    if (wanted == "ISOLATED") == position.isolated:
        raise Refused(-4046, "No need to change margin type.")
    if account.open_orders(listing):
        raise Refused(-4047, "Margin type cannot be changed if there exists open orders.")
    if position.quantity:
        raise Refused(-4048, "Margin type cannot be changed if there exists position.")
    if wanted == "ISOLATED" and account.multi_assets:
        raise Refused(
            -4168, "Unable to adjust to isolated-margin mode under the Multi-Assets mode."
        )
    position.isolated = wanted == "ISOLATED"
    return {"code": 200, "msg": "success"}


def _multi_assets(call: Call) -> Any:
    return {"multiAssetsMargin": call.account.multi_assets}


def _set_multi_assets(call: Call) -> Any:
    account = call.account
    call.params.text("multiAssetsMargin")
    wanted = call.params.flag("multiAssetsMargin")
    if wanted == account.multi_assets:
        raise Refused(
            -4171,
            "Adjusted asset mode is currently set and does not need to be adjusted repeatedly.",
        )
    if wanted and any(one.isolated for one in account.positions.values()):
        raise Refused(
            -4167, "Unable to adjust to Multi-Assets mode with symbols of isolated-margin mode."
        )
    account.multi_assets = wanted
    return {"code": 200, "msg": "success"}


def _hedge_mode(call: Call) -> Any:
    return {"dualSidePosition": call.account.hedge_mode}


def _set_hedge_mode(call: Call) -> Any:
    account = call.account
    call.params.text("dualSidePosition")
    wanted = call.params.flag("dualSidePosition")
    if wanted == account.hedge_mode:
        raise Refused(-4059, "No need to change position side.")
    # It is one for USD-M and COIN-M, since 2026-06-30.
    listings = [one for one in call.accounts.listings() if one.market != SPOT]
    if any(account.open_orders(listing) for listing in listings):
        raise Refused(-4067, "Position side cannot be changed if there exists open orders.")
    if any(account.position(listing).quantity for listing in listings):
        raise Refused(-4068, "Position side cannot be changed if there exists position.")
    account.hedge_mode = wanted
    return {"code": 200, "msg": "success"}


def _make_listen_key(call: Call) -> Any:
    return {"listenKey": call.listen_keys.make(call.account.key, call.now_ns, call.market)}


def _extend_listen_key(call: Call) -> Any:
    key = call.listen_keys.extend(call.account.key, call.now_ns, call.market)
    if key is None:
        raise Refused(-1125, "This listenKey does not exist.")
    return {"listenKey": key}


def _drop_listen_key(call: Call) -> Any:
    call.listen_keys.drop(call.account.key, call.market)
    return {}


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("POST", "/api/v3/order"): Endpoint(_place, 1, free=True, orders=1, acts=True),
    ("POST", "/api/v3/order/test"): Endpoint(_test, 1),
    ("DELETE", "/api/v3/order"): Endpoint(_cancel, 1, free=True, acts=True),
    ("GET", "/api/v3/order"): Endpoint(_query, 4),
    ("POST", "/api/v3/order/cancelReplace"): Endpoint(
        _cancel_replace, 1, free=True, orders=1, acts=True
    ),
    ("PUT", "/api/v3/order/amend/keepPriority"): Endpoint(_keep_priority, 4, acts=True),
    ("DELETE", "/api/v3/openOrders"): Endpoint(_cancel_all, 1, free=True, acts=True),
    ("GET", "/api/v3/openOrders"): Endpoint(_open_orders, 6),
    ("GET", "/api/v3/allOrders"): Endpoint(_all_orders, 20),
    ("GET", "/api/v3/myTrades"): Endpoint(_trades, 20),
    ("GET", "/api/v3/account"): Endpoint(_spot_account, 20),
    ("GET", "/api/v3/account/commission"): Endpoint(_spot_commission, 20),
    ("GET", "/api/v3/rateLimit/order"): Endpoint(_order_count, 40),
    ("GET", "/sapi/v1/account/apiRestrictions"): Endpoint(_restrictions, 1),
    ("GET", "/sapi/v1/asset/tradeFee"): Endpoint(_trade_fees, 1),
    ("GET", "/sapi/v1/capital/config/getall"): Endpoint(_nothing, 10),
    ("GET", "/sapi/v1/margin/allPairs"): Endpoint(_nothing, 1, signed=False),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): Endpoint(_nothing, 10),
    ("POST", "/fapi/v1/order"): Endpoint(_place, 0, orders=1, acts=True),
    ("POST", "/fapi/v1/order/test"): Endpoint(_test, 1),
    ("PUT", "/fapi/v1/order"): Endpoint(_modify, 0, orders=1, acts=True),
    ("DELETE", "/fapi/v1/order"): Endpoint(_cancel, 1, acts=True),
    ("GET", "/fapi/v1/order"): Endpoint(_query, 1),
    ("POST", "/fapi/v1/batchOrders"): Endpoint(_batch, 5, orders=1, acts=True),
    ("DELETE", "/fapi/v1/batchOrders"): Endpoint(_cancel_batch, 1, acts=True),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(_cancel_all, 1, acts=True),
    ("POST", "/fapi/v1/countdownCancelAll"): Endpoint(_countdown, 10, acts=True),
    ("GET", "/fapi/v1/openOrder"): Endpoint(_open_order, 1),
    ("GET", "/fapi/v1/openOrders"): Endpoint(_open_orders, 1),
    ("GET", "/fapi/v1/allOrders"): Endpoint(_all_orders, 5),
    ("GET", "/fapi/v1/userTrades"): Endpoint(_trades, 5),
    ("GET", "/fapi/v1/commissionRate"): Endpoint(_usdm_commission, 20),
    ("GET", "/fapi/v1/leverageBracket"): Endpoint(_leverage_brackets, 1),
    ("POST", "/fapi/v1/leverage"): Endpoint(_leverage, 1),
    ("POST", "/fapi/v1/marginType"): Endpoint(_margin_type, 1),
    ("GET", "/fapi/v1/positionSide/dual"): Endpoint(_hedge_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): Endpoint(_set_hedge_mode, 1),
    ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(_multi_assets, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): Endpoint(_set_multi_assets, 1),
    ("GET", "/fapi/v1/accountConfig"): Endpoint(_account_config, 5),
    ("GET", "/fapi/v1/symbolConfig"): Endpoint(_symbol_config, 5),
    ("GET", "/fapi/v1/rateLimit/order"): Endpoint(_order_count, 1),
    ("GET", "/fapi/v2/account"): Endpoint(_usdm_account_v2, 5),
    ("GET", "/fapi/v3/account"): Endpoint(_usdm_account, 5),
    ("GET", "/fapi/v2/balance"): Endpoint(_balance, 5),
    ("GET", "/fapi/v3/balance"): Endpoint(_balance, 5),
    ("GET", "/fapi/v2/positionRisk"): Endpoint(_positions_v2, 5),
    ("GET", "/fapi/v3/positionRisk"): Endpoint(_positions, 5),
    ("POST", "/fapi/v1/listenKey"): Endpoint(_make_listen_key, 1, signed=False),
    ("PUT", "/fapi/v1/listenKey"): Endpoint(_extend_listen_key, 1, signed=False),
    ("DELETE", "/fapi/v1/listenKey"): Endpoint(_drop_listen_key, 1, signed=False),
}
"""The private endpoints of spot and USD-M by method and path; all of them are in `routes`."""

SOCKET_METHODS: dict[str, dict[str, tuple[str, str]]] = {
    SPOT: {
        "order.place": ("POST", "/api/v3/order"),
        "order.test": ("POST", "/api/v3/order/test"),
        "order.cancel": ("DELETE", "/api/v3/order"),
        "order.cancelReplace": ("POST", "/api/v3/order/cancelReplace"),
        "order.amend.keepPriority": ("PUT", "/api/v3/order/amend/keepPriority"),
        "order.status": ("GET", "/api/v3/order"),
        "openOrders.status": ("GET", "/api/v3/openOrders"),
        "openOrders.cancelAll": ("DELETE", "/api/v3/openOrders"),
        "allOrders": ("GET", "/api/v3/allOrders"),
        "myTrades": ("GET", "/api/v3/myTrades"),
        "account.status": ("GET", "/api/v3/account"),
        "account.commission": ("GET", "/api/v3/account/commission"),
        "account.rateLimits.orders": ("GET", "/api/v3/rateLimit/order"),
    },
    USDM: {
        "order.place": ("POST", "/fapi/v1/order"),
        "order.modify": ("PUT", "/fapi/v1/order"),
        "order.cancel": ("DELETE", "/fapi/v1/order"),
        "order.status": ("GET", "/fapi/v1/order"),
        "account.position": ("GET", "/fapi/v2/positionRisk"),
        "v2/account.position": ("GET", "/fapi/v3/positionRisk"),
        "account.balance": ("GET", "/fapi/v2/balance"),
        "v2/account.balance": ("GET", "/fapi/v3/balance"),
        "account.status": ("GET", "/fapi/v2/account"),
        "v2/account.status": ("GET", "/fapi/v3/account"),
        "userDataStream.start": ("POST", "/fapi/v1/listenKey"),
        "userDataStream.ping": ("PUT", "/fapi/v1/listenKey"),
        "userDataStream.stop": ("DELETE", "/fapi/v1/listenKey"),
    },
}
"""What the WebSocket APIs of spot and USD-M call them."""
