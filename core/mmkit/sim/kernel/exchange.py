"""The simulated exchange, compiled: rows, queue positions, matching; rule by rule as `mmkit.sim.exchange`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmkit.sim.kernel.latency import RESPONSE, latency
from mmkit.sim.kernel.layout import (
    ACCEPTED,
    CALIBRATED,
    CANCEL,
    CANCEL_REJECTED,
    CANCELED,
    FILLED,
    FUNDED,
    LINE,
    MOST_ORDERS,
    NOWHERE,
    OPTIMISTIC,
    PESSIMISTIC,
    POWER,
    REJECTED_POST_ONLY,
    REJECTED_SELF_TRADE,
    REJECTED_UNKNOWN,
    RISK_AVERSE,
)
from mmkit.sim.kernel.money import count_traded, fee_of, reach_day, too_large, value_of
from mmkit.sim.kernel.pointers import (
    commands_at,
    float64s,
    inline,
    int32s,
    int64,
    int64s,
    jit,
    orders_at,
    reports_at,
    slots_at,
    uint8s,
    uint32s,
)
from mmkit.tape import NEVER, Kind
from mmkit.tape.index import NONE

_LEVEL, _TRADE, _SNAPSHOT, _GAP = (
    int(Kind.LEVEL),
    int(Kind.TRADE),
    int(Kind.SNAPSHOT),
    int(Kind.GAP),
)
_MARK, _FUNDING = int(Kind.MARK), int(Kind.FUNDING)
_KIND, _SELL, _LAST = 0x0F, 0x10, 0x80


@inline
def _wide(s: Any, narrow: int) -> int:
    """Return what a value of four bytes stands for (`mmkit.tape.Tape`)."""
    if narrow >= 0:
        return int64(narrow)
    return int64s(s.large, s.larges)[-1 - int64(narrow)]


# --- queue ---


@jit
def _queue_level(s: Any, order: Any, before: int, after: int) -> None:
    """As `mmkit.sim.queue`: the total at an order's price went from `before` to `after`."""
    front = order.front
    if s.queue == RISK_AVERSE:
        order.front = min(front, float(after))
        return
    if s.queue in (OPTIMISTIC, PESSIMISTIC):
        return
    shrunk = before - after - order.traded
    order.traded = 0.0
    if shrunk < 0:
        order.front = min(front, float(after))
        return
    back = max(before - front, 0.0)
    ahead = abs(front)
    behind = _behind(s, ahead, back)
    moved = front - (1.0 - behind) * shrunk + min((before - front) - behind * shrunk, 0.0)
    order.front = max(min(moved, float(after)), min(front, 0.0))


@jit
def _behind(s: Any, ahead: float, back: float) -> float:
    """Return the probability that whoever left was behind us."""
    if s.queue == CALIBRATED:
        knots = float64s(s.behind, s.knots)
        total = ahead + back
        at = ahead / total * np.float64(s.knots - 1) if total > 0.0 else 0.0
        left = min(int64(at), s.knots - 2)
        low, high = knots[left], knots[left + 1]
        return low + (high - low) * (at - np.float64(left))
    if s.queue == POWER and s.exponent == 2.0:
        weight_back, weight_front = back * back, ahead * ahead
    elif s.queue == POWER:
        weight_back, weight_front = back**s.exponent, ahead**s.exponent
    else:
        weight_back, weight_front = np.log1p(back), np.log1p(ahead)
    weights = weight_back + weight_front
    if np.isinf(weights):
        if weight_back == weight_front:
            return 0.5
        return 1.0 if weight_back > weight_front else 0.0
    return weight_back / weights if weights > 0.0 else 0.0


# --- what is on the line ---


@inline
def report(
    s: Any,
    what: int,
    slot: int,
    at: int,
    now: int,
    price: int,
    quantity: int,
    remaining: int,
    taker: int,
    fee: int,
) -> None:
    """Put a report on the line: not due before now, nor before the one ahead of it."""
    reports = reports_at(s.reports, LINE)
    due = max(at + latency(s, RESPONSE, at), now)
    end = s.reports_end
    if end > s.reports_first:
        due = max(due, reports[(end - 1) & (LINE - 1)].due)
    told = reports[end & (LINE - 1)]
    told.due, told.what, told.slot, told.at = due, what, slot, at
    told.price, told.quantity, told.remaining = price, quantity, remaining
    told.taker, told.fee = taker, fee
    s.reports_end = end + 1
    if what in (FILLED, FUNDED) and s.fill_due == NEVER:
        s.fill_due = due


