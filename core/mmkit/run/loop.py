"""The loop of a run on live data: hands market data, reports and time to the session, until something ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from mmkit.alarm import Alarm
from mmkit.clock import Clock
from mmkit.config.sections import Mode
from mmkit.errors import MmkitError
from mmkit.events import MAIN
from mmkit.interfaces import DataSource, RunInfo
from mmkit.journal import Journal
from mmkit.live.known import KnownOrder
from mmkit.live.venue import LiveVenue
from mmkit.run.assembly import told_of
from mmkit.run.control import Standing, Wish, controlled
from mmkit.run.messages import Messages
from mmkit.run.session import Session
from mmkit.tape import Row

_log = logging.getLogger("mmkit.trade")

_ANSWERS_WAIT_S = 0.6
"""How long the end of a run waits for the answers to its last cancels: the default latency and
``sim.data_wait`` together are 0.27 s, and Ctrl-C is to take less than a second."""
_GONE_WITHIN_S = 10.0
"""How long the end of a live run waits until every order is gone by the venue's record."""


class LiveRun:
    """What a run on live data shows while it goes on; the screen and the log read it.

    Attributes:
        run: Name, instrument, strategy.
        session: Engines and venues.
        clock: The run's clock.
        start_ns: When it began.
        mode: ``dry_run`` or ``live``.
        endpoint: Where real orders go; empty in a dry run.
        events: Rows received so far, by market.
        messages: Messages received so far.
        feed_latency_ns: ``ts_local - ts_exchange`` of the last message.
        recent: The last events worth a line, oldest first.
    """

    def __init__(
        self,
        run: RunInfo,
        session: Session,
        clock: Clock,
        start_ns: int,
        mode: Mode = "dry_run",
        endpoint: str = "",
    ) -> None:
        self.run, self.session, self.clock = run, session, clock
        self.start_ns = start_ns
        self.mode: Mode = mode
        self.endpoint = endpoint
        self.events = dict.fromkeys(session.markets, 0)
        self.messages = 0
        self.feed_latency_ns = 0
        self.recent: list[tuple[int, str]] = []

    def remember(self, ts_local: int, line: str) -> None:
        """Keep `line` among the last few."""
        self.recent.append((ts_local, line))
        del self.recent[:-8]

    @property
    def live_venues(self) -> dict[str, LiveVenue]:
        """Where real orders go, by market."""
        return {
            name: one.venue
            for name, one in self.session.markets.items()
            if isinstance(one.venue, LiveVenue)
        }

    @property
    def unknown(self) -> list[KnownOrder]:
        """The real orders of which nobody knows whether they are on the book."""
        return [order for venue in self.live_venues.values() for order in venue.unknown]

    @property
    def state(self) -> tuple[str, str]:
        """How the run is: one of ``halted``, ``waiting``, ``pulled``, ``quoting``; and that in words."""
        for name, (engine, _) in self.session.markets.items():
            where = "" if name == MAIN else f"{name}: "
            if engine.halted:
                return "halted", f"HALTED: {where}{engine.halted}"
            if engine.venue_down:
                return "waiting", f"{where}nothing is sent: {engine.venue_down}"
            if not engine.book.known:
                return "waiting", f"{where}the book is unknown: nothing is quoted"
            if engine.paused:
                return "pulled", "paused: nothing is quoted until 'mmkit resume'"
            if engine.pulled:
                return "pulled", f"quotes pulled: {where}{engine.pulled}"
        return "quoting", "quoting"


Watcher: TypeAlias = Callable[[LiveRun], AbstractAsyncContextManager[None]]
"""Shows a run while it goes on."""


_CANCEL_AGAIN_S = 0.2


