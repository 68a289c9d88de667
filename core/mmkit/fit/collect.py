"""Goes through a run's market data with its orders in it, and notes what a queue model would have been told.

`SimExchange` keeps the book and says which order a row concerns, as in a backtest; the orders come and go when
they really did.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from mmkit.commands import AnyCommand
from mmkit.errors import DataError
from mmkit.events import AnyEvent, Side
from mmkit.fit.evidence import FURTHEST, NEAREST, Evidence, Happening
from mmkit.fit.lives import Life, Moment, lives_of
from mmkit.sim.exchange import Resting, SimExchange
from mmkit.sim.queue import QueueModel, QueuePosition
from mmkit.tape import KIND, SELL, Kind, Row, Tape

_What = Literal["came", "filled", "canceled"]
_Moment = tuple[Moment, _What, Life, int]
"""When, what happened, to which order, and the lots it had on the book then."""

_Note = tuple[int, Happening]
"""When, and what a queue model would have been told."""

_UNMATCHED = "that were filled when the data has no trade at their price"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the orders of a run could be used for. All are numbers of orders.

    Attributes:
        rested: That were accepted.
        followed: Whose queue could be followed.
        filled: Of these, that were filled by a trade at their price, at least in part.
        contradicting: Of these, that no model explains: more had traded than was ever ahead and the order was
            not filled, or less and it was.
        left_out: That could not be followed, by the reason.
        unmatched: Of these left out, that were filled at a time at which the data has no trade at their price.
        silent: Of the followed ones, whose end tells nothing, by the reason.
    """

    rested: int
    followed: int
    filled: int
    contradicting: int
    left_out: dict[str, int]
    unmatched: int
    silent: dict[str, int]


def collect(
    entries: Iterable[AnyCommand | AnyEvent], tape: Tape, *, real: bool = True
) -> tuple[list[Evidence], Seen]:
    """Return what those orders of a run tell that tell models apart, as they were accepted; and the counts.

    An order tells nothing any more

    - once the market has moved through its price, which fills it whatever the queue;
    - once a part of it has been filled, after which it is first;
    - from a gap in the data on;
    - of the very instant at which it ended otherwise, as it is not known what came first in it.

    One that was filled when there was no trade at its price is left out. Of several trades at its price in the
    instant in which it was filled, each may have been the one.

    Args:
        entries: The journal.
        tape: The market data.
        real: Whether the venue was a real one. Its totals count our own orders, which are taken off them, and
            it saw the rows in the order of its clock. A simulated one saw them as they were received.

    Raises:
        DataError: if the market data holds no trade.
    """
    if not ((tape.kind & KIND) == Kind.TRADE).any():
        raise DataError(
            f"the market data of the run holds no trade in {len(tape):,} rows, and only trades move a queue for "
            "certain; record a run whose data source brings the trades, too (data.streams)"
        )
    order = tape.exchange_order() if real else None
    return _Collector(lives_of(entries), own_in_book=real).collect(tape.rows(order))


class _Witness(QueueModel):
    """Notes what a queue model is told, and fills nothing, so that what is filled all the same is by rule 1 or 3."""

    def __init__(self) -> None:
        self.now = 0
        self.notes: dict[QueuePosition, list[_Note]] = {}

    def trade(self, position: QueuePosition, quantity: int) -> None:
        self.notes[position].append((self.now, (quantity, -1)))

    def level(self, position: QueuePosition, before: int, after: int) -> None:
        self.notes[position].append((self.now, (before, after)))

    def fillable(self, position: QueuePosition) -> int:
        return 0


