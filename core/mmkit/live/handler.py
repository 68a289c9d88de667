"""The order handling of a real venue: from what is decided and what the venue says to what is known.

No I/O, no clock: commands, answers, events and time are handed in, and what follows is taken out of `take`. Whoever
drives it has to keep one order: what is to be written is on the disk before a request leaves. Then at whatever moment
the process dies, the journal names every order that the venue may have.

What it keeps to:

- An order is sent once. If its answer does not come it is asked for, by its client order id, until the venue's own
  record says what became of it. "No such order" is no such record: Binance has shown an order half an hour late.
- Until then it counts as exposure. After `LOST_AFTER_NS` the engine is told that it is lost, quotes without it, and
  the handler has it canceled.
- An amend is sent once, too, and no other of that order until its fate is known. Until then the order counts with the
  larger of both quantities, and is not over by what was traded alone. The record's price and quantity decide; an old one
  of the order as it was proves nothing before the amend cannot arrive any more. After `LOST_AFTER_NS` the order is
  canceled, whose end settles the amend as well.
- A cancel is asked for again until the venue's record says that the order is gone.
- An order is over once its fills, each told by the venue with a number of its own, add up to what the venue's record
  says was traded. So no fill is told twice, after the end, or not at all, in whatever order answers and events come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from mmkit.accounts import (
    Amendment,
    FillRecord,
    FundingRecord,
    OrderRecord,
    OrderState,
    OrderUpdate,
    Placement,
    Refusal,
    Refused,
)
from mmkit.commands import AmendOrder, AnyCommand, OrderType, SubmitOrder
from mmkit.events import (
    AmendRejected,
    CancelRejected,
    Liquidity,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderFilled,
    OrderLost,
    OrderRejected,
    Side,
    VenueEvent,
)
from mmkit.instruments import Instrument
from mmkit.live.fees import in_base, in_settlement
from mmkit.live.fundings import Fundings
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.requests import (
    Amend,
    AskFills,
    AskFundings,
    AskOpen,
    AskOrder,
    Cancel,
    Place,
    Request,
)
from mmkit.live.retry import FIRST_WAIT_NS, Retry
from mmkit.tape import NEVER

_MS = 1_000_000
_S = 1000 * _MS

LOST_AFTER_NS = 3 * _S
"""How long an order's side waits for its fate before it is quoted without it."""
CHECK_NS = 30 * _S
"""How often everything that is on the book is looked at, whatever the user stream says."""
FILL_GRACE_NS = 500 * _MS
"""How long after a record that tells of a trade the trade itself may come by the user stream; then it is asked for."""
VALID_NS = 20 * _S
"""After so long an order that was written down cannot arrive any more: it leaves within 10 s or not at all (the time limit of
a request), and no venue takes a request of which it knows that it is older than 10 s (Binance: ``recvWindow``)."""
OVERLAP_NS = 60 * _S
"""How far back before the last known fill is asked, as clocks differ and trades are listed late."""
MOST_OVER = 10_000
"""So many of the orders that are over are remembered, for what is still told of them."""
_PROOF_WAIT_NS = 2 * _S
"""How soon what had no answer is asked again, when its answer is part of a proof."""


class Taken(NamedTuple):
    """What follows from what was handed in, in the order in which it is to be done.

    Attributes:
        orders: To be written, each as it is now.
        fills: To be written.
        requests: To be sent, once that is on the disk.
        events: To be told to the engine.
        problems: Why nothing may be quoted until somebody has looked at it.
        fundings: To be written, as orders and fills are.
    """

    orders: list[KnownOrder]
    fills: list[KnownFill]
    requests: list[Request]
    events: list[VenueEvent]
    problems: list[str]
    fundings: list[FundingRecord]


