"""Order handlers that are broken, each in one way: what tries order handling has to find them out."""

from mmkit.accounts import FillRecord, OrderRecord, Placement
from mmkit.live.handler import OrderHandler
from mmkit.live.known import KnownOrder, Stage
from mmkit.live.requests import Place
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
