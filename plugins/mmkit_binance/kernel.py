"""Binance's recorded messages read by compiled code: a small, strict scanner of JSON, and what follows from it.

`read` does what `mmkit_binance.wire` does, for what is ordinary: JSON without an escape, an exponent or a
byte beyond ASCII, plain decimals on the grid, a stream it knows, an update that continues the chain of a
known book. It stops at the first message of which it is not sure, having changed nothing for it; that
one is left to the wire format, which is the reference.

Functions that scan take a place in the bytes and return the place after what they read, or `_BAD`. A
newline follows every message and is part of no value, so that nothing is read beyond it. Places are
unsigned: of a signed one, compiled code asks each time whether it counts from the end. All of it is in one
file, as numba looks for changes of what it has kept on disk in one file only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit, types

from mmkit.tape import Kind

# --- the state, by place --------------------------------------------------------------------------

STARTED, CHAIN, BOOK, REPEATS, FLOOR, SEEN = range(6)
"""As in `mmkit_binance.sync.BookSync`; `NONE` stands for `None`."""
MESSAGES, IGNORED, OFF_BOOK, SNAPSHOTS, COMPARED, DIFFERENT, QUANTITIES, LOCAL_TIMES = range(6, 14)
"""Counts, taken and set to 0 after every call. The last two: decimals that are quantities, and rows whose
``ts_exchange`` is ``ts_local``."""
AT, BEST_BID, BEST_ASK, BIDS, ASKS, USED_BIDS, USED_ASKS = range(14, 21)
"""The book of the cross-check: its update id, what no bid is above and no ask below, levels, places in use."""
WAITING, OLDEST, ROOM = 21, 22, 23
"""Tickers that are ahead of the book: how many, and the place of the first. Levels the table had no room for."""
USDM, TICK, TICK_PLACES, LOT, LOT_PLACES = range(24, 29)
"""Settings: the market, and the steps of the grid as whole numbers of so many decimal places."""
DOUBTING = 29
"""A setting: so many tickers in a row that differ put the book in doubt, and so does a best bid that is not
below the best ask; `read` stops behind the message that does. 0: nothing is looked for."""
IN_A_ROW, DOUBT, DOUBT_AT, DOUBT_FACTS = 30, 31, 32, 33
"""Tickers in a row that differed; why the book cannot be right, at which update id, and the facts: for
`CROSSED` best bid and ask, for `CONTRADICTED` the ticker that was expected and what was found."""
STATE_SIZE = DOUBT_FACTS + 8

CROSSED, CONTRADICTED = 1, 2
"""Why the book cannot be right; 0 while nothing speaks against it."""

NONE = -(2**63)

# --- what a payload holds, and what becomes of it ---------------------------------------------------

SKIP, INTEGER, PRICE, QUANTITY, SCALED, RATE, BIDS_HERE, ASKS_HERE, TRUTH, REASON, TEXT = range(11)
"""What the value of a key is."""
EVENT_TIME, TIME, FIRST_ID, LAST_ID, BEFORE, TRADE_ID = range(6)
BID, BID_QUANTITY, ASK, ASK_QUANTITY, MAKER, ON_BOOK, BID_SIDE, ASK_SIDE, FREE = range(6, 15)
"""Where it is put. Each but `FREE` is there once or not at all, and has a bit that tells."""
VALUES = 15
PU, LAST_UPDATE_ID, LONG_BIDS, LONG_ASKS = range(4)
"""Stand in a layout for the keys that are longer than a character: no key is one of these characters."""
KEYS = 128

LEAVE, ANY, TIMES, MARK_TIMES, TICKER, WANTED_TICKER, DEPTH, PARTIAL, TRADE, AGG_TRADE, MARK = (
    range(11)
)
"""Layouts: left to the wire format, ignored whatever it holds, ignored but for its times, and the rest."""
LAYOUTS = 11

TICKER_STREAM = 7
"""Which of the names ``bookTicker`` is; spot's carries none itself."""

BYTES_A_ROW = 8
"""No row is told in fewer."""

F = TypeVar("F", bound=Callable[..., Any])


def _part(function: F) -> F:
    """Compile what is called from here only, which takes a third less time."""
    decorator: Any = njit
    compiled: F = decorator(no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)
    return compiled


def _inline(function: F) -> F:
    """Compile into each place it is called from."""
    decorator: Any = njit
    compiled: F = decorator(no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)(
        function
    )
    return compiled


