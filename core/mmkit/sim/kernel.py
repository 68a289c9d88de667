"""The compiled engine: engine, quoter, limits and simulated exchange of a backtest in one loop.

It does what `mmkit.engine`, `mmkit.quoter`, `mmkit.risk` and `mmkit.sim.paper` do, row by row and rule by
rule, for the common case: post-only quotes, constant latency, ``fill_reports: plain``, the checks that
ship, a spot or linear instrument. Those modules are the reference; the tests hold the two to the same
commands, events and money on random markets.

All state is in four arrays, so that a call costs little. Whatever is a price counts from
`Prepared.base`; times are ns, quantities lots, money is in units of ``tick x lot x contract_size /
(2 x fee denominator)``, so that a mid price and a fee are whole numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.core import cgutils
from numba.extending import intrinsic

from mmkit.sim.prepared import NONE, UNKNOWN
from mmkit.tape import NEVER, Kind

# --- the state, by place --------------------------------------------------------------------------

NOW, I_LOCAL, I_EXCHANGE, NEXT_WAKE, EVERY = 0, 1, 2, 3, 4
POSITION, CASH, FEES, PEAK, DRAWDOWN = 5, 6, 7, 8, 9
NEXT_ID, ACTIVE, ARRIVING, ARRIVING_END, REPORTS, REPORTS_END = 10, 11, 12, 13, 14, 15
HALTED, PULLED, STOPPED, LAST_DATA = 16, 17, 18, 19
I_SPECIAL, SENT, SENT_END, HELD_BACK, LOGGED = 20, 21, 22, 23, 24
N_ORDERS, N_CANCELS, N_REJECTED, N_FILLS, N_WAKES, N_GAPS = 25, 26, 27, 28, 29, 30
KNOWN_EXCHANGE, FILLING, RESTING, GROUPS, IN_SNAPSHOT, DIRTY = 31, 32, 33, 34, 35, 36
# Settings.
ENTRY, RESPONSE, QUEUE, PARTIAL, MAKER, DENOMINATOR = 37, 38, 39, 40, 41, 42
BASE, STALE, MAX_DRAWDOWN, N_CHECKS, ASKED = 43, 44, 45, 46, 47
# Where our resting orders are, so that most rows need no look at them; and how many places are in use.
BID_HIGH, BID_LOW, ASK_LOW, ASK_HIGH, PLACES, HALTED_BY = 48, 49, 50, 51, 52, 53
# What the strategy is shown, in ticks.
BEST_BID, BEST_ASK = 54, 55
CHECKS = 56
"""From here on: pairs of a check's code and its limit, in the order of the configuration."""
MOST_CHECKS = 8
VETOES = CHECKS + 2 * MOST_CHECKS
STATE_SIZE = VETOES + MOST_CHECKS

MAX_POSITION_CHECK, MAX_ORDER_CHECK, PRICE_BAND_CHECK = 1, 2, 3

# Floats: the queue's exponent, the price band as `Distance.formula` has it, a guard for overflow.
EXPONENT, BAND_SHARE, BAND_WHOLE, BAND_TICKS, GUARD = 0, 1, 2, 3, 4
FLOATS_SIZE = 5
_MOST_MONEY = 4e18

# One of our orders: as the engine sees it, then as the exchange does.
ID, SELLING, PRICE, QUANTITY, REMAINING, SUBMITTING, CANCELING = 0, 1, 2, 3, 4, 5, 6
OPEN, LEFT, ON_BOOK, GROUP, TURN, BEFORE, PENDING = 7, 8, 9, 10, 11, 12, 13
ORDER_SIZE = 14
MOST_ORDERS = 64
"""Open, or ended with something still on the line."""

# What is on the line: when it is due, what it is, the order's place, and for reports what happened.
DUE, WHAT, PLACE, AT, AMOUNT, REST = 0, 1, 2, 3, 4, 5
LINE_SIZE = 6
LINE = 256
"""Commands, and reports, that can be on their way at once; a power of two."""
SENT_RING = 512

SUBMIT, CANCEL = 1, 2
ACCEPTED, REJECTED_POST_ONLY, REJECTED_UNKNOWN, FILLED, CANCELED, CANCEL_REJECTED = 3, 4, 5, 6, 7, 8
FEED_LOST, FEED_RESTORED = 9, 10
# A line of the log: what, ts_local, ts_exchange, order id, price or reason, quantity, remaining, side.
LOG_SIZE = 8

# Why `advance` returns.
ASK, LOG_FULL, END, TOO_MANY, TOO_MUCH = 1, 2, 3, 4, 5

RISK_AVERSE, POWER, LOG = 0, 1, 2

_LEVEL, _TRADE, _SNAPSHOT, _GAP = (
    int(Kind.LEVEL),
    int(Kind.TRADE),
    int(Kind.SNAPSHOT),
    int(Kind.GAP),
)
_KIND, _SELL, _LAST = 0x0F, 0x10, 0x80
_WINDOW_NS = 10_000_000_000
_ORDERS_PER_WINDOW = 300
_LOG_ROOM = 4 * MOST_ORDERS
"""Lines that one step may write at most."""

