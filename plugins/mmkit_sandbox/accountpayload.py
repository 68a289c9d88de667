"""Binance's JSON about accounts: orders, trades and the events of user streams, as dictionaries.

Sources: Binance Spot API, "Trading endpoints", "Account endpoints" and "User Data Stream"; USD-M and COIN-M Futures
API, "Trade", "Account" and "User Data Streams"; binance-connector-python's models of USD-M where that is
newer (answers to orders have neither ``avgPrice`` nor ``cumQuote`` since 2026-07-15; COIN-M's have ``cumBase``).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from mmkit.events import Liquidity, Side
from mmkit_sandbox.account import Account, Traded
from mmkit_sandbox.accountorder import AccountOrder, AccountTrade, Lasting, OrderKind, Status
from mmkit_sandbox.ledger import ZERO, text
from mmkit_sandbox.listing import COINM, SPOT, USDM, Listing

_MS = 1_000_000
_NOTHING = "0.00000000"
ALIAS = "sandbox"
"""What Binance calls every account of contracts here."""


def side(order: AccountOrder) -> str:
    """Return Binance's word for an order's side."""
    return "BUY" if order.asked.side is Side.BUY else "SELL"


def price_text(listing: Listing, price: Decimal) -> str:
    """Return a price as Binance writes it."""
    return f"{price:.{listing.price_places}f}"


def quantity_text(listing: Listing, quantity: Decimal) -> str:
    """Return a quantity as Binance writes it."""
    return f"{quantity:.{listing.quantity_places}f}"


def order(one: AccountOrder) -> dict[str, Any]:
    """Return the record of an order, as a query is answered."""
    listing, asked = one.listing, one.asked
    body: dict[str, Any] = _core(one)
    if listing.market == SPOT:
        return body | {
            "cummulativeQuoteQty": text(one.value),  # as Binance spells it
            "stopPrice": _NOTHING,
            "icebergQty": _NOTHING,
            "time": one.created_ns // _MS,
            "updateTime": one.updated_ns // _MS,
            "isWorking": True,
            "workingTime": one.created_ns // _MS,
        }
    return body | {
        "avgPrice": f"{one.average:.5f}",
        "cumBase" if listing.market == COINM else "cumQuote": text(one.value),
        "time": one.created_ns // _MS,
        "updateTime": one.updated_ns // _MS,
        **_contract(asked.reduce_only, one),
    }


def placed(one: AccountOrder, how: str) -> dict[str, Any]:
    """Return the answer to an order: ``ACK``, ``RESULT`` or ``FULL``."""
    listing = one.listing
    if listing.market != SPOT:
        body = canceled(one)
        if how == "ACK":
            # What became of it is told by the user stream only.
            nothing = quantity_text(listing, ZERO)
            body |= {"status": Status.NEW.value, "executedQty": nothing, "cumQty": nothing}
            if listing.market == COINM:
                body |= {"avgPrice": f"{ZERO:.5f}", "cumBase": _NOTHING}
        return body
    body = {
        "symbol": listing.symbol,
        "orderId": one.order_id,
        "orderListId": -1,
        "clientOrderId": one.client_id,
        "transactTime": one.updated_ns // _MS,
    }
    if how == "ACK":
        return body
    body |= _core(one) | {
        "cummulativeQuoteQty": text(one.value),
        "workingTime": one.created_ns // _MS,
    }
    if how == "FULL":
        body["fills"] = [
            {
                "price": price_text(listing, trade.price),
                "qty": quantity_text(listing, trade.quantity),
                "commission": text(trade.fee),
                "commissionAsset": trade.fee_asset,
                "tradeId": trade.trade_id,
            }
            for trade in one.trades
        ]
    return body


def canceled(one: AccountOrder) -> dict[str, Any]:
    """Return the answer to a cancel."""
    listing = one.listing
    if listing.market != SPOT:
        body = _core(one) | {
            "cumQty": quantity_text(listing, one.executed),
            "updateTime": one.updated_ns // _MS,
            **_contract(one.asked.reduce_only, one),
        }
        if listing.market == COINM:
            body |= {"avgPrice": f"{one.average:.5f}", "cumBase": text(one.value)}
        return body
    return _core(one) | {
        "origClientOrderId": one.client_id,
        "clientOrderId": one.cancel_id,
        "transactTime": one.updated_ns // _MS,
        "cummulativeQuoteQty": text(one.value),
    }


def _core(one: AccountOrder) -> dict[str, Any]:
    listing, asked = one.listing, one.asked
    body: dict[str, Any] = {
        "symbol": listing.symbol,
        "orderId": one.order_id,
        "clientOrderId": one.client_id,
        "price": price_text(listing, one.price),
        "origQty": quantity_text(listing, one.quantity),
        "executedQty": quantity_text(listing, one.executed),
        "status": one.status.value,
        "timeInForce": asked.lasting.value,
        "type": asked.kind.value,
        "side": side(one),
    }
    if listing.market == SPOT:
        body |= {
            "orderListId": -1,
            "origQuoteOrderQty": _NOTHING,
            "selfTradePreventionMode": "NONE",
        }
    return body


def _contract(reduce_only: bool, one: AccountOrder) -> dict[str, Any]:
    listing = one.listing
    own = {"goodTillDate": 0} if listing.market == USDM else {"pair": listing.pair}
    return own | {
        "reduceOnly": reduce_only,
        "closePosition": False,
        "positionSide": one.asked.position_side,
        "stopPrice": price_text(one.listing, ZERO),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": one.asked.kind.value,
        "priceMatch": "NONE",
        "selfTradePreventionMode": "NONE",
    }


def trade(traded: Traded) -> dict[str, Any]:
    """Return one of the account's trades: myTrades, userTrades."""
    one, fill = traded
    listing = one.listing
    buyer, maker = one.asked.side is Side.BUY, fill.liquidity is Liquidity.MAKER
    body = {
        "symbol": listing.symbol,
        "id": fill.trade_id,
        "orderId": one.order_id,
        "price": price_text(listing, fill.price),
        "qty": quantity_text(listing, fill.quantity),
        "baseQty" if listing.market == COINM else "quoteQty": text(fill.value),
        "commission": text(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.ts_ns // _MS,
    }
    if listing.market == SPOT:
        return body | {
            "orderListId": -1,
            "isBuyer": buyer,
            "isMaker": maker,
            "isBestMatch": True,
        }
    if listing.market == COINM:
        body |= {"pair": listing.pair, "marginAsset": listing.settle}
    return body | {
        "side": side(one),
        "buyer": buyer,
        "maker": maker,
        "positionSide": one.asked.position_side,
        "realizedPnl": text(fill.profit),
    }


# --- events --------------------------------------------------------------------------------------


def execution_report(
    one: AccountOrder, what: str, execution_id: int, fill: AccountTrade | None = None
) -> dict[str, Any]:
    """Return spot's event about an order; `what` is Binance's execution type."""
    listing, asked = one.listing, one.asked
    canceled_now = what == "CANCELED"
    now_ms = one.updated_ns // _MS
    return {
        "e": "executionReport",
        "E": now_ms,
        "s": listing.symbol,
        "c": one.cancel_id if canceled_now else one.client_id,
        "S": side(one),
        "o": asked.kind.value,
        "f": asked.lasting.value,
        "q": quantity_text(listing, one.quantity),
        "p": price_text(listing, one.price),
        "P": _NOTHING,
        "F": _NOTHING,
        "g": -1,
        "C": one.client_id if canceled_now else "",
        "x": what,
        "X": one.status.value,
        "r": "NONE",
        "i": one.order_id,
        "l": quantity_text(listing, fill.quantity if fill else ZERO),
        "z": quantity_text(listing, one.executed),
        "L": price_text(listing, fill.price if fill else ZERO),
        "n": text(fill.fee) if fill else "0",
        "N": fill.fee_asset if fill else None,
        "T": now_ms,
        "t": fill.trade_id if fill else -1,
        "I": execution_id,
        "w": one.open and asked.kind is not OrderKind.MARKET and asked.lasting is Lasting.GTC,
        "m": bool(fill and fill.liquidity is Liquidity.MAKER),
        "M": False,
        "O": one.created_ns // _MS,
        "Z": text(one.value),
        "Y": text(fill.value) if fill else _NOTHING,
        "Q": _NOTHING,
        "W": one.created_ns // _MS,
        "V": "NONE",
    }


def account_position(account: Account, assets: Iterable[str], now_ms: int) -> dict[str, Any]:
    """Return spot's event about balances."""
    return {
        "e": "outboundAccountPosition",
        "E": now_ms,
        "u": now_ms,
        "B": [
            {"a": asset, "f": text(balance.free), "l": text(balance.locked)}
            for asset in assets
            for balance in (account.spot.of(asset),)
        ],
    }


def order_trade_update(
    account: Account, one: AccountOrder, what: str, fill: AccountTrade | None = None
) -> dict[str, Any]:
    """Return the event of contracts about an order; `what` is Binance's execution type."""
    listing, asked = one.listing, one.asked
    now_ms = one.updated_ns // _MS
    bids, asks = open_value(account.open_orders(listing))
    body: dict[str, Any] = {
        "s": listing.symbol,
        "c": one.client_id,
        "S": side(one),
        "o": asked.kind.value,
        "f": asked.lasting.value,
        "q": quantity_text(listing, one.quantity),
        "p": price_text(listing, one.price),
        "ap": f"{one.average:.5f}",
        "sp": price_text(listing, ZERO),
        "x": what,
        "X": one.status.value,
        "i": one.order_id,
        "l": quantity_text(listing, fill.quantity if fill else ZERO),
        "z": quantity_text(listing, one.executed),
        "L": price_text(listing, fill.price if fill else ZERO),
        "T": now_ms,
        "t": fill.trade_id if fill else 0,
        "b": text(bids),
        "a": text(asks),
        "m": bool(fill and fill.liquidity is Liquidity.MAKER),
        "R": asked.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": asked.kind.value,
        "ps": asked.position_side,
        "cp": False,
        "rp": text(fill.profit) if fill else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "NONE",
        "pm": "NONE",
        "gtd": 0,
    }
    if fill is not None:
        body |= {"n": text(fill.fee), "N": fill.fee_asset}
    if listing.market == COINM:
        body |= {"ma": listing.settle}
    return _contract_event("ORDER_TRADE_UPDATE", listing, now_ms) | {"o": body}


def account_update(
    account: Account, listing: Listing, mark: Decimal, now_ms: int
) -> dict[str, Any]:
    """Return the event of contracts about a wallet and a position, after a fill."""
    position = account.position(listing)
    changed = {
        "s": listing.symbol,
        "pa": quantity_text(listing, position.quantity),
        "ep": text(position.entry.quantize(Decimal("1E-8"))),
        "bep": text(position.entry.quantize(Decimal("1E-8"))),
        "cr": text(position.realised),
        "up": text(position.unrealised(mark).quantize(Decimal("1E-8"))),
        "mt": "cross",
        "iw": "0",
        "ps": "BOTH",
        "ma": listing.settle,
    }
    told = {"m": "ORDER", "B": [_wallet(account, listing, "0")], "P": [changed]}
    return _contract_event("ACCOUNT_UPDATE", listing, now_ms) | {"a": told}


def funding_update(
    account: Account, listing: Listing, amount: Decimal, now_ms: int
) -> dict[str, Any]:
    """Return the event about funding: of cross margin Binance tells the wallet, and no position."""
    told = {"m": "FUNDING_FEE", "B": [_wallet(account, listing, text(amount))], "P": []}
    return _contract_event("ACCOUNT_UPDATE", listing, now_ms) | {"a": told}


def _wallet(account: Account, listing: Listing, change: str) -> dict[str, str]:
    """Return the wallet; `change` is what came in or went besides profit and fees."""
    wallet = text(account.wallets[listing.market].get(listing.settle, ZERO))
    return {"a": listing.settle, "wb": wallet, "cw": wallet, "bc": change}


def _contract_event(name: str, listing: Listing, now_ms: int) -> dict[str, Any]:
    event: dict[str, Any] = {"e": name, "E": now_ms, "T": now_ms}
    return event | {"i": ALIAS} if listing.market == COINM else event


def open_value(orders: Iterable[AccountOrder]) -> tuple[Decimal, Decimal]:
    """Return what open orders that may enlarge a position are worth: the bids, the asks."""
    bids = asks = ZERO
    for one in orders:
        if one.asked.reduce_only:
            continue
        value = one.listing.contract.worth(one.price, one.remaining)
        if one.asked.side is Side.BUY:
            bids += value
        else:
            asks += value
    return bids, asks