def _door(*arguments: Any) -> Callable[[F], F]:
    """Compile what is called from Python, for these types alone, and keep it on disk."""
    decorator: Any = njit(arguments, cache=True, nogil=True)
    return decorator  # type: ignore[no-any-return]


_Number, _Numbers, _Table, _Cube = (
    types.int64,
    types.int64[::1],
    types.int64[:, ::1],
    types.int64[:, :, ::1],
)
_Text = types.Array(types.uint8, 1, "C", readonly=True)  # it may also be writable
_Places, _Streams = types.uint64[::1], types.int8[::1]
_Bytes, _Bytes2, _Bytes3 = types.uint8[::1], types.uint8[:, ::1], types.uint8[:, :, ::1]

_int: Any = np.int64
_uint: Any = np.uint64
_BAD, _1, _2 = _uint(0), _uint(1), _uint(2)
_15, _32, _MIX = _uint(15), _uint(32), _uint(0x9E3779B97F4A7C15)
_4, _5, _6 = _uint(4), _uint(5), _uint(6)
_ZERO = np.uint8(48)
_DIGITS = 18  # that many surely fit 64 bits
_DEEPEST = 60
_LAST_MS, _LAST_US = 9 * 10**12, 9 * 10**15  # in the year 2255, and in ns still 64 bits

_LEVEL, _TRADE, _SNAPSHOT, _GAP = (
    int(Kind.LEVEL),
    int(Kind.TRADE),
    int(Kind.SNAPSHOT),
    int(Kind.GAP),
)
_BEST, _MARK, _FUNDING, _OFF_BOOK = (
    int(Kind.BEST),
    int(Kind.MARK),
    int(Kind.FUNDING),
    int(Kind.OFF_BOOK),
)
_KIND, _SELL, _LAST = 0x0F, 0x10, 0x80
# As an argument, a bare number would be a type of its own and the function compiled again for it.
_BID_LEVEL, _ASK_LEVEL, _WHOLE, _EIGHT = (_int(number) for number in (_LEVEL, _LEVEL | _SELL, 1, 8))
_FOLDED, _EXACT = _int(32), _int(0)


# --- JSON -----------------------------------------------------------------------------------------


@_inline
def _blank(data: Any, i: Any) -> Any:
    while data[i] == 32 or data[i] == 9 or data[i] == 13:
        i += _1
    return i


@_inline
def _string(data: Any, i: Any) -> Any:
    """Return the place of the closing quote; `i` is after the opening one."""
    while True:
        c = data[i]
        if c == 34:
            return i
        if c < 32 or c == 92 or c >= 128:
            return _BAD
        i += _1


@_inline
def _key(data: Any, i: Any) -> Any:
    """Return where a key begins and ends, and the place of its value."""
    if data[i] != 34:
        return _BAD, _BAD, _BAD
    begin = i + _1
    end = _string(data, begin)
    if end == _BAD:
        return _BAD, _BAD, _BAD
    i = _blank(data, end + _1)
    if data[i] != 58:
        return _BAD, _BAD, _BAD
    return begin, end, _blank(data, i + _1)


@_part
def _here(data: Any, i: Any, text: Any) -> bool:
    """Whether `text` begins at `i`."""
    for k in range(len(text)):  # noqa: SIM110 - a generator is not compiled
        if data[i + _uint(k)] != text[k]:
            return False
    return True


@_part
def _number(data: Any, i: Any) -> Any:
    if data[i] == 45:
        i += _1
    begin = i
    while data[i] - _ZERO <= 9:
        i += _1
    if i == begin or (data[begin] == 48 and i != begin + _1):
        return _BAD
    if data[i] == 46:
        i += _1
        begin = i
        while data[i] - _ZERO <= 9:
            i += _1
        if i == begin:
            return _BAD
    return i


