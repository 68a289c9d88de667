"""What differs between Binance's spot and USD-M accounts: paths, weights, words.

Weights: Binance Spot API docs of 2026-07-21, "rest-api.md"; binance-connector-python of 2026-08-21 for USD-M.
"""

from __future__ import annotations

from typing import NamedTuple

from mmkit.accounts import Placement
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
    """

    time: Call
    listing: Call
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


SPOT = Traits(
    time=Call("GET", "/api/v3/time", 1),
    listing=Call("GET", "/api/v3/exchangeInfo", 20),
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
)
USDM = Traits(
    time=Call("GET", "/fapi/v1/time", 1),
    listing=Call("GET", "/fapi/v1/exchangeInfo", 1),
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
)
POSITION = Call("GET", "/fapi/v3/positionRisk", 5)
ACCOUNT_CONFIG = Call("GET", "/fapi/v1/accountConfig", 5)
INCOME = Call("GET", "/fapi/v1/income", 30)
COUNTDOWN = Call("POST", "/fapi/v1/countdownCancelAll", 10)
MAKE_LISTEN_KEY = Call("POST", "/fapi/v1/listenKey", 1)
KEEP_LISTEN_KEY = Call("PUT", "/fapi/v1/listenKey", 1)
RIGHTS = Call("GET", "/sapi/v1/account/apiRestrictions", 1)


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
