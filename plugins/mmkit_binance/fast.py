"""Recorded messages many at a time: `mmkit_binance.kernel` as the core knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mmkit.interfaces import FastRead, FastReader, Messages
from mmkit.tape import FeedStats, Row
from mmkit_binance import kernel as k
from mmkit_binance.tickers import DISAGREEING, WAITING, Best, contradicted, crossed

if TYPE_CHECKING:
    from mmkit_binance.wire import BinanceWire

Ints = npt.NDArray[np.int64]

_NAMES = (
    "",
    "depth",
    "depth5",
    "depth10",
    "depth20",
    "trade",
    "aggTrade",
    "bookTicker",
    "markPrice",
)
_EVENTS = ("", "depthUpdate", "", "", "", "trade", "aggTrade", "bookTicker", "markPriceUpdate")
"""The same streams by what a payload calls itself."""
_TIMES = {"E": (k.INTEGER, k.EVENT_TIME), "T": (k.INTEGER, k.TIME)}
_UPDATE = _TIMES | {
    "s": (k.TEXT, k.FREE),
    "U": (k.INTEGER, k.FIRST_ID),
    "u": (k.INTEGER, k.LAST_ID),
    "pu": (k.INTEGER, k.BEFORE),
    "b": (k.BIDS_HERE, k.BID_SIDE),
    "a": (k.ASKS_HERE, k.ASK_SIDE),
}
_PARTIAL = _TIMES | {
    "lastUpdateId": (k.INTEGER, k.LAST_ID),
    "bids": (k.BIDS_HERE, k.BID_SIDE),
    "asks": (k.ASKS_HERE, k.ASK_SIDE),
}
_TRADE = _TIMES | {
    "p": (k.PRICE, k.BID),
    "q": (k.QUANTITY, k.BID_QUANTITY),
    "m": (k.TRUTH, k.MAKER),
    "X": (k.REASON, k.ON_BOOK),
}
_TICKER = _TIMES | {
    "u": (k.INTEGER, k.LAST_ID),
    "b": (k.PRICE, k.BID),
    "B": (k.QUANTITY, k.BID_QUANTITY),
    "a": (k.PRICE, k.ASK),
    "A": (k.QUANTITY, k.ASK_QUANTITY),
}
_MARK = _TIMES | {"p": (k.SCALED, k.BID), "r": (k.RATE, k.ASK)}
_LONG_KEYS = {
    "pu": k.PU,
    "lastUpdateId": k.LAST_UPDATE_ID,
    "bids": k.LONG_BIDS,
    "asks": k.LONG_ASKS,
}
_PLACES = 4_096
"""Places that a side of the cross-check's book has at first; a power of two."""


class CompiledCheck:
    """`mmkit_binance.tickers.TickerCheck` over arrays, which the kernel works on as well.

    Args:
        stats: Counted into once `count` is called.
        doubting: Whether there is a `doubt`. Of recordings there is none: what was compared is told by the stats.
    """

    def __init__(self, stats: FeedStats, doubting: bool = False) -> None:
        self._stats = stats
        self.state: Ints = np.zeros(k.STATE_SIZE, np.int64)
        self.state[k.AT] = k.NONE
        self.state[k.DOUBTING] = DISAGREEING if doubting else 0
        self.waiting: Ints = np.empty((WAITING, 5), np.int64)
        self.table = _table(_PLACES)

    @property
    def doubt(self) -> str:
        """Why the book cannot be right, in words; empty while nothing speaks against it."""
        why = self.state[k.DOUBT]
        if not why:
            return ""
        at, *facts = self.state[k.DOUBT_AT : k.STATE_SIZE].tolist()
        if why == k.CROSSED:
            return crossed(facts[0], facts[1], at)
        return contradicted(Best(*facts[:4]), Best(*facts[4:]), at)

    def go_on(self, different: int) -> None:
        """Say how many tickers in a row have differed from the book that was handed over."""
        self.state[k.IN_A_ROW] = different

    def applied(self, update_id: int | None, rows: list[Row]) -> None:
        """Follow the book; `update_id` is where it stands after `rows`, `None` if it is unknown."""
        columns = np.array(rows, np.int64).reshape(-1, 5).T
        if 2 * (self._used + len(rows)) > len(self.table[0]):
            self.make_room(len(rows))
        k.follow(
            self.table,
            self.state,
            self.waiting,
            np.ascontiguousarray(columns[[0, 1, 3, 4]]),
            columns[2].astype(np.uint8),
            k.NONE if update_id is None else update_id,
        )
        self.count()

    def ticker(self, update_id: int, best: Best) -> None:
        """Take in a ticker."""
        k.ticker(self.table, self.state, self.waiting, np.array([update_id, *best], np.int64))
        self.count()

    def make_room(self, rows: int) -> None:
        """Make the book's table large enough for so many levels more; empty ones are let go."""
        state = self.state
        most = max(int(state[k.BIDS]), int(state[k.ASKS])) + rows
        old, self.table = self.table, _table(max(_PLACES, 1 << (4 * most).bit_length()))
        k.refill(self.table, state, old)

    def count(self) -> None:
        """Add what was compared to the stats."""
        state, stats = self.state, self._stats
        stats.tickers_compared += int(state[k.COMPARED])
        stats.tickers_different += int(state[k.DIFFERENT])
        state[k.COMPARED] = state[k.DIFFERENT] = 0

    @property
    def _used(self) -> int:
        return max(int(self.state[k.USED_BIDS]), int(self.state[k.USED_ASKS]))