@_part
def _value(data: Any, i: Any) -> Any:
    """Skip a value of any kind."""
    depth, objects = 0, _uint(0)  # a bit for each depth: whether it is an object
    while True:
        c = data[i]
        deeper = False
        if c == 34:
            i = _string(data, i + _1)
            if i == _BAD:
                return _BAD
            i += _1
        elif c in (123, 91):
            i = _blank(data, i + _1)
            if data[i] == c + 2:  # its end
                i += _1
            else:
                if depth == _DEEPEST:
                    return _BAD
                depth += 1
                objects = (objects << _1) | _uint(c == 123)
                deeper = True
        elif _here(data, i, b"true") or _here(data, i, b"null"):
            i += _4
        elif _here(data, i, b"false"):
            i += _5
        else:
            i = _number(data, i)
            if i == _BAD:
                return _BAD
        while not deeper:
            if depth == 0:
                return i
            i = _blank(data, i)
            c = data[i]
            if c == 44:
                i = _blank(data, i + _1)
                deeper = True
            elif c == (125 if objects & _1 else 93):
                depth -= 1
                objects >>= _1
                i += _1
            else:
                return _BAD
        if objects & _1:
            _, _, i = _key(data, i)
            if i == _BAD:
                return _BAD


@_inline
def _integer(data: Any, i: Any) -> Any:
    """Return a whole number that is not negative, and the place after it."""
    begin, value = i, 0
    while data[i] - _ZERO <= 9:
        value = value * 10 + _int(data[i] - _ZERO)
        i += _1
    if i == begin or i - begin > _uint(_DIGITS):
        return 0, _BAD
    if data[begin] == 48 and i != begin + _1:
        return 0, _BAD
    return value, i


@_inline
def _decimal(data: Any, i: Any, step: int, places: int) -> Any:
    """Return a decimal as a number of steps, and the place after its closing quote."""
    begin, value = i, 0
    while data[i] - _ZERO <= 9:
        value = value * 10 + _int(data[i] - _ZERO)
        i += _1
    if i == begin or i - begin > _uint(_DIGITS - places):
        return 0, _BAD
    if data[i] == 46:
        i += _1
        begin = i
        while data[i] - _ZERO <= 9:
            if places > 0:
                value = value * 10 + _int(data[i] - _ZERO)
                places -= 1
            elif data[i] != 48:
                return 0, _BAD
            i += _1
        if i == begin or i - begin > _uint(_DIGITS):
            return 0, _BAD
    if data[i] != 34:
        return 0, _BAD
    while places > 0:
        value *= 10
        places -= 1
    if step != 1:
        steps = value // step
        if steps * step != value:
            return 0, _BAD
        value = steps
    return value, i + _1


@_part
def _nanoseconds(time: int) -> int:
    """Return a venue time in ns; 0 if it is none of the next two centuries."""
    if time < 10**14:
        return time * 1_000_000 if time < _LAST_MS else 0
    if time < 10**17:
        return time * 1_000 if time < _LAST_US else 0
    return time


# --- a message ------------------------------------------------------------------------------------


@_part
def _levels(data: Any, i: Any, s: Any, kind: int, rows: Any, kinds: Any, n: Any) -> Any:
    """Add a side's rows; return how many rows there are then, and the place after it."""
    if data[i] != 91:
        return n, _BAD
    i = _blank(data, i + _1)
    if data[i] == 93:
        return n, i + _1
    tick, tick_places, lot, lot_places = s[TICK], s[TICK_PLACES], s[LOT], s[LOT_PLACES]
    while True:
        if data[i] != 91:
            return n, _BAD
        i = _blank(data, i + _1)
        if data[i] != 34:
            return n, _BAD
        price, i = _decimal(data, i + _1, tick, tick_places)
        if i == _BAD:
            return n, _BAD
        i = _blank(data, i)
        if data[i] != 44:
            return n, _BAD
        i = _blank(data, i + _1)
        if data[i] != 34:
            return n, _BAD
        quantity, i = _decimal(data, i + _1, lot, lot_places)
        if i == _BAD:
            return n, _BAD
        i = _blank(data, i)
        if data[i] != 93:
            return n, _BAD
        rows[2, n], rows[3, n], kinds[n] = price, quantity, kind
        n += _1
        i = _blank(data, i + _1)
        if data[i] == 93:
            return n, i + _1
        if data[i] != 44:
            return n, _BAD
        i = _blank(data, i + _1)


@_inline
def _code(data: Any, begin: Any, end: Any) -> Any:
    """Return what stands for a key in a layout."""
    if end == begin + _1:
        return _uint(data[begin])
    length = end - begin
    if length == _2 and _here(data, begin, b"pu"):
        return _uint(PU)
    if length == _4 and _here(data, begin, b"bids"):
        return _uint(LONG_BIDS)
    if length == _4 and _here(data, begin, b"asks"):
        return _uint(LONG_ASKS)
    if length == _uint(12) and _here(data, begin, b"lastUpdateId"):
        return _uint(LAST_UPDATE_ID)
    return _uint(32)


