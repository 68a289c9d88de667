"""Binance's orders, trades and account events as records.

Wire format: Binance Spot API docs of 2026-07-21, "rest-api.md" and "user-data-stream.md"; for USD-M the models of
binance-connector-python 17.2.0. Decimals are strings, times are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from mmkit.accounts import (
    AccountEvent,
    Balance,
    BalanceUpdate,
    FateUnknown,
    FillRecord,
    OrderRecord,
    OrderState,
    OrderUpdate,
    PositionUpdate,
)
from mmkit.events import Liquidity, Side

T = TypeVar("T")

_MS = 1_000_000
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_STATES = {
    "NEW": OrderState.OPEN,
    "PENDING_NEW": OrderState.OPEN,
    "PARTIALLY_FILLED": OrderState.OPEN,
    "PENDING_CANCEL": OrderState.OPEN,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
    "REJECTED": OrderState.REJECTED,
}


class Order(msgspec.Struct, rename="camel"):
    """An order in an answer, over REST or the WebSocket API."""

    order_id: int
    client_order_id: str
    side: str
    price: Decimal
    orig_qty: Decimal
    executed_qty: Decimal
    status: str
    type: str = ""
    orig_client_order_id: str = ""
    """In the answer to a cancel on spot, where `client_order_id` is the cancel's own."""
    transact_time: int = 0
    update_time: int = 0
    time: int = 0


class _AmendedOrder(msgspec.Struct, rename="camel"):
    order_id: int
    client_order_id: str
    side: str
    price: Decimal
    qty: Decimal
    executed_qty: Decimal
    status: str


class Amended(msgspec.Struct, rename="camel"):
    """Spot's answer to ``order/amend/keepPriority``."""

    transact_time: int
    amended_order: _AmendedOrder


class Trade(msgspec.Struct, rename="camel"):
    """A trade of ours in an answer; spot and USD-M name its sides otherwise."""

    id: int
    order_id: int
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_buyer: bool | None = None
    is_maker: bool | None = None
    buyer: bool | None = None
    maker: bool | None = None


class _Report(msgspec.Struct):
    """``executionReport``, or what is in ``ORDER_TRADE_UPDATE``."""

    symbol: str = msgspec.field(name="s")
    client_id: str = msgspec.field(name="c")
    side: str = msgspec.field(name="S")
    kind: str = msgspec.field(name="o")
    quantity: Decimal = msgspec.field(name="q")
    price: Decimal = msgspec.field(name="p")
    what: str = msgspec.field(name="x")
    status: str = msgspec.field(name="X")
    order_id: int = msgspec.field(name="i")
    last: Decimal = msgspec.field(name="l")
    executed: Decimal = msgspec.field(name="z")
    last_price: Decimal = msgspec.field(name="L")
    time: int = msgspec.field(name="T")
    trade_id: int = msgspec.field(name="t")
    maker: bool = msgspec.field(name="m")
    fee: Decimal | None = msgspec.field(name="n", default=None)
    fee_asset: str | None = msgspec.field(name="N", default=None)
    original: str | None = msgspec.field(name="C", default=None)
    """The canceled order's id, where `client_id` is the cancel's."""


class _Update(msgspec.Struct):
    order: _Report = msgspec.field(name="o")


class _SpotBalance(msgspec.Struct):
    asset: str = msgspec.field(name="a")
    free: Decimal = msgspec.field(name="f")
    locked: Decimal = msgspec.field(name="l")


class _SpotAccount(msgspec.Struct):
    time: int = msgspec.field(name="E")
    balances: list[_SpotBalance] = msgspec.field(name="B")


class _Wallet(msgspec.Struct):
    asset: str = msgspec.field(name="a")
    balance: Decimal = msgspec.field(name="wb")


class _Position(msgspec.Struct):
    symbol: str = msgspec.field(name="s")
    amount: Decimal = msgspec.field(name="pa")


class _Changed(msgspec.Struct):
    wallets: list[_Wallet] = msgspec.field(name="B", default_factory=list)
    positions: list[_Position] = msgspec.field(name="P", default_factory=list)


class _Account(msgspec.Struct):
    time: int = msgspec.field(name="E")
    changed: _Changed = msgspec.field(name="a")


class _Kind(msgspec.Struct):
    event: str = msgspec.field(name="e", default="")


_kind = msgspec.json.Decoder(_Kind)
_report = msgspec.json.Decoder(_Report)
_update = msgspec.json.Decoder(_Update)
_spot_account = msgspec.json.Decoder(_SpotAccount)
_account = msgspec.json.Decoder(_Account)