_jit = njit(cache=True, nogil=True)


@_jit
def _log(
    s: Any,
    log: Any,
    what: int,
    ts_local: int,
    ts_exchange: int,
    order_id: int,
    price: int,
    quantity: int,
    remaining: int,
    selling: int,
) -> None:
    n = s[LOGGED]
    log[n, 0], log[n, 1], log[n, 2], log[n, 3] = what, ts_local, ts_exchange, order_id
    log[n, 4], log[n, 5], log[n, 6], log[n, 7] = price, quantity, remaining, selling
    s[LOGGED] = n + 1


# --- the exchange ---------------------------------------------------------------------------------


@_jit
def _queue_level(s: Any, f: Any, queue: Any, place: int, before: int, after: int) -> None:
    """As `mmkit.sim.queue`: the total at an order's price went from `before` to `after`."""
    front = queue[place, 0]
    if s[QUEUE] == RISK_AVERSE:
        queue[place, 0] = min(front, float(after))
        return
    shrunk = before - after - queue[place, 1]
    queue[place, 1] = 0.0
    if shrunk < 0:
        queue[place, 0] = min(front, float(after))
        return
    back = max(before - front, 0.0)
    ahead = abs(front)
    if s[QUEUE] == POWER:
        weight_back, weight_front = back ** f[EXPONENT], ahead ** f[EXPONENT]
    else:
        weight_back, weight_front = np.log1p(back), np.log1p(ahead)
    weights = weight_back + weight_front
    if np.isinf(weights):
        behind = (
            0.5 if weight_back == weight_front else (1.0 if weight_back > weight_front else 0.0)
        )
    elif weights > 0.0:
        behind = weight_back / weights
    else:
        behind = 0.0
    moved = front - (1.0 - behind) * shrunk + min((before - front) - behind * shrunk, 0.0)
    queue[place, 0] = max(min(moved, float(after)), min(front, 0.0))


@_jit
def _bounds(s: Any, orders: Any) -> None:
    """Note where our resting orders are."""
    s[BID_HIGH], s[BID_LOW], s[ASK_LOW], s[ASK_HIGH] = -NEVER, NEVER, NEVER, -NEVER
    for place in range(s[PLACES]):
        if orders[place, ON_BOOK]:
            price = orders[place, PRICE]
            if orders[place, SELLING]:
                s[ASK_LOW], s[ASK_HIGH] = min(s[ASK_LOW], price), max(s[ASK_HIGH], price)
            else:
                s[BID_LOW], s[BID_HIGH] = min(s[BID_LOW], price), max(s[BID_HIGH], price)


@_jit
def _report(
    s: Any,
    reports: Any,
    what: int,
    place: int,
    at: int,
    now: int,
    amount: int,
    rest: int,
) -> None:
    due = max(at + s[RESPONSE], now)
    first, end = s[REPORTS], s[REPORTS_END]
    if end > first:
        due = max(due, reports[(end - 1) & (LINE - 1), DUE])
    n = end & (LINE - 1)
    reports[n, DUE], reports[n, WHAT], reports[n, PLACE] = due, what, place
    reports[n, AT], reports[n, AMOUNT], reports[n, REST] = at, amount, rest
    s[REPORTS_END] = end + 1


@_jit
def _fill(s: Any, orders: Any, reports: Any, place: int, quantity: int, at: int) -> None:
    orders[place, LEFT] -= quantity
    if orders[place, LEFT] == 0:
        orders[place, ON_BOOK] = 0
        s[RESTING] -= 1
        _bounds(s, orders)
    orders[place, PENDING] += 1
    _report(s, reports, FILLED, place, at, at, quantity, orders[place, LEFT])


@_jit
def _next_resting(s: Any, orders: Any, selling: int, group: int, turn: int) -> int:
    """Return the place of the resting order that comes after ``(group, turn)``, -1 if none does.

    The reference goes through the prices in the order in which they were first used, and through the
    orders of a price in order of arrival.
    """
    found = -1
    for place in range(s[PLACES]):
        if orders[place, ON_BOOK] == 0 or orders[place, SELLING] != selling:
            continue
        g, t = orders[place, GROUP], orders[place, TURN]
        if g < group or (g == group and t <= turn):
            continue
        if (
            found < 0
            or g < orders[found, GROUP]
            or (g == orders[found, GROUP] and t < orders[found, TURN])
        ):
            found = place
    return found


@_jit
def _on_level(
    s: Any,
    f: Any,
    orders: Any,
    queue: Any,
    reports: Any,
    selling: int,
    price: int,
    before: int,
    total: int,
    at: int,
) -> None:
    """Take in a level that may concern one of our orders; `before` is what the ladder held there."""
    crossed = False
    for place in range(s[PLACES]):
        if orders[place, ON_BOOK] == 0:
            continue
        own = orders[place, PRICE]
        if orders[place, SELLING] == selling:
            if own == price:
                was = orders[place, BEFORE] if s[IN_SNAPSHOT] else before
                _queue_level(s, f, queue, place, was, total)
        elif total > 0 and (own >= price if selling else own <= price):
            crossed = True
    if not crossed:
        return
    other = 1 - selling
    group, turn = -1, -1
    while True:
        place = _next_resting(s, orders, other, group, turn)
        if place < 0:
            return
        group, turn = orders[place, GROUP], orders[place, TURN]
        own = orders[place, PRICE]
        if own >= price if selling else own <= price:
            _fill(s, orders, reports, place, orders[place, LEFT], at)