@_part
def _payload(data: Any, i: Any, layout: Any, v: Any, s: Any, rows: Any, kinds: Any, n: Any) -> Any:
    """Read an object; return which values it had, how many rows there are then, and the place after it.

    The rows are its levels, without times; bids first, in whatever order they come.
    """
    if data[i] != 123:
        return 0, n, _BAD
    i = _blank(data, i + _1)
    if data[i] == 125:
        return 0, n, i + _1
    present, asks_at = 0, _BAD
    while True:
        begin, end, i = _key(data, i)
        if i == _BAD:
            return 0, n, _BAD
        code = _code(data, begin, end)
        what, slot = layout[code, _uint(0)], _uint(layout[code, _1])
        bit = 1 << _int(slot)
        if slot != _uint(FREE):
            if present & bit:
                return 0, n, _BAD
            present |= bit
        if what == SKIP:
            i = _value(data, i)
        elif what == BIDS_HERE:
            n, i = _levels(data, i, s, _BID_LEVEL, rows, kinds, n)
        elif what == ASKS_HERE:
            if present & (1 << BID_SIDE):
                n, i = _levels(data, i, s, _ASK_LEVEL, rows, kinds, n)
            else:
                asks_at = i
                i = _value(data, i)
        elif what == INTEGER:
            v[slot], i = _integer(data, i)
        elif what == TRUTH:
            v[slot] = _here(data, i, b"true")
            if not (v[slot] or _here(data, i, b"false")):
                return 0, n, _BAD
            i = _value(data, i)
        elif data[i] != 34:  # the rest are strings
            return 0, n, _BAD
        elif what == PRICE:
            v[slot], i = _decimal(data, i + _1, s[TICK], s[TICK_PLACES])
        elif what == QUANTITY:
            v[slot], i = _decimal(data, i + _1, s[LOT], s[LOT_PLACES])
        elif what == SCALED:
            v[slot], i = _decimal(data, i + _1, _WHOLE, _EIGHT)
        elif what == RATE:
            if data[i + _1] == 34:  # a contract without funding
                present ^= bit
                i += _2
            elif data[i + _1] == 45:
                rate, i = _decimal(data, i + _2, _WHOLE, _EIGHT)
                v[slot] = -rate
            else:
                v[slot], i = _decimal(data, i + _1, _WHOLE, _EIGHT)
        else:
            if what == REASON:
                v[slot] = _here(data, i, b'"MARKET"')
            i = _string(data, i + _1)
            if i != _BAD:
                i += _1
        if i == _BAD:
            return 0, n, _BAD
        i = _blank(data, i)
        if data[i] == 125:
            break
        if data[i] != 44:
            return 0, n, _BAD
        i = _blank(data, i + _1)
    if asks_at != _BAD:
        n, asks_at = _levels(data, asks_at, s, _ASK_LEVEL, rows, kinds, n)
        if asks_at == _BAD:
            return 0, n, _BAD
    return present, n, i + _1


@_part
def _name(data: Any, begin: Any, end: Any, names: Any) -> int:
    """Return which of `names` this is, each with its length ahead of it; 0 for none."""
    length = end - begin
    for k in range(1, len(names)):
        if _uint(names[k, 0]) == length:
            same = True
            for j in range(names[k, 0]):
                same &= data[begin + _uint(j)] == names[k, j + 1]
            if same:
                return k
    return 0


@_part
def _chosen(data: Any, begin: Any, end: Any, symbol: Any, fold: int) -> bool:
    """Whether this is the chosen symbol, letter for letter or `_FOLDED`, as a stream's name has it."""
    if end - begin != _uint(len(symbol)):
        return False
    for k in range(len(symbol)):
        c = data[begin + _uint(k)]
        if 97 <= c <= 122:
            c -= np.uint8(fold)
        if c != symbol[k]:
            return False
    return True


@_part
def _stream(data: Any, begin: Any, end: Any, symbol: Any, streams: Any) -> Any:
    """Return which stream a combined stream's name is, -1 if that is not sure, and whether it is ours."""
    at = begin
    while at < end and data[at] != 64:
        at += _1
    if at in (begin, end) or data[begin] == 33:
        return -1, False
    stop = at + _1
    while stop < end and data[stop] != 64:
        stop += _1
    ours = _chosen(data, begin, at, symbol, _FOLDED)
    return _known(data, at + _1, stop, streams), ours


