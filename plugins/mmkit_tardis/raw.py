"""Raw messages of an exchange, as Tardis's client ``tardis-dev`` replays them.

They go through the venue's own wire format, as those of a capture do. Besides them Tardis has ``depthSnapshot``: the answer
to a request for the book, in the envelope of a stream.
"""

from __future__ import annotations

import re
import urllib.error
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from mmkit.errors import ConfigError, FeedError, Mistake, OffGrid
from mmkit.interfaces import WireFormat
from mmkit.tape import KIND, GapReason, Kind, Row
from mmkit_tardis.normalized import excerpt

_SNAPSHOT = b"@depthSnapshot"
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{7})Z")


class _Envelope(msgspec.Struct):
    data: msgspec.Raw


_envelope = msgspec.json.Decoder(_Envelope)


class Ask(NamedTuple):
    """What is replayed.

    Attributes:
        exchange: Tardis's id.
        symbol: Of the channels, in small letters.
        channels: Such as ``depth`` and ``trade``; the snapshots of the book come with ``depth``.
        start: ISO 8601, UTC, to the minute.
        end: Likewise; not included.
        endpoint: Tardis's, or that of whoever stands in for it.
        key: For days other than the first of a month; may be empty. Never shown.
        folder: Where tardis-dev keeps what it has fetched.
    """

    exchange: str
    symbol: str
    channels: tuple[str, ...]
    start: str
    end: str
    endpoint: str
    key: str
    folder: Path

    def __repr__(self) -> str:
        return f"Ask({self.exchange} {self.symbol} {self.start} {self.end})"


async def replayed(ask: Ask, wire: WireFormat) -> AsyncGenerator[list[Row], None]:
    """Yield the rows of a replay.

    Raises:
        ConfigError: if tardis-dev is not installed.
        FeedError: if Tardis refuses, cannot be reached, or a message cannot be read; it names the message's time.
        OffGrid: if a price or quantity is not on the grid.
    """
    try:
        from tardis_dev import Channel, replay
    except ImportError as error:
        words = "a replay of raw messages takes 'tardis-dev', which is not installed"
        raise ConfigError(
            [Mistake("", "data.raw", words, "pip install 'mmkit[tardis]'")]
        ) from error
    names = dict.fromkeys(ask.channels)
    if "depth" in names:
        names["depthSnapshot"] = None
    messages = replay(
        ask.exchange,
        ask.start,
        ask.end,
        [Channel(name, [ask.symbol]) for name in names],
        api_key=ask.key,
        endpoint=ask.endpoint,
        cache_dir=str(ask.folder),
        decode_response=False,
        with_disconnects=True,
    )
    last = 0
    try:
        async with aclosing(messages):
            async for found in messages:
                if found is None:
                    if last and (rows := wire.lost(GapReason.CONNECTION, last)):
                        yield rows
                    continue
                last = _ns(bytes(found.local_timestamp))
                if rows := _rows(wire, bytes(found.message), last, bytes(found.local_timestamp)):
                    yield rows
    except urllib.error.HTTPError as error:
        what = (
            "without a key Tardis gives the first day of each month only; set 'data.api_key: ${TARDIS_API_KEY}', or "
            "change 'data.start'"
            if error.code in (401, 403)
            else "check 'data.start', 'data.end' and 'data.channels'"
        )
        raise FeedError(
            f"{ask.endpoint}: raw messages of {ask.exchange} from {ask.start} to {ask.end} were expected; found HTTP "
            f"{error.code} with {excerpt(str(error.msg))}; {what}"
        ) from error


def _rows(wire: WireFormat, raw: bytes, ts_local: int, time: bytes) -> list[Row]:
    try:
        if _SNAPSHOT not in raw[:80]:
            return wire.message(raw, ts_local)
        return wire.snapshot(bytes(_envelope.decode(raw).data), ts_local)
    except msgspec.MsgspecError as error:
        raise FeedError(
            f"Tardis, at {time.decode()}: a snapshot of the book was expected; found {excerpt(raw)}"
        ) from error
    except (FeedError, OffGrid) as error:
        raise type(error)(f"Tardis, at {time.decode()}: {error}") from error


def _ns(text: bytes) -> int:
    """Return a time such as ``2024-03-01T00:00:00.1234567Z``, ns since the epoch."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise FeedError(
            f"a local time of Tardis's, with seven decimals, was expected; found {excerpt(text)}"
        )
    second = datetime.fromisoformat(found[1].decode()).replace(tzinfo=UTC)
    return int(second.timestamp()) * 1_000_000_000 + int(found[2]) * 100


def nearest(rows: list[Row]) -> int:
    """Return the smallest ``local - exchange`` of rows that carry the exchange's time, ns; 0 if none does."""
    told = (Kind.LEVEL, Kind.TRADE)
    return min((row[1] - row[0] for row in rows if row[2] & KIND in told), default=0)