def _table(places: int) -> Ints:
    """Return an empty table of prices and quantities for each side."""
    table = np.zeros((2, places, 2), np.int64)
    table[:, :, 0] = k.NONE
    return table


class BinanceReader(FastReader):
    """The compiled reader of one wire format, whose synchronisation it shares.

    Args:
        wire: New. Its cross-check must be `check` from now on.
        check: The cross-check.
    """

    streams = _NAMES

    def __init__(self, wire: BinanceWire, check: CompiledCheck) -> None:
        self._wire, self._check = wire, check
        instrument, usdm = wire.instrument, wire.futures
        tick, lot = wire.tick_grid, wire.lot_grid
        self._state = check.state
        self._state[k.USDM] = usdm
        self._state[[k.TICK, k.TICK_PLACES, k.LOT, k.LOT_PLACES]] = (
            tick.step,
            tick.places,
            lot.step,
            lot.places,
        )
        self._symbol = np.frombuffer(instrument.native.encode(), np.uint8)
        self._names = _packed(_NAMES, _EVENTS)
        self._plan = _plan(wire.streams, usdm)
        self._layouts, self._needed = _layouts(usdm)
        self._rows: Ints = np.empty((4, 0), np.int64)
        self._kinds = np.empty(0, np.uint8)
        self._told: Ints = np.empty((3, 0), np.int64)
        self._stream = np.empty(0, np.int8)

    @property
    def local_times(self) -> bool:
        """Whether a ``ts_exchange`` has been ``ts_local``, or may have been."""
        return self._wire.local_times or self._wire.sync.dated

    def read(self, messages: Messages, first: int) -> FastRead:
        """Read messages from `first` on."""
        if self._stream.size < len(messages.begin):
            self._told = np.empty((3, len(messages.begin)), np.int64)
            self._stream = np.empty(len(messages.begin), np.int8)
        room = len(messages.data) // k.BYTES_A_ROW
        if self._kinds.size < room:
            self._rows, self._kinds = np.empty((4, room), np.int64), np.empty(room, np.uint8)
        self._lend()
        check, state = self._check, self._state
        stop, rows = first, 0
        while True:
            state[k.ROOM] = 0
            stop, rows = k.read(
                messages.data,
                messages.begin,
                messages.ts_local,
                stop,
                rows,
                self._symbol,
                self._names,
                self._plan,
                self._layouts,
                self._needed,
                state,
                check.table,
                check.waiting,
                self._rows,
                self._kinds,
                self._told,
                self._stream,
            )
            if not state[k.ROOM]:
                break
            check.make_room(int(state[k.ROOM]))
        self._take_back()
        part = slice(first, stop)
        ts_exchange, first_id, last_id = self._told[:, part]
        stream = self._stream[part]
        made = self._rows[:, :rows]
        return FastRead(
            stop=stop,
            chosen=stream >= 0,
            stream=np.where(stream >= 0, stream, ~stream),
            ts_exchange=ts_exchange,
            first_id=first_id,
            last_id=last_id,
            columns={
                "ts_exchange": made[0],
                "ts_local": made[1],
                "price": made[2],
                "quantity": made[3],
                "kind": self._kinds[:rows],
            },
        )

    def _lend(self) -> None:
        """Put the synchronisation's state where the kernel works on it."""
        sync = self._wire.sync
        self._state[: k.SEEN + 1] = (
            sync.started,
            k.NONE if sync.chain is None else sync.chain,
            k.NONE if sync.book is None else sync.book,
            sync.repeats,
            sync.floor,
            sync.seen,
        )

    def _take_back(self) -> None:
        """Take over what the kernel has made of it, and what it counted."""
        wire, state = self._wire, self._state
        sync, stats, found = wire.sync, wire.stats, state.tolist()
        sync.chain = None if found[k.CHAIN] == k.NONE else found[k.CHAIN]
        sync.book = None if found[k.BOOK] == k.NONE else found[k.BOOK]
        sync.repeats, sync.floor, sync.seen = found[k.REPEATS], found[k.FLOOR], found[k.SEEN]
        stats.messages += found[k.MESSAGES]
        stats.ignored += found[k.IGNORED]
        stats.off_book += found[k.OFF_BOOK]
        stats.snapshots += found[k.SNAPSHOTS]
        if wire.spot_lots is not None:
            wire.spot_lots.seen += found[k.QUANTITIES]
        wire.local_times |= found[k.LOCAL_TIMES] > 0
        self._check.count()
        state[k.MESSAGES : k.LOCAL_TIMES + 1] = 0