class _Collector:
    def __init__(self, lives: list[Life], *, own_in_book: bool) -> None:
        self._lives = lives
        self._witness = _Witness()
        self._exchange = SimExchange(self._witness, partial_fills=True)
        self._followed: dict[int, tuple[Life, Resting]] = {}
        # Lots of ours by side and price that the totals of the data count.
        self._own: Counter[tuple[Side, int]] | None = Counter() if own_in_book else None
        self._left: Counter[int] = Counter()
        self._evidence: list[Evidence] = []
        self._filled = self._contradicting = 0
        self._left_out: Counter[str] = Counter()
        self._silent: Counter[str] = Counter()

    def collect(self, rows: Iterable[Row]) -> tuple[list[Evidence], Seen]:
        moments = self._moments()
        for row in rows:
            while moments and moments[0][0][0] < row[0]:
                self._act(moments.popleft())
            self._on_row(row)
        for moment in moments:
            self._act(moment)
        self._evidence.sort(key=lambda each: each.accepted_ns)
        rested = len(self._lives)
        return self._evidence, Seen(
            rested=rested,
            followed=rested - self._left_out.total(),
            filled=self._filled,
            contradicting=self._contradicting,
            left_out=dict(self._left_out),
            unmatched=self._left_out[_UNMATCHED],
            silent=dict(self._silent),
        )

    def _moments(self) -> deque[_Moment]:
        """Return when orders came, traded and went, in order."""
        moments: list[_Moment] = []
        for life in self._lives:
            moments.append((life.accepted, "came", life, life.quantity))
            moments += [(moment, "filled", life, left) for moment, left in life.fills]
            if life.canceled is not None:
                moments.append((life.canceled, "canceled", life, 0))
        # Of one moment, that an order came is first.
        return deque(sorted(moments, key=lambda moment: moment[0]))

    def _act(self, moment: _Moment) -> None:
        """Let an order come, trade or go."""
        (ts, _), what, life, left = moment
        order_id = life.order.order_id
        if self._own is not None:
            self._own[life.place] += left - self._left[order_id]
            self._left[order_id] = left
        if what == "came":
            self._come(life)
        elif order_id not in self._followed:
            return  # it has told what it can
        elif what == "filled":
            self._filled_at(order_id, ts)
        else:
            self._unfilled(order_id, ts)

    def _come(self, life: Life) -> None:
        """Put an order on the book, if its queue can be followed."""
        order = life.order
        if life.ended is None:
            self._left_out["whose end is not in the journal"] += 1
        elif life.beside:
            self._left_out["that shared their price with another of ours"] += 1
        # The venue has taken it; what it could reduce there is not known here.
        elif not self._exchange.arrive(replace(order, reduce_only=False), life.accepted[0]).resting:
            self._left_out["that could not rest on the book of the market data"] += 1
        else:
            resting = self._exchange.resting(order.order_id)
            assert resting is not None  # it rests
            self._witness.notes[resting.position] = []
            self._followed[order.order_id] = (life, resting)

    def _on_row(self, row: Row) -> None:
        ts, ts_local, kind, price, quantity = row
        what = kind & KIND
        if what == Kind.GAP:
            for order_id, (life, _) in list(self._followed.items()):
                self._unfilled(order_id, ts, "filled after a gap in the data" if life.fills else "")
        elif what == Kind.LEVEL and self._own:
            side = Side.SELL if kind & SELL else Side.BUY
            row = (ts, ts_local, kind, price, max(quantity - self._own[side, price], 0))
        self._witness.now = ts
        for fill in self._exchange.on_row(row):
            life, _ = self._followed[fill.order_id]
            word = "filled as" if life.fills else "not filled though"
            self._unfilled(fill.order_id, ts, f"{word} the market moved through their price")

    def _filled_at(self, order_id: int, ts: int) -> None:
        """An order was filled, wholly or in part, by one of the trades of this instant."""
        notes = self._witness.notes[self._followed[order_id][1].position]
        trades = [n for n, (when, what) in enumerate(notes, 1) if when == ts and what[1] < 0]
        if trades:
            self._filled += 1
            self._conclude(order_id, ts, trades[-1])
        else:
            # When it was filled is not known, so neither is which of the trades did not fill it.
            self._left_out[_UNMATCHED] += 1
            self._take_off(order_id)

    def _unfilled(self, order_id: int, ts: int, silent: str = "") -> None:
        """An order was not filled before this instant; `silent` says why the rest tells nothing."""
        if silent:
            self._silent[silent] += 1
        self._conclude(order_id, ts, 0)

    def _conclude(self, order_id: int, ts: int, filling: int) -> None:
        """Take an order off the book and keep what it tells.

        Args:
            order_id: Ours.
            ts: Trades before it did not fill the order.
            filling: The number of notes up to the trade that did, 0 for none.
        """
        life, resting, notes = self._take_off(order_id)
        passed = max(
            (n for n, (when, what) in enumerate(notes, 1) if when < ts and what[1] < 0), default=0
        )
        told = [what for _, what in notes]
        evidence = Evidence(
            order_id=order_id,
            accepted_ns=life.accepted[0],
            total=round(resting.position.front),
            passed=tuple(told[:passed]),
            filling=tuple(told[passed:filling]),
        )
        near, far = evidence.miss(NEAREST), evidence.miss(FURTHEST)
        if near > 0 or far < 0:
            self._contradicting += 1
        if near != far:
            self._evidence.append(evidence)

    def _take_off(self, order_id: int) -> tuple[Life, Resting, list[_Note]]:
        """Take an order off the book; return it, and what happened at its price."""
        life, resting = self._followed.pop(order_id)
        self._exchange.cancel(order_id)
        return life, resting, self._witness.notes.pop(resting.position)