@_jit
def _on_trade(
    s: Any, orders: Any, queue: Any, reports: Any, sold: int, price: int, quantity: int, at: int
) -> None:
    ours = 0 if sold else 1
    group, turn = -1, -1
    used = 0
    while True:
        place = _next_resting(s, orders, ours, group, turn)
        if place < 0:
            return
        group, turn = orders[place, GROUP], orders[place, TURN]
        own = orders[place, PRICE]
        if own == price:
            queue[place, 0] += used - quantity
            queue[place, 1] += quantity
            lots = int(np.floor(-queue[place, 0] + 0.5))
            if lots > 0:
                queue[place, 0] = 0.0
                filled = min(lots, orders[place, LEFT]) if s[PARTIAL] else orders[place, LEFT]
                used = min(used + filled, quantity)
                _fill(s, orders, reports, place, filled, at)
        elif own > price if sold else own < price:
            _fill(s, orders, reports, place, orders[place, LEFT], at)


@_jit
def _on_snapshot_told(s: Any, f: Any, orders: Any, queue: Any, ladder: Any) -> None:
    """A level that a snapshot passes over is empty; beyond its last level nothing is known."""
    span = ladder.shape[1]
    for selling in range(2):
        deepest = -1
        if selling:
            for price in range(span - 1, -1, -1):
                if ladder[1, price] > 0:
                    deepest = price
                    break
        else:
            for price in range(span):
                if ladder[0, price] > 0:
                    deepest = price
                    break
        if deepest < 0:
            continue
        for place in range(s[PLACES]):
            if orders[place, ON_BOOK] == 0 or orders[place, SELLING] != selling:
                continue
            own = orders[place, PRICE]
            if ladder[selling, own] == 0 and (own < deepest if selling else own > deepest):
                _queue_level(s, f, queue, place, orders[place, BEFORE], 0)


@_jit
def _begin_snapshot(s: Any, orders: Any, ladder: Any) -> None:
    for place in range(s[PLACES]):
        if orders[place, ON_BOOK]:
            orders[place, BEFORE] = ladder[orders[place, SELLING], orders[place, PRICE]]
    s[IN_SNAPSHOT] = 1
    s[FILLING] = 1
    _clear(s, ladder)


@_jit
def _clear(s: Any, ladder: Any) -> None:
    """Empty the ladder; not when it is, since writing to it brings its pages into memory."""
    if s[DIRTY]:
        ladder[:] = 0
        s[DIRTY] = 0


@_jit
def _exchange_until(
    s: Any,
    f: Any,
    orders: Any,
    queue: Any,
    reports: Any,
    ladder: Any,
    order: Any,
    times: Any,
    kinds: Any,
    prices: Any,
    quantities: Any,
    until: int,
) -> None:
    """Hand the exchange every row up to `until`, which comes nearer when a fill is to be reported.

    The hot loop: most rows change a level where we have nothing, and cost a store. Indices are unsigned,
    as numba looks for negative ones otherwise.
    """
    bids, asks = ladder[0], ladder[1]
    n, rows = np.uint64(s[I_EXCHANGE]), np.uint64(len(order))
    bid_low, bid_high, ask_low, ask_high = s[BID_LOW], s[BID_HIGH], s[ASK_LOW], s[ASK_HIGH]
    telling = s[FILLING] or s[IN_SNAPSHOT]
    dirty = 0
    while n < rows:
        row = np.uint64(order[n])
        at = times[row]
        if at > until:
            break
        n += np.uint64(1)
        kind = kinds[row]
        what = kind & _KIND
        price = prices[row]
        concerned = False
        if what == _LEVEL:
            dirty = 1
            total, place = quantities[row], np.uint64(price)
            if kind & _SELL:
                before = asks[place]
                asks[place] = total
                if ask_low <= price <= ask_high or (price <= bid_high and total > 0):
                    _on_level(s, f, orders, queue, reports, 1, price, before, total, at)
                    concerned = True
            else:
                before = bids[place]
                bids[place] = total
                if bid_low <= price <= bid_high or (price >= ask_low and total > 0):
                    _on_level(s, f, orders, queue, reports, 0, price, before, total, at)
                    concerned = True
        elif what == _TRADE:
            sold = kind & _SELL
            if price <= bid_high if sold else price >= ask_low:
                _on_trade(s, orders, queue, reports, 1 if sold else 0, price, quantities[row], at)
                concerned = True
        elif what == _SNAPSHOT:
            s[DIRTY] |= dirty
            dirty = 0
            _begin_snapshot(s, orders, ladder)
            telling = 1
        elif what == _GAP:
            s[DIRTY] |= dirty
            dirty = 0
            _clear(s, ladder)
            s[KNOWN_EXCHANGE] = s[FILLING] = 0
        if telling and kind & _LAST:
            if s[FILLING]:
                s[FILLING] = 0
                s[KNOWN_EXCHANGE] = 1
            if s[IN_SNAPSHOT]:
                _on_snapshot_told(s, f, orders, queue, ladder)
                s[IN_SNAPSHOT] = 0
            telling = 0
        if concerned:
            bid_low, bid_high, ask_low, ask_high = s[BID_LOW], s[BID_HIGH], s[ASK_LOW], s[ASK_HIGH]
            if s[REPORTS_END] > s[REPORTS]:
                until = min(until, reports[s[REPORTS] & (LINE - 1), DUE])
    s[I_EXCHANGE] = np.int64(n)
    s[DIRTY] |= dirty