# --- resting orders ---


@jit
def _rest(s: Any, slot: int) -> None:
    """Put an order on the book.

    The quoter has no two orders at one price there, so the reference goes through them as they arrived.
    """
    orders = orders_at(s.orders, MOST_ORDERS)
    order = orders[slot]
    side = order.selling
    resting = slots_at(s.resting, side, MOST_ORDERS)
    resting[s.restings[side]] = slot
    s.restings[side] += 1
    order.on_book = 1
    _note_range(s, side)


@jit
def _note_range(s: Any, side: int) -> None:
    """Note which levels and trades concern the orders we have on a side."""
    orders, resting = orders_at(s.orders, MOST_ORDERS), slots_at(s.resting, side, MOST_ORDERS)
    count = s.restings[side]
    if count == 0:
        # An empty range is where no price is.
        s.own_low[side], s.own_width[side], s.across[1 - side] = NOWHERE, 0, NEVER
        return
    low = high = orders[resting[0]].price
    for n in range(1, count):
        price = orders[resting[n]].price
        low, high = min(low, price), max(high, price)
    s.own_low[side], s.own_width[side] = low, high - low
    # Levels and sells of the other side from here on would trade with the best of ours.
    s.across[1 - side] = low if side else ~high


@jit
def _remove(s: Any, slot: int) -> None:
    """Take an order off the book."""
    orders = orders_at(s.orders, MOST_ORDERS)
    side = orders[slot].selling
    resting = slots_at(s.resting, side, MOST_ORDERS)
    count = s.restings[side] - 1
    place = 0
    while resting[place] != slot:
        place += 1
    for n in range(place, count):
        resting[n] = resting[n + 1]
    s.restings[side] = count
    orders[slot].on_book = 0
    _note_range(s, side)


@jit
def _fill(s: Any, slot: int, quantity: int, at: int) -> bool:
    """Fill a resting order; return whether it has left the book."""
    order = orders_at(s.orders, MOST_ORDERS)[slot]
    _report_fill(s, slot, quantity, order.price, at, at, 0)
    if order.left == 0:
        _remove(s, slot)
        return True
    return False


@jit
def _report_fill(
    s: Any, slot: int, quantity: int, price: int, at: int, now: int, taker: int
) -> None:
    """Take in that an order has traded, and report it."""
    order = orders_at(s.orders, MOST_ORDERS)[slot]
    order.left -= quantity
    order.pending += 1
    s.venue_position += -quantity if order.selling else quantity
    s.overflow |= too_large(s, price, quantity)
    reach_day(s, at)
    count_traded(s, price, quantity)
    fee = fee_of(s, value_of(s, price, quantity), taker)
    report(s, FILLED, slot, at, now, price, quantity, order.left, taker, fee)


@jit
def _on_level(s: Any, selling: int, price: int, before: int, total: int, at: int) -> None:
    """Take in a level that may concern one of our orders; `before` is what the ladder held there."""
    orders = orders_at(s.orders, MOST_ORDERS)
    before, total = _wide(s, before), _wide(s, total)
    own = slots_at(s.resting, selling, MOST_ORDERS)
    for n in range(s.restings[selling]):
        order = orders[own[n]]
        if order.price == price:
            _queue_level(s, order, order.before if s.in_snapshot else before, total)
    if total <= 0:
        return
    others = slots_at(s.resting, 1 - selling, MOST_ORDERS)
    n = 0
    while n < s.restings[1 - selling]:
        slot = others[n]
        order = orders[slot]
        crossed = order.price >= price if selling else order.price <= price
        if not (crossed and _fill(s, slot, order.left, at)):
            n += 1


