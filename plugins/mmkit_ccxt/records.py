"""ccxt's orders and trades as records.

Source: ccxt manual, "Order Structure" and "Trade Structure". The client is made with `str` for numbers, so that
they are the venue's own decimals, digit by digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from mmkit.accounts import FateUnknown, FillRecord, FundingRecord, OrderRecord, OrderState
from mmkit.events import Liquidity, Side

_MS = 1_000_000
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_STATES = {
    "open": OrderState.OPEN,
    "canceling": OrderState.OPEN,
    "closed": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
}


def order_record(order: Mapping[str, Any], client_id: str = "") -> OrderRecord:
    """Return the record in a ccxt order.

    Args:
        order: ccxt's order structure.
        client_id: Ours, where it is known: a venue's answer to a cancel may hold the cancel's own id.

    Raises:
        FateUnknown: if it lacks what a record has; the order has to be asked for then.
    """
    quantity, executed = _number(order, "amount"), _number(order, "filled")
    state = _STATES.get(str(order.get("status")))
    side = _SIDES.get(str(order.get("side")))
    if quantity is None or executed is None or state is None or side is None:
        lacking = [key for key in ("amount", "filled", "status", "side") if not order.get(key)]
        raise FateUnknown(
            f"an order with amount, filled, status and side was expected; found one without a known "
            f"{', '.join(lacking) or 'status'} (status {order.get('status')!r}); it is asked for again"
        )
    if state is OrderState.FILLED and executed < quantity:
        state = OrderState.CANCELED  # closed is all that some venues say
    return OrderRecord(
        client_id=client_id or str(order.get("clientOrderId") or ""),
        venue_id=str(order.get("id") or ""),
        side=side,
        price=_price(order),
        quantity=quantity,
        executed=executed,
        state=state,
        ts_ns=_latest(order) * _MS,
    )


def fill_record(trade: Mapping[str, Any], client_id: str = "") -> FillRecord:
    """Return the record of a ccxt trade of ours.

    Raises:
        FateUnknown: if it lacks what makes a trade.
    """
    side = _SIDES.get(str(trade.get("side")))
    price, quantity, number = _number(trade, "price"), _number(trade, "amount"), trade.get("id")
    if side is None or price is None or quantity is None or number is None:
        raise FateUnknown(
            f"a trade with id, side, price and amount was expected; found {sorted(trade)} of which one is empty"
        )
    fee = trade.get("fee") or {}
    cost = _number(fee, "cost")
    return FillRecord(
        trade_id=str(number),
        venue_id=str(trade.get("order") or ""),
        client_id=client_id,
        side=side,
        price=price,
        quantity=quantity,
        fee=cost if cost is not None else Decimal(0),
        fee_asset=str(fee.get("currency") or "") if cost is not None else "",
        liquidity=Liquidity.MAKER if trade.get("takerOrMaker") == "maker" else Liquidity.TAKER,
        ts_ns=int(trade.get("timestamp") or 0) * _MS,
    )


def funding_record(payment: Mapping[str, Any]) -> FundingRecord:
    """Return the record of a ccxt payment of funding ("Funding History Structure").

    Raises:
        FateUnknown: if it lacks a number, an amount, a currency or a time: then it could be counted twice, or not at all.
    """
    amount, number = _number(payment, "amount"), payment.get("id")
    asset, time = payment.get("code"), payment.get("timestamp")
    if amount is None or number is None or not asset or time is None:
        raise FateUnknown(
            f"a payment of funding with id, amount, code and timestamp was expected; found {sorted(payment)} of which one is empty"
        )
    return FundingRecord(
        funding_id=str(number), amount=amount, asset=str(asset), ts_ns=int(time) * _MS
    )


def _number(told: Mapping[str, Any], key: str) -> Decimal | None:
    found = told.get(key)
    return None if found is None else Decimal(str(found))


def _price(order: Mapping[str, Any]) -> Decimal:
    # ccxt puts the average in place of a market order's price.
    if str(order.get("type")) == "market":
        return Decimal(0)
    return _number(order, "price") or Decimal(0)


def _latest(order: Mapping[str, Any]) -> int:
    keys = ("timestamp", "lastTradeTimestamp", "lastUpdateTimestamp")
    return max(int(order.get(key) or 0) for key in keys)
