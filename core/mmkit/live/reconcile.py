"""The venue's own books beside ours: whether they agree, and what follows for orders of unknown fate.

No I/O, no clock: whoever drives it looks at the account when `wants_look` says so, and hands in what was seen.

A look is not of one moment. While it is under way, and for `SETTLE_NS` after, what our fills and orders come to is kept
at every change, and the venue is right if it agrees with any of these states. A difference that stays over two looks
is a difference. Of a contract the position is compared. Its wallet, which other markets and transfers move too, is no reason
to stop: if it is not what fills and funding come to, funding is asked for, and what is still not explained then is counted
from anew.

**The proof that an order came to nothing**: it never arrived, or it is gone again and nothing of it was traded. That the
venue does not find it proves nothing: what answers queries may be behind what matches orders, and Binance has shown an
order half an hour late. Money is not behind. An order that is on the book holds something back, and one that was traded
has moved something:

- On spot every order locks what it would give. If what is free and what is locked, of every asset and to the last digit,
  is what it is without the order, then the order is not on the book, and none of it was traded. While other orders of ours
  come and go, one of them may lock as much as it would: nothing is proven by a look that could also be explained with it.
- Of a contract the position shows what was traded, unless two that we do not know of have traded against each other's
  direction; then the wallet shows their fees and what they earned. What an open order holds back is margin, which moves
  with the price and cannot be told apart. So here its cancel has to be refused as well, by which the book itself says that
  it is not there: a cancel acts on the book, and does not ask what answers queries. Position and wallet are looked at after
  that: before it, an order could rest at the time of the look, trade, and be gone when its cancel comes. (On spot the same
  is asked for: it costs nothing.)

This holds only once the order cannot arrive any more, `VALID_NS` after it was written down, and is believed when two
looks, `APART_NS` apart and both begun after that, agree. If the wallet cannot be counted, because there was a position of
unknown price before, or others have moved it since, it takes looks that agree over `LATE_NS`. Whatever cannot be proven
stays counted as exposure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from mmkit.accounts import (
    AccountEvent,
    Balance,
    BalanceUpdate,
    FundingRecord,
    OrderRecord,
    PositionUpdate,
)
from mmkit.commands import OrderType
from mmkit.events import Side
from mmkit.instruments import ContractKind, Instrument
from mmkit.live.anchor import Anchor
from mmkit.live.handler import VALID_NS, OrderHandler
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.ledger import Ledger
from mmkit.tape import NEVER

_S = 1_000_000_000
_DIGIT = Decimal("1e-8")
_NOTHING = Balance(free=Decimal(0), locked=Decimal(0))

EVERY_NS = 60 * _S
"""How often the account is looked at while all is well: a look costs Binance's spot API 26 of 6000 a minute."""
APART_NS = 5 * _S
"""How long after a look that did not agree, or while an order is lost, the next one begins."""
LATE_NS = 3600 * _S
"""How long position and venue have to agree where the wallet cannot be counted: twice the longest that an order was hidden."""
SETTLE_NS = 1 * _S
"""How long what has happened before the end of a look may take to reach us."""
_MOST_SUMS = 4096
"""In so many ways can orders add up, and a look proves nothing."""


class Books(NamedTuple):
    """What a look at the account has seen.

    Attributes:
        balances: By asset.
        position: Of a contract; `None` on spot.
        open_orders: Of the account in this market, seen after the balances.
        steady: Whether those of others were the same before the balances, as far as is known.
    """

    balances: Mapping[str, Balance]
    position: Decimal | None
    open_orders: Sequence[OrderRecord]
    steady: bool = False


class Verdict(NamedTuple):
    """What follows from a look.

    Attributes:
        absent: Orders that came to nothing, by client order id, with the proof in words.
        anchor: To be written, if it is another than before.
        moved: What has come or gone since the last run, in words; nothing follows from it.
    """

    absent: dict[str, str]
    anchor: Anchor | None
    moved: list[str]


class _State(NamedTuple):
    """What our fills and orders came to at one moment."""

    moved: dict[str, Decimal]
    locked: dict[str, Decimal]
    position: int


