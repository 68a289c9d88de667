"""The execution venue of real orders: an order handler between a run and an account.

Everything happens on the run's event loop. What the engine decides in one turn of it is written with one commit, and leaves
after that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Protocol

from mmkit.accounts import (
    AccountClient,
    AccountEvent,
    AccountInfo,
    BalanceUpdate,
    FundingRecord,
    OrderRecord,
    OrderUpdate,
    PositionUpdate,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.alarm import Alarm
from mmkit.clock import Clock
from mmkit.commands import AnyCommand
from mmkit.errors import MmkitError, RunError, VenueError
from mmkit.events import VenueDown, VenueEvent, VenueUp
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import ExecutionVenue
from mmkit.live.anchor import Anchor
from mmkit.live.asking import ANSWER_WITHIN_S, Asking
from mmkit.live.fundings import Fundings
from mmkit.live.handler import OrderHandler, Taken
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.ledger import Ledger, Sums
from mmkit.live.opening import CLOCKS_APART_NS, explained, place_of, refuse_unfit
from mmkit.live.pace import Pace
from mmkit.live.reconcile import Books, Reconciler
from mmkit.live.requests import (
    Amend,
    Cancel,
    Place,
    Request,
)
from mmkit.live.store import LEAST_ROOM, Found, Money
from mmkit.tape import NEVER

_log = logging.getLogger("mmkit.live")

RECOVER_WITHIN_S = 60.0
"""How long the start waits for the fate of what earlier runs left."""
COUNTDOWN_MS = 60_000
"""After so long without a word from us the venue is to cancel every order, where it can; said anew four times as often."""
_S = 1_000_000_000
_CONFUSED_NS, _QUIET_NS, _QUIET_AGAIN_NS = 30 * _S, 20 * _S, 600 * _S
"""A lost order that could not be told from others of ours for the first of them is looked for with nothing else on the book, for the second of
them at the most; again after the third."""
_AGAIN_S = 0.25
_LAST_FUNDING_S = 3.0
"""How long the end of a run waits to hear of funding; what is not heard of then, the next run finds."""
_FOR_GOOD = frozenset({Refusal.KEY, Refusal.PERMISSION, Refusal.SYMBOL, Refusal.MODE})


class OrderStore(Protocol):
    """Where orders and fills are written down: `mmkit.live.store.Store`, or one in memory."""

    def found(self) -> Found:
        """Return what is in it."""

    def money(self) -> Money:
        """Return what has moved money."""

    def begin(self, tag: str, start_ns: int) -> None:
        """Note a run before its first order."""

    def write(self, orders: Iterable[KnownOrder], fills: Iterable[KnownFill]) -> None:
        """Put orders and fills on the disk; return when they are there."""

    def write_fundings(self, fundings: Iterable[FundingRecord]) -> None:
        """Put payments of funding on the disk, each once."""

    def keep_sums(self, sums: Sums) -> None:
        """Put on the disk what all fills up to a time come to."""

    def anchor(self) -> Anchor | None:
        """Return the last one that was kept."""

    def keep(self, anchor: Anchor) -> None:
        """Put an anchor on the disk."""

    def room(self) -> int:
        """Return how many bytes there is room for on the disk."""

    def close(self) -> None:
        """Let go of the file."""


class Wanted(Protocol):
    """Wants to know that something can be taken from the venue."""

    def __call__(self) -> None:
        """Look."""


class LiveVenue(ExecutionVenue):
    """Real orders in one market of one account.

    While the user stream is down, the venue refuses everything, the journal cannot be written, or something is not as
    it has to be, the engine is told `VenueDown`, and quotes are pulled; `VenueUp` once all of that is over. Until then
    no order leaves, whatever is decided; cancels do.

    Args:
        instrument: What is traded.
        client: The account.
        store: The journal of orders.
        clock: The run's.
        tag: Begins the client order ids of this run; no other run has it.
        handler: Handles the orders; another one only to see that a broken one is found out.
        where: Names the account in errors; what is traded unless given.

    Raises:
        RunError: if the journal holds a run of that tag, or cannot be written.
    """

    simulated = False

    def __init__(
        self,
        instrument: Instrument,
        client: AccountClient,
        store: OrderStore,
        clock: Clock,
        tag: str,
        handler: type[OrderHandler] = OrderHandler,
        where: str = "",
    ) -> None:
        self._where = where or place_of(instrument)
        self._client, self._store, self._clock, self._tag = client, store, clock, tag
        self._spot = instrument.kind is ContractKind.SPOT
        now = clock.now_ns()
        found = store.found()
        store.begin(tag, now)
        money = store.money()
        self._fundings = Fundings(instrument, now, found.first_run_ns or now, money.fundings)
        self.handler = handler(
            instrument,
            tag,
            now,
            found.orders,
            found.trades,
            found.last_fill_ns or found.first_run_ns or now,
            self._fundings,
        )
        self._asking = Asking(client, self.handler, clock)
        self.ready: Wanted = lambda: None
        """Called when there is something to take."""
        ledger = Ledger(instrument, money.fills, money.sums, money.fundings)
        self.books = Reconciler(instrument, self.handler, ledger, store.anchor(), now)
        """What the account has, beside what it should have."""
        self._kept_sums = money.sums
        self._pace = Pace()
        self._events: deque[VenueEvent] = deque()
        self._down = {"stream": "not connected yet"}
        self._told_down: str | None = None
        self._failure: BaseException | None = None
        self._alarm = Alarm(clock, lambda: self._guarded(self._on_alarm))
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._waiting: list[Request] = []
        """What leaves once the venue may be spoken to again."""
        self._foreign: frozenset[str] = frozenset()
        self._quiet_until_ns, self._quiet_again_ns, self._only_lost = NEVER, 0, False
        self._turning = self._journal_broken = self._stopping = self._closed = False
        self._recovering = self._told_clocks = False
        self._has_been_up = False
        self._changed = asyncio.Event()
        self._tell_state()

    # --- what the run asks ---

    def send(self, command: AnyCommand) -> None:
        """Hand over a command; it is on the disk, and leaves, at the end of this turn of the loop."""
        self.handler.command(command, self._clock.now_ns())
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._guarded, self._turned)

    def flush(self) -> bool:
        """Write and send now what was handed over in this turn of the loop; return whether there was something.

        For whoever knows that nothing more is handed over in it. All that can wait stands behind the orders.
        """
        if not self._turning:
            return False
        self._guarded(self._send_first)
        return True

    def next_ns(self) -> int:
        """Return when the first event was known that has not been taken."""
        if self._failure is not None:
            return 0
        return self._events[0].ts_local if self._events else NEVER

    def take(self, now_ns: int) -> Sequence[VenueEvent]:
        """Return the events that were known by `now_ns`, in order.

        Raises:
            Exception: once, whatever has gone wrong beside the run's own calls; orders can still be canceled, by `stop`.
        """
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        taken = []
        while self._events and self._events[0].ts_local <= now_ns:
            taken.append(self._events.popleft())
        return taken

    @property
    def down(self) -> str | None:
        """Why no order leaves, or `None`."""
        return "; ".join(self._down.values()) or None

    @property
    def unknown(self) -> list[KnownOrder]:
        """The orders of which nobody knows whether they are on the book."""
        return [
            one for one in self.handler.orders.values() if one.stage in (Stage.UNSURE, Stage.LOST)
        ]

    @property
    def down_at_the_end(self) -> MmkitError | None:
        """Why nothing could have been quoted any more when the run ended, if it will not pass by itself."""
        lasting = [self._down[one] for one in ("journal", "room", "books") if one in self._down]
        if not lasting:
            return None
        return RunError(
            f"{self._where}: nothing was quoted any more when the run ended: {'; '.join(lasting)}"
        )

    # --- begin and end ---

    async def start(self) -> AccountInfo:
        """Connect, find out what became of what earlier runs left, cancel it, and only then be up.

        Raises:
            VenueError: if the key may not trade, the account cannot be traded by mmkit, or what earlier
                runs left cannot be settled.
        """
        try:
            info = await self._client.open()
        except Refused as refused:
            raise explained(refused, self._where) from refused
        refuse_unfit(info, self._where)
        self._compare_clocks()
        if info.can_withdraw:
            _log.warning(
                "key_may_withdraw; whoever gets hold of it can take the money away; use a key without that right"
            )
        self._pace.orders_per_10s = info.orders_per_10s
        self.amends = info.amends
        self._spawn(self._listen(), "user stream")
        if info.countdown:
            self._renewing = self._spawn(self._renew(), "countdown")
        else:
            _log.warning(
                "no_countdown; the venue cancels nothing by itself: if this machine or its line dies, orders stay"
            )
        try:
            async with asyncio.timeout(RECOVER_WITHIN_S):
                while self._down:
                    if self._failure is not None:
                        self.take(0)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            left = ", ".join(one.client_id for one in self.handler.orders.values())
            raise VenueError(
                f"within {RECOVER_WITHIN_S:.0f} s the account could not be brought to a known state: {self.down}"
                f"{'; not settled: ' + left if left else ''}"
                f"{'; ' + self.books.last if self.books.last else ''}; see to it at the venue, and start again"
            ) from None
        return info

    def _compare_clocks(self) -> None:
        """See how far the venue's clock is from ours, and say so if it is far."""
        ahead_ns = self._client.ahead_ns
        self.handler.clocks_apart(abs(ahead_ns))
        far = abs(ahead_ns) >= CLOCKS_APART_NS
        if far and not self._told_clocks:
            _log.warning(
                "clock ours is %.1f s %s the venue's; requests are stamped by the venue's; synchronise it, such as with "
                "chrony or ntpd",
                abs(ahead_ns) / 1e9,
                "behind" if ahead_ns > 0 else "ahead of",
            )
        self._told_clocks = far

    async def stop(self, within_s: float) -> list[KnownOrder]:
        """Send no order any more, cancel all of ours, and wait until they are gone by the venue's record.

        Args:
            within_s: How long to wait.

        Returns:
            What is left: not gone, or of unknown fate. The venue's countdown goes on then, if there is one.
        """
        self._stopping = True
        self.handler.cancel_all(self._clock.now_ns())
        self._guarded(self._pump)
        try:
            async with asyncio.timeout(within_s):
                while self.handler.orders:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            left = [f"{one.client_id} ({one.stage})" for one in self.handler.orders.values()]
            _log.error(
                "orders_left count=%d orders='%s'; look at the venue", len(left), ", ".join(left)
            )
        if not self.handler.orders:
            await self._end_countdown()
        await self._hear_of_fundings()
        return list(self.handler.orders.values())

    async def _hear_of_fundings(self) -> None:
        """Ask once more what funding was paid, so that the last is not missing where the run ends soon after it."""
        fundings, since_ns = self._fundings, self._clock.now_ns()
        try:
            async with asyncio.timeout(_LAST_FUNDING_S):
                while self._has_been_up:
                    now = self._clock.now_ns()
                    if fundings.settled(since_ns, now):
                        return
                    if fundings.failing:
                        await asyncio.sleep(_AGAIN_S)
                    fundings.want_now(now)
                    self.handler.wake(now)
                    self._pump()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            _log.warning("funding_not_asked reason='no answer'; what was paid last may be missing")

    async def _end_countdown(self) -> None:
        if self._renewing is None:
            return
        self._renewing.cancel()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await self._client.countdown(0)
        except (VenueError, TimeoutError) as error:
            _log.warning(
                "countdown_not_ended reason='%s'; the venue will cancel every order in this market within %d s",
                error or "no answer",
                COUNTDOWN_MS // 1000,
            )

    async def close(self) -> None:
        """Let go of connections and of the journal; cancels nothing."""
        if self._closed:
            return
        self._closed = True
        self._alarm.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self._client.close()
        finally:
            self._store.close()

    # --- one turn ---

    def _send_first(self) -> None:
        """Do of `_pump` what orders wait for; the rest has its turn after the requests, which are tasks by then."""
        self._turning = False
        if self._closed:
            return
        self._go_on(self._clock.now_ns())
        self._hand_on()
        asyncio.get_running_loop().call_soon(self._guarded, self._pump)

    def _turned(self) -> None:
        if self._turning:
            self._pump()

    def _pump(self) -> None:
        """Write what is to be written, send what is to be sent, and hand on what is to be told."""
        self._turning = False
        if self._closed:
            return
        # One time for all of it: what is over for one of them is over for the other.
        now = self._clock.now_ns()
        self._go_on(now)
        self._hand_on()
        self._compare(now)
        if (
            self._recovering
            and self.handler.sure
            and self.books.known
            and "stream" not in self._down
        ):
            self._recovering = False
            self._has_been_up = True
            self._down.pop("recovery", None)
        self._tell_foreign()
        self._tell_state()
        self._tell_missed()
        self._keep_sums()
        self._schedule(now)
        self._changed.set()
        if self._events:
            self.ready()

    def _hand_on(self) -> None:
        while any(taken := self.handler.take()):
            self._write(taken)
            self.books.changed(taken.fills, taken.fundings)
            for request in taken.requests:
                self._leave(request)
            self._events.extend(taken.events)
            for problem in (*taken.problems, *self._not_this_run(taken.fills)):
                self._say_down(problem, problem)

    def _compare(self, now: int) -> None:
        """See what the last look at the account came to, and whether it is time for another."""
        verdict = self.books.judge(now)
        if verdict is not None:
            for moved in verdict.moved:
                _log.warning("account_moved since the last run: %s; counted from here", moved)
            for client_id, proof in verdict.absent.items():
                _log.info("came_to_nothing order=%s proof='%s'", client_id, proof)
                self.handler.absent(client_id, proof, now)
            if verdict.anchor is not None:
                self._keep(verdict.anchor)
            if self.books.differs:
                self._say_down("books", f"the account differs: {'; '.join(self.books.differs)}")
            else:
                self._down.pop("books", None)
            self._hand_on()
        self._mind_lost(now)
        if not self._pace.silent(now) and self.books.wants_look(now):
            self._spawn(self._look(), "look")

    def _mind_lost(self, now: int) -> None:
        """Look at once when nothing but lost orders is left, and have it so for a while if that is what it takes to tell."""
        orders = self.handler.orders.values()
        before, self._only_lost = self._only_lost, all(one.stage is Stage.LOST for one in orders)
        if orders and self._only_lost and not before:
            self.books.soon(now)
        confused_ns = self.books.confused_ns(now)
        if "quiet" in self._down:
            if not confused_ns or now >= self._quiet_until_ns:
                self._quiet_until_ns = NEVER
                self._down.pop("quiet")
        elif confused_ns >= _CONFUSED_NS and now >= self._quiet_again_ns and not self._stopping:
            self._quiet_until_ns, self._quiet_again_ns = now + _QUIET_NS, now + _QUIET_AGAIN_NS
            self._say_down(
                "quiet",
                "an order may be lost, and whether it is can only be told with no other of ours on the book; "
                f"quoting goes on within {_QUIET_NS // _S} s",
            )

    def _keep_sums(self) -> None:
        sums = self.books.ledger.settled
        if sums is None or sums is self._kept_sums or self._journal_broken:
            return
        with self._writing():
            self._store.keep_sums(sums)
        self._kept_sums = sums

    def _tell_missed(self) -> None:
        for one in self._fundings.missed:
            _log.warning(
                "funding_missed amount=%s asset=%s ts_ns=%d; it was paid while no run was there: it is in the books, and not "
                "in the profit of this run",
                *(f"{one.amount:f}", one.asset, one.ts_ns),
            )
        self._fundings.missed.clear()

    def _keep(self, anchor: Anchor) -> None:
        with self._writing():
            self._store.keep(anchor)

    async def _look(self) -> None:
        client = self._client
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                before = await client.open_orders() if self.books.counts_locks else None
                books = Books(
                    await client.balances(),
                    None if self._spot else await client.position(),
                    after := await client.open_orders(),
                    steady=before is not None and self._others(before) == self._others(after),
                )
        except Refused as refused:
            self._told_no(refused, an_order=False)
            self.books.not_looked(self._clock.now_ns())
        except (VenueError, TimeoutError) as error:
            _log.warning("not_looked reason='%s'", error or "no answer")
            self.books.not_looked(self._clock.now_ns())
        except Exception as error:  # noqa: BLE001 - a client's own failure; its words may hold a signature
            _log.error("not_looked error=%s", type(error).__name__)
            self.books.not_looked(self._clock.now_ns())
        else:
            self.books.looked(books, self._clock.now_ns())
        self._pump()

    def _others(self, orders: Sequence[OrderRecord]) -> set[tuple[str, Decimal]]:
        """Return what rests on the book and is not ours, by client order id."""
        is_ours = self.handler.is_ours
        return {
            (one.client_id, one.quantity - one.executed)
            for one in orders
            if not is_ours(one.client_id)
        }

    def _go_on(self, now: int) -> None:
        """See whether what was held may leave, cancels first."""
        if not self._pace.held(now):
            self._down.pop("held", None)
        if self._waiting and not self._pace.silent(now):
            waiting, self._waiting = self._waiting, []
            for request in sorted(waiting, key=lambda one: not isinstance(one, Cancel)):
                self._leave(request)

    def _write(self, taken: Taken) -> None:
        if self._journal_broken:
            return
        with self._writing():
            self._store.write(taken.orders, taken.fills)
            if taken.fundings:
                self._store.write_fundings(taken.fundings)
            self._mind_room()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Be down for good once the journal cannot be written."""
        try:
            yield
        except RunError as error:
            self._journal_broken = True
            self._say_down("journal", str(error))

    def _mind_room(self) -> None:
        room = self._store.room()
        if room >= LEAST_ROOM:
            self._down.pop("room", None)
        elif "room" not in self._down:
            self._say_down(
                "room",
                f"there is room for {room // 2**20} MiB on the disk of the journal of orders, and {LEAST_ROOM // 2**20} "
                "are needed; make room",
            )

    def _not_this_run(self, fills: Sequence[KnownFill]) -> list[str]:
        """Return what is wrong with fills that the engine is not told of."""
        if not self._has_been_up:
            return []
        return [
            f"order {one.client_id} of an earlier run has traded {one.quantity} lots; the position of this run "
            "is not the account's any more; start again"
            for one in fills
            if not one.client_id.startswith(f"{self._tag}-")
        ]

    def _guarded(self, call: Callable[[], None]) -> None:
        """Call what the loop wants called; what it raises ends the run."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - raised by `take`, where the run hears of it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        _log.error("failed error=%s", type(error).__name__)
        self._failure = self._failure or error
        self._say_down("failure", f"{type(error).__name__}; see the log")
        self._changed.set()
        self.ready()

    def _schedule(self, now: int) -> None:
        look = max(self.books.next_ns(), self._pace.silent_until_ns)
        pace = min(self._pace.next_ns(now), self._quiet_until_ns)
        self._alarm.set(min(self.handler.next_ns(), look, pace))

    def _on_alarm(self) -> None:
        self.handler.wake(self._clock.now_ns())
        self._pump()

    # --- requests ---

    def _leave(self, request: Request) -> None:
        """Send a request, unless it may not leave."""
        now = self._clock.now_ns()
        if isinstance(request, Place | Amend):
            # An amend counts as an order (Binance: ``ORDERS``).
            refused = self._refused_here(now)
            if refused is not None:
                self._asking.refused(request, refused)
                return
        elif self._pace.silent(now):
            self._waiting.append(request)
            return
        self._spawn(self._do(request), type(request).__name__)

    def _refused_here(self, now: int) -> Refused | None:
        """Return why no order leaves now."""
        if self._stopping:
            return Refused(Refusal.OTHER, "the run is being stopped")
        if self._down.keys() - {"held"}:
            return Refused(Refusal.OTHER, f"not sent: {self.down}")
        refused = self._pace.place(now)
        if refused is not None:
            self._say_down("held", self._pace.why)
        return refused

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _do(self, request: Request) -> None:
        refused = await self._asking.do(request)
        if refused is not None:
            self._told_no(refused, an_order=isinstance(request, Place | Amend))
        self._pump()

    def _told_no(self, refused: Refused, *, an_order: bool) -> None:
        now = self._clock.now_ns()
        self._pace.refused(refused, now, an_order=an_order)
        if self._pace.held(now):
            self._say_down("held", self._pace.why)
        if refused.refusal in _FOR_GOOD:
            # Nothing can be quoted any more until somebody has done something: the run ends, and says so.
            self._say_down(refused.refusal, f"the venue refuses: {refused}")
            self._failure = self._failure or explained(refused, self._where)

    async def _renew(self) -> None:
        """Tell the venue again and again that we are there."""
        while True:
            wait_s = COUNTDOWN_MS / 4000
            try:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await self._client.countdown(COUNTDOWN_MS)
            except Refused as refused:
                _log.warning("countdown_not_renewed reason='%s'", refused)
                wait_s = 1.0
                if refused.refusal is Refusal.RATE:
                    # Said of everything that is asked, and asking on may get the address banned.
                    self._told_no(refused, an_order=False)
                    self._pump()
                    wait_s = max(wait_s, refused.retry_ns / 1e9)
            except (VenueError, TimeoutError) as error:
                _log.warning("countdown_not_renewed reason='%s'", error or "no answer")
                wait_s = 1.0
            await asyncio.sleep(wait_s)

    # --- what the account tells ---

    async def _listen(self) -> None:
        async for event in self._client.events():
            self._heard(event)
            self._pump()
        self._say_down("stream", "the user stream has ended")
        self._pump()

    def _heard(self, event: AccountEvent) -> None:
        now = self._clock.now_ns()
        match event:
            case OrderUpdate():
                self.handler.update(event, now)
            case StreamUp():
                self._compare_clocks()
                self._recovering = True
                self.handler.stream_up(now)
                self.books.soon(now)
                self._down.pop("stream", None)
                self._say_down("recovery", "finding out what has happened at the venue")
            case StreamDown(reason=reason):
                self._say_down("stream", f"the user stream is down: {reason}")
            case BalanceUpdate() | PositionUpdate():
                self.books.heard(event, now)

    def _tell_foreign(self) -> None:
        foreign = frozenset(self.handler.foreign)
        if new := foreign - self._foreign:
            _log.warning(
                "foreign_orders count=%d orders='%s'; they are not ours, and left alone",
                len(new),
                ", ".join(sorted(new)),
            )
        self._foreign = foreign

    # --- up and down ---

    def _say_down(self, cause: str, reason: str) -> None:
        if self._down.get(cause) != reason:
            _log.warning("down cause=%s reason='%s'", cause, reason)
        self._down[cause] = reason

    def _tell_state(self) -> None:
        reason = self.down
        if reason == self._told_down:
            return
        self._told_down = reason
        now = self._clock.now_ns()
        if reason is not None:
            self._events.append(VenueDown(ts_exchange=now, ts_local=now, reason=reason))
        else:
            self._events.append(VenueUp(ts_exchange=now, ts_local=now))
