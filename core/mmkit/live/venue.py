"""The execution venue of real orders: an order handler between a run and an account.

Everything happens on the run's event loop. What the engine decides in one turn of it is written with one commit, and leaves
after that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Protocol

from mmkit.accounts import (
    AccountClient,
    AccountEvent,
    AccountInfo,
    FateUnknown,
    OrderUpdate,
    Refusal,
    Refused,
    StreamDown,
    StreamUp,
)
from mmkit.clock import Clock
from mmkit.commands import AnyCommand
from mmkit.errors import MmkitError, RunError, VenueError
from mmkit.events import VenueDown, VenueEvent, VenueUp
from mmkit.instruments import Instrument
from mmkit.interfaces import ExecutionVenue
from mmkit.live.handler import OrderHandler, Taken
from mmkit.live.known import KnownFill, KnownOrder, Stage
from mmkit.live.requests import AskFills, AskOpen, AskOrder, Cancel, Place, Request
from mmkit.live.store import Found
from mmkit.tape import NEVER

_log = logging.getLogger("mmkit.live")

ANSWER_WITHIN_S = 10.0
"""Longer than a venue takes to say that it has timed out itself."""
RECOVER_WITHIN_S = 60.0
"""How long the start waits for the fate of what earlier runs left."""
_HOLD_NS = 1_000_000_000
"""How long nothing is sent after a refusal that says nothing of when to come back."""
_FOR_NOW = frozenset({Refusal.RATE, Refusal.BUSY, Refusal.CLOCK})
_FOR_GOOD = frozenset({Refusal.KEY, Refusal.PERMISSION, Refusal.SYMBOL, Refusal.MODE})


class OrderStore(Protocol):
    """Where orders and fills are written down: `mmkit.live.store.Store`, or one in memory."""

    def found(self) -> Found:
        """Return what is in it."""

    def fills(self) -> list[KnownFill]:
        """Return every fill, in order of time."""

    def begin(self, tag: str, start_ns: int) -> None:
        """Note a run before its first order."""

    def write(self, orders: Iterable[KnownOrder], fills: Iterable[KnownFill]) -> None:
        """Put orders and fills on the disk; return when they are there."""

    def close(self) -> None:
        """Let go of the file."""


class Wanted(Protocol):
    """Wants to know that something can be taken from the venue."""

    def __call__(self) -> None:
        """Look."""


class LiveVenue(ExecutionVenue):
    """Real orders in one market of one account.

    While the user stream is down, the venue refuses everything, the journal cannot be written, or something is not as
    it has to be, the engine is told `VenueDown`, and quotes are pulled; `VenueUp` once all of that is over.

    Args:
        instrument: What is traded.
        client: The account.
        store: The journal of orders.
        clock: The run's.
        tag: Begins the client order ids of this run; no other run has it.
    """

    simulated = False

    def __init__(
        self,
        instrument: Instrument,
        client: AccountClient,
        store: OrderStore,
        clock: Clock,
        tag: str,
    ) -> None:
        self._client, self._store, self._clock = client, store, clock
        now = clock.now_ns()
        found = store.found()
        store.begin(tag, now)
        self.handler = OrderHandler(
            instrument,
            tag,
            now,
            found.orders,
            found.trade_ids,
            found.last_fill_ns or found.first_run_ns,
        )
        self.ready: Wanted = lambda: None
        """Called when there is something to take."""
        self._events: deque[VenueEvent] = deque()
        self._down: dict[str, str] = {"start": "not connected yet"}
        self._told_down: str | None = None
        self._held: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._turning = False
        self._journal_broken = False
        self._recovering = False
        self._changed = asyncio.Event()

    # --- what the run asks ---

    def send(self, command: AnyCommand) -> None:
        """Hand over a command; it is on the disk, and leaves, at the end of this turn of the loop."""
        self.handler.command(command, self._clock.now_ns())
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._pump)

    def next_ns(self) -> int:
        """Return when the first event was known that has not been taken."""
        return self._events[0].ts_local if self._events else NEVER

    def take(self, now_ns: int) -> Sequence[VenueEvent]:
        """Return the events that were known by `now_ns`, in order."""
        taken = []
        while self._events and self._events[0].ts_local <= now_ns:
            taken.append(self._events.popleft())
        return taken

    @property
    def unknown(self) -> list[KnownOrder]:
        """The orders of which nobody knows whether they are on the book."""
        return [one for one in self.handler.orders.values() if one.stage is not Stage.OPEN]

    # --- begin and end ---

    async def start(self) -> AccountInfo:
        """Connect, find out what became of what earlier runs left, cancel it, and only then be up.

        Raises:
            VenueError: if the key may not trade, the account cannot be traded by mmkit, or what earlier
                runs left cannot be settled.
        """
        info = await self._client.open()
        if not info.can_trade:
            raise VenueError(
                "the key may not trade; give it that right at the venue, and no other, or use another key"
            )
        if info.hedge_mode:
            raise VenueError(
                "the account is in hedge mode, which keeps long and short apart; mmkit trades one position a market; "
                "set it to one-way mode at the venue"
            )
        if info.can_withdraw:
            _log.warning(
                "key_may_withdraw; whoever gets hold of it can take the money away; use a key without that right"
            )
        self._listening = asyncio.get_running_loop().create_task(self._listen())
        self._listening.add_done_callback(lambda _: self._changed.set())
        self._recovering = True
        self._pump()
        try:
            async with asyncio.timeout(RECOVER_WITHIN_S):
                while self._down:
                    self._changed.clear()
                    if self._listening.done():
                        self._listening.result()
                        raise VenueError("the user stream has ended; see the log")
                    await self._changed.wait()
        except TimeoutError:
            left = ", ".join(one.client_id for one in self.handler.orders.values())
            raise VenueError(
                f"within {RECOVER_WITHIN_S:.0f} s the account could not be brought to a known state: "
                f"{'; '.join(self._down.values())}{'; not settled: ' + left if left else ''}"
            ) from None
        return info

    async def stop(self, within_s: float) -> list[KnownOrder]:
        """Wait until everything that is canceled is gone by the venue's record; return what is left."""
        try:
            async with asyncio.timeout(within_s):
                while self.handler.orders:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass  # what is left is returned, and the caller says it
        return list(self.handler.orders.values())

    async def close(self) -> None:
        """Let go of connections and of the journal; cancels nothing."""
        for timer in (self._timer, self._held):
            if timer is not None:
                timer.cancel()
        tasks = [*self._tasks, *([self._listening] if self._listening is not None else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        try:
            await self._client.close()
        finally:
            self._store.close()

    # --- one turn ---

    def _pump(self) -> None:
        """Write what is to be written, send what is to be sent, and hand on what is to be told."""
        self._turning = False
        while any(taken := self.handler.take()):
            if self._write(taken):
                for request in taken.requests:
                    self._ask(request)
            self._events.extend(taken.events)
            for problem in taken.problems:
                self._say_down("problem", problem)
        if self._recovering and self.handler.sure and "stream" not in self._down:
            self._recovering = False
            self._say_up("start")
            self._say_up("recovery")
        self._schedule()
        self._changed.set()
        if self._events:
            self.ready()

    def _write(self, taken: Taken) -> bool:
        """Return whether what was taken is on the disk; if not, no order leaves, and cancels do."""
        try:
            if not self._journal_broken:
                self._store.write(taken.orders, taken.fills)
                return True
        except RunError as error:
            _log.error("journal_broken %s", error)
            self._journal_broken = True
            self._say_down("journal", str(error))
        now = self._clock.now_ns()
        for request in taken.requests:
            if isinstance(request, Place):
                refused = Refused(Refusal.OTHER, "the journal of orders cannot be written")
                self.handler.place_refused(request.placement.client_id, refused, now)
            else:
                self._ask(request)
        return False

    def _schedule(self) -> None:
        due = self.handler.next_ns()
        if due == self._timer_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_ns = None, due
        if due != NEVER:
            delay = max(0.0, (due - self._clock.now_ns()) / 1e9)
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_ns = None, NEVER
        self.handler.wake(self._clock.now_ns())
        self._pump()

    # --- requests ---

    def _ask(self, request: Request) -> None:
        task = asyncio.get_running_loop().create_task(self._do(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, request: Request) -> None:
        client = self._client
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                match request:
                    case Place(placement):
                        record = await client.place(placement)
                        self.handler.placed(record, self._clock.now_ns())
                    case Cancel(client_id):
                        canceled = await client.cancel(client_id)
                        self.handler.canceled(client_id, canceled, self._clock.now_ns())
                    case AskOrder(client_id):
                        found = await client.order(client_id)
                        self.handler.order_told(client_id, found, self._clock.now_ns())
                    case AskFills(since_ns):
                        fills = await client.fills(since_ns)
                        self.handler.fills_told(fills, self._clock.now_ns())
                    case AskOpen():
                        records = await client.open_orders()
                        self.handler.open_told(records, self._clock.now_ns())
        except Refused as refused:
            self._refused(request, refused)
        except FateUnknown as error:
            self._unanswered(request, str(error))
        except TimeoutError:
            self._unanswered(request, f"no answer within {ANSWER_WITHIN_S:.0f} s")
        except MmkitError as error:
            _log.error("request_failed request=%s %s", type(request).__name__, error)
            self._unanswered(request, str(error))
        except Exception as error:  # noqa: BLE001 - a client's own failure: nobody knows what the venue did
            # Its words may hold an address with key and signature, so that they are told to nobody.
            kind = type(error).__name__
            _log.error("request_failed request=%s error=%s", type(request).__name__, kind)
            self._unanswered(request, f"the client failed: {kind}")
        self._pump()

    def _refused(self, request: Request, refused: Refused) -> None:
        now = self._clock.now_ns()
        match request:
            case Place(placement):
                self.handler.place_refused(placement.client_id, refused, now)
            case Cancel(client_id):
                self.handler.cancel_refused(client_id, refused, now)
            case AskOrder(client_id) if refused.refusal is Refusal.NO_SUCH_ORDER:
                self.handler.order_told(client_id, None, now)
            case _:
                self._unanswered(request, str(refused))
        if refused.refusal in _FOR_GOOD:
            self._say_down(refused.refusal, f"the venue refuses: {refused}")
        elif refused.refusal in _FOR_NOW:
            self._hold(max(refused.retry_ns, _HOLD_NS), f"the venue refuses for now: {refused}")

    def _unanswered(self, request: Request, why: str) -> None:
        now = self._clock.now_ns()
        match request:
            case Place(placement):
                self.handler.place_unanswered(placement.client_id, why, now)
            case Cancel(client_id):
                self.handler.cancel_unanswered(client_id, now)
            case AskOrder(client_id):
                self.handler.order_unanswered(client_id, now)
            case AskFills():
                self.handler.fills_unanswered(now)
            case AskOpen():
                self.handler.open_unanswered(now)

    def _hold(self, for_ns: int, reason: str) -> None:
        """Send no order for so long."""
        self._say_down("held", reason)
        if self._held is not None:
            self._held.cancel()
        loop = asyncio.get_running_loop()
        self._held = loop.call_later(for_ns / 1e9, self._let_go)

    def _let_go(self) -> None:
        self._held = None
        self._say_up("held")
        self._pump()

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
                self._recovering = True
                self.handler.stream_up(now)
                self._say_up("stream", "recovery", "finding out what happened meanwhile")
            case StreamDown(reason=reason):
                self._say_down("stream", f"the user stream is down: {reason}")

    # --- up and down ---

    def _say_down(self, cause: str, reason: str) -> None:
        self._down[cause] = reason
        self._tell_state()

    def _say_up(self, cause: str, instead: str = "", reason: str = "") -> None:
        """One cause is over; another may take its place."""
        self._down.pop(cause, None)
        if instead:
            self._down[instead] = reason
        self._tell_state()

    def _tell_state(self) -> None:
        reason = "; ".join(self._down.values()) or None
        if reason == self._told_down:
            return
        was, self._told_down = self._told_down, reason
        now = self._clock.now_ns()
        if reason is not None:
            self._events.append(VenueDown(ts_exchange=now, ts_local=now, reason=reason))
        elif was is not None:
            self._events.append(VenueUp(ts_exchange=now, ts_local=now))
