"""What a first reading of a capture finds out before it is played, and its messages' fields."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from mmkit.errors import CaptureError
from mmkit_sandbox.capture import Line, read_lines
from mmkit_sandbox.listing import COINM, SPOT, USDM
from mmkit_sandbox.replaybook import Diff, Snapshot

_log = logging.getLogger(__name__)

_MS = 1_000_000
_COINM_NAME = re.compile(
    r".+usd_(?:perp|\d{6})@.*"
)  # btcusd_perp@depth; USD-M's is btcusdt_261225@depth


class Envelope(msgspec.Struct):
    """What a line may hold: a message of a combined stream, or a snapshot."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    last_update_id: int | None = msgspec.field(default=None, name="lastUpdateId")


class _Stamp(msgspec.Struct):
    """When a message was sent, and what tells spot from the futures."""

    E: int = 0
    e: str = ""
    pu: int | None = None
    M: bool | None = None

    @property
    def futures(self) -> bool:
        """Whether it can only be of the futures: their diffs have ``pu``, their trades no ``M``."""
        if self.e in {"bookTicker", "markPriceUpdate", "forceOrder"} or self.pu is not None:
            return True
        return self.e in {"trade", "aggTrade"} and self.M is None


class RecordedTrade(msgspec.Struct):
    """A recorded ``trade``."""

    t: int
    p: str
    q: str
    T: int
    m: bool


class RecordedAggTrade(msgspec.Struct):
    """A recorded ``aggTrade``."""

    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741  # Binance's name
    T: int
    m: bool


class RecordedMark(msgspec.Struct):
    """A recorded ``markPriceUpdate``; captures of 2023 lack the later fields."""

    E: int
    p: str
    i: str = "0"
    P: str = "0"
    r: str = "0"
    T: int = 0


envelope = msgspec.json.Decoder(Envelope).decode
diff_of = msgspec.json.Decoder(Diff).decode
trade_of = msgspec.json.Decoder(RecordedTrade).decode
agg_trade_of = msgspec.json.Decoder(RecordedAggTrade).decode
mark_of = msgspec.json.Decoder(RecordedMark).decode
_READERS = {
    "depthUpdate": diff_of,
    "trade": trade_of,
    "aggTrade": agg_trade_of,
    "markPriceUpdate": mark_of,
}
_stamp = msgspec.json.Decoder(_Stamp).decode
_snapshot = msgspec.json.Decoder(Snapshot).decode


class Scan:
    """What one reading of a file finds out before it is played."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.market = ""
        self.messages = 0
        self.offset_ns: int | None = None
        self.streams: dict[str, None] = {}
        self.snapshots: dict[str, list[Snapshot]] = {}
        anonymous: list[Snapshot] = []
        for line in read_lines(path):
            try:
                self._read(line, anonymous)
            except msgspec.MsgspecError as error:
                raise CaptureError(
                    f"{path}:{line.number}: not a Binance message: {error}"
                ) from error
        self.symbols = list(dict.fromkeys(name.partition("@")[0].upper() for name in self.streams))
        if anonymous and len(self.symbols) == 1:
            self.snapshots.setdefault(self.symbols[0], []).extend(anonymous)
        elif anonymous:
            _log.warning(
                "snapshots without a symbol left out: the file has several; file=%s symbols=%s",
                path,
                ",".join(self.symbols),
            )
        named = [*self.streams, *(f"{symbol.lower()}@depth" for symbol in self.snapshots)]
        if self.market == USDM and named and all(map(_COINM_NAME.fullmatch, named)):
            self.market = COINM
        self.market = self.market or SPOT

    def _read(self, line: Line, anonymous: list[Snapshot]) -> None:
        if line.url:
            address = urlsplit(line.url)
            if address.path.endswith("/depth"):
                if "/fapi/" in address.path or "/dapi/" in address.path:
                    self.market = USDM
                symbol = parse_qs(address.query).get("symbol", [""])[0]
                self.snapshots.setdefault(symbol, []).append(_snapshot(line.json))
            return
        message = envelope(line.json)
        if message.last_update_id is not None:
            anonymous.append(_snapshot(line.json))
        elif message.stream:
            self.messages += 1
            self.streams[message.stream] = None
            stamp = _stamp(message.data)
            if stamp.futures:
                self.market = USDM
            # Read in full now: a message that cannot be read is told before anything is played.
            if stamp.e in _READERS:
                _READERS[stamp.e](message.data)
            if stamp.E:
                offset = stamp.E * _MS - line.ts
                self.offset_ns = offset if self.offset_ns is None else max(self.offset_ns, offset)
