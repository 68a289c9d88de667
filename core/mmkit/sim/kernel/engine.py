"""Orders, position, limits and the quoter, compiled; rule by rule as `mmkit.engine`, `quoter` and `risk`."""

from __future__ import annotations

from typing import Any

from mmkit.sim.kernel.latency import ENTRY, latency
from mmkit.sim.kernel.layout import (
    ACCEPTED,
    CANCEL,
    CANCEL_REJECTED,
    CANCELED,
    FEED_LOST,
    FEED_RESTORED,
    FILLED,
    FUNDED,
    LINE,
    MAX_ORDER_CHECK,
    MAX_POSITION_CHECK,
    MOST_LEVELS,
    MOST_ORDERS,
    MOST_SIGNALS,
    PRICE_BAND_CHECK,
    REJECTED_SELF_TRADE,
    SENT_RING,
    SUBMIT,
    TARGET,
    TOO_MANY,
    TOO_MUCH,
)
from mmkit.sim.kernel.money import held_at_mid, too_much, value_of
from mmkit.sim.kernel.pointers import (
    commands_at,
    entries_at,
    inline,
    int64s,
    jit,
    orders_at,
    reports_at,
    slots_at,
)
from mmkit.tape import NEVER
from mmkit.tape.index import UNKNOWN

_WINDOW_NS = 10_000_000_000


@inline
def note(
    s: Any,
    what: int,
    ts_local: int,
    ts_exchange: int,
    order_id: int,
    price: int,
    quantity: int,
    remaining: int,
    selling: int,
    taker: int,
    fee: int,
) -> None:
    """Write a line of the log; unless everything is recorded, only of what moves money, and of the feed."""
    if not s.recording and what not in (FILLED, FUNDED, FEED_LOST, FEED_RESTORED):
        return
    entry = entries_at(s.log, s.log_size)[s.logged]
    entry.what, entry.ts_local, entry.ts_exchange = what, ts_local, ts_exchange
    entry.order_id, entry.price, entry.quantity = order_id, price, quantity
    entry.remaining, entry.selling, entry.taker, entry.fee = remaining, selling, taker, fee
    s.logged += 1


# --- commands ---


@inline
def _send(s: Any, what: int, slot: int) -> None:
    order = orders_at(s.orders, MOST_ORDERS)[slot]
    arriving = commands_at(s.arriving, LINE)
    due = s.now + latency(s, ENTRY, s.now)
    end = s.arriving_end
    if end > s.arriving_first:
        due = max(due, arriving[(end - 1) & (LINE - 1)].due)
    command = arriving[end & (LINE - 1)]
    command.due, command.what, command.slot = due, what, slot
    s.arriving_end = end + 1
    order.pending += 1
    if what == CANCEL:
        order.canceling = 1
        s.n_cancels += 1
        note(s, CANCEL, s.now, 0, order.id, 0, 0, 0, 0, 0, 0)
    else:
        s.n_orders += 1
        note(
            s,
            SUBMIT,
            s.now,
            0,
            order.id,
            order.price,
            order.quantity,
            0,
            order.selling,
            order.taking,
            0,
        )


@inline
def _submit(s: Any, order_id: int, selling: int, price: int, quantity: int, taking: int) -> int:
    """Make an order and send it; return 0, or `TOO_MANY`."""
    if s.frees == 0:
        return TOO_MANY
    s.frees -= 1
    slot = int64s(s.free, MOST_ORDERS)[s.frees]
    order = orders_at(s.orders, MOST_ORDERS)[slot]
    order.id, order.selling, order.price, order.quantity = order_id, selling, price, quantity
    order.taking, order.remaining, order.left = taking, quantity, quantity
    order.submitting, order.canceling, order.open = 1, 0, 1
    order.on_book = order.pending = 0
    slots_at(s.open, selling, MOST_ORDERS)[s.opens[selling]] = slot
    s.opens[selling] += 1
    _send(s, SUBMIT, slot)
    return 0


@inline
def _close(s: Any, slot: int) -> None:
    """The order may not trade any more, as far as the engine knows."""
    orders = orders_at(s.orders, MOST_ORDERS)
    side = orders[slot].selling
    slots = slots_at(s.open, side, MOST_ORDERS)
    count = s.opens[side] - 1
    place = 0
    while slots[place] != slot:
        place += 1
    for n in range(place, count):
        slots[n] = slots[n + 1]
    s.opens[side] = count
    orders[slot].open = 0


@jit
def pull(s: Any) -> None:
    """Cancel everything that can be canceled now, in order of submission."""
    if s.stopped or s.opens[0] + s.opens[1] == 0:
        return
    orders = orders_at(s.orders, MOST_ORDERS)
    bids, asks = slots_at(s.open, 0, MOST_ORDERS), slots_at(s.open, 1, MOST_ORDERS)
    b = a = 0
    while b < s.opens[0] or a < s.opens[1]:
        if a == s.opens[1] or (b < s.opens[0] and orders[bids[b]].id < orders[asks[a]].id):
            slot = bids[b]
            b += 1
        else:
            slot = asks[a]
            a += 1
        if not orders[slot].submitting and not orders[slot].canceling:
            _send(s, CANCEL, slot)