class OrderHandler:
    """Every order of a run at one venue and market, and those of earlier runs that are not over.

    Args:
        instrument: What is traded.
        tag: Begins the client order ids of this run; no other run has it.
        start_ns: When the run begins, by its clock.
        known: The orders of earlier runs that were not over.
        trades: The fills of those that are known already, each by client order id and trade id: if two of our orders trade
            with each other, both of their fills have the trade's one number.
        fills_since_ns: By the venue's clock: from here on fills may be missing.
        fundings: Payments that are known already; none are asked for without.
    """

    def __init__(
        self,
        instrument: Instrument,
        tag: str,
        start_ns: int,
        known: Iterable[KnownOrder] = (),
        trades: Iterable[tuple[str, str]] = (),
        fills_since_ns: int = 0,
        fundings: Fundings | None = None,
    ) -> None:
        self._instrument, self._tag = instrument, tag
        self._now = start_ns
        self.orders: dict[str, KnownOrder] = {}
        """Those that are not over, by client order id."""
        self.foreign: dict[str, OrderRecord] = {}
        """What is on the book and not ours, as it was last seen; it is left alone."""
        self._over: dict[str, KnownOrder] = {}
        self._venue_ids: dict[str, str] = {}
        self._trades: dict[str, set[str]] = {}
        """The ids of the trades that are known, by client order id."""
        for client_id, trade_id in trades:
            self._trades.setdefault(client_id, set()).add(trade_id)
        self._fills_since_ns = fills_since_ns
        self._clocks_apart_ns = 0
        self._asks: dict[str, Retry] = {}
        self._cancels: dict[str, Retry] = {}
        self._amends: dict[str, int] = {}
        """When an order whose amend is still of unknown fate is canceled."""
        self._asked_to_amend: set[str] = set()
        """Whose amend the engine has not had an answer to."""
        self._fills = Retry(NEVER)
        self.fundings = Fundings() if fundings is None else fundings
        self._new_fundings: list[FundingRecord] = []
        self._check = Retry(NEVER)
        self._accepted: set[str] = set()
        self._asked_to_cancel: set[str] = set()
        """Whose cancel the engine has not had an answer to."""
        self._told_canceled: set[str] = set()
        """Those whose end the engine was told as a cancel."""
        self._dirty: dict[str, KnownOrder] = {}
        self._new_fills: list[KnownFill] = []
        self._requests: list[Request] = []
        self._events: list[VenueEvent] = []
        self._problems: list[str] = []
        for order in known:
            self._recover(order)
        if self.orders or fills_since_ns:
            self._ask_fills(start_ns)
        self._check.due_ns = start_ns

    def clocks_apart(self, apart_ns: int) -> None:
        """Take in how far the venue's clock is from ours, either way; the farthest that it has been counts.

        Fills are asked for by the venue's clock, from times of which some are ours.
        """
        self._clocks_apart_ns = max(self._clocks_apart_ns, apart_ns)

    # --- what comes of it ---

    def take(self) -> Taken:
        """Return what is to be done now, each thing once."""
        taken = Taken(
            [replace(order) for order in self._dirty.values()],
            self._new_fills,
            self._requests,
            self._events,
            self._problems,
            self._new_fundings,
        )
        self._dirty, self._new_fills, self._requests = {}, [], []
        self._new_fundings = []
        self._events, self._problems = [], []
        return taken

    @property
    def sure(self) -> bool:
        """Whether all is known that has been asked for, but for lost orders of this run, which the engine counts as such.

        Of an order of an earlier run the engine knows nothing: it has to be over.
        """
        return (
            self._fills.due_ns == NEVER
            and not self._fills.under_way
            and not self._check.under_way
            and self._check.due_ns > self._now
            and not any(
                order.stage is Stage.UNSURE
                or order.filled < order.executed
                or not order.order_id
                or (client_id in self._asks and order.stage is not Stage.LOST)
                for client_id, order in self.orders.items()
            )
        )

    def exposure(self) -> tuple[int, int]:
        """Return the lots that buys, and sells, may still trade, those of earlier runs included."""
        reach = {Side.BUY: 0, Side.SELL: 0}
        for order in self.orders.values():
            reach[order.side] += order.remaining
        return reach[Side.BUY], reach[Side.SELL]

    def is_ours(self, client_id: str) -> bool:
        """Return whether an order is of this run, or of an earlier one that was not over."""
        return client_id in self.orders or client_id in self._over

    def denied_ns(self, client_id: str) -> int:
        """Return when the venue had denied an order and refused its cancel, both asked after it could arrive; or `NEVER`."""
        asked, canceled = self._asks.get(client_id), self._cancels.get(client_id)
        if asked is None or canceled is None:
            return NEVER
        return max(asked.denied_ns, canceled.denied_ns)

    def want_fills(self, now_ns: int) -> None:
        """Ask for the latest trades, as something does not add up."""
        self._now = now_ns
        self._ask_fills(now_ns)

    def client_id(self, order_id: int) -> str:
        """Return the client order id of one of the engine's orders of this run."""
        return f"{self._tag}-{order_id}"

    # --- what is decided ---

    def command(self, command: AnyCommand, now_ns: int) -> None:
        """Take in what the engine wants done."""
        self._now = now_ns
        if isinstance(command, SubmitOrder):
            self._submit(command)
            return
        if isinstance(command, AmendOrder):
            self._amend(command)
            return
        client_id = self.client_id(command.order_id)
        order = self.orders.get(client_id)
        if order is None:
            # It has ended while the cancel was on its way from the engine. That it was canceled, of which the engine is
            # about to hear, answers the cancel as well.
            if client_id not in self._told_canceled:
                self._events.append(self._cancel_rejected(command.order_id, "the order is over"))
            return
        self._asked_to_cancel.add(client_id)
        self._want_cancel(order)

    def cancel_all(self, now_ns: int) -> None:
        """Have every order canceled; the engine, which has not asked for it, hears of their end all the same."""
        self._now = now_ns
        for order in self.orders.values():
            self._want_cancel(order)

    def _submit(self, command: SubmitOrder) -> None:
        order = KnownOrder(
            client_id=self.client_id(command.order_id),
            order_id=command.order_id,
            side=command.side,
            price=command.price,
            quantity=command.quantity,
            time_in_force=command.time_in_force,
            intended_ns=self._now,
            order_type=command.order_type,
            reduce_only=command.reduce_only,
        )
        self.orders[order.client_id] = order
        self._dirty[order.client_id] = order
        placement = Placement(
            client_id=order.client_id,
            side=order.side,
            price=(
                self._instrument.price(order.price) if order.order_type is OrderType.LIMIT else None
            ),
            quantity=self._instrument.quantity(order.quantity),
            time_in_force=order.time_in_force,
            reduce_only=order.reduce_only,
        )
        self._requests.append(Place(placement))

    def _amend(self, command: AmendOrder) -> None:
        client_id = self.client_id(command.order_id)
        order = self.orders.get(client_id)
        if order is None or order.end is not None or order.cancel_wanted:
            self._events.append(
                self._amend_rejected(command.order_id, "the order is over, or to go")
            )
            return
        if order.stage is not Stage.OPEN or order.amending:
            self._events.append(
                self._amend_rejected(command.order_id, "it is not known what the order is now")
            )
            return
        order.amend_price, order.amend_quantity = command.price, command.quantity
        order.amended_ns = self._now
        self._dirty[client_id] = order
        self._asked_to_amend.add(client_id)
        self._amends[client_id] = self._now + LOST_AFTER_NS
        instrument = self._instrument
        self._requests.append(
            Amend(
                Amendment(
                    client_id=client_id,
                    side=order.side,
                    price=instrument.price(command.price),
                    quantity=instrument.quantity(command.quantity),
                )
            )
        )

    # --- what an amend came to ---

    def amended(self, client_id: str, record: OrderRecord | None, now_ns: int) -> None:
        """Take in that the venue has changed an order, with its record if it sent one."""
        self._now = now_ns
        if record is not None:
            self.record(record, now_ns)
        order = self.orders.get(client_id)
        if order is not None and order.amending:
            self._ask(order)

    def amend_refused(self, client_id: str, refused: Refused, now_ns: int) -> None:
        """Take in that the venue did not change an order."""
        self._now = now_ns
        order = self.orders.get(client_id)
        if order is None:
            return
        if order.amending:
            self._amend_settled(order, f"{refused.refusal}: {refused}")
        if refused.refusal is Refusal.NO_SUCH_ORDER:
            self._ask(order)
        self._settle(order)

    def amend_unanswered(self, client_id: str, now_ns: int) -> None:
        """Take in that nobody knows whether the venue has changed an order."""
        self._now = now_ns
        order = self.orders.get(client_id)
        if order is not None and order.amending:
            self._ask(order)

    def _take_terms(self, order: KnownOrder, record: OrderRecord) -> None:
        """See what the record says of price and quantity, of an order that an amend has ever been sent for."""
        over = record.state is not OrderState.OPEN
        if not order.amended_ns or (record.ts_ns < order.terms_ns and not over):
            return
        terms = self._instrument.ticks(record.price), self._instrument.lots(record.quantity)
        if order.amending and terms == (order.amend_price, order.amend_quantity):
            self._amend_settled(order, "")
        elif terms != (order.price, order.quantity) and (over or record.ts_ns > order.terms_ns):
            # One that was believed not to have been done, or somebody else's.
            order.price, order.quantity = terms
            self._dirty[order.client_id] = order
            if order.order_id:
                self._events.append(self._order_amended(order))
        if over and order.amending:
            self._amend_settled(order, "the order is over")
        order.terms_ns = max(order.terms_ns, record.ts_ns)

    def _still_amending(self, order: KnownOrder, retry: Retry) -> None:
        """See what it proves that a record which was asked for tells of the order as it was."""
        valid_ns = order.amended_ns + VALID_NS
        if retry.asked_ns >= valid_ns:
            self._amend_settled(order, "it has not arrived")
            self._settle(order)
            return
        retry.again(self._now)
        retry.due_ns = min(retry.due_ns, max(self._now, valid_ns))
        self._asks[order.client_id] = retry

    def _amend_settled(self, order: KnownOrder, refused: str) -> None:
        """Take in what became of an amend: done if `refused` says nothing."""
        if not refused:
            order.price, order.quantity = order.amend_price, order.amend_quantity
        order.amend_price = order.amend_quantity = 0
        self._dirty[order.client_id] = order
        self._amends.pop(order.client_id, None)
        if order.client_id not in self._asked_to_amend:
            return
        self._asked_to_amend.discard(order.client_id)
        if refused:
            self._events.append(self._amend_rejected(order.order_id, refused))
        else:
            self._events.append(self._order_amended(order))

    def _order_amended(self, order: KnownOrder) -> OrderAmended:
        return OrderAmended(
            ts_exchange=self._now,
            ts_local=self._now,
            order_id=order.order_id,
            price=order.price,
            quantity=order.quantity,
            remaining=max(order.remaining, 0),
        )

    def _amend_rejected(self, order_id: int, reason: str) -> AmendRejected:
        return AmendRejected(
            ts_exchange=self._now, ts_local=self._now, order_id=order_id, reason=reason
        )

    def _want_cancel(self, order: KnownOrder) -> None:
        if not order.cancel_wanted:
            order.cancel_wanted = True
            self._dirty[order.client_id] = order
        if order.end is None and order.client_id not in self._cancels:
            retry = self._cancels[order.client_id] = Retry(NEVER)
            self._send_cancel(order.client_id, retry)

    def _send_cancel(self, client_id: str, retry: Retry) -> None:
        retry.asked(self._now)
        self._requests.append(Cancel(client_id))

    # --- what a placement came to ---

    def placed(self, record: OrderRecord, now_ns: int) -> None:
        """Take in the venue's answer to a placement."""
        self.record(record, now_ns)

    def place_refused(self, client_id: str, refused: Refused, now_ns: int) -> None:
        """Take in that the venue did not take the order."""
        self._now = now_ns
        order = self.orders.get(client_id)
        if order is None:
            return
        if refused.refusal is Refusal.DUPLICATE or order.venue_id:
            # The venue has, or has had, an order with this id: it can only be this one.
            self._unsure(order, f"refused, and yet there: {refused}")
            return
        self._end(order, OrderState.REJECTED, f"{refused.refusal}: {refused}")

    def place_unanswered(self, client_id: str, why: str, now_ns: int) -> None:
        """Take in that nobody knows whether the venue took the order."""
        self._now = now_ns
        order = self.orders.get(client_id)
        if order is not None:
            self._unsure(order, why)

    def _unsure(self, order: KnownOrder, why: str) -> None:
        if order.stage is Stage.INTENDED:
            order.stage, order.why = Stage.UNSURE, why
            self._dirty[order.client_id] = order
        self._ask(order)

    # --- what a cancel came to ---

    def canceled(self, client_id: str, record: OrderRecord | None, now_ns: int) -> None:
        """Take in that the venue has taken an order off the book, with its record if it sent one."""
        self._now = now_ns
        if record is not None:
            self.record(record, now_ns)
        self._cancel_again(client_id)

    def cancel_refused(self, client_id: str, refused: Refused, now_ns: int) -> None:
        """Take in that the venue did not cancel; most often there is nothing left, and its record says what there was."""
        self._now = now_ns
        retry = self._cancels.get(client_id)
        if refused.refusal is Refusal.NO_SUCH_ORDER and retry is not None:
            retry.denied(now_ns, self.orders[client_id].intended_ns + VALID_NS)
        self._cancel_again(client_id, refused.retry_ns)

    def cancel_unanswered(self, client_id: str, now_ns: int) -> None:
        """Take in that nobody knows whether the venue has canceled."""
        self._now = now_ns
        self._cancel_again(client_id)

    def _cancel_again(self, client_id: str, least_ns: int = 0) -> None:
        retry = self._cancels.get(client_id)
        if retry is not None:
            # Until its record says that it is gone it is not, whatever the answer was.
            retry.again(self._now, least_ns)
            if not least_ns:
                self._in_time(client_id, retry)
            self._ask(self.orders[client_id])

    # --- what the venue's record says ---

    def order_told(self, client_id: str, record: OrderRecord | None, now_ns: int) -> None:
        """Take in the answer to `AskOrder`."""
        self._now = now_ns
        if record is not None:
            retry = self._asks.pop(client_id, None)
            over = self._over.get(client_id)
            if over is not None and self._should_not_be(over, record):
                self._come_back(over)
            self.record(record, now_ns)
            there = self.orders.get(client_id)
            if there is not None and there.amending and retry is not None:
                self._still_amending(there, retry)
            return
        order = self.orders.get(client_id)
        if order is None:
            self._asks.pop(client_id, None)
            return
        if client_id in self._asks:
            self._asks[client_id].denied(now_ns, order.intended_ns + VALID_NS)
        self._asked_for(client_id)
        if order.stage is Stage.UNSURE and now_ns >= order.intended_ns + LOST_AFTER_NS:
            self._lose(order, "the venue knows of no such order, which may be too early to say")

    def order_unanswered(self, client_id: str, now_ns: int) -> None:
        """Take in that `AskOrder` was refused or not answered."""
        self._now = now_ns
        self._asked_for(client_id)
        order = self.orders.get(client_id)
        if (
            order is not None
            and order.stage is Stage.UNSURE
            and now_ns >= order.intended_ns + LOST_AFTER_NS
        ):
            self._lose(order, "the venue does not answer")

    def _asked_for(self, client_id: str) -> None:
        retry = self._asks.get(client_id)
        if retry is not None:
            retry.again(self._now)
            self._in_time(client_id, retry)

    def _in_time(self, client_id: str, retry: Retry) -> None:
        """Ask as soon as the answer can prove something."""
        order = self.orders.get(client_id)
        if order is None:
            return
        valid_ns = order.intended_ns + VALID_NS
        if retry.asked_ns < valid_ns:
            retry.due_ns = min(retry.due_ns, max(self._now, valid_ns))
        elif order.stage is Stage.LOST and retry.denied_ns == NEVER:
            retry.due_ns = min(retry.due_ns, self._now + _PROOF_WAIT_NS)

    def _lose(self, order: KnownOrder, why: str) -> None:
        order.stage, order.why = Stage.LOST, why
        self._dirty[order.client_id] = order
        if order.order_id:
            self._events.append(
                OrderLost(
                    ts_exchange=self._now, ts_local=self._now, order_id=order.order_id, reason=why
                )
            )
        self._want_cancel(order)

    def update(self, update: OrderUpdate, now_ns: int) -> None:
        """Take in what the user stream says of an order."""
        if update.fill is not None:
            self.fill(update.fill, now_ns, update.record.client_id)
        self.record(update.record, now_ns)

    def record(self, record: OrderRecord, now_ns: int) -> None:
        """Take in the venue's record of an order, in whatever order with others."""
        self._now = now_ns
        order = self.orders.get(record.client_id)
        if order is None:
            self._of_no_order(record)
            return
        executed = self._lots(record)
        self._take_terms(order, record)
        if record.venue_id and record.venue_id != order.venue_id:
            order.venue_id = record.venue_id
            self._venue_ids[record.venue_id] = order.client_id
            self._dirty[order.client_id] = order
        if executed > order.executed:
            order.executed = executed
            self._dirty[order.client_id] = order
        if record.state is not OrderState.OPEN and order.end is None:
            order.end = record.state
            self._asks.pop(order.client_id, None)
            self._cancels.pop(order.client_id, None)
            self._dirty[order.client_id] = order
        if order.end is None and order.stage is not Stage.OPEN:
            self._found(order)
        self._settle(order)

    def _found(self, order: KnownOrder) -> None:
        """It is on the book."""
        lost = order.stage is Stage.LOST
        order.stage, order.why = Stage.OPEN, ""
        self._dirty[order.client_id] = order
        if not lost:
            self._accept(order)
        if lost or not order.order_id:
            self._want_cancel(order)

    def _of_no_order(self, record: OrderRecord) -> None:
        over = self._over.get(record.client_id)
        if over is not None:
            if self._lots(record) > over.filled:
                self._trade_after_the_end(over)
            elif self._should_not_be(over, record):
                # It may be a word of before; what it is now is asked for.
                self._asks.setdefault(over.client_id, Retry(self._now))
            return
        if record.state is OrderState.OPEN:
            self.foreign[record.client_id] = record
        else:
            self.foreign.pop(record.client_id, None)

    def _should_not_be(self, over: KnownOrder, record: OrderRecord) -> bool:
        return record.state is OrderState.OPEN and over.end is OrderState.REJECTED

    def _come_back(self, order: KnownOrder) -> None:
        """An order that was over is on the book: have it canceled, and say that something is wrong."""
        self._problems.append(
            f"order {order.client_id} was over ({order.why or order.end}), and is on the book; it is being canceled"
        )
        del self._over[order.client_id]
        order.order_id, order.end, order.stage, order.why = 0, None, Stage.LOST, ""
        self.orders[order.client_id] = order

    # --- fills ---

    def fill(self, fill: FillRecord, now_ns: int, client_id: str = "") -> None:
        """Take in one trade, from wherever it is heard of."""
        self._now = now_ns
        client_id = fill.client_id or client_id or self._venue_ids.get(fill.venue_id, "")
        order = self.orders.get(client_id) or self._over.get(client_id)
        if order is None:
            return
        known_trades = self._trades.setdefault(order.client_id, set())
        if fill.trade_id in known_trades:
            return
        known_trades.add(fill.trade_id)
        self._fills_since_ns = max(self._fills_since_ns, fill.ts_ns)
        lots = self._instrument.lots(fill.quantity)
        known = KnownFill(
            trade_id=fill.trade_id,
            client_id=order.client_id,
            side=order.side,
            price=self._instrument.ticks(fill.price),
            quantity=lots,
            fee=fill.fee,
            fee_asset=fill.fee_asset,
            maker=fill.liquidity is Liquidity.MAKER,
            ts_ns=fill.ts_ns,
        )
        self._new_fills.append(known)
        order.filled += lots
        order.executed = max(order.executed, order.filled)
        self._dirty[order.client_id] = order
        if order.stage is Stage.DONE:
            self._trade_after_the_end(order)
            return
        if order.filled > order.most:
            self._problems.append(
                f"order {order.client_id} of {order.quantity} lots has traded {order.filled}"
            )
        if order.order_id:
            self._accept(order)
            self._events.append(
                OrderFilled(
                    ts_exchange=fill.ts_ns,
                    ts_local=now_ns,
                    order_id=order.order_id,
                    price=known.price,
                    quantity=lots,
                    remaining=max(order.remaining, 0),
                    liquidity=fill.liquidity,
                    fee=in_settlement(fill, self._instrument),
                    fee_in_base=in_base(fill, self._instrument),
                )
            )
        self._settle(order)

    def fills_told(self, fills: Sequence[FillRecord], now_ns: int) -> None:
        """Take in the answer to `AskFills`."""
        self._now = now_ns
        for fill in fills:
            self.fill(fill, now_ns)
        if self._fills_missing():
            # A trade may be listed hours late, and asking all the time would use up what may be asked.
            self._fills.again(now_ns, FILL_GRACE_NS)
        else:
            self._fills = Retry(NEVER)

    def fills_unanswered(self, now_ns: int) -> None:
        """Take in that `AskFills` was refused or not answered."""
        self._now = now_ns
        self._fills.again(now_ns)

    # --- funding ---

    def fundings_told(self, records: Sequence[FundingRecord], now_ns: int) -> None:
        """Take in the answer to `AskFundings`."""
        self._now = now_ns
        for one in self.fundings.told(records, now_ns):
            self._new_fundings.append(one)
            event = self.fundings.event(one, now_ns)
            if event is not None:
                self._events.append(event)

    def fundings_unanswered(self, now_ns: int, *, refused: bool = False) -> None:
        """Take in that `AskFundings` was not answered, or refused."""
        self._now = now_ns
        self.fundings.unanswered(now_ns, refused=refused)

    def _fills_missing(self) -> bool:
        return any(order.filled < order.executed for order in self.orders.values())

    def _fills_wanted_since(self) -> int:
        """Return from when on fills may be missing, by the venue's clock as far as ours goes with it."""
        open_since = (
            order.intended_ns
            for order in self.orders.values()
            if order.stage is not Stage.OPEN or order.filled < order.executed
        )
        since_ns = min((self._fills_since_ns, *open_since)) - OVERLAP_NS
        return max(0, since_ns - self._clocks_apart_ns)

    def _ask_fills(self, due_ns: int) -> None:
        if not self._fills.under_way:
            self._fills.due_ns = min(self._fills.due_ns, due_ns)

    def _trade_after_the_end(self, order: KnownOrder) -> None:
        self._problems.append(
            f"order {order.client_id} has traded {max(order.filled, order.executed)} lots, and was over with less "
            f"({order.why or order.end}); position and balances have to be compared with the venue's"
        )

    # --- the end of an order ---

    def absent(self, client_id: str, proof: str, now_ns: int) -> None:
        """Take in that the venue's own books prove that an order is not on the book, and that nothing of it was traded."""
        self._now = now_ns
        order = self.orders.get(client_id)
        if order is not None and order.end is None and not order.executed:
            self._end(order, OrderState.REJECTED, f"it came to nothing: {proof}")

    def _end(self, order: KnownOrder, state: OrderState, why: str) -> None:
        order.end, order.why = state, why
        self._dirty[order.client_id] = order
        self._settle(order)

    def _settle(self, order: KnownOrder) -> None:
        """See whether the order is over; if its record tells of more than its fills do, ask for those."""
        if order.filled < order.executed:
            self._ask_fills(self._now + FILL_GRACE_NS)
            return
        if order.filled >= order.most:
            order.end = OrderState.FILLED
        if order.end is None or (order.end is OrderState.FILLED and order.remaining > 0):
            return
        if order.amending:
            # No record has said so: all of it was traded, and if that is more than it was, then it was amended.
            more = order.filled > order.quantity
            self._amend_settled(order, "" if more else "the order is over")
        order.stage = Stage.DONE
        self._dirty[order.client_id] = order
        del self.orders[order.client_id]
        self._over[order.client_id] = order
        if len(self._over) > MOST_OVER:
            first = self._over.pop(next(iter(self._over)))
            self._venue_ids.pop(first.venue_id, None)
            self._trades.pop(first.client_id, None)
        self._asks.pop(order.client_id, None)
        self._cancels.pop(order.client_id, None)
        if order.order_id:
            self._tell_end(order)

    def _tell_end(self, order: KnownOrder) -> None:
        client_id = order.client_id
        asked = client_id in self._asked_to_cancel
        self._asked_to_cancel.discard(client_id)
        if order.filled >= order.quantity:
            # The last fill has ended it; a cancel that is still unanswered has come too late.
            if asked:
                self._events.append(self._cancel_rejected(order.order_id, "the order is filled"))
        elif client_id not in self._accepted and order.end in (
            OrderState.REJECTED,
            OrderState.EXPIRED,
        ):
            self._events.append(
                OrderRejected(
                    ts_exchange=self._now,
                    ts_local=self._now,
                    order_id=order.order_id,
                    reason=order.why or str(order.end),
                )
            )
            if asked:
                self._events.append(self._cancel_rejected(order.order_id, "the order was refused"))
        else:
            self._accept(order)
            self._told_canceled.add(client_id)
            self._events.append(
                OrderCanceled(ts_exchange=self._now, ts_local=self._now, order_id=order.order_id)
            )
        self._accepted.discard(client_id)

    def _accept(self, order: KnownOrder) -> None:
        if order.order_id and order.client_id not in self._accepted:
            self._accepted.add(order.client_id)
            self._events.append(
                OrderAccepted(ts_exchange=self._now, ts_local=self._now, order_id=order.order_id)
            )

    def _cancel_rejected(self, order_id: int, reason: str) -> CancelRejected:
        return CancelRejected(
            ts_exchange=self._now, ts_local=self._now, order_id=order_id, reason=reason
        )

    # --- looking after it all ---

    def stream_up(self, now_ns: int) -> None:
        """Take in that the user stream is there, anew: what happened before it has to be asked for."""
        self._now = now_ns
        self._check.due_ns = now_ns
        self._ask_fills(now_ns)
        self.fundings.want(now_ns)
        for order in self.orders.values():
            if order.stage is not Stage.INTENDED:
                self._ask(order)

    def open_told(self, records: Sequence[OrderRecord], now_ns: int) -> None:
        """Take in the answer to `AskOpen`."""
        self._now = now_ns
        # Asked for while the answer was on its way: that is of a time before.
        anew = self._check.due_ns != NEVER
        self._check = Retry(now_ns if anew else now_ns + CHECK_NS)
        there = {record.client_id for record in records}
        self.foreign = {}
        for record in records:
            self.record(record, now_ns)
        for order in list(self.orders.values()):
            if order.client_id not in there and order.stage is not Stage.INTENDED:
                self._ask(order)

    def open_unanswered(self, now_ns: int) -> None:
        """Take in that `AskOpen` was refused or not answered."""
        self._now = now_ns
        self._check.again(now_ns)

    def next_ns(self) -> int:
        """Return when `wake` has something to ask; `NEVER` for not by time alone."""
        soonest = min(self._fills.due_ns, self.fundings.due_ns)
        if not self._check.under_way:
            soonest = min(soonest, self._check.due_ns)
        for retries in (self._asks, self._cancels):
            for retry in retries.values():
                soonest = min(soonest, retry.due_ns)
        for due_ns in self._amends.values():
            soonest = min(soonest, due_ns)
        return soonest

    def wake(self, now_ns: int) -> None:
        """Ask for what is due."""
        self._now = now_ns
        for client_id in [one for one, due_ns in self._amends.items() if due_ns <= now_ns]:
            del self._amends[client_id]
            # At a price of which nobody knows it is not quoted with.
            self._ask(self.orders[client_id])
            self._want_cancel(self.orders[client_id])
        for client_id, retry in self._asks.items():
            if retry.due_ns <= now_ns:
                retry.asked(self._now)
                self._requests.append(AskOrder(client_id))
        for client_id, retry in self._cancels.items():
            if retry.due_ns <= now_ns:
                self._send_cancel(client_id, retry)
        if self._fills.due_ns <= now_ns:
            self._fills.asked(now_ns)
            self._requests.append(AskFills(self._fills_wanted_since()))
        if self.fundings.due_ns <= now_ns:
            self.fundings.asked(now_ns)
            self._requests.append(AskFundings(self.fundings.since_ns))
        if self._check.due_ns <= now_ns and not self._check.under_way:
            self._check.asked(now_ns)
            self._requests.append(AskOpen())

    def _ask(self, order: KnownOrder) -> None:
        retry = self._asks.get(order.client_id)
        if retry is None:
            self._asks[order.client_id] = Retry(self._now)
        elif not retry.under_way:
            retry.due_ns = min(retry.due_ns, self._now + FIRST_WAIT_NS)

    def _recover(self, order: KnownOrder) -> None:
        """Go on with an order of an earlier run: whatever its stage was, its fate has to be asked for."""
        order = replace(order, order_id=0)
        if order.stage is Stage.INTENDED:
            order.stage, order.why = Stage.UNSURE, "the run ended before its answer came"
        order.cancel_wanted = True
        self.orders[order.client_id] = order
        if order.venue_id:
            self._venue_ids[order.venue_id] = order.client_id
        self._dirty[order.client_id] = order
        self._asks[order.client_id] = Retry(self._now)
        self._cancels[order.client_id] = Retry(self._now)

    def _lots(self, record: OrderRecord) -> int:
        return self._instrument.lots(record.executed)
