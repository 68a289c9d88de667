"""COIN-M's private endpoints: those of USD-M, and the account told as COIN-M tells it.

Sources: COIN-M Futures API, "Trade" and "Account"; "WebSocket API".
"""

from __future__ import annotations

from typing import Any

from mmkit_sandbox.accountpayload import ALIAS
from mmkit_sandbox.endpoints import ENDPOINTS as OTHERS
from mmkit_sandbox.endpoints import SOCKET_METHODS as OTHER_METHODS
from mmkit_sandbox.endpoints import Call, Endpoint, asset_rows, position_row, rights
from mmkit_sandbox.listing import USDM, Listing

_MAX_QTY = "1000"
"""The greatest position, in base currency: told, not kept to."""


def _position(call: Call, listing: Listing) -> dict[str, Any]:
    row = position_row(call, listing)
    told = ("symbol", "positionAmt", "entryPrice", "breakEvenPrice", "positionSide", "updateTime")
    return {name: row[name] for name in told} | {
        "leverage": str(call.account.position(listing).leverage),
        "maxQty": _MAX_QTY,
        "notionalValue": row["notional"],
        "isolatedWallet": row["isolatedWallet"],
    }


def _position_risk(call: Call) -> Any:
    """Answer with every symbol, or those of a pair or a margin asset."""
    pair, asset = (call.params.values.get(name) for name in ("pair", "marginAsset"))
    rows = []
    for listing in call.accounts.listings(call.market):
        if pair not in {None, listing.pair} or asset not in {None, listing.settle}:
            continue
        row = position_row(call, listing)
        told = ("markPrice", "unRealizedProfit", "liquidationPrice", "isolatedMargin")
        rows.append(
            _position(call, listing)
            | {name: row[name] for name in told}
            | {
                "marginType": call.account.position(listing).margin,
                "isAutoAddMargin": "false",
            }
        )
    return rows


def _account(call: Call) -> Any:
    positions = []
    for listing in call.accounts.listings(call.market):
        row = position_row(call, listing)
        told = ("initialMargin", "maintMargin", "positionInitialMargin", "openOrderInitialMargin")
        positions.append(
            _position(call, listing)
            | {name: row[name] for name in told}
            | {
                "unrealizedProfit": row["unRealizedProfit"],
                "isolated": call.account.position(listing).isolated,
            }
        )
    may = rights(call)
    names = ("canDeposit", "canTrade", "canWithdraw", "feeTier", "updateTime")
    return {"assets": asset_rows(call), "positions": positions} | {
        name: may[name] for name in names
    }


def _balance(call: Call) -> Any:
    told = ("asset", "crossWalletBalance", "crossUnPnl", "availableBalance", "updateTime")
    return [
        {name: row[name] for name in told}
        | {
            "accountAlias": ALIAS,
            "balance": row["walletBalance"],
            "withdrawAvailable": row["maxWithdrawAmount"],
        }
        for row in asset_rows(call)
    ]


def _leverage(call: Call) -> Any:
    told = OTHERS["POST", "/fapi/v1/leverage"].answer(call)
    return {name: told[name] for name in ("symbol", "leverage")} | {"maxQty": _MAX_QTY}


def _commission(call: Call) -> Any:
    told = OTHERS["GET", "/fapi/v1/commissionRate"].answer(call)
    return {name: told[name] for name in ("symbol", "makerCommissionRate", "takerCommissionRate")}


def _as_usdm(method: str, name: str, weight: int | None = None) -> Endpoint:
    found = OTHERS[method, f"/fapi/v1/{name}"]
    return found if weight is None else found._replace(weight=weight)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    **{
        (method, f"/dapi/v1/{name}"): _as_usdm(method, name)
        for method, name in (
            ("POST", "order"),
            ("DELETE", "order"),
            ("GET", "order"),
            ("POST", "batchOrders"),
            ("DELETE", "batchOrders"),
            ("DELETE", "allOpenOrders"),
            ("POST", "countdownCancelAll"),
            ("GET", "openOrder"),
            ("GET", "openOrders"),
            ("GET", "leverageBracket"),
            ("POST", "marginType"),
            ("GET", "positionSide/dual"),
            ("POST", "positionSide/dual"),
            ("POST", "listenKey"),
            ("PUT", "listenKey"),
            ("DELETE", "listenKey"),
        )
    },
    ("PUT", "/dapi/v1/order"): _as_usdm("PUT", "order", 1),
    ("GET", "/dapi/v1/allOrders"): _as_usdm("GET", "allOrders", 20),
    ("GET", "/dapi/v1/userTrades"): _as_usdm("GET", "userTrades", 20),
    ("GET", "/dapi/v2/leverageBracket"): _as_usdm("GET", "leverageBracket"),
    ("GET", "/dapi/v1/account"): Endpoint(_account, 5),
    ("GET", "/dapi/v1/balance"): Endpoint(_balance, 1),
    ("GET", "/dapi/v1/positionRisk"): Endpoint(_position_risk, 1),
    ("GET", "/dapi/v1/commissionRate"): Endpoint(_commission, 20),
    ("POST", "/dapi/v1/leverage"): Endpoint(_leverage, 1),
}
"""COIN-M's private endpoints by method and path."""

SOCKET_METHODS: dict[str, tuple[str, str]] = {
    **{
        name: (method, path.replace("/fapi/", "/dapi/"))
        for name, (method, path) in OTHER_METHODS[USDM].items()
        if not name.startswith(("account.", "v2/"))
    },
    "account.position": ("GET", "/dapi/v1/positionRisk"),
    "account.balance": ("GET", "/dapi/v1/balance"),
    "account.status": ("GET", "/dapi/v1/account"),
}
"""What its WebSocket API calls them."""
