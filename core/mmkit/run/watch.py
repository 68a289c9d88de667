"""Watches the configured markets: as they trade, or over recorded data as fast as it goes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from heapq import merge
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from mmkit.clock import Clock, SystemClock
from mmkit.errors import MmkitError, UsageError
from mmkit.events import MAIN
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource
from mmkit.notify import Notified
from mmkit.run.assembly import data_source, instruments_of, live_sources, told_of
from mmkit.run.backtest import load_tape
from mmkit.run.messages import messages
from mmkit.run.replay import Tapes
from mmkit.run.stopping import on_stop
from mmkit.tape import KIND, GapReason, Kind, Row, Tape
from mmkit.watch import Statistics, Watch, WatchEvent
from mmkit.watch.told import figures

if TYPE_CHECKING:
    from mmkit.config import Config

_log = logging.getLogger("mmkit.watch")

_TICK_S = 0.1
"""How late statistics may be shown in a market where nothing happens."""
_ROWS = 65_536
_START = GapReason.START.name.lower()

Tell = Callable[[WatchEvent, Instrument], None]
"""Shows an event."""


class Watched(msgspec.Struct, kw_only=True, tag=True):
    """What was seen.

    Attributes:
        start_ns: When it began, ns since the epoch; of recorded data, the data's time.
        end_ns: When it ended.
        symbols: What was watched, by market.
        trades: How many trades, by market.
        gaps: Times that the feed was lost, by market; recorded data begins with none.
        events: How many events, by kind; those that a cooldown kept back are not among them.
        notified: What came of the messages; `None` if none are asked for.
    """

    start_ns: int
    end_ns: int
    symbols: dict[str, str]
    trades: dict[str, int]
    gaps: dict[str, int]
    events: dict[str, int]
    notified: Notified | None = None


class LiveWatch:
    """The watches of all markets while they go on; the screen reads it.

    Attributes:
        watches: By market.
        instruments: What is traded, by market.
        clock: The run's clock.
        start_ns: When it began.
        messages: Messages received so far.
        feed_latency_ns: ``ts_local - ts_exchange`` of the last message.
        lost: Why the feed of a market is lost, by market.
        events: How many events so far, by kind.
        recent: The last alerts and lines of the log, oldest first.
    """

    def __init__(
        self, config: Config, instruments: Mapping[str, Instrument], clock: Clock, start_ns: int
    ) -> None:
        self.watches = {
            market: Watch(instruments[market], one.watch, market)
            for market, one in config.markets.items()
        }
        self.instruments, self.clock, self.start_ns = instruments, clock, start_ns
        self.messages = 0
        self.feed_latency_ns = 0
        self.lost: dict[str, str] = {}
        self.events: Counter[str] = Counter()
        self.trades: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.recent: list[tuple[int, str]] = []

    def remember(self, ts_local: int, line: str) -> None:
        """Keep `line` among the last few."""
        self.recent.append((ts_local, line))
        del self.recent[:-8]

    def row(self, row: Row, market: str) -> Iterator[WatchEvent]:
        """Take in a row; yield what there is to say of every market by its time, in order of time."""
        what = row[2] & KIND
        if what not in (Kind.TRADE, Kind.GAP):
            return
        # As in a run: at one instant what was received comes first, then what time alone brings.
        yield from self._due_until(row[1] - 1)
        if what == Kind.TRADE:
            self.trades[market] += 1
        elif row[3] != GapReason.START:
            self.gaps[market] += 1
        yield from self._counted(self.watches[market].on_row(row))

    def advance(self, now: int) -> Iterator[WatchEvent]:
        """Let time pass; yield the statistics that were due."""
        yield from self._due_until(now)
        for watch in self.watches.values():
            watch.advance(now)

    def _due_until(self, until: int) -> Iterator[WatchEvent]:
        watches = self.watches.values()
        while (due := min(watch.next_ns() for watch in watches)) <= until:
            for watch in watches:
                if watch.next_ns() == due:
                    yield from self._counted(watch.advance(due))

    def _counted(self, events: Any) -> Iterator[WatchEvent]:
        for event in events:
            self.events[type(event).__name__] += 1
            if not isinstance(event, Statistics):
                said = figures(event, self.instruments[event.market])
                where = "" if event.market == MAIN else f"{event.market} "
                self.remember(event.ts_local, f"{where}{type(event).__name__} {said}")
            yield event

    def watched(self, end_ns: int, notified: Notified | None = None) -> Watched:
        """Return what was seen until `end_ns`."""
        return Watched(
            start_ns=self.start_ns,
            end_ns=end_ns,
            symbols={market: one.symbol for market, one in self.instruments.items()},
            trades={market: self.trades[market] for market in self.watches},
            gaps={market: self.gaps[market] for market in self.watches},
            events=dict(self.events),
            notified=notified,
        )


Watcher = Callable[[LiveWatch], contextlib.AbstractAsyncContextManager[None]]
"""Shows the watches while they go on."""


def is_recorded(config: Config) -> bool:
    """Return whether the configured data is recorded and not live.

    Raises:
        UsageError: if that of one market is, and that of another is not.
    """
    recorded: dict[str, bool] = {}
    for market in config.markets:
        with told_of(market):
            source = data_source(config, SystemClock(), market=market)
            recorded[market] = type(source).stream is DataSource.stream
    if len(set(recorded.values())) > 1:
        kinds = ", ".join(f"'{m}' is {'recorded' if r else 'live'}" for m, r in recorded.items())
        raise UsageError(
            f"the data of all markets recorded, or of all live, was expected; found {kinds}; leave out the "
            "markets of one kind"
        )
    return recorded[MAIN]


# --- recorded -------------------------------------------------------------------------------------


def watch_recorded(
    config: Config, tell: Tell, *, duration_ns: int | None = None, tapes: Tapes | None = None
) -> tuple[Watched, bool]:
    """Watch the recorded data from its start to its end, or for `duration_ns` of its own time.

    `tapes` are the data, if they have been loaded already.

    Nothing is sent on: nobody wants a message about a trade of last year.

    Returns:
        What was seen, and whether Ctrl-C ended it.

    Raises:
        DataError: if the data cannot be used.
    """
    if config.notify.urls:
        _log.info("notify: nothing is sent on, because the data is recorded")
    if tapes is None:
        tapes = {market: load_tape(config, market) for market in config.markets}
    instruments = {market: tape.instrument for market, tape in tapes.items()}
    start_ns = min(int(tape.ts_local[0]) for tape in tapes.values())
    end_ns = max(int(tape.ts_local[-1]) for tape in tapes.values())
    if duration_ns is not None:
        end_ns = min(end_ns, start_ns + duration_ns)
    live = LiveWatch(config, instruments, SystemClock(), start_ns)
    each = [_telling(market, tape) for market, tape in tapes.items()]
    rows = each[0] if len(each) == 1 else merge(*each, key=lambda one: one[1][1])
    end_of_rows = start_ns
    with _interrupt() as interrupted:
        for market, row in rows:
            if row[1] > end_ns or interrupted.is_set():
                break
            for event in live.row(row, market):
                tell(event, instruments[event.market])
            end_of_rows = row[1]
        if not interrupted.is_set():
            end_of_rows = end_ns
            for event in live.advance(end_ns):
                tell(event, instruments[event.market])
    return live.watched(end_of_rows), interrupted.is_set()


def _telling(market: str, tape: Tape) -> Iterator[tuple[str, Row]]:
    """Yield the rows that say something to a watch; of the others only the time could matter."""
    for start in range(0, len(tape), _ROWS):
        what = tape.kind[start : start + _ROWS] & KIND
        part = start + np.flatnonzero((what == Kind.TRADE) | (what == Kind.GAP))
        for row in zip(
            tape.ts_exchange[part].tolist(),
            tape.ts_local[part].tolist(),
            tape.kind[part].tolist(),
            tape.widened(tape.narrow_price[part]).tolist(),
            tape.widened(tape.narrow_quantity[part]).tolist(),
            strict=True,
        ):
            yield market, row


@contextlib.contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """Yield what Ctrl-C and SIGTERM set, so that no line is cut in the middle."""
    told = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: told.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- live -----------------------------------------------------------------------------------------


async def watch_live(
    config: Config,
    tell: Tell,
    *,
    duration_ns: int | None = None,
    watcher: Watcher | None = None,
) -> tuple[Watched, MmkitError | None, bool]:
    """Watch the live feeds until `duration_ns` has passed, Ctrl-C, SIGTERM, or a failure.

    Returns:
        What was seen; what ended it early, if something did; and whether it was interrupted.

    Raises:
        MmkitError: if it could not begin.
    """
    clock = SystemClock()
    async with (
        messages(config, "watch", clock) as sent,
        live_sources(config, clock) as sources,
    ):
        instruments = await instruments_of(sources)
        live = LiveWatch(config, instruments, clock, clock.now_ns())

        def tell_all(event: WatchEvent, instrument: Instrument) -> None:
            tell(event, instrument)
            sent.event(event, instrument)

        loop = _Loop(live, sources, tell_all)
        async with watcher(live) if watcher else contextlib.nullcontext():
            failure, interrupted = await loop.run(duration_ns)
        await sent.close()
        return live.watched(clock.now_ns(), sent.notified), failure, interrupted


class _Loop:
    """Hands rows and time to the watches as they come, until something ends it."""

    def __init__(self, live: LiveWatch, sources: Mapping[str, DataSource], tell: Tell) -> None:
        self._live, self._sources, self._tell = live, sources, tell

    async def run(self, duration_ns: int | None) -> tuple[MmkitError | None, bool]:
        """Return what failed, if something did, and whether a signal ended it."""
        loop = asyncio.get_running_loop()
        interrupted = asyncio.Event()
        tasks: set[asyncio.Task[Any]] = {
            *(
                loop.create_task(self._pump(market), name=f"watch {market}")
                for market in self._sources
            ),
            loop.create_task(self._pass_time(), name="time"),
            loop.create_task(interrupted.wait(), name="signal"),
        }
        try:
            with on_stop(interrupted.set):
                seconds = None if duration_ns is None else duration_ns / 1e9
                done, _ = await asyncio.wait(
                    tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for error in [task.exception() for task in done]:
            if isinstance(error, MmkitError):
                return error, interrupted.is_set()
            if error is not None:
                raise error
        return None, interrupted.is_set()

    async def _pump(self, market: str) -> None:
        live = self._live
        async for rows in self._rows(market):
            for row in rows:
                self._note_feed(row, market)
                self._say(live.row(row, market))
            if rows:
                live.messages += 1
                live.feed_latency_ns = rows[-1][1] - rows[-1][0]

    async def _rows(self, market: str) -> AsyncIterator[list[Row]]:
        """Yield what the market's source does; its errors, and no others, say which market's they are."""
        with told_of(market):
            async for rows in self._sources[market].stream():
                yield rows

    def _note_feed(self, row: Row, market: str) -> None:
        what, lost = row[2] & KIND, self._live.lost
        if what == Kind.GAP:
            lost[market] = GapReason(row[3]).name.lower()
            if row[3] != GapReason.START:
                _log.info(
                    "feed_lost market=%s reason=%s; the windows are empty", market, lost[market]
                )
        elif what == Kind.SNAPSHOT and lost.pop(market, _START) != _START:
            _log.info("feed_restored market=%s", market)

    async def _pass_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self._say(self._live.advance(self._live.clock.now_ns()))

    def _say(self, events: Iterator[WatchEvent]) -> None:
        for event in events:
            self._tell(event, self._live.instruments[event.market])