def _packed(*tables: tuple[str, ...]) -> npt.NDArray[np.uint8]:
    """Return tables of names as bytes, each name with its length ahead of it."""
    longest = max(len(name) for table in tables for name in table)
    packed = np.zeros((len(tables), len(_NAMES), 1 + longest), np.uint8)
    for found, table in zip(packed, tables, strict=True):
        for place, name in zip(found, table, strict=True):
            place[: 1 + len(name)] = [len(name), *name.encode()]
    return packed


def _plan(wanted: frozenset[str], usdm: bool) -> npt.NDArray[np.uint8]:
    """Return the layout of each stream: of another symbol, of ours, and of ours without an envelope."""
    plan = np.full((3, len(_NAMES)), k.TIMES, np.uint8)
    plan[:, 0] = k.ANY
    plan[:, _NAMES.index("markPrice")] = k.MARK_TIMES
    own = {
        "depth": k.DEPTH,
        "trade": k.TRADE,
        "aggTrade": k.AGG_TRADE,
        "bookTicker": k.WANTED_TICKER,
        "markPrice": k.MARK,
    }
    for stream in wanted:
        plan[1:, _NAMES.index(stream)] = own.get(stream, k.PARTIAL)
    if "bookTicker" not in wanted:
        plan[1:, k.TICKER_STREAM] = k.TICKER
    if k.PARTIAL in plan:
        # On USD-M both call themselves the same; without an envelope, whoever asked for one means it.
        plan[2, _NAMES.index("depth")] = k.LEAVE
    return plan


def _layouts(usdm: bool) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Return what each layout does with each key, and the values it needs, as bits."""
    update = (k.EVENT_TIME, k.FIRST_ID, k.LAST_ID, k.BID_SIDE, k.ASK_SIDE)
    trade = (k.TIME, k.BID, k.BID_QUANTITY, k.MAKER)
    content: dict[int, tuple[dict[str, tuple[int, int]], tuple[int, ...]]] = {
        k.TIMES: (_TIMES, ()),
        k.MARK_TIMES: (_TIMES, ()),
        k.TICKER: (_TICKER, (k.LAST_ID, k.BID, k.BID_QUANTITY, k.ASK, k.ASK_QUANTITY)),
        k.DEPTH: (_UPDATE, (*update, k.BEFORE) if usdm else update),
        k.PARTIAL: (_UPDATE, update) if usdm else (_PARTIAL, (k.LAST_ID, k.BID_SIDE, k.ASK_SIDE)),
        k.TRADE: (_TRADE | {"t": (k.INTEGER, k.TRADE_ID)}, trade),
        k.AGG_TRADE: (_TRADE | {"a": (k.INTEGER, k.TRADE_ID)}, trade),
        k.MARK: (_MARK, (k.EVENT_TIME, k.BID)),
    }
    content[k.WANTED_TICKER] = content[k.TICKER]
    layouts = np.zeros((k.LAYOUTS, k.KEYS, 2), np.uint8)
    layouts[:, :, 1] = k.FREE
    needed = np.zeros(k.LAYOUTS, np.int64)
    for layout, (keys, values) in content.items():
        for key, what in keys.items():
            layouts[layout, _LONG_KEYS[key] if len(key) > 1 else ord(key)] = what
        needed[layout] = sum(1 << value for value in values)
    return layouts, needed