# --- money ---


@inline
def mark(s: Any) -> None:
    """Follow the equity's peak and largest fall, and halt at the limit."""
    position = s.position
    if position != 0 and (s.bid < 0 or s.ask < 0):
        return
    equity = s.cash_worth * s.cash - s.fee_worth * s.fees + s.funding
    if position:
        equity += held_at_mid(s)
    if equity > s.peak:
        s.peak = equity
    elif s.peak - equity > s.drawdown:
        s.drawdown = s.peak - equity
    if not s.halted and s.max_drawdown > 0 and s.peak - equity >= s.max_drawdown:
        s.halted = 1
        s.halted_by = s.peak - equity
        pull(s)


# --- reports ---


@jit
def receive_report(s: Any) -> int:
    """Tell the engine the first report on the line; return what it is."""
    told = reports_at(s.reports, LINE)[s.reports_first & (LINE - 1)]
    s.reports_first += 1
    slot, what = told.slot, told.what
    order = orders_at(s.orders, MOST_ORDERS)[slot]
    s.now = max(s.now, told.due)
    if what == FUNDED:
        note(
            s,
            FUNDED,
            told.due,
            told.at,
            0,
            told.price,
            told.quantity,
            told.remaining,
            0,
            0,
            told.fee,
        )
        s.funding += told.fee
        s.n_fundings += 1
        s.overflow |= too_much(s)
        mark(s)
        _next_fill(s)
        return what
    order.pending -= 1
    note(
        s,
        what,
        told.due,
        told.at,
        order.id,
        told.price,
        told.quantity,
        told.remaining,
        order.selling,
        told.taker,
        told.fee,
    )
    if what == FILLED:
        order.remaining = told.remaining
        if told.remaining == 0:
            _close(s, slot)
        value = value_of(s, told.price, told.quantity)
        s.position += -told.quantity if order.selling else told.quantity
        s.cash += value if order.selling != s.inverse else -value
        s.fees += told.fee
        s.n_fills += 1
        s.n_maker_fills += 1 - told.taker
        s.overflow |= too_much(s)
        mark(s)
        _next_fill(s)
    elif what == ACCEPTED:
        order.submitting = 0
    elif what == CANCELED:
        _close(s, slot)
    elif what == CANCEL_REJECTED:
        order.canceling = 0
    else:
        s.n_rejected += 1
        s.n_self_trades += what == REJECTED_SELF_TRADE
        _close(s, slot)
    if not order.open and order.pending == 0:
        int64s(s.free, MOST_ORDERS)[s.frees] = slot
        s.frees += 1
    return what


@inline
def _next_fill(s: Any) -> None:
    """Note when the next fill is due that is on the line."""
    reports = reports_at(s.reports, LINE)
    s.fill_due = NEVER
    for n in range(s.reports_first, s.reports_end):
        if reports[n & (LINE - 1)].what in (FILLED, FUNDED):
            s.fill_due = reports[n & (LINE - 1)].due
            return


# --- decisions ---


@inline
def approved(s: Any, selling: int, price: int, quantity: int) -> bool:
    """As `mmkit.risk`: whether every check lets the order pass; counts the first that does not."""
    for n in range(s.checks):
        code, limit = s.check[n], s.check_limit[n]
        refused = False
        if code == MAX_POSITION_CHECK:
            orders = orders_at(s.orders, MOST_ORDERS)
            slots = slots_at(s.open, selling, MOST_ORDERS)
            held = -s.position if selling else s.position
            for m in range(s.opens[selling]):
                held += orders[slots[m]].remaining
            # Not their sum, which may outgrow 64 bits.
            refused = quantity > limit - held
        elif code == MAX_ORDER_CHECK:
            refused = quantity > limit
        elif code == PRICE_BAND_CHECK:
            if s.bid < 0 or s.ask < 0:
                refused = True
            else:
                mid = (s.bid + s.ask) / 2
                band = s.band_share * mid / s.band_whole + s.band_ticks
                refused = abs(price - mid) > band
        if refused:
            s.vetoes[n] += 1
            return False
    return True


@inline
def _may_send(s: Any) -> bool:
    """Count an order against the venue's rate limit, unless that is reached."""
    sent = int64s(s.sent, SENT_RING)
    while s.sent_end > s.sent_first and sent[s.sent_first & (SENT_RING - 1)] <= s.now - _WINDOW_NS:
        s.sent_first += 1
    if s.sent_end - s.sent_first >= s.orders_per_window:
        s.held_back += 1
        return False
    sent[s.sent_end & (SENT_RING - 1)] = s.now
    s.sent_end += 1
    return True


@inline
def _open_order(s: Any, order_id: int, selling: int, price: int, quantity: int, taking: int) -> int:
    """Send an order that has been counted, if every check lets it pass; return 0, or `TOO_MANY`."""
    if not approved(s, selling, price, quantity):
        s.sent_end -= 1
        return 0
    return _submit(s, order_id, selling, price, quantity, taking)