@_part
def _known(data: Any, begin: Any, end: Any, names: Any) -> int:
    """Return which of `names` this is; -1 for a name that may mean something all the same."""
    if begin == end:
        return -1
    found = _name(data, begin, end, names)
    if found == 0 and (
        _here(data, begin, b"depth")
        or _here(data, begin, b"markPrice")
        or _here(data, begin, b"snapshot")
        or _here(data, begin, b"serverShutdown")
    ):
        return -1
    return found


@_part
def _message(
    data: Any,
    i: Any,
    symbol: Any,
    names: Any,
    plan: Any,
    layouts: Any,
    v: Any,
    s: Any,
    rows: Any,
    kinds: Any,
    n: Any,
) -> Any:
    """Read a message; return its stream, whether it is ours, its layout, the values it had, and rows.

    The layout is `LEAVE` if anything is not sure.
    """
    unsure = 0, False, LEAVE, 0, n
    i = _blank(data, i)
    begin = i
    if data[i] != 123:
        return unsure
    i = _blank(data, i + _1)
    stream, ours, present, layout = -1, False, 0, LEAVE
    data_at, event, event_end, name, name_end = _BAD, _BAD, _BAD, _BAD, _BAD
    bare, update_id, done = False, False, False
    while True:
        key, end, i = _key(data, i)
        if i == _BAD:
            return unsure
        length = end - key
        if length == _6 and _here(data, key, b"stream"):
            if stream != -1 or data[i] != 34:
                return unsure
            key = i + _1
            i = _string(data, key)
            if i == _BAD:
                return unsure
            stream, ours = _stream(data, key, i, symbol, names[0])
            if stream == -1:
                return unsure
            layout = plan[1 if ours else 0, stream]
            if layout == LEAVE:
                return unsure
            i += _1
        elif length == _4 and _here(data, key, b"data"):
            if data_at != _BAD:
                return unsure
            data_at = i
            if layout in (LEAVE, ANY):
                i = _value(data, i)
            else:
                if layout == PARTIAL:
                    n += _1  # the SNAPSHOT row's place
                present, n, i = _payload(data, i, layouts[layout], v, s, rows, kinds, n)
                done = True
        else:
            at = i
            i = _value(data, i)
            if i == _BAD:
                return unsure
            if length == _1 and (data[key] == 101 or data[key] == 115):  # e, s
                if data[at] != 34:
                    return unsure
                if data[key] == 101:
                    if event != _BAD:
                        return unsure
                    event, event_end = at + _1, i - _1
                else:
                    if name != _BAD:
                        return unsure
                    name, name_end = at + _1, i - _1
                bare = True
            elif length == _1 and data[key] == 117:  # u
                bare = update_id = True
            elif _code(data, key, end) == _uint(LAST_UPDATE_ID):
                return unsure
        if i == _BAD:
            return unsure
        i = _blank(data, i)
        if data[i] == 125:
            break
        if data[i] != 44:
            return unsure
        i = _blank(data, i + _1)
    if data[_blank(data, i + _1)] != 10:
        return unsure
    if stream != -1:
        if bare or data_at == _BAD:
            return unsure
        if not done and layout > ANY:  # the payload came first
            if layout == PARTIAL:
                n += _1
            present, n, i = _payload(data, data_at, layouts[layout], v, s, rows, kinds, n)
            if i == _BAD:
                return unsure
    else:
        if data_at != _BAD or name in (_BAD, name_end):
            return unsure
        if event != _BAD:
            stream = _known(data, event, event_end, names[1])
        elif update_id:
            stream = TICKER_STREAM  # spot's
        if stream == -1:
            return unsure
        ours = _chosen(data, name, name_end, symbol, _EXACT)
        layout = plan[2 if ours else 0, stream]
        if layout > ANY:
            present, n, i = _payload(data, begin, layouts[layout], v, s, rows, kinds, n)
            if i == _BAD:
                return unsure
    return stream, ours, layout, present, n


# --- the cross-check ------------------------------------------------------------------------------


