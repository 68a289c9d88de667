"""An account at any venue that ccxt.pro covers, through ccxt.

Written against ccxt 4.5.90. What it is kept from: rounding (prices and quantities are handed over as the decimals that
they are, and one that ccxt would change is refused), sending an order twice (`maxRetriesOnFailure`), and deciding by its
classes of errors what Binance's numbers mean (`mmkit_ccxt.guard`). Its class of numbers is `str`, so nothing passes
through a float; `decimal.Decimal` would not do: it finds no text in one, and loses fees.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from msgspec.structs import replace
from pydantic import Field, SecretStr

from mmkit.accounts import (
    AccountClient,
    AccountContext,
    AccountEvent,
    AccountInfo,
    Amendment,
    Balance,
    BalanceUpdate,
    FateUnknown,
    FillRecord,
    FundingRecord,
    Margin,
    OrderRecord,
    OrderUpdate,
    Placement,
    PositionUpdate,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.commands import TimeInForce
from mmkit.errors import ConfigError, Mistake, MmkitError, VenueError
from mmkit.events import Side
from mmkit.instruments import ContractKind
from mmkit.interfaces import AccountConfig
from mmkit.venues.binance_codes import TOO_MANY_ORDERS, error_of
from mmkit.venues.budget import Budget, Rank, used_of
from mmkit_ccxt.client import Endpoint, let_go, make_client
from mmkit_ccxt.guard import Said, guarded, guarded_binance, heard
from mmkit_ccxt.listing import check_symbol, parse_market
from mmkit_ccxt.records import fill_record, funding_record, order_record
from mmkit_ccxt.refusals import meaning_for_orders, said
from mmkit_ccxt.ways import BinanceWays, Ways, position_of

_log = logging.getLogger("mmkit.ccxt")
T = TypeVar("T")

_BINANCE = ("binance", "binanceusdm", "binancecoinm")
_RECEIVE_WINDOW_MS = 5_000
"""Binance's own default; a request that is on its way for longer is refused there, and does no harm late."""
_TIMEOUT_MS = 8_000  # less than the order handler waits, so that what happened is known here
_PING_MS = 10_000  # a line that is dead is found out within three of them
_CONNECTED_WITHIN_S = 10.0
_SETTLED_S = 1.0
"""After a connection, where ccxt does not say whether the venue has taken the subscription."""
_KEPT_MS = 180 * 86_400_000
"""USD-M's trades are told for six months; before that there is nothing to be asked for, week by week."""
_KEPT_INCOME_MS = 90 * 86_400_000
"""Binance's payments of funding are told for three months."""
_LOOK_S = 0.01
_WAITS_S = (0.2, 30.0)
_MS = 1_000_000


class CcxtAccountConfig(AccountConfig):
    """What may be written beside ``plugin: ccxt`` of a venue."""

    endpoint: Endpoint = Field(
        description="live, testnet, demo (as far as the venue has them), or the local sandbox."
    )
    passphrase: SecretStr | None = Field(
        None, description="What some venues want besides key and secret."
    )
    url: str | None = Field(None, description="Root of the sandbox, in place of the service's.")


class _Ended(NamedTuple):
    """Why nothing more is heard."""

    words: str