@_jit
def _match(
    s: Any, orders: Any, queue: Any, arriving: Any, reports: Any, ladder: Any, best: Any, now: int
) -> None:
    """Match the command that has arrived first."""
    n = s[ARRIVING] & (LINE - 1)
    at, what, place = arriving[n, DUE], arriving[n, WHAT], arriving[n, PLACE]
    s[ARRIVING] += 1
    if what == CANCEL:
        if orders[place, ON_BOOK]:
            orders[place, ON_BOOK] = 0
            s[RESTING] -= 1
            _bounds(s, orders)
            _report(s, reports, CANCELED, place, at, now, 0, 0)
        else:
            _report(s, reports, CANCEL_REJECTED, place, at, now, 0, 0)
        return
    if not s[KNOWN_EXCHANGE]:
        _report(s, reports, REJECTED_UNKNOWN, place, at, now, 0, 0)
        return
    selling, price = orders[place, SELLING], orders[place, PRICE]
    touch = best[s[I_EXCHANGE] - 1, 0 if selling else 1]
    if touch != NONE and (price <= touch if selling else price >= touch):
        _report(s, reports, REJECTED_POST_ONLY, place, at, now, 0, 0)
        return
    group = s[GROUPS]
    for other in range(s[PLACES]):
        if (
            orders[other, ON_BOOK]
            and orders[other, SELLING] == selling
            and orders[other, PRICE] == price
        ):
            group = min(group, orders[other, GROUP])
    orders[place, GROUP], orders[place, TURN] = group, s[GROUPS]
    s[GROUPS] += 1
    orders[place, ON_BOOK] = 1
    s[RESTING] += 1
    _bounds(s, orders)
    inside = 0 <= price < ladder.shape[1]
    queue[place, 0], queue[place, 1] = float(ladder[selling, price]) if inside else 0.0, 0.0
    _report(s, reports, ACCEPTED, place, at, now, 0, 0)


# --- the engine -----------------------------------------------------------------------------------


@_jit
def _send(s: Any, orders: Any, arriving: Any, log: Any, what: int, place: int) -> None:
    now = s[NOW]
    due = now + s[ENTRY]
    first, end = s[ARRIVING], s[ARRIVING_END]
    if end > first:
        due = max(due, arriving[(end - 1) & (LINE - 1), DUE])
    n = end & (LINE - 1)
    arriving[n, DUE], arriving[n, WHAT], arriving[n, PLACE] = due, what, place
    s[ARRIVING_END] = end + 1
    orders[place, PENDING] += 1
    if what == CANCEL:
        orders[place, CANCELING] = 1
        s[N_CANCELS] += 1
        _log(s, log, CANCEL, now, 0, orders[place, ID], 0, 0, 0, 0)
    else:
        s[N_ORDERS] += 1
        _log(
            s,
            log,
            SUBMIT,
            now,
            0,
            orders[place, ID],
            orders[place, PRICE] + s[BASE],
            orders[place, QUANTITY],
            0,
            orders[place, SELLING],
        )


@_jit
def _next_open(s: Any, orders: Any, after: int) -> int:
    """Return the place of the open order with the smallest id above `after`, -1 if there is none."""
    found = -1
    for place in range(s[PLACES]):
        if (
            orders[place, OPEN]
            and orders[place, ID] > after
            and (found < 0 or orders[place, ID] < orders[found, ID])
        ):
            found = place
    return found


@_jit
def _pull(s: Any, orders: Any, arriving: Any, log: Any) -> None:
    if s[STOPPED] or s[ACTIVE] == 0:
        return
    after = 0
    while True:
        place = _next_open(s, orders, after)
        if place < 0:
            return
        after = orders[place, ID]
        if not orders[place, SUBMITTING] and not orders[place, CANCELING]:
            _send(s, orders, arriving, log, CANCEL, place)


@_jit
def _mark(s: Any, orders: Any, arriving: Any, log: Any, bid: int, ask: int) -> None:
    """Follow the equity's peak and largest fall, and halt at the limit."""
    position = s[POSITION]
    if position != 0 and (bid < 0 or ask < 0):
        return
    equity = 2 * s[DENOMINATOR] * s[CASH] - 2 * s[FEES]
    if position:
        equity += s[DENOMINATOR] * position * (bid + ask + 2 * s[BASE])
    if equity > s[PEAK]:
        s[PEAK] = equity
    elif s[PEAK] - equity > s[DRAWDOWN]:
        s[DRAWDOWN] = s[PEAK] - equity
    if not s[HALTED] and s[MAX_DRAWDOWN] > 0 and s[PEAK] - equity >= s[MAX_DRAWDOWN]:
        s[HALTED] = 1
        s[HALTED_BY] = s[PEAK] - equity
        _pull(s, orders, arriving, log)


