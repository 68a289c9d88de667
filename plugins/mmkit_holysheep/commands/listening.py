"""What there is to be told of a market, outside a run: listened to for a moment, or looked up in recorded data."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from mmkit.advisors import Facts
from mmkit.book import Book
from mmkit.clock import Clock
from mmkit.config import Config
from mmkit.errors import DataError, FeedError
from mmkit.events import MAIN
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource
from mmkit.run.advisors.facts import RECORD_NS, Memory
from mmkit.run.assembly import data_source
from mmkit.run.backtest import load_tape
from mmkit.run.replay import received
from mmkit.tape import Row, Tape
from mmkit.units import format_time

_BOOK_WAIT_S = 15.0
"""How long the first book may take; a live source tries again for about five seconds."""


class _Market:
    """A book and what is remembered of it."""

    def __init__(self, instrument: Instrument) -> None:
        self.book, self.memory = Book(), Memory(instrument)

    def take(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self.book.apply(row)
        self.memory.on_message(rows)


async def live_facts(
    config: Config, clock: Clock, endpoints: Mapping[str, str], listen_ns: int
) -> Facts:
    """Listen to the main market for a while from its first book on, and return what is known then.

    Raises:
        FeedError: if there is no book.
    """
    source = data_source(config, clock, endpoints)
    try:
        market = _Market(await source.instrument())
        pump = asyncio.create_task(_pump(source, market), name="listen")
        listening = asyncio.create_task(_remember(market, listen_ns), name="remember")
        try:
            await asyncio.wait({pump, listening}, return_when=asyncio.FIRST_COMPLETED)
            if pump.done():
                await pump  # raises why
            await listening
        finally:
            for task in (pump, listening):
                task.cancel()
            await asyncio.gather(pump, listening, return_exceptions=True)
        facts = market.memory.facts(market.book, clock.now_ns())
    finally:
        await source.close()
    if facts is None:
        raise FeedError(
            f"{config.spec.symbol}: a book with bids and asks was expected after listening; its feed was lost, or a "
            "side is empty; try again"
        )
    return facts


async def _pump(source: DataSource, market: _Market) -> None:
    async for rows in source.stream():
        market.take(rows)


async def _remember(market: _Market, listen_ns: int) -> None:
    """Return when there has been a book for so long."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + _BOOK_WAIT_S
    while not market.book.known:
        if loop.time() > give_up:
            raise FeedError(
                f"a book was expected within {_BOOK_WAIT_S:g} s; none came; 'mmkit doctor' looks for the reason"
            )
        await asyncio.sleep(0.05)
    market.memory.record(market.book)
    seconds, rest = divmod(listen_ns, RECORD_NS)
    for _ in range(seconds):
        await asyncio.sleep(1)
        market.memory.record(market.book)
    await asyncio.sleep(rest / 1e9)


def recorded_facts(config: Config, at_ns: int | None) -> Facts:
    """Return what was known of the main market at a moment of its recorded data, or at its end.

    Raises:
        DataError: if the data cannot be used, does not hold the moment, or knows no book then.
    """
    return facts_at(load_tape(config, MAIN), at_ns)


def facts_at(tape: Tape, at_ns: int | None) -> Facts:
    """Return what was known at a moment, ns since the epoch, or at the end: of all that had been received by then.

    Raises:
        DataError: if the data does not hold the moment, or knows no book then.
    """
    first, last = int(tape.ts_local[0]), int(tape.ts_local[-1])
    at = last if at_ns is None else at_ns
    if not first <= at <= last:
        raise DataError(
            f"--at: a time from {format_time(first)} to {format_time(last)} was expected, as the data has; found "
            f"{format_time(at)}"
        )
    market = _Market(tape.instrument)
    due = first + RECORD_NS
    for _, message in received({MAIN: tape}):
        known_ns = message[-1][1]
        if known_ns > at:
            break
        while due <= known_ns:
            market.memory.record(market.book)
            due += RECORD_NS
        market.take(message)
    while due <= at:
        market.memory.record(market.book)
        due += RECORD_NS
    facts = market.memory.facts(market.book, at)
    if facts is None:
        raise DataError(
            f"--at: a moment at which the book is known was expected; found {format_time(at)}, in a gap or before the "
            "first snapshot; 'mmkit data check' lists them"
        )
    return facts