@_inline
def _place(table: Any, price: int) -> Any:
    """Return where in a side's table a price is, or would be. Sixteen neighbours lie together."""
    mask = _uint(len(table) - 1)
    near = _uint(price)
    at = (((near >> _4) * _MIX >> _32) << _4 | (near & _15)) & mask
    while table[at, _BAD] != price and table[at, _BAD] != NONE:
        at = (at + _1) & mask
    return at


@_part
def _set(table: Any, s: Any, asks: int, price: int, quantity: int) -> None:
    """Make `quantity` the total at `price`."""
    at = _place(table, price)
    before = 0
    if table[at, _BAD] == NONE:
        if quantity == 0:
            return
        table[at, _BAD] = price
        s[USED_BIDS + asks] += 1
    else:
        before = table[at, _1]
    table[at, _1] = quantity
    if quantity:
        best = s[BEST_BID + asks]
        if s[BIDS + asks] == 0 or (price < best if asks else price > best):
            s[BEST_BID + asks] = price
        if not before:
            s[BIDS + asks] += 1
    elif before:
        s[BIDS + asks] -= 1


@_part
def _best(table: Any, s: Any, asks: int) -> Any:
    """Return a side's best price and its quantity; 0, 0 if it is empty."""
    if s[BIDS + asks] == 0:
        return 0, 0
    price, step = s[BEST_BID + asks], 1 if asks else -1
    for _ in range(len(table)):
        at = _place(table, price)
        if table[at, _BAD] == price and table[at, _1]:
            s[BEST_BID + asks] = price
            return price, table[at, _1]
        price += step
    # Further away than the table is long: it is quicker to look through it.
    found, quantity = NONE, 0
    for at in range(len(table)):
        if table[at, 1] and (
            found == NONE or (table[at, 0] < found if asks else table[at, 0] > found)
        ):
            found, quantity = table[at, 0], table[at, 1]
    s[BEST_BID + asks] = found
    return found, quantity


@_part
def _clear(table: Any, s: Any) -> None:
    for asks in range(2):
        if s[USED_BIDS + asks]:
            table[asks, :, 0] = NONE
            table[asks, :, 1] = 0
        s[USED_BIDS + asks] = s[BIDS + asks] = 0


@_part
def _compare(table: Any, s: Any, bid: int, bid_quantity: int, ask: int, ask_quantity: int) -> None:
    best_bid, best_bid_quantity = _best(table[0], s, 0)
    best_ask, best_ask_quantity = _best(table[1], s, 1)
    s[COMPARED] += 1
    if (
        best_bid == bid
        and best_bid_quantity == bid_quantity
        and best_ask == ask
        and best_ask_quantity == ask_quantity
    ):
        s[IN_A_ROW] = 0
        return
    s[DIFFERENT] += 1
    s[IN_A_ROW] += 1
    if s[DOUBTING] and s[IN_A_ROW] >= s[DOUBTING]:
        s[DOUBT], s[DOUBT_AT] = CONTRADICTED, s[AT]
        s[DOUBT_FACTS], s[DOUBT_FACTS + 1] = bid, bid_quantity
        s[DOUBT_FACTS + 2], s[DOUBT_FACTS + 3] = ask, ask_quantity
        s[DOUBT_FACTS + 4], s[DOUBT_FACTS + 5] = best_bid, best_bid_quantity
        s[DOUBT_FACTS + 6], s[DOUBT_FACTS + 7] = best_ask, best_ask_quantity


@_part
def _follow(
    table: Any, s: Any, waiting: Any, rows: Any, kinds: Any, n: Any, end: Any, update_id: int
) -> None:
    """Apply rows `n` to `end` to the book, and compare the tickers that have waited for this."""
    while n < end:
        what = kinds[n] & _KIND
        if what == _LEVEL:
            asks = 1 if kinds[n] & _SELL else 0
            _set(table[asks], s, asks, rows[2, n], rows[3, n])
        elif what in (_SNAPSHOT, _GAP):
            _clear(table, s)
        n += _1
    s[AT] = update_id
    if update_id == NONE:
        s[DOUBT] = s[IN_A_ROW] = 0
        return
    if s[DOUBTING] and s[BIDS] and s[ASKS]:
        bid, _ = _best(table[0], s, 0)
        ask, _ = _best(table[1], s, 1)
        if bid >= ask:
            s[DOUBT], s[DOUBT_AT] = CROSSED, update_id
            s[DOUBT_FACTS], s[DOUBT_FACTS + 1] = bid, ask
    while s[WAITING] and waiting[s[OLDEST], 0] <= update_id:
        w = waiting[s[OLDEST]]
        s[OLDEST] = (s[OLDEST] + 1) % len(waiting)
        s[WAITING] -= 1
        if w[0] == update_id:
            _compare(table, s, w[1], w[2], w[3], w[4])