@inline
def _stays(s: Any, wanted: Any, orders: Any, selling: int, n: int) -> bool:
    """Whether no order is to be sent for the level `n` that may be wanted on a side; cancels what is not wanted."""
    if s.opens[selling] == 0:
        return wanted[selling] == 0
    slot = slots_at(s.open, selling, MOST_ORDERS)[0]
    order = orders[slot]
    if order.submitting or order.canceling:
        return True
    there = (
        wanted[selling] != 0
        and wanted[2 + 2 * n] == order.price
        and wanted[3 + 2 * n] == order.quantity
    )
    if not there:
        _send(s, CANCEL, slot)
    return there or wanted[selling] == 0


@inline
def _towards_one(s: Any, wanted: Any, orders: Any) -> int:
    """As `towards`, in a fraction of its time, where there is one level a side at most, and one order."""
    bid_stays = _stays(s, wanted, orders, 0, 0)
    ask_stays = _stays(s, wanted, orders, 1, wanted[0])
    if bid_stays and ask_stays:
        return 0
    order_id = s.next_id
    bids = not bid_stays and _may_send(s)
    asks = not ask_stays and _may_send(s)
    s.next_id += int(bids) + int(asks)
    for selling in range(2):
        if asks if selling else bids:
            n = wanted[0] if selling else 0
            failed = _open_order(s, order_id, selling, wanted[2 + 2 * n], wanted[3 + 2 * n], 0)
            if failed:
                return failed
            order_id += 1
    return 0


@jit
def towards(s: Any) -> int:
    """As `mmkit.quoter`: send the least that leads from the working orders to what is wanted.

    Returns 0, or why the run cannot go on.
    """
    if s.overflow:
        return TOO_MUCH
    wanted = int64s(s.wanted, 2 + 4 * MOST_LEVELS)
    if wanted[0] == TARGET:
        return _reach(s, wanted[1])
    orders = orders_at(s.orders, MOST_ORDERS)
    if max(wanted[0], wanted[1], s.opens[0], s.opens[1]) <= 1:
        return _towards_one(s, wanted, orders)
    # Of the wanted levels, bids first: whether there is nothing to be sent for it.
    settled = int64s(s.settled, 2 * MOST_LEVELS)
    submits = first = 0
    for selling in range(2):
        end = first + wanted[selling]
        settled[first:end] = 0
        slots = slots_at(s.open, selling, MOST_ORDERS)
        blocked, kept = False, 0
        for m in range(s.opens[selling]):
            order = orders[slots[m]]
            if order.submitting or order.canceling:
                blocked = True
                continue
            found = False
            for n in range(first, end):
                if (
                    wanted[2 + 2 * n] == order.price
                    and wanted[3 + 2 * n] == order.quantity
                    and not settled[n]
                ):
                    settled[n] = 1
                    kept += 1
                    found = True
                    break
            if not found:
                _send(s, CANCEL, slots[m])
        if blocked:
            # What the answer brings may be what was wanted.
            settled[first:end] = 1
        else:
            submits += wanted[selling] - kept
        first = end
    if submits == 0:
        return 0
    # The reference makes all orders before it sends the first: ids and the rate limit come before the checks.
    order_id = s.next_id
    for n in range(first):
        if not settled[n]:
            if _may_send(s):
                s.next_id += 1
            else:
                settled[n] = 1
    for n in range(first):
        if not settled[n]:
            selling = 1 if n >= wanted[0] else 0
            failed = _open_order(s, order_id, selling, wanted[2 + 2 * n], wanted[3 + 2 * n], 0)
            if failed:
                return failed
            order_id += 1
    return 0


@jit
def _reach(s: Any, target: int) -> int:
    """Take towards a position, once nothing of ours is out that may yet change it."""
    working = s.opens[0] + s.opens[1]
    pull(s)
    missing = target - s.position
    if missing == 0 or working > 0:
        return 0
    selling = 1 if missing < 0 else 0
    price = s.bid if selling else s.ask
    if price < 0 or not _may_send(s):
        return 0
    s.next_id += 1
    return _open_order(s, s.next_id - 1, selling, price, abs(missing), 1)


@jit
def mind_expiry(s: Any) -> None:
    """Note when the next of the signals that hold expires."""
    s.expiry = NEVER
    for which in range(MOST_SIGNALS):
        n = s.heard[which] - 1
        if n >= 0:
            expires = int64s(s.signal_ts, s.signals)[n] + s.signal_expires[which]
            if expires > s.now:
                s.expiry = min(s.expiry, expires)


@inline
def may_quote(s: Any) -> bool:
    """Whether the strategy may be asked at all."""
    return not s.halted and not s.stopped and s.bid != UNKNOWN


@inline
def decide(s: Any) -> bool:
    """Return whether the strategy is to be asked now; pull if nothing may be on the book."""
    s.decided = s.now
    if s.expiry < s.now:
        mind_expiry(s)
    if not may_quote(s):
        pull(s)
        return False
    s.pulled = 1 if s.stale > 0 and s.now - s.last_data >= s.stale else 0
    if s.pulled:
        pull(s)
        return False
    return True