async def end_tasks(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all of them have ended: a library may swallow a cancellation, as ccxt now and then does."""
    while tasks:
        for task in tasks:
            task.cancel()
        ended, tasks = await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_S)
        for task in ended:
            if not task.cancelled():
                task.exception()  # what failed has been told by now, or came of the cancellation


def where(market: str) -> str:
    """Return what stands before a line about a market; nothing for the main one."""
    return "" if market == MAIN else f"market={market} "


class Loop:
    """Hands market data and time to the session as they come, until something ends the run.

    However it ends, every quote is pulled; in live trading every order of the run is canceled, and waited for until
    it is gone by the venue's record.
    """

    def __init__(
        self,
        live: LiveRun,
        sources: Mapping[str, DataSource],
        journal: Journal,
        sent: Messages,
        keep: Callable[[], None] = lambda: None,
    ) -> None:
        self._keep = keep
        """Writes down besides what a later run needs."""
        self._live, self._session, self._journal = live, live.session, journal
        self._sources, self._sent = sources, sent
        self._going = {name: one.engine for name, one in live.session.markets.items()}
        """Those that had not been halted when they were last looked at."""
        self._venues = tuple(live.live_venues.values())
        self._told_vetoes: set[tuple[str, str]] = set()
        self._clock = live.clock
        self._alarm = Alarm(live.clock, self._on_alarm)
        self._ended = False
        self._failed: asyncio.Future[None] | None = None
        self._asked = asyncio.Event()
        self.ended_by = ""
        """What asked for the end: ``interrupted`` by a signal, ``stopped`` from elsewhere; empty for neither."""
        self.pauses: list[tuple[int, bool]] = []
        """When it was paused, and when that ended."""
        self.stop_ns: int | None = None
        self.end_ns: int | None = None
        self.left: dict[str, list[KnownOrder]] = {}
        """Real orders that may still be on the book at the end, by market."""

    async def run(self, duration_ns: int | None) -> MmkitError | None:
        """Return what failed, if something did."""
        loop = asyncio.get_running_loop()
        self._failed = loop.create_future()
        tasks = {
            *(
                loop.create_task(self._pump(market), name=f"market data {market}")
                for market in self._sources
            ),
            loop.create_task(self._keep_journal(), name="journal"),
        }
        asked = loop.create_task(self._asked.wait(), name="asked to end")
        waiting: set[asyncio.Future[None]] = {*tasks, asked, self._failed}  # type: ignore[arg-type]
        for venue in self._live.live_venues.values():
            venue.ready = self.schedule
        failure: MmkitError | None = None
        # What is there now stays: the collector is not to look through all of it while an order waits.
        gc.collect()
        gc.freeze()
        async with controlled(Path(self._live.run.folder), self):
            try:
                self.schedule()
                seconds = None if duration_ns is None else duration_ns / 1e9
                done, _ = await asyncio.wait(
                    waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
                failure = self._failure(done)
            finally:
                try:
                    failure = await self._stop() or failure
                finally:
                    self._ended = True
                    self._alarm.cancel()
                    await end_tasks({*tasks, asked})
                    gc.unfreeze()
        return failure

    # --- what it is told ---

    def interrupted(self) -> None:
        """End it, because of a signal; once more changes nothing."""
        if self._asked.is_set():
            _log.warning("interrupted_again; already ending: orders are being canceled")
        self.ended_by = self.ended_by or "interrupted"
        self._asked.set()

    def wish(self, wish: Wish) -> Standing:
        """Do what another terminal asks for."""
        if wish == "stop":
            self.ended_by = self.ended_by or "stopped"
            self._asked.set()
        elif wish != "state" and self.stop_ns is None:
            self._pause(paused=wish == "pause")
        ending = "ending: quotes are pulled" if self._asked.is_set() else ""
        return Standing(
            run_id=self._live.run.run_id,
            process=os.getpid(),
            mode=self._live.mode,
            state=ending or self._live.state[1],
            orders=sum(len(one.engine.working) for one in self._session.markets.values()),
        )

    def _pause(self, *, paused: bool) -> None:
        if self._session.engine.paused == paused:
            return
        now = self._clock.now_ns()
        with self._failing():
            self._session.advance(now)
            self._session.pause(now, paused=paused)
            self.pauses.append((now, paused))
        words = "paused; nothing is quoted" if paused else "resumed"
        _log.info("%s", words)
        self._sent.say(now, words)
        self.schedule()

    # --- what happens ---

    async def _pump(self, market: str) -> None:
        number = list(self._sources).index(market)
        self._sources[market].deliver(lambda rows: self._receive_now(rows, market, number))
        async for rows in self._rows(market):
            self._receive(rows, market, number)

    def _receive_now(self, rows: list[Row], market: str, number: int) -> None:
        """Take in what a source hands over, until the run ends or has failed."""
        if not self._ended and self._failed is not None and not self._failed.done():
            with self._failing():
                self._receive(rows, market, number)

    async def _rows(self, market: str) -> AsyncIterator[list[Row]]:
        """Yield what the market's source does; its errors, and no others, say which market's they are."""
        with told_of(market):
            async for rows in self._sources[market].stream():
                yield rows

    def _receive(self, rows: list[Row], market: str, number: int) -> None:
        if not rows:
            return
        live = self._live
        live.events[market] += len(rows)
        live.messages += 1
        live.feed_latency_ns = rows[-1][1] - rows[-1][0]
        self._journal.market(rows, number)
        self._session.receive(rows, market)
        flushed = [venue.flush() for venue in self._venues]
        if any(flushed):
            # What leaves is a task by now: the rest stands behind it.
            asyncio.get_running_loop().call_soon(self._go_on_later)
        else:
            self._go_on()

    def _go_on_later(self) -> None:
        with self._failing():
            self._go_on()

    def _go_on(self) -> None:
        self._tell_halts()
        self.schedule()

    def _tell_halts(self) -> None:
        for name, engine in self._going.items():
            for check, reason in engine.risk.first.items():
                if (name, check) not in self._told_vetoes:
                    self._told_vetoes.add((name, check))
                    _log.warning(
                        "%svetoed check=%s reason='%s'; later ones are counted in the report",
                        *(where(name), check, reason),
                    )
        halted = [name for name, engine in self._going.items() if engine.halted]
        for name in halted:
            words = f"{where(name)}halted reason='{self._going.pop(name).halted}'"
            _log.warning("%s; nothing is quoted any more", words)
            self._sent.say(self._clock.now_ns(), words)

    def schedule(self) -> None:
        """See to it that the session is advanced when something is next due."""
        if not self._ended:
            self._alarm.set(self._session.next_ns())

    def _on_alarm(self) -> None:
        with self._failing():
            self._session.advance(self._clock.now_ns())
            self._tell_halts()
            self.schedule()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Hand what is raised to `run`, which ends the run with it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again by `run`
            if self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

    async def _keep_journal(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._journal.flush()
            self._keep()

    # --- the end ---

    async def _stop(self) -> MmkitError | None:
        """Pull every quote and wait for the answers: of a simulation not long, of a venue until orders are gone."""
        try:
            now = self._clock.now_ns()
            self.stop_ns = now
            try:
                self._session.advance(now)
            finally:
                # A strategy that raises while it is brought up to date leaves nothing on the book either.
                self._session.stop(now)
            self.schedule()
            await self._cancel_all()
            deadline = asyncio.get_running_loop().time() + _ANSWERS_WAIT_S
            while not self._session.idle and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.005)
            self.end_ns = self._clock.now_ns()
            self._session.advance(self.end_ns)
            self._tell_halts()
            self._keep()
        except MmkitError as error:
            return error
        finally:
            await self._cancel_all()
        return None

    async def _cancel_all(self) -> None:
        """Have every real order gone, once."""
        venues = {
            name: one for name, one in self._live.live_venues.items() if name not in self.left
        }
        self.left |= {name: [] for name in venues}
        ended = await asyncio.gather(*(one.stop(_GONE_WITHIN_S) for one in venues.values()))
        self.left |= dict(zip(venues, ended, strict=True))

    def _failure(self, done: set[asyncio.Future[None]]) -> MmkitError | None:
        """Return the error that ended the run; re-raise one that is no error of ours to explain."""
        for future in done:
            error = future.exception()
            if error is None:
                continue
            if not isinstance(error, MmkitError):
                raise error
            return error
        return None