@_jit
def _free(s: Any, orders: Any, place: int) -> None:
    orders[place, OPEN] = 0
    s[ACTIVE] -= 1


@_jit
def _on_report(
    s: Any, f: Any, orders: Any, arriving: Any, reports: Any, log: Any, bid: int, ask: int
) -> None:
    """Tell the engine what has reached it."""
    n = s[REPORTS] & (LINE - 1)
    due, what, place, at = reports[n, DUE], reports[n, WHAT], reports[n, PLACE], reports[n, AT]
    quantity, rest = reports[n, AMOUNT], reports[n, REST]
    s[REPORTS] += 1
    s[NOW] = max(s[NOW], due)
    orders[place, PENDING] -= 1
    price = orders[place, PRICE] + s[BASE]
    _log(s, log, what, due, at, orders[place, ID], price, quantity, rest, orders[place, SELLING])
    if what == FILLED:
        orders[place, REMAINING] = rest
        if rest == 0:
            _free(s, orders, place)
        sign = -1 if orders[place, SELLING] else 1
        s[POSITION] += sign * quantity
        s[CASH] -= sign * price * quantity
        s[FEES] += price * quantity * s[MAKER]
        f[GUARD] += (
            2.0 * float(price) * float(quantity) * (float(s[DENOMINATOR]) + abs(float(s[MAKER])))
        )
        s[N_FILLS] += 1
        _mark(s, orders, arriving, log, bid, ask)
    elif what == ACCEPTED:
        orders[place, SUBMITTING] = 0
    elif what == CANCELED:
        _free(s, orders, place)
    elif what == CANCEL_REJECTED:
        orders[place, CANCELING] = 0
    else:
        s[N_REJECTED] += 1
        _free(s, orders, place)
    if s[HALTED] or s[STOPPED] or bid == UNKNOWN or s[PULLED]:
        _pull(s, orders, arriving, log)


@_jit
def _approved(
    s: Any, f: Any, orders: Any, selling: int, price: int, quantity: int, bid: int, ask: int
) -> bool:
    """As `mmkit.risk`: whether every check lets the order pass; counts the first that does not."""
    for n in range(s[N_CHECKS]):
        code, limit = s[CHECKS + 2 * n], s[CHECKS + 2 * n + 1]
        refused = False
        if code == MAX_POSITION_CHECK:
            open_lots = 0
            for place in range(s[PLACES]):
                if orders[place, OPEN] and orders[place, SELLING] == selling:
                    open_lots += orders[place, REMAINING]
            held = -s[POSITION] if selling else s[POSITION]
            refused = held + open_lots + quantity > limit
        elif code == MAX_ORDER_CHECK:
            refused = quantity > limit
        elif code == PRICE_BAND_CHECK:
            if bid < 0 or ask < 0:
                refused = True
            else:
                mid = (bid + ask + 2 * s[BASE]) / 2
                band = f[BAND_SHARE] * mid / f[BAND_WHOLE] + f[BAND_TICKS]
                refused = abs(price + s[BASE] - mid) > band
        if refused:
            s[VETOES + n] += 1
            return False
    return True


