"""An account at Binance, spot or USD-M: orders over the WebSocket API, everything else over REST.

While its connection is away, orders and cancels take the way over REST: that is slower, and works.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from mmkit.accounts import (
    AccountClient,
    AccountContext,
    AccountEvent,
    AccountInfo,
    Amendment,
    Balance,
    FateUnknown,
    FillRecord,
    FundingRecord,
    Margin,
    OrderRecord,
    Placement,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.commands import Amends
from mmkit.errors import ConfigError, Mistake, VenueError
from mmkit.instruments import ContractKind
from mmkit.venues.binance_codes import (
    NO_NEED_TO_CHANGE_MARGIN,
    TOO_MANY_ORDERS,
    WAY_OUT_OF_HEDGE_MODE,
)
from mmkit.venues.budget import Budget, Rank
from mmkit_binance.account import told, traits
from mmkit_binance.account.answer import Answer, Limit
from mmkit_binance.account.apiline import ApiLine, connect
from mmkit_binance.account.config import BinanceAccountConfig
from mmkit_binance.account.places import places
from mmkit_binance.account.records import (
    ENDS,
    Trade,
    amended_record,
    decode,
    fill_record,
    order_record,
    read_event,
)
from mmkit_binance.account.signedrest import SignedRest
from mmkit_binance.account.signer import Signer
from mmkit_binance.account.traits import Call
from mmkit_binance.listing import parse_listing

_log = logging.getLogger("mmkit.binance")

_ANSWER_WITHIN_S = 8.0
"""Less than the order handler waits, so that what happened is known here."""
_RECEIVE_WINDOW = "5000"
"""Binance's own default, ms: a request that is on its way for longer is refused there, and does no harm late."""
_TIME_SAMPLES = 3
_TRADES = 1000
_INCOMES = 1000
_KEPT_INCOME_MS = 90 * 86_400_000
"""Payments are told for three months."""
_SUBSCRIBE_WEIGHT = 2
_KEPT_MS = 180 * 86_400_000
"""USD-M's trades are told for six months; before that there is nothing to be asked for, week by week."""
_KEEP_KEY_S = 20 * 60.0  # a listen key lives for an hour
_WAITS_S = (0.2, 30.0)
_MS = 1_000_000


class _Ended(NamedTuple):
    """Why nothing more is heard."""

    words: str


