"""What differs between Binance's spot and USD-M accounts: paths, weights, words.

Weights: Binance Spot API docs of 2026-07-21, "rest-api.md"; binance-connector-python of 2026-08-21 for USD-M.
"""

from __future__ import annotations

from typing import NamedTuple

from mmkit.accounts import Amendment, Placement
from mmkit.commands import TimeInForce
from mmkit.events import Side
from mmkit.instruments import Instrument

_WEEK_MS = 7 * 86_400_000


class Call(NamedTuple):
    """A REST request.

    Attributes:
        method: Of HTTP.
        path: With its leading slash.
        weight: Against the minute's limit.
    """

    method: str
    path: str
    weight: int


class Traits(NamedTuple):
    """One product.

    Attributes:
        weight: Allowed in a minute, where the venue does not tell.
        span_ms: How long a time trades are listed for from a given one; `None` if to the end.
        amend: What changes an order, `None` if nothing does.
    """

    time: Call
    listing: Call
    top: Call
    place: Call
    cancel: Call
    cancel_all: Call
    order: Call
    open_orders: Call
    trades: Call
    account: Call
    fees: Call
    weight: int
    span_ms: int | None
    amend: Call | None = None


SPOT = Traits(
    time=Call("GET", "/api/v3/time", 1),
    listing=Call("GET", "/api/v3/exchangeInfo", 20),
    top=Call("GET", "/api/v3/ticker/bookTicker", 2),
    place=Call("POST", "/api/v3/order", 1),
    cancel=Call("DELETE", "/api/v3/order", 1),
    cancel_all=Call("DELETE", "/api/v3/openOrders", 1),
    order=Call("GET", "/api/v3/order", 4),
    open_orders=Call("GET", "/api/v3/openOrders", 6),
    trades=Call("GET", "/api/v3/myTrades", 20),
    account=Call("GET", "/api/v3/account", 20),
    fees=Call("GET", "/api/v3/account/commission", 20),
    weight=6000,
    span_ms=None,
    amend=Call("PUT", "/api/v3/order/amend/keepPriority", 4),
)
USDM = Traits(
    time=Call("GET", "/fapi/v1/time", 1),
    listing=Call("GET", "/fapi/v1/exchangeInfo", 1),
    top=Call("GET", "/fapi/v1/ticker/bookTicker", 2),
    place=Call("POST", "/fapi/v1/order", 0),
    cancel=Call("DELETE", "/fapi/v1/order", 1),
    cancel_all=Call("DELETE", "/fapi/v1/allOpenOrders", 1),
    order=Call("GET", "/fapi/v1/order", 1),
    open_orders=Call("GET", "/fapi/v1/openOrders", 1),
    trades=Call("GET", "/fapi/v1/userTrades", 5),
    account=Call("GET", "/fapi/v3/account", 5),
    fees=Call("GET", "/fapi/v1/commissionRate", 20),
    weight=2400,
    span_ms=_WEEK_MS,
    amend=Call("PUT", "/fapi/v1/order", 0),
)
POSITION = Call("GET", "/fapi/v3/positionRisk", 5)
ACCOUNT_CONFIG = Call("GET", "/fapi/v1/accountConfig", 5)
SYMBOL_CONFIG = Call("GET", "/fapi/v1/symbolConfig", 5)
BRACKETS = Call("GET", "/fapi/v1/leverageBracket", 1)
LEVERAGE = Call("POST", "/fapi/v1/leverage", 1)
MARGIN_TYPE = Call("POST", "/fapi/v1/marginType", 1)
INCOME = Call("GET", "/fapi/v1/income", 30)
COUNTDOWN = Call("POST", "/fapi/v1/countdownCancelAll", 10)
MAKE_LISTEN_KEY = Call("POST", "/fapi/v1/listenKey", 1)
KEEP_LISTEN_KEY = Call("PUT", "/fapi/v1/listenKey", 1)
RIGHTS = Call("GET", "/sapi/v1/account/apiRestrictions", 1)


def amending(amendment: Amendment, instrument: Instrument) -> dict[str, str]:
    """Return the parameters of an amend.

    On spot only the quantity, which has to become less; the order would be given another client order id if it were not
    told to keep its own.
    """
    params = {"symbol": instrument.native, "origClientOrderId": amendment.client_id}
    quantity = f"{amendment.quantity:f}"
    if instrument.market == "spot":
        return params | {"newClientOrderId": amendment.client_id, "newQty": quantity}
    side = "BUY" if amendment.side is Side.BUY else "SELL"
    return params | {"side": side, "quantity": quantity, "price": f"{amendment.price:f}"}


def placing(placement: Placement, instrument: Instrument) -> dict[str, str]:
    """Return the parameters of a new order."""
    params = {
        "symbol": instrument.native,
        "side": "BUY" if placement.side is Side.BUY else "SELL",
        "quantity": f"{placement.quantity:f}",
        "newClientOrderId": placement.client_id,
        "newOrderRespType": "RESULT",
    }
    spot = instrument.market == "spot"
    if placement.price is None:
        params["type"] = "MARKET"
    else:
        params["price"] = f"{placement.price:f}"
        params["type"] = "LIMIT"
        match placement.time_in_force:
            case TimeInForce.POST_ONLY if spot:
                params["type"] = "LIMIT_MAKER"  # with a time in force it is refused
            case TimeInForce.POST_ONLY:
                params["timeInForce"] = "GTX"
            case TimeInForce.IOC:
                params["timeInForce"] = "IOC"
            case TimeInForce.GTC:
                params["timeInForce"] = "GTC"
    if placement.reduce_only:
        params["reduceOnly"] = "true"
    return params