ENDS = frozenset({"eventStreamTerminated", "listenKeyExpired", "serverShutdown"})
"""Events after which nothing more comes."""


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T:
    """Return what an answer says.

    Raises:
        FateUnknown: if it says something else than it should.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, ValueError) as error:
        words = f"an answer as Binance documents it was expected; found one in which {error}"
        raise FateUnknown(words) from None


def order_record(order: Order) -> OrderRecord:
    """Return the record in an answer.

    Raises:
        FateUnknown: if side or status is none that is known.
    """
    return OrderRecord(
        client_id=order.orig_client_order_id or order.client_order_id,
        venue_id=str(order.order_id),
        side=_known(_SIDES, order.side, "side"),
        price=Decimal(0) if order.type == "MARKET" else order.price,
        quantity=order.orig_qty,
        executed=order.executed_qty,
        state=_known(_STATES, order.status, "status"),
        ts_ns=max(order.transact_time, order.update_time, order.time) * _MS,
    )


def amended_record(amended: Amended) -> OrderRecord:
    """Return the record in spot's answer to an amend.

    Raises:
        FateUnknown: if side or status is none that is known.
    """
    order = amended.amended_order
    return OrderRecord(
        client_id=order.client_order_id,
        venue_id=str(order.order_id),
        side=_known(_SIDES, order.side, "side"),
        price=order.price,
        quantity=order.qty,
        executed=order.executed_qty,
        state=_known(_STATES, order.status, "status"),
        ts_ns=amended.transact_time * _MS,
    )


def fill_record(trade: Trade) -> FillRecord:
    """Return the record of a trade of ours."""
    buyer = trade.is_buyer if trade.is_buyer is not None else trade.buyer
    maker = trade.is_maker if trade.is_maker is not None else trade.maker
    return FillRecord(
        trade_id=str(trade.id),
        venue_id=str(trade.order_id),
        client_id="",
        side=Side.BUY if buyer else Side.SELL,
        price=trade.price,
        quantity=trade.qty,
        fee=trade.commission,
        fee_asset=trade.commission_asset,
        liquidity=Liquidity.MAKER if maker else Liquidity.TAKER,
        ts_ns=trade.time * _MS,
    )


def read_event(raw: bytes | msgspec.Raw, native: str) -> tuple[str, list[AccountEvent]]:
    """Return the event's name, and what it tells of one symbol and of the account.

    Raises:
        FateUnknown: if it is not as documented.
    """
    event = decode(_kind, raw).event
    reader = _READERS.get(event)
    return event, [] if reader is None else reader(raw, native)


def _execution(raw: bytes | msgspec.Raw, native: str) -> list[AccountEvent]:
    return _told(decode(_report, raw), native)


def _trade_update(raw: bytes | msgspec.Raw, native: str) -> list[AccountEvent]:
    return _told(decode(_update, raw).order, native)


def _told(report: _Report, native: str) -> list[AccountEvent]:
    if report.symbol != native:
        return []
    side = _known(_SIDES, report.side, "side")
    record = OrderRecord(
        client_id=report.original or report.client_id,
        venue_id=str(report.order_id),
        side=side,
        price=Decimal(0) if report.kind == "MARKET" else report.price,
        quantity=report.quantity,
        executed=report.executed,
        state=_known(_STATES, report.status, "status"),
        ts_ns=report.time * _MS,
    )
    fill = None
    if report.what == "TRADE":
        fill = FillRecord(
            trade_id=str(report.trade_id),
            venue_id=record.venue_id,
            client_id=record.client_id,
            side=side,
            price=report.last_price,
            quantity=report.last,
            fee=report.fee or Decimal(0),
            fee_asset=report.fee_asset or "",
            liquidity=Liquidity.MAKER if report.maker else Liquidity.TAKER,
            ts_ns=record.ts_ns,
        )
    return [OrderUpdate(record=record, fill=fill)]


def _spot_money(raw: bytes | msgspec.Raw, native: str) -> list[AccountEvent]:
    told = decode(_spot_account, raw)
    balances = {one.asset: Balance(free=one.free, locked=one.locked) for one in told.balances}
    return [BalanceUpdate(balances=balances, ts_ns=told.time * _MS)]


def _money(raw: bytes | msgspec.Raw, native: str) -> list[AccountEvent]:
    told = decode(_account, raw)
    events: list[AccountEvent] = []
    if told.changed.wallets:
        # The stream tells the wallet's balance alone, not what of it is margin.
        balances = {
            one.asset: Balance(free=one.balance, locked=Decimal(0)) for one in told.changed.wallets
        }
        events.append(BalanceUpdate(balances=balances, ts_ns=told.time * _MS))
    events += [
        PositionUpdate(quantity=one.amount, ts_ns=told.time * _MS)
        for one in told.changed.positions
        if one.symbol == native
    ]
    return events


_READERS: dict[str, Callable[[bytes | msgspec.Raw, str], list[AccountEvent]]] = {
    "executionReport": _execution,
    "ORDER_TRADE_UPDATE": _trade_update,
    "outboundAccountPosition": _spot_money,
    "ACCOUNT_UPDATE": _money,
}


def _known(table: dict[str, Any], found: str, what: str) -> Any:
    known = table.get(found)
    if known is None:
        raise FateUnknown(f"a {what} among {', '.join(table)} was expected; found {found[:40]!r}")
    return known