class BinanceAccount(AccountClient):
    """Asks once; what comes of it is for whoever asked."""

    def __init__(self, config: BinanceAccountConfig, context: AccountContext) -> None:
        instrument = context.instrument
        mistakes = [
            Mistake(
                "", f"venue.{name}", "a secret was expected; found none", f'say {name}: "${{NAME}}"'
            )
            for name, value in (("key", config.key), ("secret", config.secret))
            if value is None or not value.get_secret_value()
        ]
        if instrument.venue != "binance":
            words = f"'binance' was expected; found '{instrument.venue}', whose orders the venue 'ccxt' sends"
            mistakes.append(Mistake("", "instrument.venue", words, "say 'plugin: ccxt'"))
        if mistakes:
            raise ConfigError(mistakes)
        assert config.key is not None
        assert config.secret is not None
        self._instrument, self._clock = instrument, context.clock
        self._places = places(instrument.market, config.endpoint, context.endpoints, config.url)
        self._spot = instrument.market == "spot"
        self._traits = traits.SPOT if self._spot else traits.USDM
        self._has_rights = config.endpoint in ("live", "sandbox")
        self._signer = Signer(config.key.get_secret_value(), config.secret.get_secret_value())
        self._rest = SignedRest(self._places, self._signer, _ANSWER_WITHIN_S)
        self._budget = Budget(self._traits.weight)
        self._line: ApiLine | None = None

    # --- what is asked ---

    async def open(self) -> AccountInfo:
        """Measure the clocks, compare the grid, and ask what key and account are like.

        Raises:
            ConfigError: if the market is not listed, or has another grid.
            VenueError: if the key is not taken.
        """
        await self._measure()
        instrument, symbol = self._instrument, {"symbol": self._instrument.native}
        raw = (
            await self._rested(self._traits.listing, symbol if self._spot else {}, signed=False)
        ).body
        parse_listing(bytes(raw), instrument.spec())
        listing = decode(told.LISTING, raw)
        found = next(one for one in listing.symbols if one.symbol == instrument.native)
        self._budget = _budget_of(listing.rate_limits, self._traits.weight)
        fees = decode(told.FEES, (await self._rested(self._traits.fees, symbol)).body)
        how = self._traits.account if self._spot else traits.ACCOUNT_CONFIG
        account = decode(told.ACCOUNT, (await self._rested(how)).body)
        maker, taker = fees.rates
        top = decode(told.TOP, (await self._rested(self._traits.top, symbol, signed=False)).body)
        rights = await self._rights()
        may = rights.enable_spot_and_margin_trading if self._spot else rights.enable_futures
        filters = {one["filterType"]: one for one in found.filters}
        least = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
        most = filters.get("MAX_NUM_ORDERS") or {}
        notional = least.get("minNotional", least.get("notional"))
        orders = most.get("maxNumOrders", most.get("limit"))
        return AccountInfo(
            can_trade=account.can_trade and may,
            can_withdraw=rights.enable_withdrawals,
            maker_fee=maker,
            taker_fee=taker,
            hedge_mode=account.dual_side_position,
            way_out=WAY_OUT_OF_HEDGE_MODE,
            multi_assets=account.multi_assets_margin,
            orders_per_10s=next(
                (window.limit for window in self._budget.orders if window.length_ms == 10_000), None
            ),
            min_notional=None if notional is None else Decimal(str(notional)),
            max_open_orders=None if orders is None else int(orders),
            countdown=not self._spot,
            amends=_amends(self._traits, self._spot),
            halted="" if found.status == "TRADING" else found.status,
            price=top.price,
            **({} if self._spot else await self._set_up()),
        )

    async def _set_up(self) -> dict[str, Any]:
        """Return what a contract account is set to besides."""
        listed = decode(
            told.SYMBOL_CONFIGS, (await self._rested(traits.SYMBOL_CONFIG, self._symbol())).body
        )
        found = next((one for one in listed if one.symbol == self._instrument.native), None)
        if found is None:
            return {}
        margin = Margin.ISOLATED if found.margin_type == "ISOLATED" else Margin.CROSS
        return {"leverage": found.leverage, "margin": margin}

    async def place(self, placement: Placement) -> OrderRecord:
        """Put an order on the book, with one request that is not repeated."""
        if placement.reduce_only and self._instrument.kind is ContractKind.SPOT:
            raise Refused(Refusal.REDUCE_ONLY, "a reduce-only order is for contracts; this is spot")
        params = traits.placing(placement, self._instrument)
        answer = await self._quickly("order.place", self._traits.place, params, Rank.ORDER)
        return order_record(decode(told.ORDER, answer.body))

    async def amend(self, amendment: Amendment) -> OrderRecord | None:
        """Change an order: of USD-M price and quantity, on spot the quantity to less, at its place in the queue."""
        call = self._traits.amend
        if call is None:
            return await super().amend(amendment)
        params = traits.amending(amendment, self._instrument)
        method = "order.amend.keepPriority" if self._spot else "order.modify"
        answer = await self._quickly(method, call, params, Rank.ORDER)
        if self._spot:
            return amended_record(decode(told.AMENDED, answer.body))
        return order_record(decode(told.ORDER, answer.body))

    async def cancel(self, client_id: str) -> OrderRecord | None:
        """Take an order off the book."""
        params = {"symbol": self._instrument.native, "origClientOrderId": client_id}
        answer = await self._quickly("order.cancel", self._traits.cancel, params, Rank.CANCEL)
        return order_record(decode(told.ORDER, answer.body))

    async def cancel_all(self) -> None:
        """Take every order of the account in this market off the book; none is as good as all."""
        try:
            await self._rested(self._traits.cancel_all, self._symbol(), rank=Rank.CANCEL)
        except Refused as refused:
            if refused.refusal is not Refusal.NO_SUCH_ORDER:
                raise

    async def order(self, client_id: str) -> OrderRecord | None:
        """Ask for an order."""
        try:
            answer = await self._rested(
                self._traits.order, self._symbol() | {"origClientOrderId": client_id}
            )
        except Refused as refused:
            if refused.refusal is Refusal.NO_SUCH_ORDER:
                return None
            raise
        return order_record(decode(told.ORDER, answer.body))

    async def open_orders(self) -> Sequence[OrderRecord]:
        """Ask for every open order in this market."""
        answer = await self._rested(self._traits.open_orders, self._symbol())
        return [order_record(one) for one in decode(told.ORDERS, answer.body)]

    async def fills(self, since_ns: int) -> Sequence[FillRecord]:
        """Ask for every trade since then; a full page is followed by the numbers from its last one on."""
        # Both sides of a trade with ourselves have its one number.
        found: dict[tuple[int, int], Trade] = {}
        begin_ms, span_ms = since_ns // _MS, self._traits.span_ms
        if span_ms is not None:
            begin_ms = max(begin_ms, self._venue_ms() - _KEPT_MS)
        params = {"startTime": str(begin_ms)}
        while True:
            asked = self._symbol() | params | {"limit": str(_TRADES)}
            page = decode(told.TRADES, (await self._rested(self._traits.trades, asked)).body)
            before = len(found)
            found |= {(one.id, one.order_id): one for one in page}
            if len(page) >= _TRADES:
                if len(found) == before:
                    raise FateUnknown(
                        f"more than {_TRADES} trades of one number; Binance tells no more"
                    )
                # From the last one on: its other side may be on the next page.
                params = {"fromId": str(max(one.id for one in page))}
                continue
            if span_ms is None or begin_ms + span_ms >= self._venue_ms():
                break
            begin_ms += span_ms
            params = {"startTime": str(begin_ms)}
        trades = sorted(found.values(), key=lambda one: (one.time, one.id, one.order_id))
        return [fill_record(one) for one in trades if one.time >= since_ns // _MS]

    async def fundings(self, since_ns: int) -> Sequence[FundingRecord]:
        """Ask for every payment of funding since then; a full page is followed by what is of its last time, or after it."""
        if self._spot:
            return ()
        begin_ms = max(since_ns // _MS, self._venue_ms() - _KEPT_INCOME_MS)
        found: dict[int, FundingRecord] = {}
        while True:
            asked = self._symbol() | {
                "incomeType": "FUNDING_FEE",
                "startTime": str(begin_ms),
                "limit": str(_INCOMES),
            }
            page = decode(told.INCOMES, (await self._rested(traits.INCOME, asked)).body)
            before = len(found)
            found |= {
                one.tran_id: FundingRecord(
                    funding_id=str(one.tran_id),
                    amount=one.income,
                    asset=one.asset,
                    ts_ns=one.time * _MS,
                )
                for one in page
                if one.symbol == self._instrument.native and one.income_type == "FUNDING_FEE"
            }
            if len(page) < _INCOMES:
                return sorted(found.values(), key=lambda one: (one.ts_ns, one.funding_id))
            if len(found) == before:
                raise FateUnknown(
                    f"more than {_INCOMES} payments of one time; Binance tells no more"
                )
            begin_ms = max(one.time for one in page)

    async def balances(self) -> Mapping[str, Balance]:
        """Ask for what the account has; of contracts, `free` and `locked` add up to the wallet's balance."""
        account = decode(told.ACCOUNT, (await self._rested(self._traits.account)).body)
        return account.held if self._spot else account.wallets

    async def position(self) -> Decimal | None:
        """Ask for the position; one that is not listed is none."""
        if self._spot:
            return None
        listed = decode(told.POSITIONS, (await self._rested(traits.POSITION, self._symbol())).body)
        native = self._instrument.native
        return sum((one.position_amt for one in listed if one.symbol == native), Decimal(0))

    async def countdown(self, ms: int) -> bool:
        """Start or stop Binance's countdown, which is by symbol; spot has none."""
        if self._spot:
            return False
        params = self._symbol() | {"countdownTime": str(ms)}
        await self._rested(traits.COUNTDOWN, params, rank=Rank.CANCEL)
        return True

    async def most_leverage(self) -> int | None:
        """Ask for the brackets of this market: the first one has the highest."""
        if self._spot:
            return None
        answer = await self._rested(traits.BRACKETS, self._symbol())
        listed = [
            one
            for one in decode(told.BRACKETS, answer.body)
            if one.symbol == self._instrument.native
        ]
        return max((one.initial_leverage for row in listed for one in row.brackets), default=None)

    async def set_leverage(self, leverage: int) -> None:
        """Set the leverage of this market."""
        await self._rested(traits.LEVERAGE, self._symbol() | {"leverage": str(leverage)})

    async def set_margin(self, margin: Margin) -> None:
        """Set how the margin of a position in this market is kept."""
        kind = "ISOLATED" if margin is Margin.ISOLATED else "CROSSED"
        try:
            await self._rested(traits.MARGIN_TYPE, self._symbol() | {"marginType": kind})
        except Refused as refused:
            if refused.code != NO_NEED_TO_CHANGE_MARGIN:
                raise

    async def close(self) -> None:
        """Close every connection."""
        line, self._line = self._line, None
        if line is not None:
            await line.close()
        await self._rest.close()

    # --- what is told ---

    async def events(self) -> AsyncIterator[AccountEvent]:
        """Yield what the user stream says; connects anew, for orders, too, for ever."""
        failures = 0
        while True:
            queue: asyncio.Queue[AccountEvent | _Ended] = asyncio.Queue()
            reason = ""
            keeping: asyncio.Task[None] | None = None
            stream: ApiLine | None = None
            try:
                try:
                    line = await self._open_line(self._places.api, queue)
                    self._line = line
                    if self._spot:
                        await self._subscribe(line)
                    else:
                        key = await self._listen_key()
                        stream = await self._open_line(self._places.user + key, queue)
                        keeping = asyncio.create_task(self._keep_key(queue))
                except VenueError as error:
                    reason = str(error)
                else:
                    failures = 0
                    yield StreamUp()
                while not reason:
                    event = await queue.get()
                    if isinstance(event, _Ended):
                        reason = event.words
                    else:
                        yield event
            finally:
                if keeping is not None:
                    keeping.cancel()
                for one in (self._line, stream):
                    if one is not None:
                        await one.close()
                self._line = None
            _log.warning("user_stream_lost market=%s reason=%s", self._instrument.market, reason)
            yield StreamDown(reason=reason)
            first, longest = _WAITS_S
            # Half as much again or as little, so that many clients do not come back at once.
            wait_s = min(longest, first * 2.0**failures) * random.uniform(0.5, 1.5)  # noqa: S311 - no secret depends on it
            await asyncio.sleep(wait_s)
            failures = min(failures + 1, 10)
            with suppress(VenueError):  # the next request says it if the clocks differ
                await self._measure()

    async def _open_line(self, url: str, queue: asyncio.Queue[AccountEvent | _Ended]) -> ApiLine:
        native = self._instrument.native

        def heard(raw: msgspec.Raw) -> None:
            try:
                event, events = read_event(raw, native)
            except FateUnknown as error:
                queue.put_nowait(_Ended(str(error)))
                return
            for one in events:
                queue.put_nowait(one)
            if event in ENDS:
                queue.put_nowait(_Ended(f"Binance has ended the user stream ({event})"))

        return ApiLine(
            await connect(url, self._places), heard, lambda why: queue.put_nowait(_Ended(why))
        )

    async def _subscribe(self, line: ApiLine) -> None:
        self._budget.admit(_SUBSCRIBE_WEIGHT, Rank.ASK, self._venue_ms())
        asking = line.ask("userDataStream.subscribe.signature", self._stamped({}), _ANSWER_WITHIN_S)
        await self._settled(asking, _SUBSCRIBE_WEIGHT, Rank.ASK)

    async def _listen_key(self) -> str:
        answer = await self._rested(traits.MAKE_LISTEN_KEY, signed=False)
        return decode(told.LISTEN_KEY, answer.body).listen_key

    async def _keep_key(self, queue: asyncio.Queue[AccountEvent | _Ended]) -> None:
        while True:
            await asyncio.sleep(_KEEP_KEY_S)
            try:
                await self._rested(traits.KEEP_LISTEN_KEY, signed=False)
            except VenueError as error:
                queue.put_nowait(_Ended(f"the listen key could not be kept: {error}"))
                return

    # --- how it is asked ---

    def _symbol(self) -> dict[str, str]:
        return {"symbol": self._instrument.native}

    def _venue_ms(self) -> int:
        return (self._clock.now_ns() + self.ahead_ns) // _MS

    def _stamped(self, params: dict[str, Any]) -> dict[str, Any]:
        params["timestamp"] = self._venue_ms()
        params["recvWindow"] = _RECEIVE_WINDOW
        return self._signer.signed(params)

    async def _quickly(self, method: str, call: Call, params: dict[str, str], rank: Rank) -> Answer:
        """Ask over the WebSocket API, over REST while that is away."""
        line = self._line
        if line is None or not line.open:
            return await self._rested(call, params, rank=rank)
        self._budget.admit(call.weight, rank, self._venue_ms())
        return await self._settled(
            line.ask(method, self._stamped(dict(params)), _ANSWER_WITHIN_S), call.weight, rank
        )

    async def _rested(
        self,
        call: Call,
        params: Mapping[str, str] | None = None,
        *,
        rank: Rank = Rank.ASK,
        signed: bool = True,
    ) -> Answer:
        """Ask over REST."""
        self._budget.admit(call.weight, rank, self._venue_ms())
        sent = dict(params or {})
        if signed:
            sent |= {"timestamp": str(self._venue_ms()), "recvWindow": _RECEIVE_WINDOW}
        asking = self._rest.ask(call.method, call.path, sent, signed=signed)
        return await self._settled(asking, call.weight, rank)

    async def _settled(self, asking: Awaitable[Answer], weight: int, rank: Rank) -> Answer:
        """Return an answer that is none of an error.

        Raises:
            Refused: if it is.
            FateUnknown: if it settles nothing, or does not come.
        """
        budget, answer = self._budget, None
        try:
            answer = await asking
        finally:
            used, orders = (answer.weight, answer.orders) if answer is not None else (None, None)
            budget.answered(weight, rank, self._venue_ms(), used, orders)
        failure = answer.failure(self._instrument.market, self._venue_ms())
        if failure is None:
            return answer
        if isinstance(failure, Refused):
            if failure.refusal is Refusal.RATE:
                orders_only = failure.code == TOO_MANY_ORDERS
                budget.close(failure.retry_ns // _MS, self._venue_ms(), orders_only=orders_only)
            if failure.refusal is Refusal.CLOCK:
                with suppress(VenueError):  # that this was refused is what has to be told
                    await self._measure()
        raise failure

    async def _measure(self) -> None:
        """Find out how far the venue's clock is ahead of ours: by the quickest of a few answers."""
        samples = []
        for _ in range(_TIME_SAMPLES):
            sent = self._clock.now_ns()
            answer = await self._rested(self._traits.time, signed=False)
            received = self._clock.now_ns()
            server_ns = decode(told.TIME, answer.body).server_time * _MS
            samples.append((received - sent, server_ns - (sent + received) // 2))
        _, self.ahead_ns = min(samples)

    async def _rights(self) -> told.Rights:
        """Return what the key may do; nothing where Binance has no such answer, as on its test networks."""
        if not self._has_rights:
            return told.Rights()
        try:
            return decode(told.RIGHTS, (await self._rights_answer()).body)
        except VenueError as error:
            _log.info("rights of the key unknown error=%s", type(error).__name__)
            return told.Rights()

    async def _rights_answer(self) -> Answer:
        call = traits.RIGHTS
        if self._spot or self._places.loopback:
            return await self._rested(call)
        wallet = places("spot", "live", {}, None)  # where the wallet's answers are
        rest = SignedRest(wallet, self._signer, _ANSWER_WITHIN_S)
        sent = {"timestamp": str(self._venue_ms()), "recvWindow": _RECEIVE_WINDOW}
        try:
            return await self._settled(
                rest.ask(call.method, call.path, sent, signed=True), 0, Rank.ASK
            )
        finally:
            await rest.close()


def _amends(one: traits.Traits, spot: bool) -> Amends:
    if one.amend is None:
        return Amends.NOTHING
    return Amends.SHRINK if spot else Amends.PRICE_AND_QUANTITY


def _budget_of(limits: Sequence[Limit], weight: int) -> Budget:
    allowed = (
        one.limit
        for one in limits
        if one.rate_limit_type == "REQUEST_WEIGHT" and one.length_ms == 60_000
    )
    orders = {one.length_ms: one.limit for one in limits if one.rate_limit_type == "ORDERS"}
    return Budget(next(allowed, weight), orders)
