"""The income history of contracts: every change of the wallet, as ``income`` tells it.

Source: USD-M and COIN-M Futures API, "Get Income History".
"""

from __future__ import annotations

from typing import Any

from mmkit_sandbox.endpoints import Call, Endpoint
from mmkit_sandbox.ledger import EntryKind, text
from mmkit_sandbox.listing import COINM
from mmkit_sandbox.refused import Refused

_MS = 1_000_000
_WEEK_MS = 7 * 86_400_000
_NUMBERS = 10**6
_TYPES = {
    EntryKind.DEPOSIT: "TRANSFER",
    EntryKind.PROFIT: "REALIZED_PNL",
    EntryKind.FEE: "COMMISSION",
    EntryKind.FUNDING: "FUNDING_FEE",
}
_OTHER_TYPES = {"WELCOME_BONUS", "INSURANCE_CLEAR", "DELIVERED_SETTELMENT", "REFERRAL_KICKBACK"}
"""There are more on Binance; none of them happens here."""


def income(call: Call) -> Any:
    """Answer with the changes of a wallet, oldest first: the newest page without ``startTime``, else the oldest.

    ``tranId`` is unique in an account and grows: the time in ms, and the number of the change.
    """
    params, coinm = call.params, call.market == COINM
    wanted, symbol = params.values.get("incomeType"), params.values.get("symbol")
    if wanted and wanted not in {*_TYPES.values(), *_OTHER_TYPES}:
        raise Refused(-1130, "Data sent for parameter 'incomeType' is not valid.")
    if symbol:
        call.listing()
    start, end = params.whole("startTime"), params.whole("endTime")
    page, limit = params.whole("page") or 1, params.limit(100)
    start_ms = call.now_ns // _MS - _WEEK_MS if start is end is None else start or 0
    found = []
    for number, one in enumerate(call.account.entries):
        time_ms = one.ts_ns // _MS
        kind = _TYPES.get(one.kind, "")
        if (
            one.market == call.market
            and (not wanted or kind == wanted)
            and (not symbol or one.symbol == symbol)
            and start_ms <= time_ms
            and (end is None or time_ms <= end)
        ):
            tran_id = time_ms * _NUMBERS + number % _NUMBERS
            found.append(
                {
                    "symbol": one.symbol,
                    "incomeType": kind,
                    "income": text(one.amount),
                    "asset": one.asset,
                    "info": "" if coinm else kind,
                    "time": time_ms,
                    "tranId": str(tran_id) if coinm else tran_id,
                    "tradeId": str(one.trade_id) if one.trade_id else "",
                }
            )
    if start is None:
        last = len(found) - (page - 1) * limit
        return found[max(0, last - limit) : max(0, last)]
    return found[(page - 1) * limit : page * limit]


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/fapi/v1/income"): Endpoint(income, 30),
    ("GET", "/dapi/v1/income"): Endpoint(income, 20),
}
