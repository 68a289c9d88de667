"""What Binance means by its numeric error codes.

Source: Binance Spot API docs of 2026-07-21, "errors.md"; binance-connector-python of 2026-08-21 for USD-M and COIN-M. Some
codes mean one thing on spot and another on futures. Names of classes, such as ccxt's, do not decide: which one a code
becomes depends there on the address that was asked.
"""

from __future__ import annotations

import re

from mmkit.accounts import FateUnknown, Refusal, Refused
from mmkit.errors import VenueError

TOO_MANY_ORDERS = -1015
"""The account has sent too many orders; nothing else is refused for that."""
NO_NEED_TO_CHANGE_MARGIN = -4046
"""The margin type is as it was asked for; nothing is wrong."""
WAY_OUT_OF_HEDGE_MODE = (
    "cancel and close everything on contracts, then choose One-way Mode in the preferences of Binance's futures, under "
    "Position Mode (or POST /fapi/v1/positionSide/dual with dualSidePosition=false)"
)

_UNKNOWN = frozenset({-1000, -1001, -1006, -1007})
"""Unknown error, disconnected, unexpected response, timeout: the request may have been carried out."""

_BOTH: dict[int, Refusal] = {
    -1002: Refusal.PERMISSION,
    -1003: Refusal.RATE,
    -1008: Refusal.BUSY,
    -1013: Refusal.FILTER,
    -1015: Refusal.RATE,
    -1016: Refusal.BUSY,
    -1021: Refusal.CLOCK,
    -1022: Refusal.KEY,
    -1099: Refusal.KEY,
    -1111: Refusal.FILTER,
    -1121: Refusal.SYMBOL,
    -1122: Refusal.SYMBOL,
    -2008: Refusal.KEY,
    -2013: Refusal.NO_SUCH_ORDER,
    -2014: Refusal.KEY,
    -2015: Refusal.PERMISSION,
    -2016: Refusal.BUSY,
    -2018: Refusal.BALANCE,
    -2019: Refusal.BALANCE,
}
_SPOT: dict[int, Refusal] = {
    -2022: Refusal.OTHER,  # a cancel and replace of which neither half was done
    -2026: Refusal.NO_SUCH_ORDER,  # archived
}
_FUTURES: dict[int, Refusal] = {
    -2021: Refusal.OTHER,  # would trigger at once
    -2022: Refusal.REDUCE_ONLY,
    -2025: Refusal.FILTER,  # too many open orders
    -2026: Refusal.REDUCE_ONLY,  # not with this type of order
    -2027: Refusal.BALANCE,  # the largest position at this leverage
    -2028: Refusal.BALANCE,  # the leverage is too small
    **dict.fromkeys(range(-4008, -4000), Refusal.FILTER),  # price and quantity, too small or large
    **dict.fromkeys((-4013, -4014, -4016, -4023, -4024, -4029, -4030), Refusal.FILTER),
    -4061: Refusal.MODE,
    -4067: Refusal.MODE,
    -4068: Refusal.MODE,
    -4116: Refusal.DUPLICATE,
    -4118: Refusal.REDUCE_ONLY,
    -4131: Refusal.FILTER,  # the other side's best price is out of PERCENT_PRICE
    -4140: Refusal.SYMBOL,
    -4141: Refusal.SYMBOL,
    -4164: Refusal.FILTER,  # least notional
    -4192: Refusal.PERMISSION,  # cooling off
    -4400: Refusal.PERMISSION,  # quantitative rules: only what reduces
    -4401: Refusal.PERMISSION,  # compliance: only what reduces
    -5022: Refusal.WOULD_TAKE,
    -5024: Refusal.SYMBOL,
}
_KEY_PLACES = "keys of live, testnet and demo are not the same"
_ADVICE: dict[int, str] = {
    -1002: f"give the key the right to trade, and look at the address that it may be used from; {_KEY_PLACES}",
    -1021: "the machine's clock is being set, or its line is slow; see to the clock, such as with chrony or ntpd",
    -1022: "the secret is not the one of this key, or is not whole; look at venue.secret",
    -2008: f"the key is not known at this endpoint; look at venue.key; {_KEY_PLACES}",
    -2014: "the key is not whole; look at venue.key",
    -2015: "the key is not known at this endpoint, may not be used from this address, or may not do this (for contracts: "
    f"'Enable Futures'); look at venue.key, and at its rights at Binance; {_KEY_PLACES}",
    -4028: "look at venue.leverage",
    -4047: "cancel what is open in this market ('mmkit panic'), or leave venue.margin out",
    -4048: "close the position in this market ('mmkit panic --flatten'), or leave venue.margin out",
    -4061: "set the account to one-way mode; docs/trading.md says how",
    -4067: "cancel what is open on contracts first",
    -4068: "close every position first",
    -4140: "the contract is being delisted, or halted; choose another one",
    -4161: "close the position first, or leave venue.leverage out",
    -4168: "the account is in multi-assets mode; say venue.margin: cross, or leave it out",
}
"""What a person may do about it, by number."""
_REJECTED = (
    ("insufficient balance", Refusal.BALANCE),
    ("immediately match", Refusal.WOULD_TAKE),
    ("duplicate order", Refusal.DUPLICATE),
    ("market is closed", Refusal.BUSY),
    ("not permitted", Refusal.PERMISSION),
    ("disabled on this account", Refusal.PERMISSION),
    ("not supported for this symbol", Refusal.SYMBOL),
)
"""What the words of -2010 say."""
_BANNED_UNTIL = re.compile(r"until (\d{13})")
_RATE_STATUS = (418, 429)
_SERVER_FAILED = 500
_NO_WORDS = "no words"
_LONGEST_WORDS = 200


