"""One run's engine and venue, and the order in which things happen to them.

At one instant: market data first, then what the venue reports, then what time alone brings. So a timer
never decides on less than had been received by its time, and a replay finds the same order.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmkit.commands import AnyCommand
from mmkit.engine import Engine
from mmkit.errors import RunError
from mmkit.events import AnyEvent
from mmkit.interfaces import ExecutionVenue
from mmkit.recorder import Recorder, wanted
from mmkit.settings import FillReports
from mmkit.tape import LAST, NEVER, Row


class Session:
    """Moves one engine and one venue through time. No I/O, no clock.

    Args:
        engine: Decides.
        venue: Where its commands go.
        recorder: Is told of commands and events.
        fill_reports: What a report may overtake, and so how a tape is replayed.
    """

    def __init__(
        self,
        engine: Engine,
        venue: ExecutionVenue,
        recorder: Recorder,
        fill_reports: FillReports = FillReports.PLAIN,
    ) -> None:
        self.engine = engine
        self.venue = venue
        self.fill_reports = fill_reports
        self.recorder = recorder
        self._advanced_to = engine.now
        venue.open(engine.now)

    def receive(self, rows: Sequence[Row]) -> None:
        """Take in market data as it was received, after everything that was due before.

        Raises:
            RunError: if it was received before a time that has already been acted on.
        """
        start = 0
        for end, row in enumerate(rows, 1):
            # Message by message, so that how they were grouped on the way makes no difference.
            if row[2] & LAST or end == len(rows):
                self._receive_message(rows[start:end])
                start = end

    def _receive_message(self, message: Sequence[Row]) -> None:
        ts_local = message[-1][1]
        if ts_local < self._advanced_to:
            raise RunError(
                f"market data of {ts_local} arrived after {self._advanced_to} had been acted on; "
                "the data source stamps or orders its rows wrongly"
            )
        self.advance(ts_local)
        self.venue.market(message, ts_local)
        for row in message:
            self.on_row(row)

    def on_row(self, row: Row) -> None:
        """Hand one row to the engine alone, and send what it decides."""
        self.engine.on_row(row)
        if self.engine.commands or self.engine.notices:
            self.flush()

    def advance(self, until_ns: int) -> None:
        """Let happen everything that is due before `until_ns`; not what is due at it."""
        while (due := self.next_ns()) < until_ns:
            self.step(due)
        self._advanced_to = max(self._advanced_to, until_ns)

    def next_ns(self) -> int:
        """Return when something is next due; `NEVER` if only market data can bring it."""
        return min(self.venue.next_ns(), self.engine.next_ns())

    def step(self, now_ns: int) -> None:
        """Let happen what is due at `now_ns`: reports first, then what time alone brings."""
        engine, venue = self.engine, self.venue
        if venue.next_ns() <= now_ns:
            for event in venue.take(now_ns):
                self._note(event)
                engine.on_event(event)
                self.flush()
        if engine.next_ns() <= now_ns:
            engine.wake(now_ns)
            self.flush()

    def stop(self, now_ns: int) -> None:
        """Pull every quote; what is under way can still be answered by `advance`."""
        self.engine.stop(now_ns)
        self.flush()

    @property
    def idle(self) -> bool:
        """Whether no order is open and no command is under way."""
        return not self.engine.orders and self.venue.next_ns() == NEVER

    def flush(self) -> None:
        """Send what the engine has decided, and note it."""
        engine = self.engine
        for notice in engine.notices:
            self._note(notice)
        engine.notices.clear()
        for command in engine.commands:
            self._note(command)
            self.venue.send(command)
        engine.commands.clear()

    def _note(self, entry: AnyCommand | AnyEvent) -> None:
        if wanted(entry, self.recorder.detail):
            self.recorder.note(entry)
