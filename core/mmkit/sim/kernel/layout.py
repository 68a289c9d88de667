"""What the compiled engine works on: one record of state, and tables it points to.

Whatever is a price is in ticks, a quantity in lots, a time in ns. Money is a whole number too. Spot and linear:
cash in ``tick x lot x contract_size``, fees in that by the fees' common denominator, equity in half of that again,
as mid may lie between two ticks. Inverse: all in units of the grid of `mmkit.portfolio`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_LEVELS = 128
"""A side; a strategy that wants more goes to the reference."""
MOST_ORDERS = 4 * MOST_LEVELS
"""Open, or ended with something still on the line."""
LINE = 4 * MOST_ORDERS
"""Commands, and reports, that can be on their way at once; a power of two."""
SENT_RING = 512
"""A power of two above the venue's limit of orders in ten seconds."""
LOG_ROOM = 2 * MOST_ORDERS
"""Lines that one step may write."""
MOST_CHECKS = 8
MOST_SIGNALS = 16
DAYS = 31
"""Days of which the kernel keeps what was traded: the one that goes on, and the window of a fee tier."""

# What is on the line, and what the log tells.
SUBMIT, CANCEL = 1, 2
ACCEPTED, REJECTED_POST_ONLY, REJECTED_UNKNOWN, FILLED, CANCELED, CANCEL_REJECTED = 3, 4, 5, 6, 7, 8
FEED_LOST, FEED_RESTORED, FUNDED, REJECTED_SELF_TRADE, SIGNAL = 9, 10, 11, 12, 13

# Why `advance` returns.
ASK, HEARD, LOG_FULL, END, LIMIT, TOO_MANY, TOO_MUCH, BAD, PAY = 1, 2, 3, 4, 5, 6, 7, 8, 9

# Where in an instant it was when it returned.
NEXT, RECEIVING, MESSAGE, REPORTING, REPORTED, TELLING, TOLD, WAKING = 0, 1, 2, 3, 4, 5, 6, 7

RISK_AVERSE, POWER, LOG_MODEL, CALIBRATED, OPTIMISTIC, PESSIMISTIC = 0, 1, 2, 3, 4, 5
CONSTANT, DRAWN, RECORDED = 0, 1, 2
"""Models of latency."""
MAX_POSITION_CHECK, MAX_ORDER_CHECK, PRICE_BAND_CHECK = 1, 2, 3
TARGET = -1
"""In place of the number of bids: the next number is a position to be reached by taking."""

NOWHERE = -(1 << 62)
"""A price that there is not."""

# The view, by place: then price and quantity of each bid, best first, and of each ask.
NOW, BEST_BID, BEST_ASK, POSITION, LEVELS = 0, 1, 2, 3, 4

_i, _f = "i8", "f8"

