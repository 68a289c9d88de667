"""A venue of one market that works, and a line to it that does not: in virtual time, from one seed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

from msgspec.structs import replace

from mmkit.accounts import (
    Amendment,
    Balance,
    BalanceUpdate,
    FillRecord,
    FundingRecord,
    OrderRecord,
    OrderState,
    OrderUpdate,
    Placement,
    Refusal,
    Refused,
)
from mmkit.commands import AmendOrder, AnyCommand, CancelOrder, OrderType, SubmitOrder, TimeInForce
from mmkit.events import FundingPaid, Liquidity, Side
from mmkit.instruments import ContractKind, Instrument
from mmkit.live.fundings import Fundings
from mmkit.live.handler import OrderHandler, Taken
from mmkit.live.ledger import Ledger
from mmkit.live.memory import MemoryStore
from mmkit.live.reconcile import Books, Reconciler
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
from mmkit.live.store import Store
from mmkit.orders import Order, Orders
from mmkit.testing import BTCUSDT

MS = 1_000_000
S = 1000 * MS
START = 1_700_000_000 * S
SPOT = replace(BTCUSDT, market="spot", symbol="BTC/USDT", kind=ContractKind.SPOT)
FEE = Decimal("0.0001")


class SmallVenue:
    """Orders that rest, are filled when somebody says so, and are canceled; every record of it is kept.

    On spot an order locks what it would give, and its fee is taken from what it gets.
    """

    def __init__(self, instrument: Instrument = BTCUSDT) -> None:
        self.instrument = instrument
        self.spot = instrument.kind is ContractKind.SPOT
        self.held = self.entry = Decimal(0)
        self.before = Decimal(0)
        """The position before the first fill."""
        self.money = {"BTC": Decimal(50), "USDT": Decimal(5_000_000)}
        self.orders: dict[str, OrderRecord] = {}
        self.fills: list[FillRecord] = []
        self.fundings: list[FundingRecord] = []
        self.placed: list[str] = []
        self.amended: list[str] = []
        self.hidden: dict[str, int] = {}
        """Until when a query says that there is no such order."""
        self.untold: set[str] = set()
        """Those of them of which the user stream and the list of trades do not tell either."""
        self.tell: Callable[[OrderUpdate], None] = lambda update: None
        self.tell_wallet: Callable[[BalanceUpdate], None] = lambda update: None

    def place(self, placement: Placement, now: int) -> OrderRecord:
        if placement.client_id in self.orders:
            raise Refused(Refusal.DUPLICATE, "Duplicate order sent.", -2010)
        market = placement.price is None
        record = OrderRecord(
            client_id=placement.client_id,
            venue_id=str(1000 + len(self.orders)),
            side=placement.side,
            price=placement.price or Decimal(0),
            quantity=placement.quantity,
            executed=Decimal(0),
            state=OrderState.OPEN,
            ts_ns=now,
        )
        self.placed.append(placement.client_id)
        self._keep(record)
        if market:
            self.fill(placement.client_id, 1_000, now, Decimal(65_000))
            return self.orders[placement.client_id]
        if placement.time_in_force is TimeInForce.IOC:
            record = self._keep(replace(record, state=OrderState.EXPIRED))
        return record

    def amend(self, amendment: Amendment, now: int) -> OrderRecord:
        """Change an order: of a contract all of it, on spot only to less; what has traded more than that is canceled."""
        client_id = amendment.client_id
        record = self.orders.get(client_id)
        hidden = self.hidden.get(client_id, 0) > now
        if record is None or record.state is not OrderState.OPEN or hidden:
            raise Refused(Refusal.NO_SUCH_ORDER, "Order does not exist.", -2013)
        if (amendment.price, amendment.quantity) == (record.price, record.quantity):
            raise Refused(Refusal.OTHER, "No need to modify the order.", -5027)
        if self.spot and (amendment.price != record.price or amendment.quantity >= record.quantity):
            raise Refused(Refusal.OTHER, "Order amend (quantity increase) is not supported.", -2038)
        self.amended.append(client_id)
        if amendment.quantity <= record.executed:
            return self._keep(replace(record, state=OrderState.CANCELED, ts_ns=now))
        return self._keep(
            replace(record, price=amendment.price, quantity=amendment.quantity, ts_ns=now)
        )

    def fill(self, client_id: str, lots: int, now: int, price: Decimal | None = None) -> None:
        record = self.orders[client_id]
        if record.state is not OrderState.OPEN:
            return
        quantity = min(self.instrument.quantity(lots), record.quantity - record.executed)
        in_base = self.spot and record.side is Side.BUY
        fill = FillRecord(
            trade_id=str(len(self.fills) + 1),
            venue_id=record.venue_id,
            client_id="",
            side=record.side,
            price=price or record.price,
            quantity=quantity,
            fee=(quantity if in_base else quantity * (price or record.price)) * FEE,
            fee_asset="BTC" if in_base else "USDT",
            liquidity=Liquidity.MAKER,
            ts_ns=now,
        )
        self.fills.append(fill)
        if self.spot:
            self.money["BTC"] += fill.side.sign * quantity
            self.money["USDT"] -= fill.side.sign * quantity * fill.price
        else:
            self.money["USDT"] += self._realised(fill.side.sign * quantity, fill.price)
        self.money[fill.fee_asset] -= fill.fee
        executed = record.executed + quantity
        state = OrderState.FILLED if executed == record.quantity else OrderState.OPEN
        self._keep(replace(record, executed=executed, state=state, ts_ns=now), fill)

    def fund(self, amount: Decimal, now: int) -> None:
        """Pay funding, as a contract's venue does: the user stream tells the wallet, and no number."""
        number = f"{8_000_000_000 + len(self.fundings)}"
        self.fundings.append(
            FundingRecord(funding_id=number, amount=amount, asset="USDT", ts_ns=now)
        )
        self.money["USDT"] += amount
        self.tell_wallet(BalanceUpdate(balances={"USDT": self.balances()["USDT"]}, ts_ns=now))

    def _realised(self, signed: Decimal, price: Decimal) -> Decimal:
        """Move position and entry price; return the profit of what was closed, rounded as a venue does."""
        held, entry = self.held, self.entry
        self.held = held + signed
        if held * signed >= 0:
            self.entry = (held * entry + signed * price) / self.held
            return Decimal(0)
        closed = min(abs(held), abs(signed)) * (1 if held > 0 else -1)
        if abs(signed) > abs(held):
            self.entry = price
        return round((price - entry) * closed, 8)

    def cancel(self, client_id: str, now: int) -> OrderRecord:
        record = self.orders.get(client_id)
        # On spot even that may not find it: money is what tells. Of a contract it acts on the book itself.
        hidden = self.spot and self.hidden.get(client_id, 0) > now
        if record is None or record.state is not OrderState.OPEN or hidden:
            raise Refused(Refusal.NO_SUCH_ORDER, "Unknown order sent.", -2011)
        return self._keep(replace(record, state=OrderState.CANCELED, ts_ns=now))

    def open(self) -> list[OrderRecord]:
        return [one for one in self.orders.values() if one.state is OrderState.OPEN]

    def shown(self, now: int) -> list[OrderRecord]:
        """What a query for open orders answers, which may know of some too late."""
        return [one for one in self.open() if self.hidden.get(one.client_id, 0) <= now]

    def unheard(self, venue_id: str, now: int) -> bool:
        """Whether nothing tells of an order now: no query, no stream, no list of trades."""
        return any(
            self.hidden.get(one, 0) > now and self.orders[one].venue_id == venue_id
            for one in self.untold & self.orders.keys()
        )

    def find(self, client_id: str, now: int) -> OrderRecord | None:
        """What a query for one order answers."""
        return None if self.hidden.get(client_id, 0) > now else self.orders.get(client_id)

    def balances(self) -> dict[str, Balance]:
        locked = dict.fromkeys(self.money, Decimal(0))
        for one in self.open() if self.spot else ():
            rest = one.quantity - one.executed
            locked["USDT" if one.side is Side.BUY else "BTC"] += (
                rest * one.price if one.side is Side.BUY else rest
            )
        return {
            asset: Balance(free=amount - locked[asset], locked=locked[asset])
            for asset, amount in self.money.items()
        }

    def position(self) -> Decimal | None:
        if self.spot:
            return None
        return sum((one.side.sign * one.quantity for one in self.fills), self.before)

    def _keep(self, record: OrderRecord, fill: FillRecord | None = None) -> OrderRecord:
        self.orders[record.client_id] = record
        self.tell(OrderUpdate(record=record, fill=fill))
        return record