@jit
def _on_trade(s: Any, sold: int, price: int, quantity: int, at: int) -> None:
    """Take in a trade that may fill one of our orders."""
    orders = orders_at(s.orders, MOST_ORDERS)
    quantity = _wide(s, quantity)
    side = 0 if sold else 1
    resting = slots_at(s.resting, side, MOST_ORDERS)
    n = 0
    while n < s.restings[side]:
        slot = resting[n]
        order = orders[slot]
        gone = False
        if order.price == price:
            order.front -= quantity
            order.traded += quantity
            lots = int(np.floor(-order.front + 0.5))
            if lots > 0 and s.queue != PESSIMISTIC:
                order.front = 0.0
                filled = min(lots, order.left) if s.partial else order.left
                gone = _fill(s, slot, filled, at)
        elif order.price > price if sold else order.price < price:
            gone = _fill(s, slot, order.left, at)
        if not gone:
            n += 1


# --- the book ---


@jit
def _clear(s: Any) -> None:
    """Empty the ladder where it has been written to."""
    ladder = int32s(s.ladder, 2 * s.span)
    for place in range(s.used_low, s.used_high + 1):
        ladder[place] = 0
        ladder[s.span + place] = 0
    s.used_low, s.used_high = s.span, -1


@jit
def _begin_snapshot(s: Any) -> None:
    orders, ladder = orders_at(s.orders, MOST_ORDERS), int32s(s.ladder, 2 * s.span)
    for side in range(2):
        resting = slots_at(s.resting, side, MOST_ORDERS)
        for n in range(s.restings[side]):
            order = orders[resting[n]]
            order.before = _total(s, ladder, side, order.price)
    s.in_snapshot = s.filling = s.telling = 1
    _clear(s)


@inline
def _total(s: Any, ladder: Any, side: int, price: int) -> int:
    """Return the total at a price, in lots."""
    place = price - s.base
    if 0 <= place < s.span:
        return _wide(s, ladder[side * s.span + place])
    return 0


@jit
def _on_snapshot_told(s: Any) -> None:
    """A level that a snapshot passes over is empty; beyond its last level nothing is known."""
    orders, ladder = orders_at(s.orders, MOST_ORDERS), int32s(s.ladder, 2 * s.span)
    for side in range(2):
        if s.restings[side] == 0:
            continue
        deepest = -1
        if side:
            for place in range(s.used_high, s.used_low - 1, -1):
                if ladder[s.span + place] != 0:
                    deepest = place + s.base
                    break
        else:
            for place in range(s.used_low, s.used_high + 1):
                if ladder[place] != 0:
                    deepest = place + s.base
                    break
        if deepest < 0:
            continue
        resting = slots_at(s.resting, side, MOST_ORDERS)
        for n in range(s.restings[side]):
            order = orders[resting[n]]
            inside = order.price < deepest if side else order.price > deepest
            if inside and _total(s, ladder, side, order.price) == 0:
                _queue_level(s, order, order.before, 0)


@jit
def exchange_until(s: Any, until: int) -> int:
    """Hand the exchange every row and every command up to `until`.

    Returns `until`, or the earlier time at which a report is due that cannot wait (`eager`).
    """
    arriving = commands_at(s.arriving, LINE)
    while True:
        until = min(until, urgent(s))
        arrival = NEVER
        if s.arriving_end > s.arriving_first:
            arrival = arriving[s.arriving_first & (LINE - 1)].due
        # Rows of the instant at which a command arrives come first; funding comes before those of its own.
        due = s.funding_due
        stop = min(arrival, until, due - 1)
        if s.row_at <= stop:
            if _rows_until(s, stop) < stop or s.funding_due != due:
                continue
            # A fill may be reported after `stop`, and before the rest of what was asked for.
            until = min(until, urgent(s))
        if arrival > until and due > until:
            return until
        if due <= min(arrival, until):
            # Paid as soon as the venue sees anything from then on, and before it takes that in.
            seen = min(arrival, s.row_at)
            if seen > until:
                return until
            _pay_funding(s, seen)
            continue
        while s.arriving_end > s.arriving_first:
            if arriving[s.arriving_first & (LINE - 1)].due > arrival:
                break
            match(s, arrival)


@jit
def _pay_funding(s: Any, now: int) -> None:
    """Report that funding is paid on the position at the venue; what it comes to is worked out where it is told."""
    due = s.funding_due
    s.funding_due = NEVER
    if s.venue_position != 0:
        report(s, FUNDED, 0, due, now, s.mark, s.venue_position, s.rate, 0, 0)


