"""Accounts at the simulated exchange: their orders stand in its books, and their money is counted exactly.

Without I/O and without a clock, as the exchange is: it can be driven in virtual time by `Accounts.advance`
and plain calls. What the shells make of it is in `endpoints` and `accountpayload`.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from mmkit.events import Liquidity, Side
from mmkit_sandbox import accountpayload, filters
from mmkit_sandbox.account import Account, Traded
from mmkit_sandbox.accountconfig import AccountConfig
from mmkit_sandbox.accountorder import (
    AccountOrder,
    AccountTrade,
    Lasting,
    OrderKind,
    Placing,
    Status,
)
from mmkit_sandbox.channel import Channel
from mmkit_sandbox.exchange import Message
from mmkit_sandbox.funding import payment
from mmkit_sandbox.ledger import ZERO, EntryKind, cut
from mmkit_sandbox.listing import FUTURES, SPOT, USDM, Listing
from mmkit_sandbox.matching import MatchingBook, Report, ReportKind, TimeInForce
from mmkit_sandbox.refused import Refused
from mmkit_sandbox.simulation import SimulatedExchange

_MS = 1_000_000
WOULD_TAKE = "Order would immediately match and take."
NO_FUNDS = "Account has insufficient balance for requested action."


class Said(NamedTuple):
    """One event of a user stream: whose, of which market, and the event as Binance writes it."""

    key: str
    market: str
    event: dict[str, Any]


class Accounts:
    """The exchange's customers. Everything happens at the time of the last `advance`.

    Every method that Binance might refuse raises `Refused` with its code and words; nothing has happened then.

    Args:
        exchange: Where they trade; advance it through here.
        configs: Who they are.
    """

    def __init__(
        self, exchange: SimulatedExchange, configs: Sequence[AccountConfig], now_ns: int
    ) -> None:
        self.exchange, self.now_ns = exchange, now_ns
        self.by_key = {config.key: Account(config, now_ns) for config in configs}
        self.hide_next_ns = 0
        """The next order that is placed is not found for so long, whoever asks (a fault)."""
        self._said: list[Said] = []
        self._countdowns: dict[tuple[str, str], tuple[int, Account, Listing]] = {}
        self.counted_down: set[str] = set()
        """Orders that a countdown has canceled, by client order id: it takes every order of an account in a market."""
        self._funded_ns = self._next_funding_ns(now_ns)
        self._executions = 0
        self._names = 0
        for listing in exchange.listings:
            for key in self.by_key:
                exchange.market(listing).book.listen(key, self._heard(listing))

    def advance(self, now_ns: int, wanted: Container[Channel] = ()) -> list[Message]:
        """Let everything happen that is due by `now_ns`; return what the public streams say.

        `take` tells what user streams say. Neither depends on how a span of time is divided into calls.
        """
        messages: list[Message] = []
        while (
            due := min([self._funded_ns, *(one[0] for one in self._countdowns.values())])
        ) <= now_ns:
            messages += self._advance(due, wanted)
            for key, (ends, account, listing) in sorted(self._countdowns.items()):
                if ends <= due:
                    del self._countdowns[key]
                    self.counted_down |= {one.client_id for one in account.open_orders(listing)}
                    self.cancel_all(account, listing)
            if self._funded_ns <= due:
                self._fund()
                self._funded_ns = self._next_funding_ns(due)
        return messages + self._advance(now_ns, wanted)

    def _advance(self, now_ns: int, wanted: Container[Channel]) -> list[Message]:
        self.now_ns = max(self.now_ns, now_ns)
        return self.exchange.advance(self.now_ns, wanted)

    def take(self) -> list[Said]:
        """Return the events of user streams since the last call, in order."""
        said, self._said = self._said, []
        return said

    def restart(self) -> None:
        """Let the exchange begin anew; orders that would trade at once in its new books expire."""
        self.exchange.restart()
        for account in self.by_key.values():
            for listing in self.listings():
                for order in account.open_orders(listing):
                    if self._book(listing).order(order.order_id) is None:
                        self._close(account, order, Status.EXPIRED)

    def listings(self, market: str | None = None) -> list[Listing]:
        """Return what accounts can trade."""
        return [one for one in self.exchange.listings if market in {None, one.market}]

    # --- orders ----------------------------------------------------------------------------------

    def check(self, account: Account, listing: Listing, asked: Placing) -> None:
        """Refuse an order for what can be said without looking at the account's money."""
        if not account.config.can_trade:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if listing.halted:
            if listing.market == SPOT:
                raise Refused(-2010, "Market is closed.")
            raise Refused(-4140, "Invalid symbol status for opening position.")
        if listing.market != SPOT and (asked.position_side != "BOTH" or account.hedge_mode):
            # Hedge mode can be switched on, to see what a client makes of it; it is not traded here.
            raise Refused(-4061, "Order's position side does not match user's setting.")
        opposite = self._book(listing).best(_OTHER[asked.side])
        filters.check(
            listing,
            asked,
            self.mark(listing),
            None if opposite is None else listing.tick * opposite,
            len(account.open_orders(listing)),
        )

    def place(self, account: Account, listing: Listing, asked: Placing) -> AccountOrder:
        """Take in an order; return it as it is after what it traded at once."""
        self.check(account, listing, asked)
        known = account.named(listing, asked.client_id) if asked.client_id else None
        if known is not None and known.open:
            if listing.market == SPOT:
                raise Refused(-2010, "Duplicate order sent.")
            raise Refused(-4116, "ClientOrderId is duplicated.")
        book = self._book(listing)
        price = None if asked.price is None else int(asked.price / listing.tick)
        lots = int(asked.quantity / listing.lot)
        spot = listing.market == SPOT
        if asked.reduce_only:
            self._check_reduces(account, listing, asked)
        if asked.post_only and book.crosses(asked.side, price):
            if spot:
                raise Refused(-2010, WOULD_TAKE)
            raise Refused(
                -5022,
                "Due to the order could not be executed as maker, the Post Only order will be rejected. "
                "The order will not be recorded in the order history",
            )
        takes = _takes(book, asked.side, price, lots)
        if asked.lasting is Lasting.FOK and sum(count for _, count in takes) < lots:
            if not spot:
                raise Refused(
                    -5021,
                    "Due to the order could not be filled immediately, the FOK order has been rejected. "
                    "The order will not be recorded in the order history",
                )
            takes = []
        order = AccountOrder(
            book.next_ids[0], listing, asked, asked.client_id or self._name(), self.now_ns
        )
        if spot:
            self._lock(account, order, takes)
        else:
            self._check_margin(account, order)
        if self.hide_next_ns:
            order.hidden_until_ns, self.hide_next_ns = self.now_ns + self.hide_next_ns, 0
        account.add(order)
        self._tell(account, order, "NEW")
        at_once = asked.kind is OrderKind.MARKET or asked.lasting in {Lasting.IOC, Lasting.FOK}
        if asked.lasting is not Lasting.FOK or takes:
            self.exchange.submit(
                listing,
                account.key,
                asked.side,
                price,
                lots,
                time_in_force=TimeInForce.IOC if at_once else TimeInForce.GTC,
            )
        if at_once and order.open:
            self._close(account, order, Status.EXPIRED)
        return order

    def cancel(self, account: Account, order: AccountOrder, cancel_id: str = "") -> AccountOrder:
        """Take an order off the book."""
        if not account.config.can_trade:
            raise Refused(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        if not order.open:
            raise Refused(-2011, "Unknown order sent.")
        self.exchange.cancel(order.listing, account.key, order.order_id)
        order.cancel_id = cancel_id or self._name()
        self._close(account, order, Status.CANCELED)
        return order

    def cancel_all(self, account: Account, listing: Listing) -> list[AccountOrder]:
        """Take every order of a symbol off the book, oldest first; return them."""
        return [self.cancel(account, order) for order in account.open_orders(listing)]

    def reduce(
        self, account: Account, order: AccountOrder, quantity: Decimal, client_id: str = ""
    ) -> AccountOrder:
        """Lower an order's quantity; it keeps its place in the queue. Spot.

        It has `client_id` from now on, or one that is made up, as Binance does.
        """
        if not order.open:
            raise Refused(-2013, "Order does not exist.")
        if quantity >= order.quantity or quantity <= order.executed:
            raise Refused(-2038, "Order amend (quantity increase) is not supported.")
        self.check(account, order.listing, order.asked._replace(quantity=quantity))
        less = order.quantity - quantity
        listing = order.listing
        self._book(listing).reduce(order.order_id, int(less / listing.lot))
        self.exchange.market(listing).publish(self.now_ns)
        order.quantity, order.updated_ns = quantity, self.now_ns
        freed = less * (order.price if order.asked.side is Side.BUY else 1)
        order.locked -= freed
        account.spot.lock(self._paying(order), -freed)
        account.rename(order, client_id or self._name())
        self._tell(account, order, "REPLACED")
        return order

    def amend(
        self, account: Account, order: AccountOrder, price: Decimal, quantity: Decimal
    ) -> AccountOrder:
        """Give an order another price and quantity; it goes to the end of the queue. Contracts."""
        listing = order.listing
        if not order.open:
            raise Refused(-2013, "Order does not exist.")
        if (price, quantity) == (order.price, order.quantity):
            raise Refused(-5027, "No need to modify the order.")
        self.check(account, listing, order.asked._replace(price=price, quantity=quantity))
        if quantity <= order.executed:
            # What has been traded is more than is wanted: there is nothing left to stand.
            return self.cancel(account, order)
        if order.asked.reduce_only and quantity > order.quantity:
            raise Refused(-2022, "ReduceOnly Order is rejected.")
        old = order.price, order.quantity
        order.price, order.quantity = price, quantity
        try:
            self._check_margin(account, order, listed=True)
        except Refused:
            order.price, order.quantity = old
            raise
        order.updated_ns = self.now_ns
        self._tell(account, order, "AMENDMENT")
        stands = self._book(listing).amend(
            order.order_id,
            int(price / listing.tick),
            int(order.remaining / listing.lot),
            self.now_ns,
            post_only=order.asked.post_only,
        )
        self.exchange.market(listing).publish(self.now_ns)
        if not stands:
            order.cancel_id = self._name()
            self._close(account, order, Status.CANCELED)
        return order

    def countdown(self, account: Account, listing: Listing, ms: int) -> None:
        """Cancel every order of a symbol in `ms`, unless this is called again; 0 stops it. Contracts."""
        key = (account.key, listing.symbol)
        self._countdowns.pop(key, None)
        if ms:
            self._countdowns[key] = (self.now_ns + ms * _MS, account, listing)

    def find(
        self,
        account: Account,
        listing: Listing,
        order_id: int | None,
        client_id: str = "",
        *,
        hidden: bool = False,
    ) -> AccountOrder | None:
        """Return an order by the exchange's number or else by the client's name; `None` if there is none, or, unless
        `hidden`, none yet that is told of.
        """
        order = (
            account.order(listing, order_id)
            if order_id is not None
            else account.named(listing, client_id)
        )
        return None if order is None or (self.hidden(order) and not hidden) else order

    def hidden(self, order: AccountOrder) -> bool:
        """Return whether nobody is told of an order yet."""
        return self.now_ns < order.hidden_until_ns

    # --- money -----------------------------------------------------------------------------------

    def mark(self, listing: Listing) -> Decimal | None:
        """Return the price halfway between the best ones; `None` if a side is empty."""
        book = self._book(listing)
        bid, ask = book.best(Side.BUY), book.best(Side.SELL)
        return None if bid is None or ask is None else listing.tick * (bid + ask) / 2

    def margins(self, account: Account, listing: Listing) -> tuple[Decimal, Decimal]:
        """Return the margin that a position needs, and what it needs together with the open orders.

        Orders on the side that costs more count: Binance USD-M Futures FAQ, "How to calculate cost required
        to open a position".
        """
        position = account.position(listing)
        mark = self.mark(listing)
        value = position.value(mark)
        bids, asks = accountpayload.open_value(account.open_orders(listing))
        both = max(abs(value + bids), abs(value - asks))
        return abs(value) / position.leverage, both / position.leverage

    def equity(self, account: Account, asset: str, market: str = USDM) -> Decimal:
        """Return what a wallet of contracts is worth: with the unrealised profit of the positions."""
        worth = account.wallets[market].get(asset, ZERO)
        for listing in self.listings(market):
            mark = self.mark(listing)
            if listing.settle == asset and mark is not None:
                worth += account.position(listing).unrealised(mark)
        return worth

    def committed(self, account: Account, asset: str, market: str = USDM) -> Decimal:
        """Return the margin of all positions and orders that an asset stands for."""
        return sum(
            (
                self.margins(account, listing)[1]
                for listing in self.listings(market)
                if listing.settle == asset
            ),
            ZERO,
        )

    def _next_funding_ns(self, now_ns: int) -> int:
        return self.exchange.funding.next_ms(now_ns // _MS) * _MS

    def _fund(self) -> None:
        """Let the holders of contracts pay each other what is due now, at the mark price of now."""
        rate = self.exchange.funding.rate
        for listing in self.listings():
            for account in self.by_key.values() if listing.market in FUTURES else ():
                position = account.positions.get(listing.symbol)
                if position is None or not position.quantity:
                    continue
                # As everywhere here: without a mark price what it was entered at stands in.
                mark = self.mark(listing) or position.entry
                amount = payment(listing.contract, position.quantity, mark, rate)
                if amount:
                    account.fund(listing, amount, self.now_ns)
                    now_ms = self.now_ns // _MS
                    event = accountpayload.funding_update(account, listing, amount, now_ms)
                    self._said.append(Said(account.key, listing.market, event))

    def _check_margin(self, account: Account, order: AccountOrder, listed: bool = False) -> None:
        """Refuse an order that needs more margin than there is, unless it needs less than before."""
        if order.asked.reduce_only:
            return
        listing = order.listing
        position = account.position(listing)
        mark = self.mark(listing)
        bids, asks = accountpayload.open_value(
            one for one in account.open_orders(listing) if one is not order
        )
        worth = listing.contract.worth(order.price or mark or ZERO, order.remaining)
        value = position.value(mark)
        before = max(abs(value + bids), abs(value - asks))
        if order.asked.side is Side.BUY:
            bids += worth
        else:
            asks += worth
        after = max(abs(value + bids), abs(value - asks))
        committed = self.committed(account, listing.settle, listing.market)
        if listed:
            # The order itself, as it is to be, is among the open ones already.
            committed -= (after - before) / position.leverage
        needed = committed + (after - before) / position.leverage
        if after > before and needed > self.equity(account, listing.settle, listing.market):
            raise Refused(-2019, "Margin is insufficient.")

    def _check_reduces(self, account: Account, listing: Listing, asked: Placing) -> None:
        held = account.position(listing).quantity
        waiting = sum(
            (one.remaining for one in account.open_orders(listing) if one.asked.reduce_only), ZERO
        )
        if held * asked.side.sign >= 0 or asked.quantity + waiting > abs(held):
            raise Refused(-2022, "ReduceOnly Order is rejected.")

    def _lock(self, account: Account, order: AccountOrder, takes: list[tuple[int, int]]) -> None:
        """Hold back what an order on spot may cost."""
        listing, asked = order.listing, order.asked
        if asked.side is Side.SELL:
            order.locked = order.quantity
        elif asked.price is not None:
            order.locked = asked.price * order.quantity
        else:
            order.locked = sum(
                (listing.tick * price * listing.lot * lots for price, lots in takes), ZERO
            )
        paying = self._paying(order)
        if account.spot.of(paying).free < order.locked:
            raise Refused(-2010, NO_FUNDS)
        account.spot.lock(paying, order.locked)

    @staticmethod
    def _paying(order: AccountOrder) -> str:
        return order.listing.quote if order.asked.side is Side.BUY else order.listing.base

    # --- what becomes of orders --------------------------------------------------------------------

    def _heard(self, listing: Listing) -> Any:
        def hear(report: Report) -> None:
            if report.kind is ReportKind.FILLED:
                account = self.by_key[report.owner]
                order = account.order(listing, report.order_id)
                assert order is not None  # it was added before it went to the book
                self._filled(account, order, report)

        return hear

    def _filled(self, account: Account, order: AccountOrder, report: Report) -> None:
        listing, side = order.listing, order.asked.side
        price, quantity = listing.tick * report.price, listing.lot * report.quantity
        maker, taker = account.fees(listing.market)
        assert report.liquidity is not None  # fills have one
        rate = maker if report.liquidity is Liquidity.MAKER else taker
        spot = listing.market == SPOT
        in_base = spot and side is Side.BUY
        value = listing.contract.worth(price, quantity)
        fee = cut((quantity if in_base else value) * rate)
        profit = ZERO
        if not spot:
            profit = account.position(listing).trade(side, price, quantity, report.ts)
        trade = AccountTrade(
            report.trade_id,
            report.ts,
            price,
            quantity,
            value,
            fee,
            listing.base if in_base else listing.quote if spot else listing.settle,
            report.liquidity,
            profit,
        )
        order.add(trade)
        account.trades.append(Traded(order, trade))
        if spot:
            self._paid(account, order, trade)
        else:
            wallet = account.wallets[listing.market]
            wallet[listing.settle] = wallet.get(listing.settle, ZERO) + profit - fee
            account.note(EntryKind.PROFIT, listing.settle, profit, order, trade)
        account.note(EntryKind.FEE, trade.fee_asset, -fee, order, trade)
        if not order.open:
            account.closed(order)
            if spot:
                self._let_go(account, order)
        self._tell(account, order, "TRADE", trade)
        if not spot:
            self._expire_what_no_longer_reduces(account, listing, order)

    def _paid(self, account: Account, order: AccountOrder, trade: AccountTrade) -> None:
        """Exchange quote for base currency, or the other way round."""
        listing, wallet = order.listing, account.spot
        base, quote = wallet.of(listing.base), wallet.of(listing.quote)
        if order.asked.side is Side.BUY:
            held = (order.price or trade.price) * trade.quantity
            order.locked -= held
            quote.locked -= held
            quote.free += held - trade.value
            base.free += trade.quantity - trade.fee
        else:
            order.locked -= trade.quantity
            base.locked -= trade.quantity
            quote.free += trade.value - trade.fee
        sign = order.asked.side.sign
        account.note(EntryKind.TRADE, listing.base, sign * trade.quantity, order, trade)
        account.note(EntryKind.TRADE, listing.quote, -sign * trade.value, order, trade)

    def _let_go(self, account: Account, order: AccountOrder) -> None:
        account.spot.lock(self._paying(order), -order.locked)
        order.locked = ZERO

    def _close(self, account: Account, order: AccountOrder, status: Status) -> None:
        order.status, order.updated_ns = status, self._time(order.listing)
        account.closed(order)
        if order.listing.market == SPOT:
            self._let_go(account, order)
        self._tell(account, order, status.value)

    def _expire_what_no_longer_reduces(
        self, account: Account, listing: Listing, traded: AccountOrder
    ) -> None:
        """Take reduce-only orders off the book that are for more than there is left to reduce."""
        held = account.position(listing).quantity
        for order in account.open_orders(listing):
            if not order.asked.reduce_only or order is traded:
                continue
            if held * order.asked.side.sign >= 0 or order.remaining > abs(held):
                # Not through the exchange: it may be in the middle of matching.
                self._book(listing).cancel(order.order_id, self._time(listing), account.key)
                self._close(account, order, Status.EXPIRED)

    def _tell(
        self, account: Account, order: AccountOrder, what: str, trade: AccountTrade | None = None
    ) -> None:
        listing = order.listing
        now_ms = order.updated_ns // _MS
        if listing.market == SPOT:
            self._executions += 1
            events = [
                accountpayload.execution_report(order, what, self._executions, trade),
                accountpayload.account_position(account, (listing.base, listing.quote), now_ms),
            ]
        else:
            events = [accountpayload.order_trade_update(account, order, what, trade)]
            if trade is not None:
                mark = self.mark(listing) or trade.price
                events.insert(0, accountpayload.account_update(account, listing, mark, now_ms))
        self._said += [Said(account.key, listing.market, event) for event in events]

    def _book(self, listing: Listing) -> MatchingBook:
        return self.exchange.market(listing).book

    def _time(self, listing: Listing) -> int:
        # A market is behind `now_ns` while it is being advanced.
        return self.exchange.market(listing).now_ns

    def _name(self) -> str:
        self._names += 1
        return f"sandbox-{self._names}"


def _takes(book: MatchingBook, side: Side, price: int | None, lots: int) -> list[tuple[int, int]]:
    """Return at which prices an order would trade at once, and how many lots at each."""
    found: list[tuple[int, int]] = []
    for level, total in book.levels(_OTHER[side]):
        if lots == 0 or (price is not None and (price - level) * side.sign < 0):
            break
        taken = min(lots, total)
        found.append((level, taken))
        lots -= taken
    return found


_OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}