class Reconciler:
    """Compares the venue's books with ours.

    Args:
        instrument: What is traded.
        handler: Knows the orders.
        fills: Every fill of the journal.
        anchor: As the last run left it.
        start_ns: When the first look is due.
    """

    def __init__(
        self,
        instrument: Instrument,
        handler: OrderHandler,
        ledger: Ledger,
        anchor: Anchor | None,
        start_ns: int,
    ) -> None:
        self._instrument, self._handler = instrument, handler
        self._spot = instrument.kind is ContractKind.SPOT
        self.ledger = ledger
        self.anchor = anchor
        self.known = False
        """Whether the account has been looked at, and was as it should be."""
        self.differs: list[str] = []
        """What has differed in two looks, in words."""
        self.last = ""
        """What differed in the last look, if anything."""
        self._odd_ns = NEVER
        """When the look began in which a contract's wallet was not what fills and funding come to."""
        self._kept = anchor
        self._price = Decimal(0)
        self._last_ns = 0
        self._due_ns = start_ns
        self._asked_ns = NEVER
        """When another look is due that was asked for while one was under way, which may have been too early to see why."""
        self._began_ns: int | None = None
        self._seen_ns = NEVER
        """When it had been seen what the account has."""
        self._judge_ns = NEVER
        self._books: Books | None = None
        self._states: list[_State] = []
        self._locks_of: dict[str, tuple[str, set[Decimal]]] = {}
        """On spot: asset, and what it may have locked of it at any time of a look, by order."""
        self._quiet = False
        """Whether there has been no order since the look began: one may lock something before we know that it is there."""
        self._confused: dict[str, int] = {}
        """When the first look began that others of our orders, which came or went, could explain as well, by lost order."""
        self._agreed: dict[str, int] = {}
        """When the first look began that agreed without it, by lost order."""
        self._counted: dict[str, int] = {}
        """Likewise, where the money was counted to the last digit."""

    # --- when ---

    def next_ns(self) -> int:
        """Return when a look, or what it comes to, is due."""
        return self._judge_ns if self._began_ns is not None else self._due()

    def _due(self) -> int:
        proof_ns = min((self._proof_due(one) for one in self._lost()), default=NEVER)
        if not self.known and proof_ns != NEVER:
            # Nothing else is waited for, and a look just before could not prove anything.
            return proof_ns
        return min(self._due_ns, proof_ns)

    def _proof_due(self, lost: KnownOrder) -> int:
        valid_ns = lost.intended_ns + VALID_NS
        return valid_ns if self._last_ns < valid_ns else self._last_ns + APART_NS

    def soon(self, now_ns: int) -> None:
        """Have a look taken before long."""
        self._due_ns = min(self._due_ns, now_ns + SETTLE_NS)
        if self._began_ns is not None:
            self._asked_ns = min(self._asked_ns, self._due_ns)

    def heard(self, event: AccountEvent, now_ns: int) -> None:
        """Take in what the user stream says of balances and position: if it is not what we have, look."""
        if self.anchor is None:
            return
        state = self._state()
        if isinstance(event, PositionUpdate):
            if event.quantity != self._position(state):
                self.soon(now_ns)
        elif isinstance(event, BalanceUpdate) and self._spot:
            for asset, balance in event.balances.items():
                ours = self._total(asset, state)
                if ours is not None and balance.free + balance.locked != ours:
                    self.soon(now_ns)
        elif (
            isinstance(event, BalanceUpdate)
            and not self.anchor.position
            and self._instrument.settle in event.balances
            and not self._wallet(event.balances, state)
        ):
            self._handler.fundings.want(now_ns)

    # --- a look ---

    def wants_look(self, now_ns: int) -> bool:
        """Return whether the account is to be looked at now; it counts as begun then."""
        if self._began_ns is not None or now_ns < self._due():
            return False
        self._began_ns, self._judge_ns, self._books = now_ns, NEVER, None
        self._states, self._locks_of = [self._state()], {}
        self._take_in_locks(begun=False)
        self._quiet = not self._handler.orders
        return True

    @property
    def counts_locks(self) -> bool:
        """Whether what others' orders lock matters to this look, so that open orders are wanted before balances, too."""
        return self._spot and (self._quiet or bool(self._lost()))

    def changed(self, fills: Iterable[KnownFill], fundings: Iterable[FundingRecord] = ()) -> None:
        """Take in new fills and payments of funding, and that orders may have changed."""
        for one in fundings:
            self.ledger.fund(one)
        for fill in fills:
            self.ledger.apply(fill)
            self._price = self._instrument.price(fill.price)
        if self._began_ns is not None:
            self._quiet = self._quiet and not self._handler.orders
            self._take_in_locks(begun=True)
            state = self._state()
            if state != self._states[-1]:
                self._states.append(state)

    def looked(self, books: Books, now_ns: int) -> None:
        """Take in what was seen."""
        self._books, self._seen_ns, self._judge_ns = books, now_ns, now_ns + SETTLE_NS
        if not self.known or self._odd_ns != NEVER:
            # What was paid while the wallet was looked at may be in it or not. Asked for only now, as it is in the answer then:
            # another state, and nothing is counted from a look with several.
            self._handler.fundings.want_now(now_ns)

    def not_looked(self, now_ns: int) -> None:
        """Take in that the account could not be looked at."""
        self._end(now_ns, APART_NS)

    def judge(self, now_ns: int) -> Verdict | None:
        """Return what follows from the look, once that is due."""
        books, began = self._books, self._began_ns
        if books is None or began is None or now_ns < self._judge_ns:
            return None
        self._take_in_assets(books)
        moved = [] if self.known else self._first(books, now_ns)
        if self.known:
            self._next(books, now_ns)
        absent = self._came_to_nothing(books, began)
        if absent and self._handler.orders.keys() <= absent.keys():
            # All that was missing is proven, and the proof is that the books agree.
            self.known = True
        again = bool(self.last) or not self.known
        if again:
            self._handler.want_fills(now_ns)
        self._end(now_ns, APART_NS if again or self._odd_ns != NEVER else EVERY_NS)
        if not self.known and not self._handler.orders:
            # It only waits for the last answers.
            self._due_ns = now_ns
        anchor = self.anchor if self.anchor != self._kept else None
        self._kept = self.anchor
        return Verdict(absent, anchor, moved)

    def _end(self, now_ns: int, wait_ns: int) -> None:
        began = self._began_ns if self._began_ns is not None else now_ns
        self._last_ns = began
        self._due_ns = max(min(began + wait_ns, self._asked_ns), now_ns)
        self._asked_ns = NEVER
        self._began_ns, self._judge_ns, self._books, self._states = None, NEVER, None, []
        self._seen_ns = NEVER

    def _first(self, books: Books, now_ns: int) -> list[str]:
        """Find out from where to count: before the first order of a run, what differs is not its doing.

        Returns:
            What has come or gone since the last run.
        """
        differences = self._differences(books, exact=True) if self.anchor is not None else []
        self.last = "; ".join(differences)
        if not self._quiet or not self._handler.sure or len(self._states) > 1:
            return []
        if self._spot and not books.steady:
            return []
        if not self._handler.fundings.settled(self._seen_ns, now_ns):
            return []
        self.known, self.last = True, ""
        self.anchor = self._counted_from(books, self._funded_ns)
        return differences

    def _next(self, books: Books, now_ns: int) -> None:
        differences = self._differences(books, exact=False)
        self.differs = differences if self.last and differences else []
        self.last = "; ".join(differences)
        if self.anchor is None or differences or len(self._states) > 1:
            return
        if not self._spot:
            self._mind_the_wallet(books, now_ns)
        elif self._quiet and books.steady:
            # Orders in other markets come and go, and what they lock is of no concern.
            now = self._counted_from(books, self.anchor.funded_ns)
            self.anchor = replace(self.anchor, locked=now.locked)

    def _mind_the_wallet(self, books: Books, now_ns: int) -> None:
        """Count a contract's wallet from anew, once it is known that no funding of ours explains what it has."""
        assert self.anchor is not None  # the caller has looked
        fundings, began = self._handler.fundings, self._began_ns
        if self._unknown or began is None:
            return
        if self._wallet(books.balances, self._states[0]):
            self._odd_ns = NEVER
        elif fundings.there_are and self._odd_ns == NEVER:
            self._odd_ns = began
            fundings.want(now_ns)
        elif fundings.settled(self._seen_ns, now_ns):
            # What others do with the money: transfers, other markets.
            now = self._counted_from(books, self._funded_ns)
            self.anchor = replace(self.anchor, rest=now.rest, funded_ns=now.funded_ns)
            self._odd_ns = NEVER

    @property
    def _unknown(self) -> int:
        return sum(
            one.stage in (Stage.UNSURE, Stage.LOST) or one.filled < one.executed
            for one in self._handler.orders.values()
        )

    # --- what it comes to ---

    def _state(self) -> _State:
        locked: dict[str, Decimal] = {}
        if self._spot:
            for order in self._handler.orders.values():
                # A market order does not rest: what it locks for a moment is what it trades.
                if (
                    order.stage is Stage.OPEN
                    and order.end is None
                    and order.order_type is OrderType.LIMIT
                ):
                    self._lock(locked, order)
        funded_ns = self.anchor.funded_ns if self.anchor is not None else 0
        return _State(self.ledger.moved_since(funded_ns), locked, self.ledger.position)

    def _lock(self, locked: dict[str, Decimal], order: KnownOrder) -> None:
        instrument = self._instrument
        rest = instrument.quantity(order.quantity - max(order.executed, order.filled))
        self._add_lock(locked, order.side, rest, instrument.price(order.price))

    def _add_lock(
        self, locked: dict[str, Decimal], side: Side, quantity: Decimal, price: Decimal
    ) -> None:
        asset = self._instrument.quote if side is Side.BUY else self._instrument.base
        amount = quantity * price if side is Side.BUY else quantity
        locked[asset] = locked.get(asset, Decimal(0)) + amount

    def _assets(self) -> list[str]:
        if not self._spot:
            return [self._instrument.settle]
        return sorted({self._instrument.base, self._instrument.quote, *self.ledger.moved})

    def _take_in_assets(self, books: Books) -> None:
        """Begin to count an asset in which a fee has been charged for the first time."""
        if self.anchor is None or len(self._states) > 1:
            return
        now = self._counted_from(books, self.anchor.funded_ns)
        self.anchor = replace(
            self.anchor,
            rest={**now.rest, **self.anchor.rest},
            locked={**now.locked, **self.anchor.locked},
        )

    @property
    def _funded_ns(self) -> int:
        """Return when the look began: what funding was paid before is in the wallet that it has seen."""
        return 0 if self._spot or self._began_ns is None else self._began_ns

    def _counted_from(self, books: Books, funded_ns: int) -> Anchor:
        """Return the anchor by which what was seen is as it should be; our state is to be that of the whole look."""
        moved, foreign = self.ledger.moved_since(funded_ns), self._foreign(books)
        rest, locked = {}, {}
        for asset in self._assets():
            balance = books.balances.get(asset, _NOTHING)
            rest[asset] = (balance.free + balance.locked - moved.get(asset, Decimal(0))).normalize()
            locked[asset] = (balance.locked - foreign.get(asset, Decimal(0))).normalize()
        position = Decimal(0)
        if books.position is not None:
            position = books.position - self._instrument.quantity(self.ledger.position)
        return Anchor(rest=rest, locked=locked, position=position.normalize(), funded_ns=funded_ns)

    def _foreign(self, books: Books) -> dict[str, Decimal]:
        locked: dict[str, Decimal] = {}
        if self._spot:
            for one in books.open_orders:
                if not self._handler.is_ours(one.client_id):
                    self._add_lock(locked, one.side, one.quantity - one.executed, one.price)
        return locked

    def _total(self, asset: str, state: _State) -> Decimal | None:
        if self.anchor is None or asset not in self.anchor.rest:
            return None
        return self.anchor.rest[asset] + state.moved.get(asset, Decimal(0))

    def _position(self, state: _State) -> Decimal:
        rest = self.anchor.position if self.anchor is not None else Decimal(0)
        return rest + self._instrument.quantity(state.position)

    def _differences(self, books: Books, *, exact: bool) -> list[str]:
        """Return what differs from each of our states, in words; of several states, from the last."""
        found: list[str] = []
        for state in self._states:
            found = self._difference(books, state, exact=exact)
            if not found:
                return []
        return found

    def _difference(self, books: Books, state: _State, *, exact: bool) -> list[str]:
        found = []
        for asset in self._assets() if self._spot else ():
            balance = books.balances.get(asset, _NOTHING)
            theirs, ours = balance.free + balance.locked, self._total(asset, state)
            dust = Decimal(0) if exact else self._dust(asset)
            if ours is not None and abs(theirs - ours) > dust:
                found.append(_words(asset, theirs, ours))
        if books.position is not None and books.position != self._position(state):
            found.append(_words("the position", books.position, self._position(state)))
        return found

    def _dust(self, asset: str) -> Decimal:
        """Return what may differ: less than the smallest fill that could be missing, its fee taken off."""
        half = self._instrument.lot / 2
        if asset == self._instrument.base:
            return half
        return half * self._price if asset == self._instrument.quote else Decimal(0)

    # --- orders that came to nothing ---

    def confused_ns(self, now_ns: int) -> int:
        """Return for how long a lost order could not be told from others of ours that come and go."""
        if not self._confused:
            return 0
        lost = {one.client_id for one in self._lost()}
        return max((now_ns - ns for one, ns in self._confused.items() if one in lost), default=0)

    def _lost(self) -> list[KnownOrder]:
        return [
            one
            for one in self._handler.orders.values()
            if one.stage is Stage.LOST and one.end is None and not one.executed and not one.venue_id
        ]

    def _came_to_nothing(self, books: Books, began_ns: int) -> dict[str, str]:
        lost = {one.client_id: one for one in self._lost()}
        there = {one.client_id for one in books.open_orders}
        agrees, counts = False, False
        for state in self._states:
            if not self._difference(books, state, exact=True):
                counted = (
                    self._locks(books, state) if self._spot else self._wallet(books.balances, state)
                )
                agrees, counts = agrees or not self._spot, counts or counted
        before, self._agreed = self._agreed, {}
        before_counted, self._counted = self._counted, {}
        self._confused = {one: since for one, since in self._confused.items() if one in lost}
        absent = {}
        for client_id, order in lost.items():
            if client_id in there or began_ns < order.intended_ns + VALID_NS:
                continue
            if self._spot and not books.steady:
                continue
            if self._spot and self._may_be_there(books, order):
                self._confused.setdefault(client_id, began_ns)
                continue
            since = counted_since = began_ns
            if agrees:
                since = self._agreed[client_id] = before.get(client_id, began_ns)
            if counts:
                counted_since = self._counted[client_id] = before_counted.get(client_id, began_ns)
            if (
                began_ns - counted_since >= APART_NS or began_ns - since >= LATE_NS
            ) and self._handler.denied_ns(client_id) <= began_ns:
                seconds = (began_ns - min(since, counted_since)) / 1e9
                absent[client_id] = (
                    f"the venue's books are without it, in looks over {seconds:.0f} s"
                )
        return absent

    def _may_be_there(self, books: Books, lost: KnownOrder) -> bool:
        """Return whether what is locked can be explained with an order, as others of ours came or went meanwhile."""
        if self.anchor is None:
            return True
        zero = Decimal(0)
        asset, amounts = self._lockable(lost)
        if not max(amounts):
            return False  # it cannot rest
        left = (
            books.balances.get(asset, _NOTHING).locked
            - self.anchor.locked.get(asset, zero)
            - self._foreign(books).get(asset, zero)
            - max(amounts)
        )
        sums = {zero}
        for client_id, (of, possible) in self._locks_of.items():
            if of == asset and client_id != lost.client_id:
                sums = {one + more for one in sums for more in possible if one + more <= left}
                if len(sums) > _MOST_SUMS:
                    return True
        return left in sums

    def _take_in_locks(self, *, begun: bool) -> None:
        """Take in what our orders may lock now; one that comes or goes while a look has begun may lock nothing, too."""
        if not self._spot:
            return
        orders, zero = self._handler.orders, Decimal(0)
        for client_id, (_, possible) in self._locks_of.items():
            if client_id not in orders:
                possible.add(zero)
        for client_id, order in orders.items():
            asset, amounts = self._lockable(order)
            if client_id not in self._locks_of:
                self._locks_of[client_id] = (asset, {zero} if begun else set())
            self._locks_of[client_id][1].update(amounts)

    def _lockable(self, order: KnownOrder) -> tuple[str, set[Decimal]]:
        """Return the asset that an order locks, and how much it may be."""
        instrument, buys = self._instrument, order.side is Side.BUY
        asset = instrument.quote if buys else instrument.base
        if order.order_type is not OrderType.LIMIT or order.end is not None:
            return asset, {Decimal(0)}
        price = instrument.price(order.price) if buys else Decimal(1)
        done = max(order.executed, order.filled)
        quantities = {order.quantity, order.amend_quantity or order.quantity}
        amounts = {instrument.quantity(max(one - done, 0)) * price for one in quantities}
        if order.stage is not Stage.OPEN or order.cancel_wanted:
            amounts.add(Decimal(0))
        return asset, amounts

    def _wallet(self, balances: Mapping[str, Balance], state: _State) -> bool:
        """Return whether a contract's wallet is what fills and funding come to."""
        asset = self._instrument.settle
        ours = self._total(asset, state)
        if self.anchor is None or self.anchor.position or ours is None or not self.ledger.in_order:
            return False
        balance = balances.get(asset, _NOTHING)
        # Venues round each fill's profit to so many digits.
        return abs(balance.free + balance.locked - ours) <= _DIGIT * (1 + self.ledger.count)

    def _locks(self, books: Books, state: _State) -> bool:
        """Return whether exactly that is locked which the orders that we know of lock."""
        if self.anchor is None:
            return False
        foreign = self._foreign(books)
        zero = Decimal(0)
        return all(
            books.balances.get(asset, _NOTHING).locked
            == self.anchor.locked.get(asset, zero)
            + state.locked.get(asset, zero)
            + foreign.get(asset, zero)
            for asset in self._assets()
        )


def _words(what: str, theirs: Decimal, ours: Decimal) -> str:
    theirs, ours = theirs.normalize(), ours.normalize()
    difference = (theirs - ours).normalize()
    return f"{what} is {theirs:f} at the venue and {ours:f} by our fills, a difference of {difference:f}"