class CcxtAccount(AccountClient):
    """Asks over REST, listens with ccxt.pro; after every loss all streams are made anew."""

    def __init__(self, config: CcxtAccountConfig, context: AccountContext) -> None:
        mistakes = [
            Mistake(
                "", f"venue.{name}", "a secret was expected; found none", f'say {name}: "${{NAME}}"'
            )
            for name, value in (("key", config.key), ("secret", config.secret))
            if value is None or not value.get_secret_value()
        ]
        if config.url is not None and config.endpoint != "sandbox":
            words = f"an address is for 'endpoint: sandbox'; found endpoint '{config.endpoint}'"
            mistakes.append(Mistake("", "venue.url", words, "leave it out, or say sandbox"))
        if mistakes:
            raise ConfigError(mistakes)
        self._context, self._instrument = context, context.instrument
        self._binance = self._instrument.venue in _BINANCE
        self._secrets = tuple(
            one.get_secret_value()
            for one in (config.key, config.secret, config.passphrase)
            if one is not None
        )
        self._client = self._make(config)
        ways = BinanceWays if self._binance else Ways
        self._ways = ways(self._client, self._instrument)
        self._budget: Budget | None = None
        self._venue_ids: dict[str, str] = {}
        """By client order id, where the venue wants its own to cancel or to ask."""
        self._client_ids: dict[str, str] = {}
        self._records: dict[str, OrderRecord] = {}
        """As last told by the user stream, of orders that are not over, by the venue's id."""

    # --- what is asked ---

    async def open(self) -> AccountInfo:
        """Load the market, compare the grid, measure the clocks, and ask what key and account are like.

        Raises:
            ConfigError: if the market is not listed, or has another grid.
            VenueError: if the key is not taken.
        """
        client, instrument = self._client, self._instrument
        await self._ask("loadMarkets", client.load_markets)
        check_symbol(instrument.spec(), client.markets)
        market = client.market(instrument.symbol)
        parse_market(market, client.precisionMode, instrument.spec())
        halted = ""
        if market.get("active") is False:
            told = market.get("info") or {}
            halted = str(told.get("status") or told.get("contractStatus") or "not active")
        await self._measure()
        info = await self._ask("the account", self._ways.info)
        self._budget = self._ways.budget()
        return replace(info, halted=halted)

    async def place(self, placement: Placement) -> OrderRecord:
        """Put an order on the book, with one request that is not repeated."""
        instrument, client = self._instrument, self._client
        params: dict[str, Any] = {"clientOrderId": placement.client_id}
        kind, price = "limit", None
        if placement.price is None:
            kind = "market"
        else:
            price = f"{placement.price:f}"
            self._unchanged("price", price, client.price_to_precision(instrument.symbol, price))
            match placement.time_in_force:
                case TimeInForce.POST_ONLY:
                    params["postOnly"] = True
                case TimeInForce.IOC:
                    params["timeInForce"] = "IOC"
                case TimeInForce.GTC:
                    params["timeInForce"] = "GTC"
        quantity = f"{placement.quantity:f}"
        self._unchanged(
            "quantity", quantity, client.amount_to_precision(instrument.symbol, quantity)
        )
        if placement.reduce_only:
            if instrument.kind is ContractKind.SPOT:
                raise Refused(
                    Refusal.REDUCE_ONLY, "a reduce-only order is for contracts; this is spot"
                )
            params["reduceOnly"] = True
        side = "buy" if placement.side is Side.BUY else "sell"
        told = await self._ask(
            "createOrder",
            lambda: client.create_order(instrument.symbol, kind, side, quantity, price, params),
            self._ways.weights.place,
            Rank.ORDER,
        )
        # What some venues answer is the number alone.
        told = {"side": side, "clientOrderId": placement.client_id, "type": kind, **_there(told)}
        told.setdefault("amount", placement.quantity)
        told.setdefault("price", placement.price)
        return self._noted(order_record(told, placement.client_id))

    async def amend(self, amendment: Amendment) -> OrderRecord | None:
        """Change an order, where that is one request that leaves it the order that it was: on Binance USD-M."""
        told = await self._ask(
            "editOrder",
            lambda: self._ways.amend(amendment),
            self._ways.weights.place,
            Rank.ORDER,
        )
        return self._noted(order_record(told, amendment.client_id))

    async def cancel(self, client_id: str) -> OrderRecord | None:
        """Take an order off the book."""
        client, symbol = self._client, self._instrument.symbol
        venue_id, params = self._named(client_id)
        told = await self._ask(
            "cancelOrder",
            lambda: client.cancel_order(venue_id, symbol, params),
            self._ways.weights.cancel,
            Rank.CANCEL,
        )
        try:
            return self._noted(order_record(told, client_id))
        except FateUnknown:
            return None  # it has been done, and the answer holds no more than that

    async def cancel_all(self) -> None:
        """Take every order of the account in this market off the book; none is as good as all."""
        try:
            await self._ask(
                "cancelAllOrders",
                lambda: self._client.cancel_all_orders(self._instrument.symbol),
                self._ways.weights.cancel_all,
                Rank.CANCEL,
            )
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ORDER:
                raise

    async def order(self, client_id: str) -> OrderRecord | None:
        """Ask for an order."""
        client, symbol = self._client, self._instrument.symbol
        venue_id, params = self._named(client_id)
        try:
            told = await self._ask(
                "fetchOrder",
                lambda: client.fetch_order(venue_id, symbol, params),
                self._ways.weights.order,
            )
        except Refused as refused:
            if refused.refusal is Refusal.NO_SUCH_ORDER:
                return None
            raise
        return self._noted(order_record(told, client_id))

    async def open_orders(self) -> Sequence[OrderRecord]:
        """Ask for every open order in this market."""
        told = await self._ask(
            "fetchOpenOrders",
            lambda: self._client.fetch_open_orders(self._instrument.symbol),
            self._ways.weights.open_orders,
        )
        return [self._noted(order_record(one)) for one in told]

    async def fills(self, since_ns: int) -> Sequence[FillRecord]:
        """Ask for every trade since then, page by page.

        Trades of one millisecond may lie on two pages, so a full page is followed by the numbers from its last
        one on where the venue counts (Binance), and else by its last time.
        """
        # Both sides of a trade with ourselves have its one number.
        found: dict[tuple[str, str], FillRecord] = {}
        span, page = self._ways.span_ms, self._ways.page
        begin_ms = since_ns // _MS
        if span is not None:
            begin_ms = max(begin_ms, self._venue_ms() - _KEPT_MS)
        since_ms: int | None = begin_ms
        params: dict[str, Any] = {}
        while True:
            told = await self._trades_page(since_ms, page, params)
            new = [
                one for one in map(self._fill, told) if (one.trade_id, one.venue_id) not in found
            ]
            found |= {(one.trade_id, one.venue_id): one for one in new}
            if len(told) >= page:
                if not new:
                    raise FateUnknown(
                        f"more than {page} trades of one time; the venue tells no more"
                    )
                if self._binance:
                    # From the last one on: its other side may be on the next page.
                    since_ms, params = None, {"fromId": int(new[-1].trade_id)}
                else:
                    since_ms = new[-1].ts_ns // _MS
                continue
            if span is None or begin_ms + span >= self._venue_ms():
                break
            begin_ms, since_ms, params = begin_ms + span, begin_ms + span, {}
        return sorted(
            (one for one in found.values() if one.ts_ns >= since_ns // _MS * _MS),
            key=lambda one: (one.ts_ns, len(one.trade_id), one.trade_id, one.venue_id),
        )

    async def fundings(self, since_ns: int) -> Sequence[FundingRecord]:
        """Ask for every payment of funding since then, page by page; none where ccxt has no such question.

        A full page is followed by what is of its last time, or after it.
        """
        client = self._client
        if self._instrument.kind is ContractKind.SPOT or not client.has.get("fetchFundingHistory"):
            return ()
        page = self._ways.page
        since_ms = since_ns // _MS
        if self._binance:
            since_ms = max(since_ms, self._venue_ms() - _KEPT_INCOME_MS)
        found: dict[str, FundingRecord] = {}
        while True:
            told = await self._fundings_page(since_ms, page)
            before = len(found)
            records = [funding_record(one) for one in told]
            found |= {one.funding_id: one for one in records}
            if len(told) < page:
                break
            if len(found) == before:
                raise FateUnknown(f"more than {page} payments of one time; the venue tells no more")
            since_ms = max(one.ts_ns for one in records) // _MS
        return sorted(
            (one for one in found.values() if one.ts_ns >= since_ns // _MS * _MS),
            key=lambda one: (one.ts_ns, one.funding_id),
        )

    async def _fundings_page(self, since_ms: int, page: int) -> list[Any]:
        client, symbol = self._client, self._instrument.symbol
        told: list[Any] = await self._ask(
            "fetchFundingHistory",
            lambda: client.fetch_funding_history(symbol, since_ms, page),
            self._ways.weights.fundings,
        )
        return told

    async def balances(self) -> Mapping[str, Balance]:
        """Ask for what the account has."""
        return await self._ask("fetchBalance", self._ways.balances, self._ways.weights.account)

    async def position(self) -> Decimal | None:
        """Ask for the position."""
        if self._instrument.kind is ContractKind.SPOT:
            return None
        return await self._ask("fetchPositions", self._ways.position, self._ways.weights.position)

    async def countdown(self, ms: int) -> bool:
        """Start or stop the venue's countdown, where it has one."""
        if not self._binance or self._instrument.kind is ContractKind.SPOT:
            return False
        return await self._ask(
            "countdownCancelAll",
            lambda: self._ways.countdown(ms),
            self._ways.weights.countdown,
            Rank.CANCEL,
        )

    async def most_leverage(self) -> int | None:
        """Ask for the highest leverage of this market."""
        return await self._ask("leverageBracket", self._ways.most_leverage)

    async def set_leverage(self, leverage: int) -> None:
        """Set the leverage of this market."""
        await self._ask("setLeverage", lambda: self._ways.set_leverage(leverage))

    async def set_margin(self, margin: Margin) -> None:
        """Set how the margin of a position in this market is kept."""
        await self._ask("setMarginMode", lambda: self._ways.set_margin(margin))

    async def close(self) -> None:
        """Close every connection."""
        self._ways.forget()
        await let_go(self._client)

    # --- what is told ---

    async def events(self) -> AsyncIterator[AccountEvent]:
        """Yield what ccxt.pro hears of orders, trades, balances and the position; connects anew for ever."""
        failures = 0
        while True:
            queue: asyncio.Queue[AccountEvent | _Ended] = asyncio.Queue()
            tasks: list[asyncio.Task[None]] = []
            reason = ""
            try:
                try:
                    await self._ask("the user stream", self._ways.subscribe)
                    tasks = [
                        asyncio.create_task(self._watch(queue, watch, read))
                        for watch, read in self._watches()
                    ]
                    await self._connected(tasks)
                except VenueError as error:
                    reason = str(error)
                else:
                    failures = 0
                    yield StreamUp()
                while not reason:
                    told = await queue.get()
                    if isinstance(told, _Ended):
                        reason = told.words
                    else:
                        yield told
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            _log.warning("user_stream_lost venue=%s reason=%s", self._instrument.venue, reason)
            yield StreamDown(reason=reason)
            await self._hang_up()
            first, longest = _WAITS_S
            wait_s = min(longest, first * 2.0**failures)
            # Half as much again or as little, so that many clients do not come back at once.
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311 - no secret depends on it
            failures = min(failures + 1, 10)
            with suppress(VenueError):  # the next request says it if the clocks differ
                await self._measure()

    def _watches(
        self,
    ) -> list[tuple[Callable[[], Awaitable[Any]], Callable[[Any], Iterable[AccountEvent]]]]:
        client, symbol = self._client, self._instrument.symbol
        found: list[
            tuple[Callable[[], Awaitable[Any]], Callable[[Any], Iterable[AccountEvent]]]
        ] = [(lambda: client.watch_orders(symbol), self._orders_told)]
        if client.has.get("watchMyTrades"):
            found.append((lambda: client.watch_my_trades(symbol), self._trades_told))
        balance: dict[str, Any] = {}
        if self._instrument.kind is not ContractKind.SPOT:
            balance = {"type": "swap"}
            if client.has.get("watchPositions"):
                found.append((lambda: client.watch_positions([symbol]), self._positions_told))
        if client.has.get("watchBalance"):
            found.append((lambda: client.watch_balance(balance), self._balances_told))
        return found

    async def _watch(
        self,
        queue: asyncio.Queue[AccountEvent | _Ended],
        watch: Callable[[], Awaitable[Any]],
        read: Callable[[Any], Iterable[AccountEvent]],
    ) -> None:
        """Put what one of ccxt's watchers tells into the queue, and at last why it ended.

        Nothing is awaited between its return and the next call, so that nothing comes in between unheard.
        """
        try:
            while True:
                for event in read(await watch()):
                    queue.put_nowait(event)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            queue.put_nowait(
                _Ended("ccxt closed the connection")
            )  # which cancels what is waited for
        except Exception as error:  # noqa: BLE001 - ccxt's, by whatever name; told in its first words
            queue.put_nowait(_Ended(said(error, self._secrets)))

    def _orders_told(self, told: Any) -> Iterable[AccountEvent]:
        for one in told:
            record = self._noted(order_record(one))
            self._records[record.venue_id] = record
            if record.state.value != "open":
                del self._records[record.venue_id]
            yield OrderUpdate(record=record)

    def _trades_told(self, told: Any) -> Iterable[AccountEvent]:
        for one in told:
            fill = self._fill(one)
            record = self._records.get(fill.venue_id)
            if self._binance:
                # Its report of a trade is one of the order, too.
                record = self._noted(order_record(self._client.parse_ws_order(one["info"])))
                fill = replace(fill, client_id=record.client_id)
            if record is not None:
                yield OrderUpdate(record=record, fill=fill)
            # Else the order's own record says that more was executed, and the trade is asked for.

    def _balances_told(self, told: Any) -> Iterable[AccountEvent]:
        balances = {}
        for asset, total in (told.get("total") or {}).items():
            free, locked = (told.get(key, {}).get(asset) for key in ("free", "used"))
            if free is not None:
                balances[asset] = Balance(free=Decimal(free), locked=Decimal(locked or 0))
            elif total is not None:
                # Of contracts the stream tells the wallet's balance alone.
                balances[asset] = Balance(free=Decimal(total), locked=Decimal(0))
        yield BalanceUpdate(balances=balances, ts_ns=int(told.get("timestamp") or 0) * _MS)

    def _positions_told(self, told: Any) -> Iterable[AccountEvent]:
        for one in told:
            if one.get("symbol") == self._instrument.symbol:
                ts_ns = int(one.get("timestamp") or 0) * _MS
                yield PositionUpdate(quantity=position_of(one), ts_ns=ts_ns)

    async def _connected(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Return when every socket of the streams is open.

        Raises:
            FateUnknown: if that takes too long.
        """
        try:
            async with asyncio.timeout(_CONNECTED_WITHIN_S):
                while True:
                    await asyncio.sleep(
                        _LOOK_S
                    )  # ccxt has nothing that could be waited for in its place
                    sockets = [
                        one
                        for one in self._client.clients.values()
                        if one.connecting or one.isConnected
                    ]
                    if sockets and all(one.isConnected for one in sockets):
                        break
                    if any(task.done() for task in tasks):
                        return  # why, is in the queue
        except TimeoutError:
            words = f"the user stream did not connect within {_CONNECTED_WITHIN_S:.0f} s"
            raise FateUnknown(words) from None
        if not self._ways.confirms:
            await asyncio.sleep(_SETTLED_S)

    async def _hang_up(self) -> None:
        """Close the streams, and forget what they were subscribed with."""
        self._ways.forget()
        sockets = list(self._client.clients.values())
        self._client.clients = {}
        self._records.clear()
        closing = [
            asyncio.ensure_future(one.close()) for one in sockets if one.connection is not None
        ]
        if closing:
            await asyncio.wait(closing, timeout=1.0)
        for socket in sockets:
            for future in socket.futures.values():
                if future.done() and not future.cancelled():
                    future.exception()  # it has been told; asyncio would print it, address and all

    # --- how it is asked ---

    def _make(self, config: CcxtAccountConfig) -> Any:
        options: dict[str, Any] = {"maxRetriesOnFailure": 0}
        settings: dict[str, Any] = {
            "number": str,
            "timeout": _TIMEOUT_MS,
            "apiKey": config.key.get_secret_value() if config.key else "",
            "secret": config.secret.get_secret_value() if config.secret else "",
            "streaming": {"keepAlive": _PING_MS},
            "verbose": False,
        }
        if config.passphrase is not None:
            settings["password"] = config.passphrase.get_secret_value()
        if self._binance:
            no_snapshot = {"fetchBalanceSnapshot": False, "awaitBalanceSnapshot": False}
            no_position = {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False}
            options |= {
                "recvWindow": _RECEIVE_WINDOW_MS,
                "watchBalance": no_snapshot,
                "watchPositions": no_position,
            }
            settings["enableRateLimit"] = False  # the budget is by what Binance says was used
        return make_client(
            self._instrument.spec(),
            config.endpoint,
            self._context.endpoints,
            url=config.url,
            options=options,
            settings=settings,
            kind=guarded_binance if self._binance else guarded,
            section="venue",
        )

    async def _ask(
        self,
        doing: str,
        ask: Callable[[], Awaitable[T]],
        weight: int = 1,
        rank: Rank = Rank.ASK,
    ) -> T:
        """Return what ccxt returns.

        Raises:
            Refused: if the venue, its limits, or ccxt before anything was sent, said no.
            FateUnknown: if nobody knows.
        """
        budget = self._budget
        if budget is not None:
            budget.admit(weight, rank, self._venue_ms())
        headers: dict[str, str] = {}
        token = heard.set(headers)
        try:
            return await ask()
        except Said as answer:
            failure = error_of(
                self._instrument.market,
                answer.status,
                answer.code,
                answer.words,
                retry_after_s=answer.retry_after_s,
                now_ms=self._venue_ms(),
            )
        except MmkitError:
            raise
        except Exception as error:  # noqa: BLE001 - ccxt's, by whatever name; its words are cleaned
            failure = meaning_for_orders(error, doing, self._secrets)
        finally:
            heard.reset(token)
            if budget is not None:
                used, orders = used_of(headers)
                budget.answered(weight, rank, self._venue_ms(), used, orders)
        # Outside of the handlers, so that ccxt's own error, with address and signature, does not hang on to it.
        if isinstance(failure, Refused):
            if failure.refusal is Refusal.RATE and budget is not None:
                orders_only = failure.code == TOO_MANY_ORDERS
                budget.close(failure.retry_ns // _MS, self._venue_ms(), orders_only=orders_only)
            if failure.refusal is Refusal.CLOCK:
                with suppress(VenueError):  # that this was refused is what has to be told
                    await self._measure()
        raise failure

    async def _measure(self) -> None:
        """Find out how far our clock is ahead of the venue's; ccxt stamps requests by it."""
        if not self._client.has.get("fetchTime"):
            return
        failure: VenueError | None = None
        try:
            await self._client.load_time_difference()
        except Exception as error:  # noqa: BLE001 - ccxt's, by whatever name
            failure = meaning_for_orders(error, "fetchTime", self._secrets)
        if failure is not None:
            raise failure
        self.ahead_ns = -int(self._client.options.get("timeDifference") or 0) * _MS

    def _venue_ms(self) -> int:
        client = self._client
        return int(client.milliseconds() - (client.options.get("timeDifference") or 0))

    async def _trades_page(
        self, since_ms: int | None, page: int, params: Mapping[str, Any]
    ) -> list[Any]:
        client, symbol = self._client, self._instrument.symbol
        told: list[Any] = await self._ask(
            "fetchMyTrades",
            lambda: client.fetch_my_trades(symbol, since_ms, page, dict(params)),
            self._ways.weights.fills,
        )
        return told

    def _unchanged(self, what: str, ours: str, ccxts: str) -> None:
        if Decimal(ours) != Decimal(ccxts):
            raise Refused(
                Refusal.FILTER,
                f"not sent: a {what} on the venue's grid was expected; found {ours}, of which ccxt makes {ccxts}",
            )

    def _named(self, client_id: str) -> tuple[str | None, dict[str, Any]]:
        """Return how an order is named: on Binance by our id, elsewhere by the venue's where it is known."""
        venue_id = None if self._binance else self._venue_ids.get(client_id)
        return venue_id, {} if venue_id else {"clientOrderId": client_id}

    def _noted(self, record: OrderRecord) -> OrderRecord:
        if not self._binance and record.venue_id:
            if record.client_id:
                self._venue_ids[record.client_id] = record.venue_id
                self._client_ids[record.venue_id] = record.client_id
            elif ours := self._client_ids.get(record.venue_id):
                return replace(record, client_id=ours)
        return record

    def _fill(self, told: Mapping[str, Any]) -> FillRecord:
        fill = fill_record(told)
        ours = self._client_ids.get(fill.venue_id)
        return replace(fill, client_id=ours) if ours else fill


def _there(told: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if value is not None}
