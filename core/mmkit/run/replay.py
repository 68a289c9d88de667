"""Drives a session over tapes: the loop of a backtest, and of a dry run that is replayed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge

from mmkit.run.session import Session
from mmkit.settings import FillReports
from mmkit.tape import LAST, NEVER, Row, Tape

Tapes = Mapping[str, Tape]
"""The market data of a run by market, the main one first."""

Progress = Callable[[int], None]
"""Told how many rows have been replayed, now and then."""

_EVERY = 50_000


def replay(session: Session, tapes: Tapes, progress: Progress | None = None) -> None:
    """Replay tapes, one for each market, as the session's ``fill_reports`` has it."""
    if session.fill_reports is FillReports.PLAIN:
        replay_plain(session, tapes, progress)
    else:
        replay_received(session, received(tapes), progress)


Received = tuple[str, Sequence[Row]]
"""One message: of which market, and its rows."""


def received(tapes: Tapes) -> Iterator[Received]:
    """Yield the messages of all tapes in the order in which they were received; of one instant, market by market."""

    def of(market: str, tape: Tape) -> Iterator[Received]:
        return ((market, message) for message in _messages(tape.rows()))

    each = [of(market, tape) for market, tape in tapes.items()]
    return each[0] if len(each) == 1 else merge(*each, key=lambda message: message[1][-1][1])


def replay_received(
    session: Session,
    messages: Iterable[Received],
    progress: Progress | None = None,
    *,
    stop_ns: int = NEVER,
    end_ns: int | None = None,
    pauses: Iterable[tuple[int, bool]] = (),
) -> None:
    """Replay messages in the order in which they were received (``fill_reports: after_data``).

    Args:
        session: Begins before the first of them.
        messages: What to replay.
        progress: Told how many rows are done.
        stop_ns: When the recorded run was told to stop, if it was.
        end_ns: When the recorded run ended; `None` to let everything under way at the end arrive.
        pauses: When it was paused (`True`), and when that ended (`False`).
    """
    told = deque(pauses)
    stopped = False
    done = 0
    for market, message in messages:
        _pause(session, told, min(message[-1][1], stop_ns))
        if message[-1][1] >= stop_ns and not stopped:
            _stop(session, stop_ns)
            stopped = True
        session.receive(message, market)
        done += len(message)
        if progress and done % _EVERY < len(message):
            progress(done)
    if end_ns is None:
        _run_dry(session)
        return
    _pause(session, told, min(end_ns, stop_ns))
    if not stopped and stop_ns < NEVER:
        _stop(session, stop_ns)
    session.advance(end_ns)


def _pause(session: Session, told: deque[tuple[int, bool]], until_ns: int) -> None:
    while told and told[0][0] <= until_ns:
        now_ns, paused = told.popleft()
        session.advance(now_ns)
        session.pause(now_ns, paused=paused)


def _stop(session: Session, stop_ns: int) -> None:
    session.advance(stop_ns)
    session.stop(stop_ns)


class _Readers:
    """The rows of one market, by both clocks."""

    def __init__(self, tape: Tape) -> None:
        self._local = tape.rows()
        self._exchange = tape.rows(tape.exchange_order())
        self.row = next(self._local, None)
        self.exchange_row = next(self._exchange, None)

    def next_row(self) -> None:
        self.row = next(self._local, None)

    def next_exchange_row(self) -> None:
        self.exchange_row = next(self._exchange, None)


def replay_plain(session: Session, tapes: Tapes, progress: Progress | None = None) -> None:
    """Replay tapes on two clocks (``fill_reports: plain``).

    A venue sees a row at ``ts_exchange``, its engine at ``ts_local``; what the venue knows first, such as
    a fill, may therefore reach the engine before the row that caused it. At one instant: rows to the
    engines, rows to the venues, commands and reports, then wakes; market by market each.
    """
    readers = {market: _Readers(tape) for market, tape in tapes.items()}
    done = 0
    while True:
        local = min(r.row[1] if r.row is not None else NEVER for r in readers.values())
        exchange = min(
            r.exchange_row[0] if r.exchange_row is not None else NEVER for r in readers.values()
        )
        if local == exchange == NEVER:
            break
        due = session.next_ns()
        now = min(local, exchange, due)
        if local == now:
            for market, reader in readers.items():
                while reader.row is not None and reader.row[1] == now:
                    session.on_row(reader.row, market)
                    reader.next_row()
                    done += 1
                    if progress and done % _EVERY == 0:
                        progress(done)
        if exchange == now:
            for market, reader in readers.items():
                venue = session.markets[market].venue
                while reader.exchange_row is not None and reader.exchange_row[0] == now:
                    venue.market((reader.exchange_row,), now)
                    reader.next_exchange_row()
        if due == now or session.venues_next_ns() <= now:
            session.step(now)
    _run_dry(session)


def _run_dry(session: Session) -> None:
    """Let what is under way at the end of the data arrive.

    The strategy is not asked any more: without data it would decide on a market that has stopped.
    """
    end = max(engine.now for engine, _ in session.markets.values())
    session.stop_asking()
    while (due := session.venues_next_ns()) != NEVER:
        session.step(due)
        end = due
    for engine, _ in session.markets.values():
        engine.now = max(engine.now, end)


def _messages(rows: Iterator[Row]) -> Iterator[list[Row]]:
    message: list[Row] = []
    for row in rows:
        message.append(row)
        if row[2] & LAST:
            yield message
            message = []
    if message:
        yield message
