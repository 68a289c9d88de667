"""What an engine wants to know of a tape beforehand: the order of the venue's clock, and the best prices.

Made once, in compiled code, and kept in the tape's file. Made in pieces, so that a month needs no more
memory than a piece.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt
from numba import njit

from mmkit.tape.rows import NEVER, Kind
from mmkit.tape.tape import NAMES

if TYPE_CHECKING:
    from mmkit.tape.tape import Tape

NONE = -1
"""In place of a best price: that side of the book is empty."""
UNKNOWN = -2
"""In place of a best price: the book is unknown."""

WIDEST = 64_000_000
"""Ticks between the lowest and the highest price; beyond it a ladder by price takes too much memory."""

PIECE = 4_000_000
"""Rows that are worked on at a time."""

PARTS: dict[str, str] = {
    "order": "<u4",
    "top_row": "<u4",
    "top_ts": "<i8",
    "top_bid": "<i4",
    "top_ask": "<i4",
    "exchange_row": "<u4",
    "exchange_bid": "<i4",
    "exchange_ask": "<i4",
    "special": "<u4",
}
"""The columns of an `Index`, with their types on disk."""

_LEVEL, _TRADE, _SNAPSHOT, _GAP = (
    int(Kind.LEVEL),
    int(Kind.TRADE),
    int(Kind.SNAPSHOT),
    int(Kind.GAP),
)
_KIND, _SELL, _LAST = 0x0F, 0x10, 0x80
_NOTHING = -3
"""What a gap leaves of what was told, so that the next message's end tells anew."""

Part = npt.NDArray[Any]


class Facts(msgspec.Struct, kw_only=True):
    """What is true of a whole tape.

    Attributes:
        counts: Rows of each kind, by `Kind`.
        low: Lowest price of a level or trade, in ticks; 1 if there is none.
        high: Highest, likewise.
        first_exchange: First time of the venue's clock, ns.
        last_exchange: Last time of the venue's clock, ns.
        narrow_prices: Whether the prices of all levels and trades fit four bytes.
        whole_messages: Whether the rows of each message share ``ts_local``.
        in_order: Whether the rows are in the order of the venue's clock, too.
    """

    counts: list[int]
    low: int
    high: int
    first_exchange: int
    last_exchange: int
    narrow_prices: bool
    whole_messages: bool
    in_order: bool

    @property
    def span(self) -> int:
        """Ticks that a ladder by price needs, from `low` - 1 on."""
        return self.high - self.low + 3


@dataclass(frozen=True)
class Index:
    """Columns beside those of a tape.

    Attributes:
        facts: What is true of the whole.
        order: Row numbers in the order of the venue's clock; empty if the rows are in that order.
        top_row: Row numbers at which the best prices changed: the last row of a message.
        top_ts: Their ``ts_local``.
        top_bid: Best bid in ticks from then on, `NONE`, or `UNKNOWN`.
        top_ask: Best ask, likewise.
        exchange_row: How many rows in the order of the venue's clock had come when the best prices changed.
        exchange_bid: Best bid from then on, as the venue knows it.
        exchange_ask: Best ask, likewise.
        special: Row numbers of gaps, and of rows at which the book becomes known.
    """

    facts: Facts
    order: npt.NDArray[np.uint32]
    top_row: npt.NDArray[np.uint32]
    top_ts: npt.NDArray[np.int64]
    top_bid: npt.NDArray[np.int32]
    top_ask: npt.NDArray[np.int32]
    exchange_row: npt.NDArray[np.uint32]
    exchange_bid: npt.NDArray[np.int32]
    exchange_ask: npt.NDArray[np.int32]
    special: npt.NDArray[np.uint32]


def index_of(tape: Tape) -> Index:
    """Return a tape's index, in memory."""
    found: dict[str, list[Part]] = defaultdict(list)
    facts = make_index(tape, lambda name, part: found[name].append(part))
    parts = {
        name: np.concatenate([np.empty(0, dtype), *found[name]]) for name, dtype in PARTS.items()
    }
    return Index(facts, **parts)