STATE = np.dtype(
    [
        # Where the columns of the tape and of its index lie, and how long they are.
        *[(name, _i) for name in ("rows", "order", "ts_exchange", "ts_local", "kind")],
        *[(name, _i) for name in ("price", "quantity", "large", "larges")],
        *[(name, _i) for name in ("tops", "top_row", "top_ts", "top_bid", "top_ask")],
        *[(name, _i) for name in ("exchange_tops", "exchange_row", "exchange_bid")],
        *[(name, _i) for name in ("exchange_ask", "specials", "special")],
        # Where the tables lie.
        *[(name, _i) for name in ("ladder", "local_ladder", "span", "base", "orders", "open")],
        *[
            (name, _i)
            for name in ("resting", "free", "arriving", "reports", "sent", "wanted", "settled")
        ],
        *[(name, _i) for name in ("log", "log_size", "shown", "parameters", "decision")],
        # Signals, in the order in which they become known: the time of each one's sample, whose it is, and what it
        # says; of each name how long after its sample it is known, and expires.
        *[(name, _i) for name in ("signals", "signal_ts", "signal_of", "signal_said")],
        *[(name, _i, (MOST_SIGNALS,)) for name in ("signal_latency", "signal_expires")],
        # Which one a compiled decision looks at, -1 for none, and where among its parameters it finds it.
        *[(name, _i) for name in ("signal_shown", "signal_place")],
        # Settings.
        *[(name, _i) for name in ("every", "on_best", "on_trade", "on_fill", "listens", "depth")],
        ("on_signal", _i),
        # Latency there and back: its model, the constant, and where values and times lie.
        *[(name, _i, (2,)) for name in ("latency", "constant", "values", "times", "measured")],
        ("key", "u8", (2,)),
        *[(name, _i) for name in ("queue", "behind", "knots", "partial", "stale")],
        *[(name, _i) for name in ("max_drawdown", "checks")],
        # Fees: the tiers' rates by the denominator they share, and what must have been traded for each.
        *[
            (name, _i)
            for name in ("tiers", "rates", "needed", "traded", "first_day", "denominator")
        ],
        # Inverse contracts: one lot is worth by / over at one tick; and what amounts are worth as equity.
        *[(name, _i) for name in ("inverse", "by", "over", "cash_worth", "fee_worth")],
        ("funded", _i),
        *[(name, _i) for name in ("limit", "recording", "orders_per_window")],
        ("check", _i, (MOST_CHECKS,)),
        ("check_limit", _i, (MOST_CHECKS,)),
        *[(name, _f) for name in ("exponent", "band_share", "band_whole", "band_ticks")],
        # The instant being worked on.
        *[
            (name, _i)
            for name in ("at", "phase", "now", "end", "next_wake", "last_data", "decided", "asked")
        ],
        *[(name, _i) for name in ("message_row", "report_end")],
        # How far each reader has come.
        *[
            (name, _i)
            for name in ("row", "row_at", "top", "exchange_top", "special_at", "data_row")
        ],
        *[(name, _i) for name in ("trade_row", "ladder_row")],
        # Of signals: the next to be told, when one that holds expires next, and of each name 1 + the last told.
        ("signal_at", _i),
        ("expiry", _i),
        ("heard", _i, (MOST_SIGNALS,)),
        # The engine.
        *[(name, _i) for name in ("bid", "ask", "position", "halted", "halted_by", "pulled")],
        *[(name, _i) for name in ("stopped", "next_id", "sent_first", "sent_end", "logged")],
        *[(name, _i) for name in ("cash", "fees", "funding", "peak", "drawdown")],
        ("overflow", _i),
        ("opens", _i, (2,)),
        # The exchange.
        *[
            (name, _i)
            for name in ("known", "filling", "in_snapshot", "telling", "used_low", "used_high")
        ],
        *[(name, _i) for name in ("frees", "arriving_first", "arriving_end")],
        *[(name, _i) for name in ("mark", "rate", "funding_due", "venue_position")],
        *[(name, _i) for name in ("day", "maker", "taker")],
        *[(name, _i) for name in ("reports_first", "reports_end", "fill_due", "eager")],
        ("own_low", _i, (2,)),
        ("own_width", _i, (2,)),
        ("across", _i, (2,)),
        ("restings", _i, (2,)),
        ("local_low", _i),
        ("local_high", _i),
        # Counted.
        *[
            (name, _i)
            for name in ("n_orders", "n_cancels", "n_rejected", "n_self_trades", "n_fills")
        ],
        *[(name, _i) for name in ("n_maker_fills", "n_fundings", "n_wakes", "n_gaps", "held_back")],
        ("vetoes", _i, (MOST_CHECKS,)),
    ],
    align=True,
)
"""All state of one run that is a single number."""

ORDER = np.dtype(
    [
        *[(name, _i) for name in ("id", "selling", "price", "quantity", "taking")],
        # As the engine knows it.
        *[(name, _i) for name in ("remaining", "submitting", "canceling", "open")],
        # As the exchange does.
        *[(name, _i) for name in ("left", "on_book", "before", "pending")],
        ("front", _f),
        ("traded", _f),
    ],
    align=True,
)
"""One of our orders. `pending` counts what is on the line about it; `before` is the total at its price when
a snapshot began; `front` and `traded` are as in `mmkit.sim.queue`."""

COMMAND = np.dtype([(name, _i) for name in ("due", "what", "slot")], align=True)
REPORT = np.dtype(
    [
        (name, _i)
        for name in ("due", "what", "slot", "at", "price", "quantity", "remaining", "taker", "fee")
    ],
    align=True,
)
ENTRY = np.dtype(
    [
        (name, _i)
        for name in (
            *("what", "ts_local", "ts_exchange", "order_id", "price"),
            *("quantity", "remaining", "selling", "taker", "fee"),
        )
    ],
    align=True,
)
"""A line of the log. Of a feed that was lost, `price` is the reason; of funding, `price` is the mark price and
`remaining` the rate, as in the tape, and `quantity` the position. `fee` is in the kernel's unit of fees. Of a signal, `order_id` is its place among all of the run."""


def tables(span: int, log_lines: int, depth: int) -> dict[str, Any]:
    """Return the tables of a new run, each to be pointed to by the field of its name."""
    return {
        "ladder": np.zeros(2 * span + 1, np.int32),
        "local_ladder": np.zeros((2, span if depth else 0), np.int32),
        "orders": np.zeros(MOST_ORDERS, ORDER),
        "open": np.zeros((2, MOST_ORDERS), np.int64),
        "resting": np.zeros((2, MOST_ORDERS), np.int64),
        "free": np.arange(MOST_ORDERS)[::-1].copy(),
        "arriving": np.zeros(LINE, COMMAND),
        "reports": np.zeros(LINE, REPORT),
        "sent": np.zeros(SENT_RING, np.int64),
        "wanted": np.zeros(2 + 4 * MOST_LEVELS, np.int64),
        "settled": np.zeros(2 * MOST_LEVELS, np.int64),
        "log": np.zeros(log_lines, ENTRY),
        "shown": np.zeros(LEVELS + 4 * depth, np.int64),
    }