@_jit
def _towards(
    s: Any, f: Any, orders: Any, arriving: Any, log: Any, sent: Any, wanted: Any, bid: int, ask: int
) -> int:
    """As `mmkit.quoter`: send the least that leads from the working orders to `wanted`.

    `wanted` holds the number of bids and of asks, then ``price, quantity`` of each; what is kept is
    struck out by a quantity of 0. Returns 0, or `TOO_MANY`.
    """
    blocked_bids = blocked_asks = False
    submits = wanted[0] + wanted[1]
    for selling in range(2):
        first = 2 if not selling else 2 + 2 * wanted[0]
        count = wanted[selling]
        after = 0
        while s[ACTIVE]:
            place = _next_open(s, orders, after)
            if place < 0:
                break
            after = orders[place, ID]
            if orders[place, SELLING] != selling:
                continue
            if orders[place, SUBMITTING] or orders[place, CANCELING]:
                if selling:
                    blocked_asks = True
                else:
                    blocked_bids = True
                continue
            kept = False
            for n in range(count):
                at = first + 2 * n
                if wanted[at] == orders[place, PRICE] and wanted[at + 1] == orders[place, QUANTITY]:
                    wanted[at + 1] = 0
                    submits -= 1
                    kept = True
                    break
            if not kept:
                _send(s, orders, arriving, log, CANCEL, place)
    if submits == 0:
        return 0
    now = s[NOW]
    # The reference makes all orders before it sends the first: ids and the rate limit come before the checks.
    made = 0
    for selling in range(2):
        if blocked_asks if selling else blocked_bids:
            continue
        first = 2 if not selling else 2 + 2 * wanted[0]
        for n in range(wanted[selling]):
            at = first + 2 * n
            if wanted[at + 1] == 0:
                continue
            while s[SENT_END] > s[SENT] and sent[s[SENT] & (SENT_RING - 1)] <= now - _WINDOW_NS:
                s[SENT] += 1
            if s[SENT_END] - s[SENT] >= _ORDERS_PER_WINDOW:
                s[HELD_BACK] += 1
                wanted[at + 1] = 0
                continue
            sent[s[SENT_END] & (SENT_RING - 1)] = now
            s[SENT_END] += 1
            made += 1
    order_id = s[NEXT_ID]
    s[NEXT_ID] += made
    for selling in range(2):
        if blocked_asks if selling else blocked_bids:
            continue
        first = 2 if not selling else 2 + 2 * wanted[0]
        for n in range(wanted[selling]):
            price, quantity = wanted[first + 2 * n], wanted[first + 2 * n + 1]
            if quantity == 0:
                continue
            if not _approved(s, f, orders, selling, price, quantity, bid, ask):
                s[SENT_END] -= 1
                order_id += 1
                continue
            place = 0
            while place < MOST_ORDERS and (orders[place, OPEN] or orders[place, PENDING]):
                place += 1
            if place == MOST_ORDERS:
                return TOO_MANY
            orders[place, :] = 0
            s[PLACES] = max(s[PLACES], place + 1)
            orders[place, ID], orders[place, SELLING], orders[place, PRICE] = (
                order_id,
                selling,
                price,
            )
            orders[place, QUANTITY] = orders[place, REMAINING] = orders[place, LEFT] = quantity
            orders[place, SUBMITTING] = orders[place, OPEN] = 1
            s[ACTIVE] += 1
            _send(s, orders, arriving, log, SUBMIT, place)
            order_id += 1
    return 0


@_jit
def _seek(times: Any, start: int, until: int) -> int:
    """Return the first place from `start` on whose time is after `until`."""
    n = len(times)
    step = 1
    low = start
    while low + step < n and times[low + step] <= until:
        low += step
        step *= 2
    high = min(low + step, n)
    if low < n and times[low] > until:
        return low
    while low + 1 < high:
        middle = (low + high) // 2
        if times[middle] <= until:
            low = middle
        else:
            high = middle
    return min(low + 1, n)


@_jit
def _ask(s: Any, bid: int, ask: int) -> int:
    """Note what the strategy is shown."""
    s[ASKED] = 1
    s[BEST_BID] = bid + s[BASE] if bid >= 0 else NONE
    s[BEST_ASK] = ask + s[BASE] if ask >= 0 else NONE
    return ASK


@intrinsic
def _pointer(context: Any, address: Any) -> Any:
    """Take an integer for the address it is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


def where(arrays: dict[str, Any], rows: int, span: int) -> Any:
    """Return what `advance` finds its arrays by: their addresses, and the lengths that vary.

    Handing over one array takes a fifth of a microsecond, each further one about a tenth. The caller
    keeps `arrays` alive, and keeps them where they are.
    """
    addresses = [arrays[name].ctypes.data for name in ARRAYS]
    lengths = [
        rows,
        span,
        len(arrays["log"]),
        len(arrays["wanted"]),
        len(arrays["special"]),
        len(arrays["last"]),
    ]
    return np.array(addresses + lengths, np.int64)


_int64_pointer: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
_float64_pointer: Any = types.CPointer(types.float64)  # type: ignore[no-untyped-call]
DECISION = types.void(_int64_pointer, _float64_pointer, _int64_pointer)
"""Signature of a compiled decision (`mmkit.decision`): view, parameters, wanted."""
VIEW_SIZE = 4
BAD = 6
"""`decide` returns it when a compiled decision wants what cannot be quoted; `wanted` says what."""


@intrinsic
def _integers(context: Any, address: Any) -> Any:
    """Take an integer for the address of integers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return _int64_pointer(types.int64), generate


@intrinsic
def _floats(context: Any, address: Any) -> Any:
    """Take an integer for the address of floats."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return _float64_pointer(types.int64), generate


ARRAYS = (
    *("s", "f", "orders", "queue", "lines", "sent", "wanted", "log", "ladder"),
    *("ts_exchange", "ts_local", "kind", "price", "quantity", "order"),
    *("best_local", "best_exchange", "special", "last"),
)
"""What `advance` works on, in the order of `where`.

