"""Drives a session over a tape: the loop of a backtest, and of a dry run that is replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mmkit.run.session import Session
from mmkit.settings import FillReports
from mmkit.tape import LAST, NEVER, Row, Tape

Progress = Callable[[int], None]
"""Told how many rows have been replayed, now and then."""

_EVERY = 50_000


def replay(session: Session, tape: Tape, progress: Progress | None = None) -> None:
    """Replay the tape as the session's ``fill_reports`` has it."""
    if session.fill_reports is FillReports.PLAIN:
        replay_plain(session, tape, progress)
    else:
        replay_received(session, tape, progress)


def replay_received(
    session: Session,
    tape: Tape,
    progress: Progress | None = None,
    *,
    stop_ns: int = NEVER,
    end_ns: int | None = None,
) -> None:
    """Replay the tape in the order in which it was received (``fill_reports: after_data``).

    Args:
        session: Begins before the tape does.
        tape: What to replay.
        progress: Told how many rows are done.
        stop_ns: When the recorded run was told to stop, if it was.
        end_ns: When the recorded run ended; `None` to let everything under way at the end arrive.
    """
    stopped = False
    for done, message in _messages(tape.rows()):
        if message[-1][1] >= stop_ns and not stopped:
            _stop(session, stop_ns)
            stopped = True
        session.receive(message)
        if progress and done % _EVERY < len(message):
            progress(done)
    if end_ns is None:
        _run_dry(session)
        return
    if not stopped and stop_ns < NEVER:
        _stop(session, stop_ns)
    session.advance(end_ns)


def _stop(session: Session, stop_ns: int) -> None:
    session.advance(stop_ns)
    session.stop(stop_ns)


def replay_plain(session: Session, tape: Tape, progress: Progress | None = None) -> None:
    """Replay the tape on two clocks (``fill_reports: plain``).

    The venue sees a row at ``ts_exchange``, the engine at ``ts_local``; what the venue knows first, such as
    a fill, may therefore reach the engine before the row that caused it. At one instant: rows to the
    engine, rows to the venue, commands and reports, then wakes.
    """
    engine, venue = session.engine, session.venue
    received, matched = tape.rows(), tape.rows(tape.exchange_order())
    row, exchange_row = next(received, None), next(matched, None)
    done = 0
    while row is not None or exchange_row is not None:
        local = row[1] if row is not None else NEVER
        exchange = exchange_row[0] if exchange_row is not None else NEVER
        due = min(venue.next_ns(), engine.next_ns())
        now = min(local, exchange, due)
        if local == now:
            while row is not None and row[1] == now:
                session.on_row(row)
                row = next(received, None)
                done += 1
                if progress and done % _EVERY == 0:
                    progress(done)
        if exchange == now:
            # Up to the next thing that could change what the venue holds; a fill schedules a report.
            while exchange_row is not None and exchange_row[0] == now:
                venue.market((exchange_row,), now)
                exchange_row = next(matched, None)
        if due == now or venue.next_ns() <= now:
            session.step(now)
    _run_dry(session)


def _run_dry(session: Session) -> None:
    """Let what is under way at the end of the data arrive.

    The strategy is not asked any more: without data it would decide on a market that has stopped.
    """
    end = session.engine.now
    session.engine.stop_asking()
    while (due := session.venue.next_ns()) != NEVER:
        session.step(due)
        end = due
    session.engine.now = max(session.engine.now, end)


def _messages(rows: Iterator[Row]) -> Iterator[tuple[int, list[Row]]]:
    message: list[Row] = []
    done = 0
    for row in rows:
        message.append(row)
        if row[2] & LAST:
            done += len(message)
            yield done, message
            message = []
    if message:
        yield done + len(message), message
