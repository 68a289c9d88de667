"""Order handlers that are broken, each in one way: what tries order handling has to find them out."""

from typing import Any

from mmkit.accounts import FillRecord, OrderRecord, Placement, Refusal, Refused
from mmkit.live.handler import OrderHandler
from mmkit.live.known import KnownOrder, Stage
from mmkit.live.requests import Cancel, Place
from mmkit.live.venue import LiveVenue
from mmkit.testing import BTCUSDT


class SendsAgain(OrderHandler):
    """An order without an answer is sent anew."""

    def place_unanswered(self, client_id: str, why: str, now_ns: int) -> None:
        super().place_unanswered(client_id, why, now_ns)
        if (order := self.orders.get(client_id)) is not None:
            self._requests.append(
                Place(
                    Placement(
                        client_id=client_id + "x",
                        side=order.side,
                        price=BTCUSDT.price(order.price),
                        quantity=BTCUSDT.quantity(order.quantity),
                    )
                )
            )


class BelievesNotFound(OrderHandler):
    """What the venue does not find is taken for rejected."""

    def order_told(self, client_id: str, record: OrderRecord | None, now_ns: int) -> None:
        super().order_told(client_id, record, now_ns)
        if record is None:
            self.absent(client_id, "not found", now_ns)


class BelievesNoAnswer(OrderHandler):
    """An order without an answer is taken for rejected."""

    def place_unanswered(self, client_id: str, why: str, now_ns: int) -> None:
        self.absent(client_id, why, now_ns)


class CountsTwice(OrderHandler):
    """A trade that is told twice is counted twice."""

    def fill(self, fill: FillRecord, now_ns: int, client_id: str = "") -> None:
        for known in self._trades.values():
            known.discard(fill.trade_id)
        super().fill(fill, now_ns, client_id)


class EndsEarly(OrderHandler):
    """An order ends with its record, whether or not its fills are known."""

    def _settle(self, order: KnownOrder) -> None:
        if order.end is not None:
            order.executed = order.filled
        super()._settle(order)


class NeverAsksForFills(OrderHandler):
    """Fills are what the user stream says."""

    def _ask_fills(self, due_ns: int) -> None:
        return


class AsksForFillsSinceTheLast(OrderHandler):
    """Fills before the last one that is known are taken to be known."""

    def _fills_wanted_since(self) -> int:
        return self._fills_since_ns + 1


class CancelsOnce(OrderHandler):
    """A cancel without an answer is taken for done."""

    def _cancel_again(self, client_id: str, least_ns: int = 0) -> None:
        return


class ForgetsTheUnanswered(OrderHandler):
    """What had no answer when the process died is taken never to have left."""

    def _recover(self, order: KnownOrder) -> None:
        if order.stage is not Stage.INTENDED:
            super()._recover(order)


class ForgetsWhatWasOpen(OrderHandler):
    """What was on the book when the process died is left to itself."""

    def _recover(self, order: KnownOrder) -> None:
        if order.stage is not Stage.OPEN:
            super()._recover(order)


class NeverLooksAgain(OrderHandler):
    """What is asked for once and not answered is not asked for again."""

    def _asked_for(self, client_id: str) -> None:
        return


class BelievesAnOldRecord(OrderHandler):
    """The last record to arrive is taken for the newest."""

    def record(self, record: OrderRecord, now_ns: int) -> None:
        if (order := self.orders.get(record.client_id)) is not None:
            order.executed = self._lots(record)
            order.filled = min(order.filled, order.executed)
        super().record(record, now_ns)


class LeavesTheLost(OrderHandler):
    """What was lost and is found again is left on the book."""

    def _want_cancel(self, order: KnownOrder) -> None:
        if order.client_id in self._asked_to_cancel or not order.order_id:
            super()._want_cancel(order)


class CancelsWhatIsNotOurs(OrderHandler):
    """What is on the book and not known is taken for a leftover."""

    def _of_no_order(self, record: OrderRecord) -> None:
        super()._of_no_order(record)
        if record.client_id in self.foreign:
            self._requests.append(Cancel(record.client_id))


class DoesNotSeeOthers(OrderHandler):
    """What others have on the book is not noticed."""

    def _of_no_order(self, record: OrderRecord) -> None:
        if self.is_ours(record.client_id):
            super()._of_no_order(record)


class AsksOn(LiveVenue):
    """What the venue says of its limits is taken for a matter of that one request."""

    def _told_no(self, refused: Refused, *, an_order: bool) -> None:
        if refused.refusal is not Refusal.RATE:
            super()._told_no(refused, an_order=an_order)


class QuotesWhateverTheAccountHolds(LiveVenue):
    """What others have traded is no concern."""

    def _say_down(self, cause: str, reason: str) -> None:
        if cause == "books":
            self.books.differs = []
        else:
            super()._say_down(cause, reason)


BROKEN_VENUES = (AsksOn, QuotesWhateverTheAccountHolds)
"""What is broken between run and account."""
BROKEN = (
    SendsAgain,
    BelievesNotFound,
    BelievesNoAnswer,
    CountsTwice,
    EndsEarly,
    NeverAsksForFills,
    AsksForFillsSinceTheLast,
    CancelsOnce,
    ForgetsTheUnanswered,
    ForgetsWhatWasOpen,
    NeverLooksAgain,
    BelievesAnOldRecord,
    LeavesTheLost,
)
BROKEN_TO_OTHERS = (CancelsWhatIsNotOurs, DoesNotSeeOthers)
"""What shows only where others trade on the account."""


class BelievesAnAmendNotDone(OrderHandler):
    """An amend without an answer is taken for refused."""

    def amend_unanswered(self, client_id: str, now_ns: int) -> None:
        super().amend_unanswered(client_id, now_ns)
        if (order := self.orders.get(client_id)) is not None and order.amending:
            self._amend_settled(order, "no answer")


class BelievesAnAmendDone(OrderHandler):
    """An amend without an answer is taken for done."""

    def amend_unanswered(self, client_id: str, now_ns: int) -> None:
        if (order := self.orders.get(client_id)) is not None and order.amending:
            self._amend_settled(order, "")


class BelievesTheFirstRecord(OrderHandler):
    """An order that is found as it was is taken for one that stays so, however early that is."""

    def _still_amending(self, order: KnownOrder, retry: Any) -> None:
        self._amend_settled(order, "as it was")
        self._settle(order)


class ForgetsTheLarger(OrderHandler):
    """While an amend is under way the order is over once it has traded what it was before."""

    def _settle(self, order: KnownOrder) -> None:
        if order.amending and order.filled >= order.quantity:
            self._amend_settled(order, "filled")
        super()._settle(order)


class AnswersAnAmendTwice(OrderHandler):
    """The answer and the user stream are told of an amend, both of them."""

    def amended(self, client_id: str, record: OrderRecord | None, now_ns: int) -> None:
        if self.orders.get(client_id) is not None:
            self._asked_to_amend.add(client_id)
            self.orders[client_id].amend_quantity = self.orders[client_id].quantity
        super().amended(client_id, record, now_ns)


BROKEN_AMENDS = (
    BelievesAnAmendNotDone,
    BelievesAnAmendDone,
    BelievesTheFirstRecord,
    ForgetsTheLarger,
    AnswersAnAmendTwice,
)