class World:
    """An engine's orders, the handler, its journal, the line, and the venue; the process may die at any step.

    Args:
        seed: Decides everything.
        store: Opens the journal, anew after each crash.
        handler: What is tried.
        trouble: Share of requests, answers and stream messages that something happens to.
        hide_ns: How long a query may deny an order that is there.
        crashes: Chance of the process dying, each time something is to be done.
        books: What compares, and proves that an order came to nothing.
        instrument: What is traded.
        amends: Whether orders are amended, too, and sent without a limit.
    """

    def __init__(
        self,
        seed: int,
        store: Callable[[], Store | MemoryStore],
        handler: type[OrderHandler] = OrderHandler,
        trouble: float = 0.3,
        hide_ns: int = 60 * S,
        crashes: float = 0.0,
        books: type[Reconciler] = Reconciler,
        instrument: Instrument = SPOT,
        amends: bool = False,
    ) -> None:
        self._amends = amends
        self.random = Random(seed)
        self.now = START
        self.instrument = instrument
        self.venue = SmallVenue(instrument)
        self._books_type = books
        self.venue.tell = self._stream
        self.venue.tell_wallet = self._stream_wallet
        self.trace: list[str] = []
        self._open_store, self._handler, self._trouble = store, handler, trouble
        self._hide_ns, self._crashes = hide_ns, crashes
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self.life = 0
        """How many processes there have been."""
        self.lost = 0
        self.funded: list[Decimal] = []
        """What this and earlier lives have told their engines of funding."""
        self.problems: list[str] = []
        self.proven: list[str] = []
        """Orders that were proven to have come to nothing."""
        self._begin()

    def _begin(self) -> None:
        self.life += 1
        self.store = self._open_store()
        found, money = self.store.found(), self.store.money()
        tag = f"mm{self.life}"
        self.store.begin(tag, self.now)
        self.handler = self._handler(
            self.instrument,
            tag,
            self.now,
            found.orders,
            found.trades,
            found.last_fill_ns or found.first_run_ns,
            Fundings(self.instrument, self.now, found.first_run_ns, money.fundings),
        )
        ledger = Ledger(self.instrument, money.fills, money.sums, money.fundings)
        self.books = self._books_type(
            self.instrument, self.handler, ledger, self.store.anchor(), self.now
        )
        self.orders = Orders()
        self.next_id = 1
        self.stream_up = True
        self.handler.stream_up(self.now)
        self.pump()

    def crash(self) -> None:
        """The process dies: what is in memory is gone, what is under way to the venue is not."""
        self.trace.append(f"{self.now} crash")
        self.store.close()
        self._begin()

    # --- the engine ---

    def act(self) -> None:
        """Do what an engine might: submit or cancel."""
        active = self.orders.active
        if active and self.random.random() < 0.5:
            order = self.random.choice(active)
            if order.in_flight:
                return
            if self._amends and order.amending is None and self.random.random() < 0.6:
                self._command(self._amended(order))
            else:
                self._command(CancelOrder(ts_local=self.now, order_id=order.order_id))
        elif len(active) < 6 and self.books.known:
            side = self.random.choice([Side.BUY, Side.SELL])
            self._command(
                SubmitOrder(
                    ts_local=self.now,
                    order_id=self.next_id,
                    side=side,
                    order_type=(
                        OrderType.MARKET
                        if self._amends and self.random.random() < 0.1
                        else OrderType.LIMIT
                    ),
                    price=650_000 + self.random.randrange(-50, 50),
                    quantity=self.random.randrange(1, 20),
                    time_in_force=self.random.choice(
                        [TimeInForce.POST_ONLY, TimeInForce.POST_ONLY, TimeInForce.IOC]
                    ),
                )
            )
            self.next_id += 1

    def _amended(self, order: Order) -> AmendOrder:
        """Some other price or quantity; of a contract, most often one that the venue takes."""
        spot = self.instrument.kind is ContractKind.SPOT
        quantity = self.random.randrange(1, order.quantity + 1 if spot else 25)
        price = order.price if spot else 650_000 + self.random.randrange(-50, 50)
        return AmendOrder(
            ts_local=self.now, order_id=order.order_id, price=price, quantity=quantity
        )

    def stop(self) -> None:
        """Cancel everything that can be canceled."""
        for order in self.orders.active:
            if not order.in_flight:
                self._command(CancelOrder(ts_local=self.now, order_id=order.order_id))

    def _command(self, command: AnyCommand) -> None:
        self.orders.sent(command)
        self.handler.command(command, self.now)
        self.pump()

    def pump(self) -> None:
        """Write what is to be written, send what is to be sent, tell what is to be told."""
        life = self.life
        while any(taken := self.handler.take()):
            self._hand_on(taken)
            if life != self.life:
                return
        verdict = self.books.judge(self.now)
        if verdict is not None:
            if verdict.anchor is not None:
                self.store.keep(verdict.anchor)
            for client_id, proof in verdict.absent.items():
                self.proven.append(client_id)
                self.handler.absent(client_id, proof, self.now)
            self.pump()
        elif self.books.wants_look(self.now):
            self._look()

    def _hand_on(self, taken: Taken) -> None:
        if self._dies():
            return
        self.store.write(taken.orders, taken.fills)
        self.store.write_fundings(taken.fundings)
        self.books.changed(taken.fills, taken.fundings)
        if self._dies():
            return
        for event in taken.events:
            self.trace.append(f"{self.now} {event}")
            self.lost += type(event).__name__ == "OrderLost"
            if isinstance(event, FundingPaid):
                self.funded.append(event.amount)
                continue
            self.orders.apply(event)  # type: ignore[arg-type]
        self.problems += taken.problems
        for request in taken.requests:
            self.trace.append(f"{self.now} {request}")
            self._send(request)
            if self._dies():
                return

    def _look(self) -> None:
        """Ask for the account's books, one after the other."""
        life, books, seen = self.life, self.books, dict[str, Any]()
        fails = self.random.random() < self._trouble / 2

        def step(what: str) -> None:
            if life != self.life:
                return
            if what == "balances":
                seen[what] = self.venue.balances()
                self.at(self.random.randrange(200) * MS, lambda: step("position"))
            elif what == "position":
                seen[what] = self.venue.position()
                self.at(self.random.randrange(200) * MS, lambda: step("open_orders"))
            elif what == "open_orders":
                seen[what] = self.venue.shown(self.now)
                self.at(self.random.randrange(200) * MS, lambda: step("end"))
            else:
                if fails:
                    books.not_looked(self.now)
                else:
                    books.looked(Books(**seen, steady=True), self.now)
                self.pump()

        self.at(self.random.randrange(1, 200) * MS, lambda: step("balances"))

    def _dies(self) -> bool:
        if self.random.random() < self._crashes:
            self.crash()
            return True
        return False

    # --- the line ---

    def _send(self, request: Request) -> None:
        life = self.life
        luck = self.random.random()
        delay = self.random.randrange(1, 200) * MS
        if luck < self._trouble / 3:
            # It never gets there.
            self.at(delay + 2 * S, lambda: self._unanswered(request, life))
            return
        answer_lost = luck < 2 * self._trouble / 3
        if isinstance(request, Amend) and luck < self._trouble and not answer_lost:
            # It arrives when it has been asked about already.
            self.at(2 * S, lambda: self._unanswered(request, life))
            delay, answer_lost = self.random.randrange(2_000, 9_000) * MS, True
        self.at(delay, lambda: self._arrive(request, life, answer_lost))

    def _arrive(self, request: Request, life: int, answer_lost: bool) -> None:
        if isinstance(request, Place):
            answer_lost = self._hide(request.placement.client_id) or answer_lost
        try:
            answer = self._asked(request)
        except Refused as refused:
            answer = refused
        delay = self.random.randrange(1, 200) * MS
        if answer_lost:
            self.at(delay + 2 * S, lambda: self._unanswered(request, life))
        else:
            self.at(delay, lambda: self._answer(request, answer, life))

    def _hide(self, client_id: str) -> bool:
        """Have queries deny an order for a while; return whether nothing else tells of it either."""
        luck = self.random.random()
        if luck < self._trouble / 2:
            self.venue.hidden[client_id] = self.now + self.random.randrange(max(self._hide_ns, 1))
        if luck < self._trouble / 6:
            self.venue.untold.add(client_id)
            return True
        return False

    def _asked(self, request: Request) -> object:
        venue, now = self.venue, self.now
        match request:
            case Place(placement):
                return venue.place(placement, now)
            case Amend(amendment):
                return venue.amend(amendment, now)
            case Cancel(client_id):
                return venue.cancel(client_id, now)
            case AskOrder(client_id):
                return venue.find(client_id, now)
            case AskFills(since_ns):
                return [
                    fill
                    for fill in venue.fills
                    if fill.ts_ns >= since_ns and not venue.unheard(fill.venue_id, now)
                ]
            case AskFundings(since_ns):
                return [one for one in venue.fundings if one.ts_ns >= since_ns]
            case AskOpen():
                return venue.shown(now)

    def _answer(self, request: Request, answer: object, life: int) -> None:
        if life != self.life:
            return
        handler, now = self.handler, self.now
        refused = answer if isinstance(answer, Refused) else None
        match request:
            case Place(placement):
                if refused:
                    handler.place_refused(placement.client_id, refused, now)
                else:
                    handler.placed(answer, now)  # type: ignore[arg-type]
            case Amend(amendment):
                if refused:
                    handler.amend_refused(amendment.client_id, refused, now)
                else:
                    handler.amended(amendment.client_id, answer, now)  # type: ignore[arg-type]
            case Cancel(client_id):
                if refused:
                    handler.cancel_refused(client_id, refused, now)
                else:
                    handler.canceled(client_id, answer, now)  # type: ignore[arg-type]
            case AskOrder(client_id):
                handler.order_told(client_id, answer, now)  # type: ignore[arg-type]
            case AskFills():
                handler.fills_told(answer, now)  # type: ignore[arg-type]
            case AskFundings():
                handler.fundings_told(answer, now)  # type: ignore[arg-type]
            case AskOpen():
                handler.open_told(answer, now)  # type: ignore[arg-type]
        self.pump()

    def _unanswered(self, request: Request, life: int) -> None:
        if life != self.life:
            return
        handler, now = self.handler, self.now
        match request:
            case Place(placement):
                handler.place_unanswered(placement.client_id, "timeout", now)
            case Amend(amendment):
                handler.amend_unanswered(amendment.client_id, now)
            case Cancel(client_id):
                handler.cancel_unanswered(client_id, now)
            case AskOrder(client_id):
                handler.order_unanswered(client_id, now)
            case AskFills():
                handler.fills_unanswered(now)
            case AskFundings():
                handler.fundings_unanswered(now)
            case AskOpen():
                handler.open_unanswered(now)
        self.pump()

    def _stream(self, update: OrderUpdate) -> None:
        life = self.life
        luck = self.random.random()
        if not self.stream_up or self.venue.unheard(update.record.venue_id, self.now):
            return
        times = 0 if luck < self._trouble / 4 else 2 if luck < self._trouble / 2 else 1
        for _ in range(times):
            late = self.random.randrange(1, 2000) if luck < self._trouble else 20
            self.at(late * MS, lambda: self._told(update, life))

    def _told(self, update: OrderUpdate, life: int) -> None:
        if life == self.life:
            self.handler.update(update, self.now)
            self.pump()

    def _stream_wallet(self, update: BalanceUpdate) -> None:
        """Tell of the wallet, late, twice or not at all."""
        life = self.life
        if not self.stream_up:
            return

        def told() -> None:
            if life == self.life:
                self.books.heard(update, self.now)
                self.pump()

        for _ in range(self.random.randrange(3)):
            self.at(self.random.randrange(1, 2000) * MS, told)

    def reconnect(self) -> None:
        """The user stream is lost, and a while later there again."""
        self.stream_up = False
        life = self.life

        def again() -> None:
            self.stream_up = True
            if life == self.life:
                self.handler.stream_up(self.now)
                self.pump()

        self.at(self.random.randrange(10) * S, again)

    # --- time ---

    def at(self, delay_ns: int, do: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay_ns, self._count, do))

    def run(self, for_ns: int) -> None:
        """Let time pass."""
        end = self.now + for_ns
        while True:
            due = min(self.handler.next_ns(), self.books.next_ns())
            queued = self._queue[0][0] if self._queue else end + 1
            if min(due, queued) > end:
                break
            if queued <= due:
                self.now, _, do = heapq.heappop(self._queue)
                do()
            else:
                self.now = max(self.now, due)
                self.handler.wake(self.now)
                self.pump()
        self.now = end

    def calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self._trouble = self._crashes = 0.0
        self.venue.hidden.clear()
        if not self.stream_up:
            self.stream_up = True
        self.handler.stream_up(self.now)
        self.pump()