def refusal_of(market: str, code: int, words: str) -> Refusal | None:
    """Return why a request was not carried out; `None` if it may have been.

    Args:
        market: ``spot``, ``usdm`` or ``coinm``.
        code: Binance's number, below zero.
        words: Its ``msg``, which decides where one code has several meanings.
    """
    if code in _UNKNOWN or (market == "spot" and code == -2021):
        return None  # half of a cancel and replace was done
    low = words.lower()
    if code == -2010:
        return next((found for text, found in _REJECTED if text in low), Refusal.OTHER)
    if code == -2011:
        # The other reason is a restriction that was asked for; the order is there then.
        return Refusal.OTHER if "restriction" in low else Refusal.NO_SUCH_ORDER
    own = _SPOT if market == "spot" else _FUTURES
    return own.get(code) or _BOTH.get(code, Refusal.OTHER)


def error_of(
    market: str,
    status: int,
    code: int | None,
    words: str,
    *,
    retry_after_s: float = 0.0,
    now_ms: int = 0,
) -> VenueError:
    """Return what an answer that is an error means: `Refused`, or `FateUnknown`.

    Args:
        market: ``spot``, ``usdm`` or ``coinm``.
        status: Of HTTP, or of the WebSocket API.
        code: Binance's number; `None` if the answer holds none, as from a firewall or a proxy.
        words: Its ``msg``.
        retry_after_s: The header ``Retry-After``; 0 if it is not there.
        now_ms: The time by the venue's clock; for a ban that is told by its end.
    """
    said = " ".join(words.split())[:_LONGEST_WORDS] or _NO_WORDS
    told = f"Binance says {code}: {said}" if code is not None else f"HTTP {status}: {said}"
    refusal = refusal_of(market, code, words) if code is not None else None
    if status in _RATE_STATUS:
        refusal = Refusal.RATE
    elif code is None and 400 <= status < _SERVER_FAILED:
        refusal = Refusal.OTHER
    elif status >= _SERVER_FAILED and refusal is not Refusal.BUSY:
        refusal = None  # Binance: the execution status is unknown, and may have been a success
    if refusal is None:
        return FateUnknown(f"{told}; whether it was done is not known")
    wait_ns = round(retry_after_s * 1e9)
    if refusal is Refusal.RATE and (banned := _BANNED_UNTIL.search(words)):
        wait_ns = max(wait_ns, (int(banned[1]) - now_ms) * 1_000_000)
    return Refused(refusal, told, code, wait_ns, _ADVICE.get(code or 0, ""))