@inline
def urgent(s: Any) -> int:
    """Return when the first report is due that the engine must be told of at its time.

    Others may wait until the engine does something: nobody acts on them. A fill is marked to market, and may
    halt the run; anything may matter while quotes are being pulled, or to a strategy that is told.
    """
    if not s.eager:
        return s.fill_due
    if s.reports_end > s.reports_first:
        return reports_at(s.reports, LINE)[s.reports_first & (LINE - 1)].due
    return NEVER


@jit
def _rows_until(s: Any, until: int) -> int:
    """Hand the exchange every row up to `until`; return `until`, nearer if a report is due before.

    The hot loop: most rows change a level where we have nothing, and cost a store. Sides, and trades, are told
    apart by arithmetic, since a processor cannot foresee them; indices are unsigned, as numba looks for
    negative ones otherwise.
    """
    count = np.uint64(s.rows)
    ordered = s.order != 0
    order = uint32s(s.order, s.rows if ordered else 0)
    times, kinds = int64s(s.ts_exchange, s.rows), uint8s(s.kind, s.rows)
    prices, quantities = int32s(s.price, s.rows), int32s(s.quantity, s.rows)
    # One place more than there are prices: what is no level is written there.
    ladder = int32s(s.ladder, 2 * s.span + 1)
    span, base, nowhere = s.span, s.base, np.uint64(2 * s.span)
    levels = int64(0)
    n = np.uint64(s.row)
    s.row_at = NEVER
    while n < count:
        row = np.uint64(order[n]) if ordered else n
        at = times[row]
        if at > until:
            s.row_at = at
            break
        n += np.uint64(1)
        kind = int64(kinds[row])
        what = kind & _KIND
        price = int64(prices[row])
        total = quantities[row]
        if s.telling or what > _TRADE:
            _note_used(s, levels)
            levels = int64(0)
            until = min(until, _on_other(s, row, kind, price, total, at))
            continue
        side = np.uint64(kind >> 4 & 1)
        level = what == _LEVEL
        levels |= level
        cell = np.uint64(price - base + (span if side else 0)) if level else nowhere
        # One's complement turns prices of the asks round, so that one comparison serves both sides.
        crossing = (price ^ -int64(side)) >= s.across[side]
        own = np.uint64(price - s.own_low[side]) <= np.uint64(s.own_width[side])
        if (own & level) | (crossing & (total != 0)):
            until = min(until, _on_concerned(s, int64(side), level, price, cell, total, at))
        else:
            ladder[cell] = total
    _note_used(s, levels)
    s.row = int64(n)
    return until


@jit
def _on_concerned(
    s: Any, side: int, level: bool, price: int, cell: Any, total: Any, at: int
) -> int:
    """Take in a level or a trade that may concern one of our orders; return when a report is due that urges."""
    ladder = int32s(s.ladder, 2 * s.span + 1)
    before = ladder[cell]
    ladder[cell] = total
    if level:
        _on_level(s, side, price, before, total, at)
    else:
        _on_trade(s, side, price, total, at)
    return urgent(s)


@inline
def _note_used(s: Any, levels: int) -> None:
    """Note that levels were told, which may be anywhere."""
    if levels:
        s.used_low, s.used_high = 0, s.span - 1


@jit
def _on_other(s: Any, row: Any, kind: int, price: int, total: Any, at: int) -> int:
    """Take in a row that is neither a level nor a trade, or is part of a snapshot.

    Returns when the loop over the rows must be left: for a report that urges, or for funding.
    """
    what = kind & _KIND
    side = kind >> 4 & 1
    if what == _LEVEL:
        # A snapshot that tells few levels is followed by many such.
        place = price - s.base
        s.used_low, s.used_high = min(s.used_low, place), max(s.used_high, place)
        _on_concerned(s, side, True, price, np.uint64(place + side * s.span), total, at)
    elif what == _TRADE:
        _on_trade(s, side, price, total, at)
    elif what == _MARK:
        s.mark = _wide(s, total)
    elif what == _FUNDING:
        due = _wide(s, int32s(s.price, s.rows)[row]) * 1_000_000_000
        # What is past comes too late, or has been paid.
        if s.funded and due > at:
            s.funding_due, s.rate = due, _wide(s, total)
    elif what == _SNAPSHOT:
        _begin_snapshot(s)
    elif what == _GAP:
        _clear(s)
        s.known = s.filling = 0
    if s.telling and kind & _LAST:
        _end_telling(s)
    return min(urgent(s), s.funding_due - 1)


