"""Websocket beside REST polling: what each costs, and how far behind each is. Pure but for `measure_feed`.

A feed is watched in a process of its own, so that processor time and memory are its own; all of them read one
clock. What was seen is three columns: when the book here was complete, the exchange's update id that it
then had, and, for updates, the time that the exchange put on it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from mmkit.book import Book
from mmkit.errors import FeedError
from mmkit.instruments import Instrument
from mmkit.interfaces import WireFormatContext
from mmkit.tape import GapReason
from mmkit_binance.allowance import WEIGHT as ALLOWANCE
from mmkit_binance.allowance import depth_weight
from mmkit_binance.endpoints import Addresses

Times = npt.NDArray[np.int64]

LEVELS = 100
"""Levels a side that a poll asks for; a weight of 5 on every market."""
WEIGHT = depth_weight("spot", LEVELS)
ALLOWED = {
    "spot": ALLOWANCE["/api/v3"],
    "usdm": ALLOWANCE["/fapi/v1"],
    "coinm": ALLOWANCE["/dapi/v1"],
}
"""Weight a minute and address: Binance's REQUEST_WEIGHT limits of 2026."""
GRID_NS = 1_000_000
"""Staleness is looked at every millisecond."""
_SHARE = 0.5  # of the allowance, which others at this address need too
_STALE_S = 0.2  # before a snapshot that was too old is asked for again
_LAST_ID = re.compile(rb'"u":(\d+)')
_EVENT_TIME = re.compile(rb'"E":(\d+)')
_SNAPSHOT_ID = re.compile(rb'"lastUpdateId":(\d+)')


class Seen(NamedTuple):
    """What one feed saw and took.

    Attributes:
        at: When the book was complete, ns since the epoch, ascending.
        ids: The exchange's update id that it then had.
        told: The time that the exchange put on it, ns; 0 if none.
        bytes: Payload received, before headers and compression.
        requests: REST requests sent.
        cpu_s: Processor time of the feed's process while it watched.
        memory_bytes: The most memory that it had.
    """

    at: list[int]
    ids: list[int]
    told: list[int]
    bytes: int
    requests: int
    cpu_s: float
    memory_bytes: int


class Figures(msgspec.Struct, kw_only=True):
    """One feed in numbers; times in ms. Delay: from the time that the exchange put on a change until the book here had
    it. Behind: for how long, at each moment, the other feed had known what this one did not.
    """

    feed: str
    updates_per_s: float
    requests_per_s: float
    changes: int
    delay_mean: float
    delay_p50: float
    delay_p95: float
    delay_p99: float
    behind_share: float
    behind_mean: float
    behind_p95: float
    behind_max: float
    cpu_percent: float
    memory_mb: float
    bytes_per_s: float


def shortest_poll_s(market: str, polls: int) -> float:
    """Return the shortest interval at which so many pollers stay within half of the venue's allowance."""
    return WEIGHT * polls * 60 / (ALLOWED[market] * _SHARE)


def figures(feed: str, seen: Seen, other: Seen, stream: Seen, span: tuple[int, int]) -> Figures:
    """Return the figures of one feed.

    Args:
        feed: Its name.
        seen: What it saw.
        other: What it is set against.
        stream: What the websocket saw: its updates say what changed when, by the exchange's clock.
        span: From when to when all feeds watched, ns.

    Raises:
        FeedError: if nothing was seen in that time.
    """
    at, ids = (np.array(column, np.int64) for column in (seen.at, seen.ids))
    delays = delays_of(at, ids, stream, span) / 1e6
    inside = (at >= span[0]) & (at < span[1])
    if not len(delays) or not inside.any():
        raise FeedError(
            f"{feed}: changes of the book were expected; found none in {(span[1] - span[0]) / 1e9:.1f} s; give "
            "it longer with '--duration'"
        )
    behind = behind_of(seen, other, span) / 1e6
    seconds = (span[1] - span[0]) / 1e9
    watched_s = max(1e-9, (seen.at[-1] - seen.at[0]) / 1e9)
    p50, p95, p99 = np.percentile(delays, (50, 95, 99)).tolist()
    known = np.concatenate([[True], np.diff(ids) != 0])
    return Figures(
        feed=feed,
        updates_per_s=int((inside & known).sum()) / seconds,
        requests_per_s=seen.requests / watched_s,
        changes=len(delays),
        delay_mean=float(delays.mean()),
        delay_p50=p50,
        delay_p95=p95,
        delay_p99=p99,
        behind_share=float((behind > 0).mean()),
        behind_mean=float(behind.mean()),
        behind_p95=float(np.percentile(behind, 95)),
        behind_max=float(behind.max()),
        cpu_percent=100 * seen.cpu_s / watched_s,
        memory_mb=seen.memory_bytes / 1e6,
        bytes_per_s=seen.bytes / watched_s,
    )


def delays_of(at: Times, ids: Times, stream: Seen, span: tuple[int, int]) -> Times:
    """Return, for each change that the exchange told within `span`, how long it took to get into the book, ns.

    A change is in the book from the first moment at which the book has its update id or a later one. Those that
    were not yet there at the end of the span are left out.
    """
    told, changes = (np.array(column, np.int64) for column in (stream.told, stream.ids))
    chosen = (told >= span[0]) & (told < span[1])
    told, changes = told[chosen], changes[chosen]
    place = np.searchsorted(np.maximum.accumulate(ids), changes, side="left")
    there = place < len(at)
    return at[place[there]] - told[there]


