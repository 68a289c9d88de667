"""The compiled engine's loop: moves time until the strategy is to be asked.

At one instant: rows as they are received, commands that arrive, reports that reach us, signals, what time alone brings;
the exchange sees every row up to the instant before any of them. It may be left in the middle of an instant,
and goes on from there.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from mmkit.sim.kernel.engine import (
    decide,
    mark,
    may_quote,
    mind_expiry,
    note,
    pull,
    receive_report,
    towards,
)
from mmkit.sim.kernel.exchange import exchange_until, urgent
from mmkit.sim.kernel.layout import (
    ASK,
    BAD,
    BEST_ASK,
    BEST_BID,
    END,
    FEED_LOST,
    FEED_RESTORED,
    FUNDED,
    HEARD,
    LEVELS,
    LIMIT,
    LINE,
    LOG_FULL,
    LOG_ROOM,
    MESSAGE,
    MOST_LEVELS,
    MOST_ORDERS,
    NEXT,
    NOW,
    PAY,
    POSITION,
    RECEIVING,
    REPORTED,
    REPORTING,
    SIGNAL,
    TARGET,
    TELLING,
    TOLD,
    TOO_MANY,
    WAKING,
)
from mmkit.sim.kernel.pointers import (
    call_decision,
    commands_at,
    float64s,
    inline,
    int32s,
    int64,
    int64s,
    jit,
    reports_at,
    state_at,
    uint8s,
    uint32s,
)
from mmkit.tape import NEVER, Kind
from mmkit.tape.index import NONE, UNKNOWN

_LEVEL, _TRADE, _SNAPSHOT, _GAP = (
    int(Kind.LEVEL),
    int(Kind.TRADE),
    int(Kind.SNAPSHOT),
    int(Kind.GAP),
)
_KIND, _SELL, _LAST = 0x0F, 0x10, 0x80
_NO_ROW = 1 << 62


# --- what has been received ---


@jit
def _after(times: Any, start: int, until: int) -> int:
    """Return the first place from `start` on whose time is after `until`."""
    n = len(times)
    if start >= n or times[start] > until:
        return start
    low, step = start, 1
    while low + step < n and times[low + step] <= until:
        low += step
        step *= 2
    high = min(low + step, n)
    while low + 1 < high:
        middle = (low + high) // 2
        if times[middle] <= until:
            low = middle
        else:
            high = middle
    return low + 1


@inline
def _look(s: Any, until: int) -> None:
    """Know the best prices of everything received up to `until`."""
    times = int64s(s.top_ts, s.tops)
    n = s.top
    while n + 1 < s.tops and times[n + 1] <= until:
        n += 1
    if n != s.top:
        s.top = n
        s.bid = int64(int32s(s.top_bid, s.tops)[n])
        s.ask = int64(int32s(s.top_ask, s.tops)[n])


@jit
def _next_trade(s: Any) -> int:
    """Return the last row of the next message that holds a trade, from `trade_row` on."""
    kinds = uint8s(s.kind, s.rows)
    row, traded = s.trade_row, False
    while row < s.rows:
        traded = traded or kinds[row] & _KIND == _TRADE
        if kinds[row] & _LAST:
            if traded:
                return row
            s.trade_row = row + 1
        row += 1
    return _NO_ROW


@inline
def _next_row(s: Any) -> int:
    """Return the row that is the next to be taken notice of as it is received."""
    row = _NO_ROW
    if s.special_at < s.specials:
        row = int64(uint32s(s.special, s.specials)[s.special_at])
    if s.on_best and s.top + 1 < s.tops:
        row = min(row, int64(uint32s(s.top_row, s.tops)[s.top + 1]))
    if s.on_trade:
        row = min(row, _next_trade(s))
    if s.pulled:
        # Pulled for want of data: the next message that is complete lets go.
        kinds = uint8s(s.kind, s.rows)
        n = s.data_row
        while n < s.rows and not kinds[n] & _LAST:
            n += 1
        if n < s.rows:
            row = min(row, n)
    return row


@inline
def _take_row(s: Any, row: int) -> bool:
    """Take notice of a row; return whether it told that the feed was lost or is restored."""
    kind = uint8s(s.kind, s.rows)[row]
    ts_local = int64s(s.ts_local, s.rows)[row]
    s.now = s.last_data = ts_local
    s.data_row = row + 1
    if s.special_at >= s.specials or uint32s(s.special, s.specials)[s.special_at] != row:
        return False
    s.special_at += 1
    ts_exchange = int64s(s.ts_exchange, s.rows)[row]
    if kind & _KIND == _GAP:
        if s.bid != UNKNOWN:
            s.n_gaps += 1
        reason = int64(int32s(s.price, s.rows)[row])
        note(s, FEED_LOST, ts_local, ts_exchange, 0, reason, 0, 0, 0, 0, 0)
        s.bid = s.ask = UNKNOWN
    else:
        note(s, FEED_RESTORED, ts_local, ts_exchange, 0, 0, 0, 0, 0, 0, 0)
    return True


@inline
def _end_message(s: Any, row: int) -> bool:
    """Take in that a message is complete; return whether the strategy is to be asked."""
    moved = False
    rows = uint32s(s.top_row, s.tops)
    n = s.top
    while n + 1 < s.tops and int64(rows[n + 1]) <= row:
        n += 1
    if n != s.top:
        bids, asks = int32s(s.top_bid, s.tops), int32s(s.top_ask, s.tops)
        s.top, s.bid, s.ask = n, int64(bids[n]), int64(asks[n])
        if int64(rows[n]) == row:
            # An unknown book has no prices, as an empty one has none.
            bid, ask = (int64(bids[n - 1]), int64(asks[n - 1])) if n else (NONE, NONE)
            moved = max(bid, NONE) != max(s.bid, NONE) or max(ask, NONE) != max(s.ask, NONE)
    traded = False
    if s.on_trade and _next_trade(s) == row:
        traded = True
        s.trade_row = row + 1
    return ((moved and s.on_best) or traded or s.pulled) and decide(s)


# --- what the strategy is shown ---


@jit
def _show_levels(s: Any, view: Any) -> None:
    """Bring the ladder to what has been received, and show its best levels."""
    ladder = int32s(s.local_ladder, 2 * s.span)
    kinds, times = uint8s(s.kind, s.rows), int64s(s.ts_local, s.rows)
    prices, quantities = int32s(s.price, s.rows), int32s(s.quantity, s.rows)
    low, high = s.local_low, s.local_high
    n, count = np.uint64(s.ladder_row), np.uint64(s.rows)
    # In the middle of what one instant brought, up to the message; else all of it.
    end = np.uint64(s.data_row if s.phase == RECEIVING else _after(times, s.ladder_row, s.at))
    while n < min(end, count):
        kind = kinds[n]
        what = kind & _KIND
        if what == _LEVEL:
            place = int64(prices[n]) - s.base
            low, high = min(low, place), max(high, place)
            ladder[np.uint64(place + (s.span if kind & _SELL else 0))] = quantities[n]
        elif what in (_SNAPSHOT, _GAP):
            for place in range(low, high + 1):
                ladder[place] = ladder[s.span + place] = 0
            low, high = s.span, -1
        n += np.uint64(1)
    s.ladder_row = int64(n)
    s.local_low, s.local_high = low, high
    large = int64s(s.large, s.larges)
    at = LEVELS
    for side in range(2):
        best, step = (s.ask, 1) if side else (s.bid, -1)
        place = best - s.base
        shown = 0
        while best >= 0 and shown < s.depth and low <= place <= high:
            total = int64(ladder[side * s.span + place])
            if total != 0:
                view[at] = place + s.base
                view[at + 1] = total if total > 0 else large[-1 - total]
                at += 2
                shown += 1
            place += step
        for _ in range(shown, s.depth):
            view[at], view[at + 1] = NONE, 0
            at += 2


@jit
def _ask(s: Any) -> int:
    """Show the strategy what there is. If it is compiled ask it, and do what it wants.

    Returns 0, or why Python is needed.
    """
    view = int64s(s.shown, LEVELS + 4 * s.depth)
    view[NOW], view[POSITION] = s.now, s.position
    view[BEST_BID], view[BEST_ASK] = max(s.bid, NONE), max(s.ask, NONE)
    if s.depth:
        _show_levels(s, view)
    if s.decision == 0:
        s.asked = 1
        return ASK
    wanted = int64s(s.wanted, 2 + 4 * MOST_LEVELS)
    wanted[0] = wanted[1] = 0
    if s.signal_shown >= 0:
        _show_signal(s)
    call_decision(s.decision, s.shown, s.parameters, s.wanted)
    return towards(s) if _quotable(wanted) else BAD


@inline
def _show_signal(s: Any) -> None:
    """Write what the signal says that a compiled decision looks at behind its parameters; zeros if none holds."""
    place = s.signal_place
    given = float64s(s.parameters, place + 3)
    given[place] = given[place + 1] = given[place + 2] = 0.0
    n = s.heard[s.signal_shown] - 1
    if n >= 0 and int64s(s.signal_ts, s.signals)[n] + s.signal_expires[s.signal_shown] > s.now:
        said = float64s(s.signal_said, 3 * s.signals)
        for which in range(3):
            given[place + which] = said[3 * n + which]


@inline
def _quotable(wanted: Any) -> bool:
    """Whether a compiled decision wants what can be on a book."""
    if wanted[0] == TARGET:
        return True
    if not 0 <= wanted[0] <= MOST_LEVELS or not 0 <= wanted[1] <= MOST_LEVELS:
        return False
    bids, levels = wanted[0], wanted[0] + wanted[1]
    highest_bid, lowest_ask = 0, NEVER
    for n in range(levels):
        price = wanted[2 + 2 * n]
        if price <= 0 or wanted[3 + 2 * n] <= 0:
            return False
        for m in range(0 if n < bids else bids, n):
            if wanted[2 + 2 * m] == price:
                return False
        if n < bids:
            highest_bid = max(highest_bid, price)
        else:
            lowest_ask = min(lowest_ask, price)
    return highest_bid < lowest_ask


# --- time ---


@inline
def _next_wake(s: Any) -> int:
    """Return when time alone next brings something."""
    if s.halted or s.stopped:
        return NEVER
    due = s.next_wake
    if not s.pulled:
        due = min(due, s.expiry)
    if s.stale > 0 and not s.pulled:
        # The last row before then, whether or not anybody has looked at it; what has been decided on is past.
        times = int64s(s.ts_local, s.rows)
        n = s.data_row
        stale = s.last_data + s.stale
        while n < s.rows and times[n] <= due and (times[n] <= stale or stale <= s.decided):
            stale = times[n] + s.stale
            n += 1
        if stale > s.decided:
            due = min(due, stale)
    return due


@inline
def _known(s: Any) -> int:
    """Return when the next signal is known."""
    which = uint8s(s.signal_of, s.signals)[s.signal_at]
    return int64s(s.signal_ts, s.signals)[s.signal_at] + s.signal_latency[which]


@inline
def _next_instant(s: Any) -> int:
    """Return when the engine next has something to do; commands and most reports go their way without it."""
    s.eager = s.on_fill or s.listens or s.halted or s.pulled or s.stopped or s.bid == UNKNOWN
    at = min(_next_wake(s), urgent(s))
    if s.stopped:
        if s.arriving_end > s.arriving_first:
            at = min(at, commands_at(s.arriving, LINE)[s.arriving_first & (LINE - 1)].due)
        return at
    at = min(at, s.end)
    if s.signal_at < s.signals:
        at = min(at, _known(s))
    row = _next_row(s)
    return at if row == _NO_ROW else min(at, int64s(s.ts_local, s.rows)[row])


@inline
def _tell_signal(s: Any) -> None:
    """Tell the engine the next signal."""
    n, known = s.signal_at, _known(s)
    s.signal_at = n + 1
    s.heard[uint8s(s.signal_of, s.signals)[n]] = n + 1
    s.now = max(s.now, known)
    note(s, SIGNAL, known, 0, n, 0, 0, 0, 0, 0, 0)


@inline
def _wake(s: Any) -> bool:
    """Let happen what time alone brings; return whether the strategy is to be asked."""
    s.now = s.at
    if s.expiry <= s.at:
        mind_expiry(s)
    if s.next_wake <= s.at:
        s.next_wake += s.every
        if s.next_wake <= s.at:
            s.next_wake += s.every * ((s.at - s.next_wake) // s.every + 1)
        s.n_wakes += 1
    mark(s)
    return decide(s)


@inline
def _received(s: Any) -> None:
    """Know what has been received by now, where somebody asks for it."""
    _look(s, s.at)
    if s.stale > 0 and not s.stopped:
        times = int64s(s.ts_local, s.rows)
        s.data_row = _after(times, s.data_row, s.at)
        if s.data_row > 0:
            s.last_data = times[s.data_row - 1]


@inline
def _receive_earlier(s: Any) -> None:
    """Tell the engine the reports of before this instant, which nobody had to act on."""
    reports = reports_at(s.reports, LINE)
    while s.reports_first < s.reports_end and reports[s.reports_first & (LINE - 1)].due < s.at:
        receive_report(s)


@inline
def _match_arrived(s: Any) -> None:
    """Match what this instant has sent and what arrives at once; note how far its reports go."""
    reports = reports_at(s.reports, LINE)
    if (
        s.arriving_end > s.arriving_first
        and commands_at(s.arriving, LINE)[s.arriving_first & (LINE - 1)].due <= s.at
    ):
        exchange_until(s, s.at)
    s.report_end = s.reports_first
    while s.report_end < s.reports_end and reports[s.report_end & (LINE - 1)].due <= s.at:
        s.report_end += 1


@inline
def _unpaid(s: Any) -> bool:
    """Whether the next report tells of funding that nobody has worked out; products of it outgrow 64 bits."""
    told = reports_at(s.reports, LINE)[s.reports_first & (LINE - 1)]
    return told.what == FUNDED and told.slot == 0


@inline
def _line_full(s: Any) -> bool:
    return (
        s.arriving_end - s.arriving_first > LINE - MOST_ORDERS - 2
        or s.reports_end - s.reports_first > LINE - 2 * MOST_ORDERS - 2
    )


def _made(version: int) -> Any:
    """Return `advance`, compiled.

    numba keeps it under a key that holds what it closes over, and looks for changes in this file alone; so
    that it closes over what all files of the package say.
    """

    @njit(cache=True, nogil=True)
    def advance(address: int) -> int:
        """Move time until the strategy is to be asked (`ASK`), or something else stands in the way.

        Args:
            address: Of the `STATE`.
        """
        version  # noqa: B018 - see `_made`
        s = state_at(address)
        if s.asked:
            s.asked = 0
            failed = towards(s)
            if failed:
                return failed
        while True:
            if s.phase == NEXT:
                if s.logged + LOG_ROOM > s.log_size:
                    return LOG_FULL
                if s.at >= s.end and not s.stopped:
                    # The data has ended: what is under way still arrives, nothing more is decided.
                    s.stopped = 1
                    s.now = max(s.now, int64s(s.ts_local, s.rows)[s.rows - 1])
                if _line_full(s):
                    return TOO_MANY
                until = _next_instant(s)
                if until == NEVER:
                    return END
                if until > s.limit:
                    return LIMIT
                s.at = exchange_until(s, until)
                _receive_earlier(s)
                s.phase = RECEIVING
            while s.phase in (RECEIVING, MESSAGE):
                if s.phase == MESSAGE:
                    s.phase = RECEIVING
                    kind = uint8s(s.kind, s.rows)[s.message_row]
                    if kind & _KIND == _GAP:
                        pull(s)
                    if kind & _LAST and _end_message(s, s.message_row):
                        why = _ask(s)
                        if why:
                            return why
                row = _NO_ROW if s.stopped else _next_row(s)
                if row == _NO_ROW or int64s(s.ts_local, s.rows)[row] > s.at:
                    _received(s)
                    _match_arrived(s)
                    s.phase = REPORTING
                else:
                    s.message_row = row
                    s.phase = MESSAGE
                    if _take_row(s, row) and s.listens:
                        return HEARD
            while s.phase in (REPORTING, REPORTED):
                if s.phase == REPORTED:
                    s.phase = REPORTING
                    if s.on_fill:
                        if decide(s):
                            why = _ask(s)
                            if why:
                                return why
                    elif not may_quote(s) or s.pulled:
                        pull(s)
                if s.reports_first == s.report_end:
                    s.phase = TELLING
                else:
                    if s.logged + LOG_ROOM > s.log_size:
                        return LOG_FULL
                    if _unpaid(s):
                        return PAY
                    # Funding is no answer to an order, so nobody decides on it.
                    s.phase = REPORTING if receive_report(s) == FUNDED else REPORTED
                    if s.listens:
                        return HEARD
            while s.phase in (TELLING, TOLD):
                if s.phase == TOLD:
                    s.phase = TELLING
                    if s.on_signal:
                        mind_expiry(s)
                        if decide(s):
                            why = _ask(s)
                            if why:
                                return why
                if s.stopped or s.signal_at >= s.signals or _known(s) > s.at:
                    s.phase = WAKING
                else:
                    if s.logged + LOG_ROOM > s.log_size:
                        return LOG_FULL
                    _tell_signal(s)
                    s.phase = TOLD
                    if s.listens:
                        return HEARD
            s.phase = NEXT
            if _next_wake(s) <= s.at and _wake(s):
                why = _ask(s)
                if why:
                    return why

    return advance


def _version() -> int:
    folder = Path(__file__).parent
    files = [*sorted(folder.glob("*.py")), folder.parents[1] / "tape" / "rows.py"]
    return int.from_bytes(sha256(b"\0".join(file.read_bytes() for file in files)).digest()[:7])


advance = _made(_version())