@jit
def _end_telling(s: Any) -> None:
    """Take in that the message of a snapshot is complete."""
    s.telling = 0
    if s.filling:
        s.filling = 0
        s.known = 1
    if s.in_snapshot:
        _on_snapshot_told(s)
        s.in_snapshot = 0


@inline
def _touch(s: Any, side: int) -> int:
    """Return the best price that an order of `side` would meet, as the venue knows it now."""
    rows = uint32s(s.exchange_row, s.exchange_tops)
    n = s.exchange_top
    while n + 1 < s.exchange_tops and int64(rows[n + 1]) <= s.row:
        n += 1
    s.exchange_top = n
    if n < 0:
        return NONE
    best = s.exchange_bid if side else s.exchange_ask
    return int64(int32s(best, s.exchange_tops)[n])


@jit
def match(s: Any, now: int) -> None:
    """Match the command that has arrived first."""
    orders = orders_at(s.orders, MOST_ORDERS)
    command = commands_at(s.arriving, LINE)[s.arriving_first & (LINE - 1)]
    s.arriving_first += 1
    slot, at = command.slot, command.due
    order = orders[slot]
    if command.what == CANCEL:
        if order.on_book:
            _remove(s, slot)
            report(s, CANCELED, slot, at, now, 0, 0, 0, 0, 0)
        else:
            report(s, CANCEL_REJECTED, slot, at, now, 0, 0, 0, 0, 0)
        return
    if not s.known:
        report(s, REJECTED_UNKNOWN, slot, at, now, 0, 0, 0, 0, 0)
        return
    touch = _touch(s, order.selling)
    crosses = touch != NONE and (order.price <= touch if order.selling else order.price >= touch)
    if crosses and not order.taking:
        report(s, REJECTED_POST_ONLY, slot, at, now, 0, 0, 0, 0, 0)
        return
    if _meets_own(s, order.selling, order.price):
        report(s, REJECTED_SELF_TRADE, slot, at, now, 0, 0, 0, 0, 0)
        return
    if order.taking:
        # Counted as pending once for the command; each of its reports counts for itself.
        order.pending -= 1
        if crosses:
            _take(s, slot, touch, at, now)
        if order.left > 0:
            order.pending += 1
            report(s, CANCELED, slot, at, now, 0, 0, 0, 0, 0)
        return
    order.front = 0.0
    if s.queue != OPTIMISTIC:
        order.front = float(_total(s, int32s(s.ladder, 2 * s.span), order.selling, order.price))
    order.traded = 0.0
    _rest(s, slot)
    report(s, ACCEPTED, slot, at, now, 0, 0, 0, 0, 0)


@inline
def _meets_own(s: Any, selling: int, price: int) -> bool:
    """Whether one of ours rests on the other side at a price or a better one."""
    other = 1 - selling
    if s.restings[other] == 0:
        return False
    if selling:
        return s.own_low[other] + s.own_width[other] >= price
    return s.own_low[other] <= price


@jit
def _take(s: Any, slot: int, touch: int, at: int, now: int) -> None:
    """Trade at the prices on the book, which stays as it is; without partial fills, all at the best."""
    order = orders_at(s.orders, MOST_ORDERS)[slot]
    if not s.partial:
        _report_fill(s, slot, order.left, touch, at, now, 1)
        return
    ladder = int32s(s.ladder, 2 * s.span)
    other = 1 - order.selling
    step = -1 if order.selling else 1
    price = touch
    while order.left > 0 and 0 <= price - s.base < s.span:
        if price < order.price if order.selling else price > order.price:
            break
        total = _total(s, ladder, other, price)
        if total > 0:
            _report_fill(s, slot, min(order.left, total), price, at, now, 1)
        price += step