s: the state. f: settings that are no whole numbers. orders: ours, ``(MOST_ORDERS, ORDER_SIZE)``. queue:
in front, and traded since the last total, ``(MOST_ORDERS, 2)``. lines: commands and reports on their way,
``(2, LINE, LINE_SIZE)``. sent: when the last orders were sent, a ring. wanted: what the strategy wants, if
`ASKED` says that it has been asked (`_towards`). log: what happened, ``(n, LOG_SIZE)``; the caller empties
it. ladder: the exchange's book, ``(2, span)``, bids and asks. The others are `Prepared`'s.
"""


@_jit
def advance(at: Any) -> int:
    """Move time until the strategy is to be asked (`ASK`), and answer for what it said the time before.

    Args:
        at: From `where`.
    """
    rows, span = at[19], at[20]
    # numba hands `context` over itself.
    s = carray(_pointer(at[0]), (STATE_SIZE,), np.int64)  # type: ignore[call-arg]
    f = carray(_pointer(at[1]), (FLOATS_SIZE,), np.float64)
    orders = carray(_pointer(at[2]), (MOST_ORDERS, ORDER_SIZE), np.int64)
    queue = carray(_pointer(at[3]), (MOST_ORDERS, 2), np.float64)
    lines = carray(_pointer(at[4]), (2, LINE, LINE_SIZE), np.int64)
    sent = carray(_pointer(at[5]), (SENT_RING,), np.int64)
    wanted = carray(_pointer(at[6]), (at[22],), np.int64)
    log = carray(_pointer(at[7]), (at[21], LOG_SIZE), np.int64)
    ladder = carray(_pointer(at[8]), (2, span), np.int64)
    ts_exchange = carray(_pointer(at[9]), (rows,), np.int64)
    ts_local = carray(_pointer(at[10]), (rows,), np.int64)
    kinds = carray(_pointer(at[11]), (rows,), np.uint8)
    prices = carray(_pointer(at[12]), (rows,), np.int64)
    quantities = carray(_pointer(at[13]), (rows,), np.int64)
    order = carray(_pointer(at[14]), (rows,), np.int64)
    best_local = carray(_pointer(at[15]), (rows, 2), np.int32)
    best_exchange = carray(_pointer(at[16]), (rows, 2), np.int32)
    special = carray(_pointer(at[17]), (at[23],), np.int64)
    last = carray(_pointer(at[18]), (at[24],), np.int64)
    arriving, reports = lines[0], lines[1]
    bid, ask = UNKNOWN, UNKNOWN
    if s[I_LOCAL] > 0:
        bid, ask = best_local[s[I_LOCAL] - 1, 0], best_local[s[I_LOCAL] - 1, 1]
    if s[ASKED]:
        s[ASKED] = 0
        failed = _towards(s, f, orders, arriving, log, sent, wanted, bid, ask)
        if failed:
            return failed
    while True:
        if s[LOGGED] + _LOG_ROOM > len(log):
            return LOG_FULL
        if f[GUARD] > _MOST_MONEY:
            return TOO_MUCH
        if (
            s[ARRIVING_END] - s[ARRIVING] > LINE - MOST_ORDERS - 2
            or s[REPORTS_END] - s[REPORTS] > LINE - MOST_ORDERS - 2
        ):
            return TOO_MANY
        # What is next, apart from rows that concern nobody but the exchange.
        due_arrival = (
            arriving[s[ARRIVING] & (LINE - 1), DUE] if s[ARRIVING_END] > s[ARRIVING] else NEVER
        )
        due_report = reports[s[REPORTS] & (LINE - 1), DUE] if s[REPORTS_END] > s[REPORTS] else NEVER
        due_wake = NEVER
        if not s[HALTED] and not s[STOPPED]:
            due_wake = s[NEXT_WAKE]
            if s[STALE] > 0 and not s[PULLED]:
                # The last row before now, whether or not `I_LOCAL` has come that far.
                n = s[I_LOCAL]
                latest = ts_local[n - 1] if n > 0 else s[LAST_DATA]
                while n < rows and ts_local[n] <= min(latest + s[STALE], due_wake):
                    latest = ts_local[n]
                    n += 1
                stale = latest + s[STALE]
                if stale > s[NOW]:
                    due_wake = min(due_wake, stale)
        due_special = ts_local[special[s[I_SPECIAL]]] if s[I_SPECIAL] < len(special) else NEVER
        if s[PULLED] and s[I_LOCAL] < rows:
            # Pulled for want of data: the next message that is complete lets go.
            n = np.searchsorted(last, s[I_LOCAL])
            if n < len(last):
                due_special = min(due_special, ts_local[last[n]])
        end = NEVER
        if not s[STOPPED]:
            end = ts_local[rows - 1]
            end = max(end, ts_exchange[order[rows - 1]])
        until = min(due_arrival, due_report, due_wake, due_special)
        if until > end and not s[STOPPED]:
            until = end
        if until == NEVER:
            return END
        # The exchange first goes as far as nothing else can happen.
        _exchange_until(
            s,
            f,
            orders,
            queue,
            reports,
            ladder,
            order,
            ts_exchange,
            kinds,
            prices,
            quantities,
            until,
        )
        if s[REPORTS_END] > s[REPORTS]:
            until = min(until, reports[s[REPORTS] & (LINE - 1), DUE])
        # Rows reach the engine before anything else of their instant does.
        while True:
            stop = rows
            if s[I_SPECIAL] < len(special) and ts_local[special[s[I_SPECIAL]]] <= until:
                stop = special[s[I_SPECIAL]]
            if s[PULLED] and s[I_LOCAL] < rows and not s[STOPPED]:
                n = np.searchsorted(last, s[I_LOCAL])
                if n < len(last) and ts_local[last[n]] <= until:
                    stop = min(stop, last[n])
            if stop == rows:
                break
            row = stop
            before = best_local[row - 1, 0] if row > 0 else UNKNOWN
            s[I_LOCAL] = row + 1
            s[NOW] = s[LAST_DATA] = ts_local[row]
            bid, ask = best_local[row, 0], best_local[row, 1]
            if kinds[row] & _KIND == _GAP:
                if before != UNKNOWN:
                    s[N_GAPS] += 1
                _log(s, log, FEED_LOST, ts_local[row], ts_exchange[row], 0, prices[row], 0, 0, 0)
                _pull(s, orders, arriving, log)
            if before == UNKNOWN and bid != UNKNOWN:
                _log(s, log, FEED_RESTORED, ts_local[row], ts_exchange[row], 0, 0, 0, 0, 0)
            if s[I_SPECIAL] < len(special) and special[s[I_SPECIAL]] == row:
                s[I_SPECIAL] += 1
            if s[PULLED] and kinds[row] & _LAST and not s[STOPPED]:
                if s[HALTED] or bid == UNKNOWN:
                    _pull(s, orders, arriving, log)
                else:
                    s[PULLED] = 0
                    return _ask(s, bid, ask)
        # The engine's clock and touch are looked up only where somebody asks for them; whether the book
        # is known changes at special rows alone.
        looked_at = until == end or due_wake <= until
        n = s[REPORTS]
        while not looked_at and n < s[REPORTS_END] and reports[n & (LINE - 1), DUE] <= until:
            looked_at = reports[n & (LINE - 1), WHAT] == FILLED
            n += 1
        if s[I_LOCAL] < rows and looked_at:
            s[I_LOCAL] = _seek(ts_local, s[I_LOCAL], until)
            if s[I_LOCAL] > 0 and not s[STOPPED]:
                s[LAST_DATA] = ts_local[s[I_LOCAL] - 1]
                s[NOW] = max(s[NOW], s[LAST_DATA])
                bid, ask = best_local[s[I_LOCAL] - 1, 0], best_local[s[I_LOCAL] - 1, 1]
        # Commands that have arrived, then the reports that have reached us.
        while s[ARRIVING_END] > s[ARRIVING] and arriving[s[ARRIVING] & (LINE - 1), DUE] <= until:
            _match(s, orders, queue, arriving, reports, ladder, best_exchange, until)
        while s[REPORTS_END] > s[REPORTS] and reports[s[REPORTS] & (LINE - 1), DUE] <= until:
            _on_report(s, f, orders, arriving, reports, log, bid, ask)
        if not s[HALTED] and not s[STOPPED] and due_wake <= until:
            s[NOW] = until
            if s[NEXT_WAKE] <= until:
                s[NEXT_WAKE] += s[EVERY] * ((until - s[NEXT_WAKE]) // s[EVERY] + 1)
                s[N_WAKES] += 1
            _mark(s, orders, arriving, log, bid, ask)
            if s[HALTED] or bid == UNKNOWN:
                _pull(s, orders, arriving, log)
            else:
                s[PULLED] = 1 if s[STALE] > 0 and until - s[LAST_DATA] >= s[STALE] else 0
                if s[PULLED]:
                    _pull(s, orders, arriving, log)
                else:
                    return _ask(s, bid, ask)
        if until == end and not s[STOPPED] and s[I_EXCHANGE] == rows and s[I_LOCAL] == rows:
            # The data has ended: what is under way still arrives, nothing more is decided.
            s[STOPPED] = 1


@_jit
def decide(at: Any, decision: Any, beside: Any) -> int:
    """`advance`, with a compiled decision in place of the strategy in Python; returns as it does, or `BAD`.

    Args:
        at: From `where`.
        decision: A ``cfunc`` of the signature `DECISION`.
        beside: Addresses of the view it is shown, ``VIEW_SIZE`` integers, and of its parameters.
    """
    s = carray(_pointer(at[0]), (STATE_SIZE,), np.int64)  # type: ignore[call-arg]
    wanted = carray(_pointer(at[6]), (at[22],), np.int64)
    view = carray(_pointer(beside[0]), (VIEW_SIZE,), np.int64)
    shown, parameters, wants = _integers(beside[0]), _floats(beside[1]), _integers(at[6])
    most = (len(wanted) - 2) // 2
    while True:
        why = advance(at)
        if why != ASK:
            return why
        view[0], view[1], view[2], view[3] = s[NOW], s[BEST_BID], s[BEST_ASK], s[POSITION]
        wanted[0] = wanted[1] = 0
        decision(shown, parameters, wants)
        bids, levels = wanted[0], wanted[0] + wanted[1]
        if wanted[0] < 0 or wanted[1] < 0 or levels > most:
            return BAD
        highest_bid, lowest_ask = 0, NEVER
        for n in range(levels):
            price = wanted[2 + 2 * n]
            if price <= 0 or wanted[3 + 2 * n] <= 0:
                return BAD
            if n < bids:
                highest_bid = max(highest_bid, price)
            else:
                lowest_ask = min(lowest_ask, price)
        if highest_bid >= lowest_ask:
            return BAD
        for n in range(levels):
            wanted[2 + 2 * n] -= s[BASE]
