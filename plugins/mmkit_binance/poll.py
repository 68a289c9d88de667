"""Market data over REST: asked for again and again. Slower than the streams, for where those do not get through."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from mmkit.errors import FeedError, Mistake
from mmkit.instruments import Instrument
from mmkit.tape import LAST, SELL, GapReason, Kind, Row
from mmkit.units import format_duration
from mmkit_binance import messages
from mmkit_binance.allowance import (
    AGG_TRADES_WEIGHT,
    MARK_WEIGHT,
    TICKER_WEIGHT,
    TRADES_WEIGHT,
    depth_weight,
    minute_weight,
)
from mmkit_binance.messages import RestAggTrade, RestTrade, decode, decode_one, nanoseconds
from mmkit_binance.rest import RequestError, Rest, patiently
from mmkit_binance.wire import BinanceWire

_log = logging.getLogger("mmkit.binance")

POLLED = ("depth", "trade", "aggTrade", "bookTicker", "markPrice")
"""Streams that have a request of the same content."""
_MOST_TRADES = 1000
_RETRY_S = 1.0


class _Ask(NamedTuple):
    """A request: its path, its weight and its parameters."""

    path: str
    weight: int
    parameters: dict[str, str | int]


class _Answer(NamedTuple):
    stream: str
    content: bytes | RequestError | BaseException


class Poll:
    """Asks for each stream's content every so often, and makes rows of what is new.

    The book is told whole whenever its update id has changed. Of trades, those since the first answer are
    told, each once. Of single ones, if more were made between two answers than one holds, a note says so;
    aggregate ones are asked for from the last one on, and again at once while an answer is full. A request that
    fails is a GAP row (`GapReason.CONNECTION`), told once, until the book is there again; so is a book that
    cannot be right (`GapReason.CHECK`), in the place of its rows.

    Args:
        wire: New; knows the grid and the book.
        rest: Asked.
        instrument: What about.
        streams: Some of `POLLED`.
        every_s: How often.
        limit: Levels a side.
    """

    def __init__(
        self,
        wire: BinanceWire,
        rest: Rest,
        instrument: Instrument,
        streams: Sequence[str],
        *,
        every_s: float,
        limit: int,
    ) -> None:
        self._wire, self._rest, self._every_s = wire, rest, every_s
        self._asks = {
            stream: _ask(instrument.market, instrument.native, stream, limit) for stream in streams
        }
        self._queue: asyncio.Queue[_Answer] = asyncio.Queue(maxsize=2 * len(self._asks))
        self._tasks: list[asyncio.Task[None]] = []
        self._trade: int | None = None  # id of the newest trade seen
        self._from: int | None = None  # id of the aggregate trade to ask for next

    def start(self) -> None:
        """Begin to ask."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._guard(stream)) for stream in self._asks]

    async def stop(self) -> None:
        """Ask no more; return when every request has ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def rows(self, now_ns: Callable[[], int], offset: int) -> AsyncIterator[list[Row]]:
        """Yield what is new as rows; the arguments are those of `Feed.rows`.

        Raises:
            FeedError: if a first contact failed, an answer cannot be read, or the venue does not serve us.
        """
        while True:
            answer = await self._queue.get()
            now = now_ns()
            rows = self._take(answer, now + offset)
            if offset:
                rows = [(row[0] - offset, now, *row[2:]) for row in rows]
            if rows:
                yield rows

    def _take(self, answer: _Answer, ts_local: int) -> list[Row]:
        stream, content = answer
        if isinstance(content, RequestError):
            if stream != "depth" or not self._wire.sync.synchronised:
                return []
            return self._wire.lost(GapReason.CONNECTION, ts_local)
        if isinstance(content, BaseException):
            raise content
        take = {
            "depth": self._wire.polled,
            "trade": self._single_trades,
            "aggTrade": self._aggregate_trades,
            "bookTicker": self._best,
            "markPrice": self._mark,
        }[stream]
        try:
            rows = take(content, ts_local)
        except FeedError as error:
            raise FeedError(f"{self._asks[stream].path}: {error}") from error
        if doubt := self._wire.doubt:
            _log.warning("the book cannot be right path=%s: %s", self._asks[stream].path, doubt)
            # What made it so is not told.
            return self._wire.lost(GapReason.CHECK, ts_local)
        return rows

    def _single_trades(self, raw: bytes, ts_local: int) -> list[Row]:
        return self._trades(decode(messages.rest_trades, raw, "trades"), ts_local)

    def _aggregate_trades(self, raw: bytes, ts_local: int) -> list[Row]:
        return self._trades(decode(messages.rest_agg_trades, raw, "aggregate trades"), ts_local)

    def _trades(
        self, found: Sequence[RestTrade] | Sequence[RestAggTrade], ts_local: int
    ) -> list[Row]:
        wire = self._wire
        wire.stats.messages += 1
        last, rows = self._trade, []
        if last is not None and found and found[0].number > last + 1:
            words = (
                f"trades between {last} and {found[0].number} were not seen: there were too many"
            )
            _log.warning("hole in the trades: %s", words)
            wire.stats.notes.append(words)
        for trade in found:
            if last is not None and trade.number > last:
                time = nanoseconds(trade.time)
                rows += wire.started(time, ts_local)
                kind = Kind.TRADE | LAST | (SELL if trade.buyer_is_maker else 0)
                rows.append((time, ts_local, kind, *wire.grid(trade.price, trade.quantity)))
        if found:
            self._trade = max(last or 0, found[-1].number)
        elif last is None:
            self._trade = 0  # nothing has ever been traded: the first trade is new
        return rows

    def _best(self, raw: bytes, ts_local: int) -> list[Row]:
        wire = self._wire
        found = decode_one(messages.rest_ticker, messages.rest_tickers, raw, "the best prices")
        wire.stats.messages += 1
        time = ts_local if found.time is None else nanoseconds(found.time)
        bid, ask = int(Kind.BEST), Kind.BEST | SELL | LAST
        return [
            *wire.started(time, ts_local),
            (time, ts_local, bid, *wire.grid(found.bid, found.bid_quantity)),
            (time, ts_local, ask, *wire.grid(found.ask, found.ask_quantity)),
        ]

    def _mark(self, raw: bytes, ts_local: int) -> list[Row]:
        found = decode_one(messages.premium_index, messages.premium_indexes, raw, "the mark price")
        self._wire.stats.messages += 1
        return self._wire.marked(found.time, found.price, found.rate, found.next_funding, ts_local)

    async def _guard(self, stream: str) -> None:
        try:
            await self._ask(stream)
        except Exception as error:  # noqa: BLE001 - told to whoever reads the rows
            await self._queue.put(_Answer(stream, error))

    async def _ask(self, stream: str) -> None:
        """Ask for one stream's content for ever; return only by raising."""
        loop = asyncio.get_running_loop()
        path, weight, parameters = self._asks[stream]

        async def get() -> bytes:
            return await self._rest.get(path, weight=weight, **parameters)

        begun, number, contacted = loop.time(), 0, False
        while True:
            try:
                if stream == "aggTrade" and self._from is not None:
                    parameters |= {"fromId": self._from, "limit": _MOST_TRADES}
                raw = await (get() if contacted else patiently(path, get))
                contacted = True
                await self._queue.put(_Answer(stream, raw))
                if stream == "aggTrade" and self._continues(raw):
                    continue
            except RequestError as error:
                if not contacted or (error.hopeless and not error.retry_after_s):
                    # In words of an error that ends the run.
                    raise FeedError(str(error)) from error
                _log.warning("not answered, asking again stream=%s reason=%s", stream, error)
                await self._queue.put(_Answer(stream, error))
                await asyncio.sleep(max(error.retry_after_s, _RETRY_S))
            # On a fixed grid; what a slow answer has missed is left out.
            number = max(number + 1, math.ceil((loop.time() - begun) / self._every_s))
            await asyncio.sleep(max(0.0, begun + number * self._every_s - loop.time()))

    def _continues(self, raw: bytes) -> bool:
        """Note where the aggregate trades go on; return whether some more are there already."""
        found = decode(messages.rest_agg_trades, raw, "aggregate trades")
        full = self._from is not None and len(found) >= _MOST_TRADES
        self._from = found[-1].number + 1 if found else self._from or 0
        return full