def make_index(tape: Tape, write: Callable[[str, Part], None]) -> Facts:
    """Make a tape's index piece by piece.

    Args:
        tape: Its columns may be mapped from a file.
        write: Takes the next piece of a column of `PARTS`.
    """
    # What was mapped is released again: the rows a piece later, where some may have had to wait.
    facts, least_after = _survey(tape)
    fits = facts.span <= WIDEST and facts.narrow_prices
    if fits:
        local = _Tops(tape, facts, by_message=True)
        for start, end in _pieces(len(tape)):
            at, bid, ask, special = local.next(start, end, None)
            write("top_row", at)
            write("top_ts", tape.ts_local[at])
            write("top_bid", bid)
            write("top_ask", ask)
            write("special", special)
            tape.release(NAMES, start)
    exchange = _Tops(tape, facts, by_message=False) if fits else None
    told, waiting = 0, np.empty(0, np.int64)
    for n, piece in enumerate(_pieces(len(tape))):
        order = None
        if not facts.in_order:
            waiting, order = _ordered(tape.ts_exchange, waiting, *piece, least_after[n])
            write("order", order)
        if exchange is not None:
            within = piece if order is None else (0, len(order))
            at, bid, ask, _ = exchange.next(*within, order)
            write("exchange_row", at + np.uint32(1 if order is None else told + 1))
            write("exchange_bid", bid)
            write("exchange_ask", ask)
        told += 0 if order is None else len(order)
        tape.release(NAMES, piece[0])
    return facts


def _pieces(rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, rows, PIECE):
        yield start, min(start + PIECE, rows)


def _survey(tape: Tape) -> tuple[Facts, list[int]]:
    """Return the facts, and the least ``ts_exchange`` of everything after each piece."""
    earliest = -NEVER - 1
    found = np.array([NEVER, -NEVER, NEVER, earliest, 1, 1, 1, earliest], np.int64)
    counts = np.zeros(16, np.int64)
    least: list[int] = []
    for start, end in _pieces(len(tape)):
        part = slice(
            start, min(end + 1, len(tape))
        )  # one more, for what comes after a message's row
        found[2] = NEVER
        _survey_piece(
            tape.ts_exchange[part],
            tape.ts_local[part],
            tape.kind[part],
            tape.narrow_price[part],
            end - start,
            counts,
            found,
        )
        least.append(int(found[2]))
        tape.release(NAMES, start)
    after = [NEVER] * len(least)
    for n in range(len(least) - 2, -1, -1):
        after[n] = min(least[n + 1], after[n + 1])
    low, high, _, last, narrow, whole, in_order, _ = found.tolist()
    facts = Facts(
        counts=counts.tolist(),
        low=low if low <= high else 1,
        high=high if low <= high else 1,
        first_exchange=min(least, default=0),
        last_exchange=last if least else 0,
        narrow_prices=bool(narrow),
        whole_messages=bool(whole),
        in_order=bool(in_order),
    )
    return facts, after


@njit(cache=True, nogil=True)
def _survey_piece(
    ts_exchange: Any, ts_local: Any, kind: Any, price: Any, rows: int, counts: Any, found: Any
) -> None:
    """Take in one piece: `found` is low, high, least and most exchange time, three truths, latest time."""
    low, high, least, most = found[0], found[1], found[2], found[3]
    narrow, whole, in_order, latest = found[4], found[5], found[6], found[7]
    for n in range(np.uint64(rows)):
        at = ts_exchange[n]
        least, most = min(least, at), max(most, at)
        if at < latest:
            in_order = 0
        latest = at
        what = kind[n] & _KIND
        counts[what] += 1
        if what in (_LEVEL, _TRADE):
            if price[n] < 0:
                narrow = 0
            low, high = min(low, np.int64(price[n])), max(high, np.int64(price[n]))
        if not kind[n] & _LAST and n + 1 < len(ts_local) and ts_local[n] != ts_local[n + 1]:
            whole = 0
    found[0], found[1], found[2], found[3] = low, high, least, most
    found[4], found[5], found[6], found[7] = narrow, whole, in_order, latest