@_part
def _ticker(
    table: Any,
    s: Any,
    waiting: Any,
    update_id: int,
    bid: int,
    bid_quantity: int,
    ask: int,
    ask_quantity: int,
) -> None:
    """Take in a ticker."""
    if s[AT] == NONE or update_id > s[AT]:
        if s[WAITING] == len(waiting):
            s[OLDEST] = (s[OLDEST] + 1) % len(waiting)
            s[WAITING] -= 1
        w = waiting[(s[OLDEST] + s[WAITING]) % len(waiting)]
        w[0], w[1], w[2], w[3], w[4] = update_id, bid, bid_quantity, ask, ask_quantity
        s[WAITING] += 1
    elif update_id == s[AT]:
        _compare(table, s, bid, bid_quantity, ask, ask_quantity)


@_door(_Cube, _Numbers, _Table, _Table, _Bytes, _Number)
def follow(table: Any, s: Any, waiting: Any, rows: Any, kinds: Any, update_id: int) -> None:
    """As `TickerCheck.applied`; there must be room in the table for every row."""
    _follow(table, s, waiting, rows, kinds, _BAD, _uint(len(kinds)), update_id)


@_door(_Cube, _Numbers, _Table, _Numbers)
def ticker(table: Any, s: Any, waiting: Any, best: Any) -> None:
    """As `TickerCheck.ticker`; `best` begins with the update id."""
    _ticker(table, s, waiting, best[0], best[1], best[2], best[3], best[4])


@_door(_Cube, _Numbers, _Cube)
def refill(table: Any, s: Any, old: Any) -> None:
    """Move the levels of `old` to `table`, which is empty."""
    for asks in range(2):
        s[USED_BIDS + asks] = s[BIDS + asks] = 0
        for at in range(len(old[asks])):
            if old[asks, at, 1]:
                _set(table[asks], s, asks, old[asks, at, 0], old[asks, at, 1])


@_part
def _room(table: Any, s: Any, rows: Any) -> bool:
    """Whether the table takes so many levels more and stays sparse; says how many it does not take."""
    used = max(s[USED_BIDS], s[USED_ASKS]) + _int(rows)
    if 2 * used <= len(table[0]):
        return True
    s[ROOM] = _int(rows)
    return False


@_part
def _complete(s: Any, rows: Any, kinds: Any, n: Any, end: Any, time: int, local: int) -> None:
    """Give a book message's rows their times, and the last one its mark."""
    if n == end:
        return
    s[FLOOR] = time = max(s[FLOOR], time)
    kinds[end - _1] |= np.uint8(_LAST)
    while n < end:
        rows[0, n], rows[1, n] = time, local
        n += _1


# --- all of it ------------------------------------------------------------------------------------