def poll_mistakes(market: str, streams: Sequence[str], every: int, limit: int) -> list[Mistake]:
    """Return what is wrong with asking for streams every so many ns."""
    if unknown := [name for name in streams if name not in POLLED]:
        found = f"mode 'rest' has no {', '.join(map(repr, unknown))}"
        return [Mistake("", "data.streams", found, f"there are {', '.join(POLLED)}")]
    weight = sum(_ask(market, "", stream, limit).weight for stream in streams)
    allowed = minute_weight(market)
    least = math.ceil(weight * 60_000 / allowed) * 1_000_000
    if every >= least:
        return []
    return [
        Mistake(
            "",
            "data.every",
            f"at least {format_duration(least)} was expected, as these streams weigh {weight} each time and "
            f"{allowed} may be used in a minute; found {format_duration(every)}",
            "ask less often, for fewer streams, or for fewer levels with 'snapshot_limit'",
        )
    ]


def _ask(market: str, native: str, stream: str, limit: int) -> _Ask:
    if stream == "depth":
        return _Ask("depth", depth_weight(market, limit), {"symbol": native, "limit": limit})
    if stream == "trade":
        weight = TRADES_WEIGHT[market]
        return _Ask("trades", weight, {"symbol": native, "limit": _MOST_TRADES})
    if stream == "bookTicker":
        return _Ask("ticker/bookTicker", TICKER_WEIGHT[market], {"symbol": native})
    if stream == "aggTrade":
        # The first answer only tells where they stand.
        return _Ask("aggTrades", AGG_TRADES_WEIGHT[market], {"symbol": native, "limit": 1})
    return _Ask("premiumIndex", MARK_WEIGHT[market], {"symbol": native})