def _ordered(
    ts_exchange: npt.NDArray[np.int64],
    waiting: npt.NDArray[np.int64],
    start: int,
    end: int,
    least_after: int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Return the rows that must wait, and the others in the order of the venue's clock.

    A row can be told once nothing that follows is earlier.

    Args:
        ts_exchange: Of the whole tape.
        waiting: The rows that had to wait last time.
        start: The rows that come to them,
        end: up to this.
        least_after: The least time of everything from `end` on.
    """
    rows = np.concatenate([waiting, np.arange(start, end)])
    times = ts_exchange[rows]
    sorting = np.argsort(times, kind="stable")
    rows, times = rows[sorting], times[sorting]
    told = int(np.searchsorted(times, least_after, side="right"))
    return rows[told:], rows[:told].astype(np.uint32)


class _Tops:
    """Follows the best prices over the pieces of a tape."""

    def __init__(self, tape: Tape, facts: Facts, *, by_message: bool) -> None:
        self._tape, self._base, self._by_message = tape, facts.low - 1, by_message
        self._ladder = np.zeros((2, facts.span), np.uint8)
        # Best bid and ask, whether known, whether filling, what was told last, the ladder's used part.
        self._state = np.array([NONE, NONE, 0, 0, UNKNOWN, UNKNOWN, facts.span, -1], np.int64)

    def next(
        self, start: int, end: int, order: npt.NDArray[np.uint32] | None
    ) -> tuple[Part, Part, Part, Part]:
        """Return where the best prices changed, and to what; and the special rows."""
        tape = self._tape
        count = end - start
        at = np.empty(count, np.uint32)
        best = np.empty((2, count), np.int32)
        special = np.empty(count, np.uint32)
        told, specials = _follow(
            start,
            end,
            np.empty(0, np.uint32) if order is None else order,
            tape.ts_exchange,
            tape.kind,
            tape.narrow_price,
            tape.narrow_quantity,
            self._by_message,
            self._base,
            self._ladder,
            self._state,
            at,
            best,
            special,
        )
        return (
            at[:told].copy(),
            best[0, :told].copy(),
            best[1, :told].copy(),
            special[:specials].copy(),
        )


@njit(cache=True, nogil=True)
def _follow(
    first: int,
    end: int,
    order: Any,
    ts_exchange: Any,
    kind: Any,
    price: Any,
    quantity: Any,
    by_message: bool,
    base: int,
    ladder: Any,
    state: Any,
    at: Any,
    best: Any,
    special: Any,
) -> tuple[int, int]:
    """Apply rows `first` to `end`, of `order` if that is not empty; return how much was told.

    Told are changes as of the last row of a message, or of the last row of an instant of the venue's clock.
    """
    bids, asks = ladder[0], ladder[1]
    bid, ask, known, filling = state[0], state[1], state[2], state[3]
    told_bid, told_ask, used_low, used_high = state[4], state[5], state[6], state[7]
    span = len(bids)
    told = specials = 0
    ordered = len(order) > 0
    for n in range(np.uint64(first), np.uint64(end)):
        row = np.uint64(order[n]) if ordered else n
        what = kind[row] & _KIND
        if what == _LEVEL:
            place: Any = np.int64(price[row]) - base
            used_low, used_high = min(used_low, place), max(used_high, place)
            there = quantity[row] != 0
            if kind[row] & _SELL:
                asks[np.uint64(place)] = there
                if there:
                    if ask == NONE or place < ask:
                        ask = place
                elif place == ask:
                    ask += 1
                    while ask < span and asks[np.uint64(ask)] == 0:
                        ask += 1
                    if ask >= span:
                        ask = NONE
            else:
                bids[np.uint64(place)] = there
                if there:
                    bid = max(bid, place)
                elif place == bid:
                    bid -= 1
                    while bid >= 0 and bids[np.uint64(bid)] == 0:
                        bid -= 1
                    if bid < 0:
                        bid = NONE
        elif what in (_SNAPSHOT, _GAP):
            for place in range(used_low, used_high + 1):
                bids[place] = asks[place] = 0
            used_low, used_high = span, -1
            bid, ask = NONE, NONE
            filling = what == _SNAPSHOT
            if what == _GAP:
                known = 0
                told_bid = told_ask = _NOTHING
                special[specials] = row
                specials += 1
        if filling and kind[row] & _LAST:
            filling = 0
            if not known:
                known = 1
                if specials == 0 or special[specials - 1] != row:
                    special[specials] = row
                    specials += 1
        if by_message:
            ends = kind[row] & _LAST or row + np.uint64(1) == len(kind)
        elif n + np.uint64(1) == np.uint64(end):
            ends = True  # told once more than need be if the instant goes on in the next piece
        else:
            after = np.uint64(order[n + np.uint64(1)]) if ordered else n + np.uint64(1)
            ends = ts_exchange[after] != ts_exchange[row]
        if ends:
            now_bid = bid if bid == NONE else bid + base
            now_ask = ask if ask == NONE else ask + base
            if not known:
                now_bid = now_ask = UNKNOWN
            if now_bid != told_bid or now_ask != told_ask:
                told_bid, told_ask = now_bid, now_ask
                at[told], best[0, told], best[1, told] = n, now_bid, now_ask
                told += 1
    state[0], state[1], state[2], state[3] = bid, ask, known, filling
    state[4], state[5], state[6], state[7] = told_bid, told_ask, used_low, used_high
    return told, specials
