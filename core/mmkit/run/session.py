"""One run's engine and venue, and the order in which things happen to them.

At one instant: market data first, then what the venue reports, then signals, then advice, then what time alone brings. So a timer
never decides on less than had been received by its time, and a replay finds the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from mmkit.commands import AnyCommand
from mmkit.desk import Desk
from mmkit.engine import Engine
from mmkit.errors import RunError
from mmkit.events import MAIN, Advice, AnyEvent, Signal
from mmkit.interfaces import ExecutionVenue
from mmkit.recorder import Recorder, wanted
from mmkit.report import AdvisorFigures, SignalFigures
from mmkit.settings import FillReports
from mmkit.tape import LAST, NEVER, Row


class Market(NamedTuple):
    """One market of a run: its engine, and where the commands go."""

    engine: Engine
    venue: ExecutionVenue


class Troubles(NamedTuple):
    """How often a signal was late, and failed."""

    late: int
    failed: int


class SignalFeed(Protocol):
    """Where signals come from."""

    @property
    def figures(self) -> Mapping[str, SignalFigures]:
        """What the report says of each."""

    @property
    def troubles(self) -> Mapping[str, Troubles]:
        """How often each was late and failed so far; asked often."""

    def on_message(self, message: Sequence[Row], market: str) -> None:
        """Take in one message of a market, as it was received."""

    def next_ns(self) -> int:
        """Return when there is something to compute or to tell; `NEVER` if only market data can bring it."""

    def take(self, now_ns: int) -> Sequence[Signal]:
        """Compute what is due at `now_ns`, and return the signals that are known by then; each is returned once."""


class AdviceFeed(Protocol):
    """Where advice about the main market comes from."""

    @property
    def figures(self) -> Mapping[str, AdvisorFigures]:
        """What the report says of each advisor."""

    @property
    def last(self) -> Mapping[str, Advice]:
        """The last of each advisor that has an answer, expired or not."""

    def on_message(self, message: Sequence[Row]) -> None:
        """Take in one message of the main market, but for the changes of levels that it begins with."""

    def on_notice(self, notice: AnyEvent) -> None:
        """Take in what the feed and the watch of the main market have to say."""

    def next_ns(self) -> int:
        """Return when there is something to ask or to tell; `NEVER` if only market data can bring it."""

    def take(self, now_ns: int) -> Sequence[Advice]:
        """Ask what is due at `now_ns`, and return the advice that is known by then; each is returned once."""

    def stop(self) -> None:
        """Ask nothing more: the run is told to stop."""


class Session:
    """Moves engines and venues through time. No I/O, no clock.

    Args:
        engine: Decides in the main market.
        venue: Where its commands go.
        recorder: Is told of commands and events.
        fill_reports: What a report may overtake, and so how a tape is replayed.
        others: The other markets, if there are any; a `Desk` decides for all then.
        signals: Where signals come from; `None` for a run without.
        advice: Where advice comes from; `None` for a run without.
    """

    def __init__(
        self,
        engine: Engine,
        venue: ExecutionVenue,
        recorder: Recorder,
        fill_reports: FillReports = FillReports.PLAIN,
        others: Sequence[Market] = (),
        signals: SignalFeed | None = None,
        advice: AdviceFeed | None = None,
    ) -> None:
        self.signals = signals
        self.advice = advice
        self._ended = False
        self.engine = engine
        self.venue = venue
        self.markets = {one.engine.market: one for one in (Market(engine, venue), *others)}
        """Every market by name, the main one first."""
        self.fill_reports = fill_reports
        self.recorder = recorder
        self._advanced_to = engine.now
        if others:
            Desk([one.engine for one in self.markets.values()])
        for one in self.markets.values():
            one.venue.open(engine.now)

    def receive(self, rows: Sequence[Row], market: str = MAIN) -> None:
        """Take in market data as it was received, after everything that was due before.

        Args:
            rows: Of one market.
            market: Which.

        Raises:
            RunError: if it was received before a time that has already been acted on.
        """
        start = 0
        for end, row in enumerate(rows, 1):
            # Message by message, so that how they were grouped on the way makes no difference.
            if row[2] & LAST or end == len(rows):
                self._receive_message(rows[start:end], market)
                start = end

    def _receive_message(self, message: Sequence[Row], market: str) -> None:
        ts_local = message[-1][1]
        if ts_local < self._advanced_to:
            raise RunError(
                f"market data of {ts_local} arrived after {self._advanced_to} had been acted on; "
                "the data source stamps or orders its rows wrongly"
            )
        self.advance(ts_local)
        engine, venue = self.markets[market]
        if self.signals is not None:
            self.signals.on_message(message, market)
        venue.market(message, ts_local)
        # Of the rows of a depth message nobody is asked before the last.
        rest = message[engine.on_levels(message) :]
        if self.advice is not None and market == MAIN:
            self.advice.on_message(rest)
        for row in rest:
            self.on_row(row, market)

    def on_row(self, row: Row, market: str = MAIN) -> None:
        """Hand one row to the engine alone, and send what it decides."""
        engine = self.markets[market].engine
        engine.on_row(row)
        if engine.commands or engine.notices or engine.desk is not None:
            self.flush()

    def advance(self, until_ns: int) -> None:
        """Let happen everything that is due before `until_ns`; not what is due at it."""
        while (due := self.next_ns()) < until_ns:
            self.step(due)
        self._advanced_to = max(self._advanced_to, until_ns)

    def next_ns(self) -> int:
        """Return when something is next due; `NEVER` if only market data can bring it."""
        due = min(min(one.venue.next_ns(), one.engine.next_ns()) for one in self.markets.values())
        if self.signals is not None:
            due = min(due, self.signals.next_ns())
        return due if self.advice is None else min(due, self.advice.next_ns())

    def venues_next_ns(self) -> int:
        """Return when a venue next has something to do or to tell."""
        return min(one.venue.next_ns() for one in self.markets.values())

    def step(self, now_ns: int) -> None:
        """Let happen what is due at `now_ns`: reports of every venue, then signals and advice, then what time alone brings."""
        for engine, venue in self.markets.values():
            if venue.next_ns() <= now_ns:
                for event in venue.take(now_ns):
                    told = event
                    if engine.market != MAIN:
                        told = replace(event, market=engine.market)
                    self._note(told)
                    engine.on_event(told)
                    self.flush()
        if self.signals is not None and not self._ended and self.signals.next_ns() <= now_ns:
            for signal in self.signals.take(now_ns):
                self._note(signal)
                self.engine.on_signal(signal)
                self.flush()
        if self.advice is not None and not self._ended and self.advice.next_ns() <= now_ns:
            for advice in self.advice.take(now_ns):
                self._note(advice)
                self.engine.on_advice(advice)
                self.flush()
        for engine, _ in self.markets.values():
            if engine.next_ns() <= now_ns:
                engine.wake(now_ns)
                self.flush()

    def stop(self, now_ns: int) -> None:
        """Pull every quote; what is under way can still be answered by `advance`."""
        if self.advice is not None:
            self.advice.stop()
        for engine, _ in self.markets.values():
            engine.stop(now_ns)
        self.flush()

    def stop_asking(self) -> None:
        """Leave the quotes as they are, decide nothing more and tell no more signals and advice: the data has ended."""
        self._ended = True
        for engine, _ in self.markets.values():
            engine.stop_asking()

    @property
    def idle(self) -> bool:
        """Whether no order is open and no command is under way."""
        return self.venues_next_ns() == NEVER and not any(
            one.engine.orders for one in self.markets.values()
        )

    def flush(self) -> None:
        """Send what the engines have decided, and note it."""
        # What happened in one market may be why something is done in another.
        for engine, _ in self.markets.values():
            for notice in engine.notices:
                self._note(notice)
                if self.advice is not None and engine.market == MAIN:
                    self.advice.on_notice(notice)
            engine.notices.clear()
        for engine, venue in self.markets.values():
            for command in engine.commands:
                self._note(command)
                venue.send(command)
            engine.commands.clear()

    def _note(self, entry: AnyCommand | AnyEvent) -> None:
        if wanted(entry, self.recorder.detail):
            self.recorder.note(entry)
