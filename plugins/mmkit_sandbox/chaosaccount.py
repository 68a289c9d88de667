"""An account client on a `ChaosVenue`: as one over sockets, without the sockets.

Wire format: Binance Spot API, "Trading endpoints", "Account endpoints" and "User Data Stream"; USD-M Futures API, "Trade",
"Account" and "User Data Streams".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from weakref import WeakSet

from mmkit.accounts import (
    AccountClient,
    AccountEvent,
    AccountInfo,
    Amendment,
    Balance,
    BalanceUpdate,
    FateUnknown,
    FillRecord,
    FundingRecord,
    OrderRecord,
    OrderState,
    OrderUpdate,
    Placement,
    PositionUpdate,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.commands import Amends, TimeInForce
from mmkit.events import Liquidity, Side
from mmkit.venues.binance_codes import TOO_MANY_ORDERS, error_of
from mmkit.venues.budget import Budget, Rank, used_of
from mmkit_sandbox.chaosvenue import Answered, ChaosVenue
from mmkit_sandbox.listing import COINM, SPOT, USDM
from mmkit_sandbox.routes import ENDPOINTS

_MS = 1_000_000
_PAGE = 1000
_STATES = {
    "NEW": OrderState.OPEN,
    "PARTIALLY_FILLED": OrderState.OPEN,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELED,
    "EXPIRED": OrderState.EXPIRED,
}
_ROOTS = {SPOT: "/api/v3", USDM: "/fapi/v1", COINM: "/dapi/v1"}
_RIGHTS = {SPOT: "/api/v3/account", USDM: "/fapi/v1/accountConfig", COINM: "/dapi/v1/account"}
_MONEY = {USDM: "/fapi/v3/balance", COINM: "/dapi/v1/balance"}
_POSITION = {USDM: "/fapi/v3/positionRisk", COINM: "/dapi/v1/positionRisk"}
_SECONDS = {"SECOND": 1000, "MINUTE": 60_000, "DAY": 86_400_000}
_LASTING = {TimeInForce.POST_ONLY: "GTX", TimeInForce.IOC: "IOC"}


class ChaosAccount(AccountClient):
    """One process's client.

    Args:
        venue: Where the account is.
    """

    def __init__(self, venue: ChaosVenue) -> None:
        self._venue, self._spot = venue, venue.market == SPOT
        self._symbol = venue.listing.symbol
        self._root = _ROOTS[venue.market]
        self._budget = Budget(
            venue.weight_limit,
            {_SECONDS[interval] * count: limit for interval, count, limit in venue.order_limits},
        )
        self._silent = (0, 0)
        """From when until when the venue has said to ask for nothing."""
        self._going_on: WeakSet[asyncio.Task[Any]] = WeakSet()
        """What has asked for something, and is told itself if it may not ask for more."""
        self._events: asyncio.Queue[Mapping[str, Any] | str] = asyncio.Queue()
        self.leaves: Callable[[], None] = lambda: None
        """Called before a request leaves; may raise."""
        self.dead = False
        """Whether the process has died: nothing leaves any more, and nothing is heard."""

    async def open(self) -> AccountInfo:
        """Say what the account may do."""
        found = await self._ask("GET", _RIGHTS[self._venue.market])
        return AccountInfo(
            can_trade=found["canTrade"],
            can_withdraw=found["canWithdraw"],
            maker_fee=None,
            taker_fee=None,
            orders_per_10s=self._venue.order_limits[0][2],
            countdown=not self._spot,
            amends=Amends.SHRINK if self._spot else Amends.PRICE_AND_QUANTITY,
        )

    async def place(self, placement: Placement) -> OrderRecord:
        """Put an order on the book."""
        params = {
            "symbol": self._symbol,
            "side": "BUY" if placement.side is Side.BUY else "SELL",
            "quantity": f"{placement.quantity:f}",
            "newClientOrderId": placement.client_id,
            "newOrderRespType": "FULL" if self._spot else "RESULT",
        }
        if placement.reduce_only:
            params["reduceOnly"] = "true"
        if placement.price is None:
            params["type"] = "MARKET"
        else:
            params["price"] = f"{placement.price:f}"
            lasting = _LASTING[placement.time_in_force]
            if self._spot and lasting == "GTX":
                params["type"] = "LIMIT_MAKER"
            else:
                params |= {"type": "LIMIT", "timeInForce": lasting}
        return _record(await self._ask("POST", f"{self._root}/order", params, Rank.ORDER))

    async def amend(self, amendment: Amendment) -> OrderRecord | None:
        """Change an order."""
        params = {"symbol": self._symbol, "origClientOrderId": amendment.client_id}
        if self._spot:
            params |= {
                "newClientOrderId": amendment.client_id,
                "newQty": f"{amendment.quantity:f}",
            }
            path = "/api/v3/order/amend/keepPriority"
            answer = await self._ask("PUT", path, params, Rank.ORDER)
            one = answer["amendedOrder"]
            return _record(one | {"origQty": one["qty"], "transactTime": answer["transactTime"]})
        params |= {
            "side": "BUY" if amendment.side is Side.BUY else "SELL",
            "quantity": f"{amendment.quantity:f}",
            "price": f"{amendment.price:f}",
        }
        return _record(await self._ask("PUT", f"{self._root}/order", params, Rank.ORDER))

    async def cancel(self, client_id: str) -> OrderRecord | None:
        """Take an order off the book."""
        params = {"symbol": self._symbol, "origClientOrderId": client_id}
        return _record(await self._ask("DELETE", f"{self._root}/order", params, Rank.CANCEL))

    async def cancel_all(self) -> None:
        """Take everything off the book."""
        path = f"{self._root}/{'openOrders' if self._spot else 'allOpenOrders'}"
        await self._ask("DELETE", path, {"symbol": self._symbol}, Rank.CANCEL)

    async def order(self, client_id: str) -> OrderRecord | None:
        """Return the venue's record of an order."""
        params = {"symbol": self._symbol, "origClientOrderId": client_id}
        try:
            return _record(await self._ask("GET", f"{self._root}/order", params))
        except Refused as refused:
            if refused.refusal is Refusal.NO_SUCH_ORDER:
                return None
            raise

    async def open_orders(self) -> Sequence[OrderRecord]:
        """Return every open order."""
        found = await self._ask("GET", f"{self._root}/openOrders", {"symbol": self._symbol})
        return [_record(one) for one in found]

    async def fills(self, since_ns: int) -> Sequence[FillRecord]:
        """Return every trade since a time."""
        path = f"{self._root}/{'myTrades' if self._spot else 'userTrades'}"
        params = {"symbol": self._symbol, "limit": str(_PAGE)}
        fills: dict[tuple[str, str], FillRecord] = {}
        page = {"startTime": str(since_ns // _MS)}
        while True:
            found = await self._ask("GET", path, params | page)
            # From the last one on, as a trade with oneself has two rows of one number.
            fills |= {(one.trade_id, one.venue_id): one for one in map(_fill, found)}
            if len(found) < _PAGE:
                return list(fills.values())
            page = {"fromId": str(found[-1]["id"])}

    async def fundings(self, since_ns: int) -> Sequence[FundingRecord]:
        """Return every payment of funding since a time."""
        if self._spot:
            return ()
        params = {
            "symbol": self._symbol,
            "incomeType": "FUNDING_FEE",
            "startTime": str(since_ns // _MS),
            "limit": str(_PAGE),
        }
        return [
            FundingRecord(
                funding_id=str(one["tranId"]),
                amount=Decimal(one["income"]),
                asset=one["asset"],
                ts_ns=one["time"] * _MS,
            )
            for one in await self._ask("GET", f"{self._root}/income", params)
        ]

    async def balances(self) -> Mapping[str, Balance]:
        """Return what there is."""
        if not self._spot:
            rows = await self._ask("GET", _MONEY[self._venue.market])
            wallets = {one["asset"]: Decimal(one["balance"]) for one in rows}
            free = {one["asset"]: Decimal(one["availableBalance"]) for one in rows}
            return {
                asset: Balance(free=free[asset], locked=wallet - free[asset])
                for asset, wallet in wallets.items()
            }
        found = await self._ask("GET", "/api/v3/account")
        return {
            one["asset"]: Balance(free=Decimal(one["free"]), locked=Decimal(one["locked"]))
            for one in found["balances"]
        }

    async def position(self) -> Decimal | None:
        """Return the position of a contract."""
        if self._spot:
            return None
        found = await self._ask("GET", _POSITION[self._venue.market], {"symbol": self._symbol})
        return sum(
            (Decimal(one["positionAmt"]) for one in found if one["symbol"] == self._symbol),
            Decimal(0),
        )

    async def countdown(self, ms: int) -> bool:
        """Have everything canceled in so long."""
        if self._spot:
            return False
        params = {"symbol": self._symbol, "countdownTime": str(ms)}
        await self._ask("POST", f"{self._root}/countdownCancelAll", params, Rank.CANCEL)
        return True

    async def close(self) -> None:
        """Hang up."""
        self._venue.leave(self._heard)

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        rank: Rank = Rank.ASK,
    ) -> Any:
        venue, budget = self._venue, self._budget
        answer: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self.leaves()
        task = asyncio.current_task()
        assert task is not None  # this is a coroutine
        told_ns, until_ns = self._silent
        # What began before it was told may come to its next request; the budget does not let it leave.
        if task not in self._going_on and told_ns + _MS < venue.now_ns() < until_ns:
            venue.asked_on(f"{method} {path}")
        self._going_on.add(task)
        weight = ENDPOINTS[method, path].weight
        try:
            budget.admit(weight, rank, venue.now_ns() // _MS)
        except Refused as refused:
            venue.held_back(f"{method} {path}: {refused}", refused.retry_ns)
            self._silence(refused, rank)
            raise
        venue.send(method, path, params or {}, answer)
        headers: Mapping[str, str] = {}
        try:
            carried, headers = await answer
            if carried.cut:
                await asyncio.sleep(2)
                raise FateUnknown("the connection was lost before the answer came")
        finally:
            used, orders = used_of(headers)
            budget.answered(weight, rank, venue.now_ns() // _MS, used, orders)
        if carried.status == 200:
            return carried.body
        body = carried.body or {}
        failure = error_of(
            venue.market,
            carried.status,
            body.get("code"),
            body.get("msg", "Service unavailable"),
            retry_after_s=carried.retry_after_s or 0,
            now_ms=venue.now_ns() // _MS,
        )
        if isinstance(failure, Refused) and failure.refusal is Refusal.RATE:
            budget.close(
                failure.retry_ns // _MS,
                venue.now_ns() // _MS,
                orders_only=failure.code == TOO_MANY_ORDERS,
            )
            self._silence(failure, rank)
        raise failure

    def _silence(self, refused: Refused, rank: Rank) -> None:
        """Take note that nothing may be asked for; what is said of an order is about orders."""
        now, (told_ns, until_ns) = self._venue.now_ns(), self._silent
        if rank is not Rank.ORDER and now + refused.retry_ns > until_ns:
            self._silent = (told_ns if now < until_ns else now, now + refused.retry_ns)

    # --- the user stream ---

    async def events(self) -> AsyncIterator[AccountEvent]:
        """Yield what the user stream says."""
        while True:
            await asyncio.sleep(self._venue.random.uniform(0.05, 2))
            if self._venue.down:
                continue
            self._venue.listen(self._heard)
            yield StreamUp()
            while not isinstance(event := await self._events.get(), str):
                for one in told(event, self._symbol):
                    yield one
            yield StreamDown(reason=event)

    def _heard(self, event: Mapping[str, Any] | str) -> None:
        if not self.dead:
            self._events.put_nowait(event)


def told(event: Mapping[str, Any], symbol: str) -> list[AccountEvent]:
    """Return what an event of the user stream says."""
    match event["e"]:
        case "executionReport":
            return [_update(event)]
        case "ORDER_TRADE_UPDATE":
            return [_update(event["o"])]
        case "outboundAccountPosition":
            balances = {
                one["a"]: Balance(free=Decimal(one["f"]), locked=Decimal(one["l"]))
                for one in event["B"]
            }
            return [BalanceUpdate(balances=balances, ts_ns=event["u"] * _MS)]
        case "ACCOUNT_UPDATE":
            zero = Decimal(0)
            wallets = {
                one["a"]: Balance(free=Decimal(one["wb"]), locked=zero) for one in event["a"]["B"]
            }
            return [
                BalanceUpdate(balances=wallets, ts_ns=event["T"] * _MS),
                *(
                    PositionUpdate(quantity=Decimal(one["pa"]), ts_ns=event["T"] * _MS)
                    for one in event["a"]["P"]
                    if one["s"] == symbol
                ),
            ]
    return []


def _update(row: Mapping[str, Any]) -> OrderUpdate:
    side = Side.BUY if row["S"] == "BUY" else Side.SELL
    client_id = row.get("C") or row["c"]
    record = OrderRecord(
        client_id=client_id,
        venue_id=str(row["i"]),
        side=side,
        price=Decimal(row["p"]),
        quantity=Decimal(row["q"]),
        executed=Decimal(row["z"]),
        state=_STATES[row["X"]],
        ts_ns=row["T"] * _MS,
    )
    fill = None
    if row["x"] == "TRADE":
        fill = FillRecord(
            trade_id=str(row["t"]),
            venue_id=record.venue_id,
            client_id=client_id,
            side=side,
            price=Decimal(row["L"]),
            quantity=Decimal(row["l"]),
            fee=Decimal(row["n"]),
            fee_asset=row["N"],
            liquidity=Liquidity.MAKER if row["m"] else Liquidity.TAKER,
            ts_ns=record.ts_ns,
        )
    return OrderUpdate(record=record, fill=fill)


def _record(row: Mapping[str, Any]) -> OrderRecord:
    ts_ms = row.get("updateTime") or row.get("transactTime") or 0
    return OrderRecord(
        # After a cancel on spot `clientOrderId` is the name of the cancel.
        client_id=row.get("origClientOrderId") or row["clientOrderId"],
        venue_id=str(row["orderId"]),
        side=Side.BUY if row["side"] == "BUY" else Side.SELL,
        price=Decimal(row["price"]),
        quantity=Decimal(row["origQty"]),
        executed=Decimal(row["executedQty"]),
        state=_STATES[row["status"]],
        ts_ns=ts_ms * _MS,
    )


def _fill(row: Mapping[str, Any]) -> FillRecord:
    buyer = row["isBuyer"] if "isBuyer" in row else row["buyer"]
    maker = row["isMaker"] if "isMaker" in row else row["maker"]
    return FillRecord(
        trade_id=str(row["id"]),
        venue_id=str(row["orderId"]),
        client_id="",
        side=Side.BUY if buyer else Side.SELL,
        price=Decimal(row["price"]),
        quantity=Decimal(row["qty"]),
        fee=Decimal(row["commission"]),
        fee_asset=row["commissionAsset"],
        liquidity=Liquidity.MAKER if maker else Liquidity.TAKER,
        ts_ns=row["time"] * _MS,
    )