def behind_of(seen: Seen, other: Seen, span: tuple[int, int]) -> Times:
    """Return, for each millisecond of `span`, for how long the other feed had known more, ns; 0 if it did not."""
    moments = np.arange(span[0], span[1], GRID_NS, dtype=np.int64)
    mine = _held(seen, moments)
    ids = np.maximum.accumulate(np.array(other.ids, np.int64))
    at = np.append(np.array(other.at, np.int64), np.iinfo(np.int64).max)
    news = at[np.searchsorted(ids, mine, side="right")]
    return np.where(news <= moments, moments - news, 0)


def _held(seen: Seen, moments: Times) -> Times:
    """Return the update id that the book had at each moment; 0 before the first."""
    ids = np.maximum.accumulate(np.array([0, *seen.ids], np.int64))
    return ids[np.searchsorted(np.array(seen.at, np.int64), moments, side="right")]


def shared_span(all_seen: Sequence[Seen]) -> tuple[int, int]:
    """Return from when to when every feed had a book.

    Raises:
        FeedError: if one of them saw nothing, or they never did at once.
    """
    if any(not seen.at for seen in all_seen):
        raise FeedError("a book was expected of every feed; found none of one; see the log above")
    begin, end = max(seen.at[0] for seen in all_seen), min(seen.at[-1] for seen in all_seen)
    if end <= begin:
        raise FeedError("the feeds were never there at once; give it longer with '--duration'")
    return begin, end


# --- one feed in a process of its own ------------------------------------------------------------


def measure_feed(
    instrument: Instrument,
    addresses: Addresses,
    url: str,
    poll_s: float | None,
    duration_s: float,
    offset_ns: int,
) -> Seen:
    """Watch one feed and return what it saw; blocks.

    Args:
        instrument: What is watched.
        addresses: Of REST.
        url: Of the diff stream.
        poll_s: How often to ask over REST; `None` for the websocket.
        duration_s: For how long.
        offset_ns: How far the exchange's clock is ahead of ours; taken off its times.

    Raises:
        FeedError: if it cannot be reached, or ends.
    """
    import resource

    # Here, so that loading them is not taken for the feed's own work.
    import aiohttp  # noqa: F401
    import websockets.asyncio.client  # noqa: F401

    import mmkit_binance.rest
    import mmkit_binance.wire  # noqa: F401

    seen = Seen([], [], [], 0, 0, 0.0, 0)
    begun = time.process_time()
    watching = (
        _stream(instrument, addresses, url, duration_s, offset_ns, seen)
        if poll_s is None
        else _poll(instrument, addresses, poll_s, duration_s, seen)
    )
    received, requests = asyncio.run(watching)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return seen._replace(
        bytes=received, requests=requests, cpu_s=time.process_time() - begun, memory_bytes=most
    )


def _wire(instrument: Instrument) -> Any:
    from mmkit_binance.wire import BinanceConfig, BinanceWire

    return BinanceWire(BinanceConfig(), WireFormatContext(instrument, ("depth",)))


async def _stream(
    instrument: Instrument,
    addresses: Addresses,
    url: str,
    duration_s: float,
    offset_ns: int,
    seen: Seen,
) -> tuple[int, int]:
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException

    from mmkit_binance.rest import Rest

    wire, book, received, requests = _wire(instrument), Book(), 0, 0
    weight = depth_weight(instrument.market, 1000)
    options: dict[str, Any] = {"proxy": None} if addresses.loopback else {}
    try:
        async with (
            asyncio.timeout(duration_s),
            Rest(addresses) as rest,
            connect(url, close_timeout=0.5, **options) as socket,
        ):
            while True:
                raw = await socket.recv(decode=False)
                received += len(raw)
                rows = wire.message(raw, time.time_ns())
                while wire.wants_snapshot and wire.buffering:
                    requests += 1
                    answer = await rest.get(
                        "depth", weight=weight, symbol=instrument.native, limit=1000
                    )
                    received += len(answer)
                    rows += wire.snapshot(answer, time.time_ns())
                    if wire.wants_snapshot:
                        await asyncio.sleep(_STALE_S)
                for row in rows:
                    book.apply(row)
                last, told = _LAST_ID.search(raw), _EVENT_TIME.search(raw)
                if book.known and last and told:
                    seen.at.append(time.time_ns())
                    seen.ids.append(int(last[1]))
                    seen.told.append(int(told[1]) * 1_000_000 - offset_ns)
    except TimeoutError:
        return received, requests
    except (OSError, WebSocketException) as error:
        raise FeedError(
            f"{url}: a stream of market data was expected; found {error or type(error).__name__}; "
            f"{addresses.advice}"
        ) from error


async def _poll(
    instrument: Instrument, addresses: Addresses, poll_s: float, duration_s: float, seen: Seen
) -> tuple[int, int]:
    from mmkit_binance.rest import Rest

    wire, book, received, requests = _wire(instrument), Book(), 0, 0
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with Rest(addresses) as rest:
        while (now := loop.time()) < begun + duration_s:
            requests += 1
            answer = await rest.get("depth", weight=WEIGHT, symbol=instrument.native, limit=LEVELS)
            received += len(answer)
            now_ns = time.time_ns()
            for row in [*wire.lost(GapReason.START, now_ns), *wire.snapshot(answer, now_ns)]:
                book.apply(row)
            found = _SNAPSHOT_ID.search(answer)
            if found:
                seen.at.append(time.time_ns())
                seen.ids.append(int(found[1]))
                seen.told.append(0)
            # At its own times, however long an answer takes; those that were missed are not made up for.
            late = (loop.time() - begun) % poll_s
            await asyncio.sleep(poll_s - late if loop.time() - now < poll_s else 0)
    return received, requests
