"""What every symbol of a market must know from the venue, asked once for all that ask within a minute."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from mmkit.clock import Clock
from mmkit_binance.endpoints import Addresses
from mmkit_binance.messages import decode, nanoseconds
from mmkit_binance.rest import Rest, patiently

_log = logging.getLogger("mmkit.binance")

GOOD_S = 60.0
"""How long an answer is used: a listing and the difference between two clocks change by the day."""
SINGLY = 3
"""So many symbols are asked for one by one, as the list of all has megabytes on spot; one symbol weighs as much."""
_TIME_SAMPLES = 5


class _ServerTime(msgspec.Struct):
    time: int = msgspec.field(name="serverTime")


_server_time = msgspec.json.Decoder(_ServerTime)


class _Known:
    """What has been asked in one event loop, and which symbols by themselves, by REST root."""

    def __init__(self) -> None:
        self.tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self.singly: dict[str, set[str]] = {}


_known: WeakKeyDictionary[asyncio.AbstractEventLoop, _Known] = WeakKeyDictionary()


async def exchange_info(addresses: Addresses, only: str = "") -> bytes:
    """Return ``exchangeInfo``: of one symbol, or of all, which is taken when many are asked for.

    Args:
        addresses: The venue's.
        only: The symbol in the venue's words; empty where it cannot be asked for one.

    Raises:
        RequestError: if the venue cannot be asked, or knows no such symbol.
    """
    known = _known.setdefault(asyncio.get_running_loop(), _Known())
    singly = known.singly.setdefault(addresses.rest, set())
    if only and (only in singly or len(singly) < SINGLY):
        singly.add(only)
    else:
        only = ""
    told: dict[str, str] = {"symbol": only} if only else {}

    async def ask() -> bytes:
        async with Rest(addresses) as rest:
            return await patiently(
                "exchangeInfo", lambda: rest.get("exchangeInfo", weight=20, **told)
            )

    found: bytes = await once((addresses.rest, "exchangeInfo", only), ask)
    return found


async def clock_offset(addresses: Addresses, micro: bool, clock: Clock) -> int:
    """Return how far the venue's clock is ahead of ours, ns; 0 if that cannot be told from noise.

    Args:
        addresses: The venue's.
        micro: Whether the venue is to tell microseconds.
        clock: Ours.

    Raises:
        FeedError: if the venue cannot be asked, or tells no time.
    """

    async def ask() -> int:
        async with Rest(addresses, micro=micro) as rest:
            return await _measured(rest, clock)

    found: int = await once((addresses.rest, "time", micro, clock), ask)
    return found


async def _measured(rest: Rest, clock: Clock) -> int:
    now_ns = clock.now_ns
    best: tuple[int, int] | None = None
    for _ in range(_TIME_SAMPLES):
        sent = now_ns()
        raw = await patiently("time", lambda: rest.get("time"))
        received = now_ns()
        told = decode(_server_time, raw, "the server's time").time
        # The venue cuts its time down: by half a unit on average.
        server = (nanoseconds(told) + nanoseconds(told + 1)) // 2
        sample = (received - sent, server - (sent + received) // 2)
        best = min(best, sample) if best else sample
    assert best is not None
    round_trip, offset = best
    certain = round_trip // 2 + 500_000  # no better than a millisecond, whatever is told
    _log.info("clock offset_ns=%d uncertain_ns=%d", offset, certain)
    return offset if abs(offset) > certain else 0


async def once(key: Hashable, ask: Callable[[], Awaitable[Any]]) -> Any:
    """Return what `ask` returns, or has returned to somebody else within a minute, or is being asked.

    A failure is told to all that wait for it, and is not kept.

    Args:
        key: What is asked.
        ask: Asks; must not use what belongs to one of those that want to know.
    """
    loop = asyncio.get_running_loop()
    tasks = _known.setdefault(loop, _Known()).tasks
    if key not in tasks:

        def keep(done: asyncio.Task[Any]) -> None:
            if done.cancelled() or done.exception() is not None:
                tasks.pop(key, None)
            else:
                loop.call_later(GOOD_S, tasks.pop, key, None)

        tasks[key] = loop.create_task(_asking(ask))
        tasks[key].add_done_callback(keep)
    # Who stops waiting does not stop it for the others.
    return await asyncio.shield(tasks[key])


async def _asking(ask: Callable[[], Awaitable[Any]]) -> Any:
    return await ask()