@_door(
    _Text,
    _Places,
    _Numbers,
    _Number,
    _Number,
    _Text,
    _Bytes3,
    _Bytes2,
    _Bytes3,
    _Numbers,
    _Numbers,
    _Cube,
    _Table,
    _Table,
    _Bytes,
    _Table,
    _Streams,
)
def read(
    data: Any,
    begin: Any,
    ts_local: Any,
    first: int,
    filled: int,
    symbol: Any,
    names: Any,
    plan: Any,
    layouts: Any,
    required: Any,
    s: Any,
    table: Any,
    waiting: Any,
    rows: Any,
    kinds: Any,
    told: Any,
    streams: Any,
) -> Any:
    """Read messages from `first` on, adding to `filled` rows; return the first that was not, and the rows.

    `rows` is filled with ts_exchange, ts_local, price and quantity, `told` with what each message says of
    itself: ts_exchange, first and last id; `streams` with its stream, negative if of another symbol.
    The rows of a message that puts the book in doubt are not among those returned.
    """
    v = np.zeros(VALUES, np.int64)
    n, usdm = _uint(filled), s[USDM]
    for k in range(first, len(begin)):
        stream, ours, layout, present, end = _message(
            data, begin[k], symbol, names, plan, layouts, v, s, rows, kinds, n
        )
        if layout == LEAVE or present & required[layout] != required[layout]:
            return k, n
        local, time, first_id, last_id = ts_local[k], 0, 0, -1
        if present & (1 << TIME) and layout not in (MARK, MARK_TIMES):
            time = _nanoseconds(v[TIME])
            if time == 0:
                return k, n
        elif present & (1 << EVENT_TIME):
            time = _nanoseconds(v[EVENT_TIME])
            if time == 0:
                return k, n
        if layout > TICKER and not s[STARTED]:
            return k, n
        sent = time
        if layout == DEPTH:
            last_id = v[LAST_ID]
            before = v[BEFORE] if usdm else v[FIRST_ID] - 1
            chain, book = s[CHAIN], s[BOOK]
            if NONE in (chain, book) or last_id <= chain:
                return k, n
            if (before != chain or last_id < book) if usdm else (before > chain or last_id <= book):
                return k, n
            if not _room(table, s, end - n):
                return k, n
            first_id = before + 1
            s[CHAIN] = s[BOOK] = last_id
            s[REPEATS] = 0
            s[QUANTITIES] += _int(end - n)
            _complete(s, rows, kinds, n, end, time, local)
            _follow(table, s, waiting, rows, kinds, n, end, last_id)
        elif layout == PARTIAL:
            if not _room(table, s, end - n):
                return k, n
            if not usdm:
                sent = local
                s[LOCAL_TIMES] += 1
            s[BOOK] = v[LAST_ID]
            s[SNAPSHOTS] += 1
            s[QUANTITIES] += _int(end - n) - 1
            rows[2, n], rows[3, n], kinds[n] = 0, 0, _SNAPSHOT
            _complete(s, rows, kinds, n, end, sent, local)
            _follow(table, s, waiting, rows, kinds, n, end, v[LAST_ID])
        elif layout in (TRADE, AGG_TRADE):
            if present & (1 << TRADE_ID):
                first_id = last_id = v[TRADE_ID]
            kind = _TRADE
            if present & (1 << ON_BOOK) and not v[ON_BOOK]:
                kind = _OFF_BOOK
                s[OFF_BOOK] += 1
            kinds[n] = kind | _LAST | (_SELL if v[MAKER] else 0)
            rows[0, n], rows[1, n], rows[2, n], rows[3, n] = time, local, v[BID], v[BID_QUANTITY]
            end = n + _1
            s[QUANTITIES] += 1
        elif layout in (TICKER, WANTED_TICKER):
            bid, bid_quantity, ask, ask_quantity = v[BID], v[BID_QUANTITY], v[ASK], v[ASK_QUANTITY]
            _ticker(table, s, waiting, v[LAST_ID], bid, bid_quantity, ask, ask_quantity)
            s[QUANTITIES] += 2
            if layout == WANTED_TICKER:
                if time == 0:
                    sent = local
                    s[LOCAL_TIMES] += 1
                end = n + _1
                rows[0, n], rows[1, n], rows[2, n], rows[3, n] = sent, local, bid, bid_quantity
                rows[0, end], rows[1, end], rows[2, end], rows[3, end] = (
                    sent,
                    local,
                    ask,
                    ask_quantity,
                )
                kinds[n], kinds[end] = _BEST, _BEST | _SELL | _LAST
                end += _1
        elif layout == MARK:
            first_id = last_id = v[EVENT_TIME]
            end = n + _1
            rows[0, n], rows[1, n], rows[2, n], rows[3, n] = time, local, 0, v[BID]
            kinds[n] = _MARK | _LAST
            if present & (1 << ASK):
                due = 0
                if present & (1 << TIME) and v[TIME]:
                    due = _nanoseconds(v[TIME]) // 1_000_000_000
                    if due == 0:
                        return k, n
                kinds[n] = _MARK
                rows[0, end], rows[1, end], rows[2, end], rows[3, end] = time, local, due, v[ASK]
                kinds[end] = _FUNDING | _LAST
                end += _1
        if layout > TICKER:
            s[MESSAGES] += 1
            s[SEEN] = max(s[SEEN], sent)
        else:
            s[IGNORED] += 1
        told[0, k], told[1, k], told[2, k] = time, first_id, last_id
        streams[k] = stream if ours else ~stream
        if s[DOUBT]:
            return k + 1, n
        n = end
    return len(begin), n
