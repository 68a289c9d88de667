"""What the compiled features work on: one array of whole numbers, and a ladder beside it.

`memory` is int64: a header, the best levels as they are and as they were before the last message, one record for
each feature, and the rings that the records point to. `ladder` is int64 of shape (2, span): lots by price, bids and
asks. Prices in ticks, quantities in lots, times in ns. Sums are of whole numbers, so that no rounding piles up and
what was asked before changes nothing.
"""

from __future__ import annotations

# The header, by place.
KNOWN, FILLING, USABLE, SINCE, LAST_TS, CHANGED = 0, 1, 2, 3, 4, 5
"""Whether the book is known, is being told anew, can be used; since when; the last message; the last change of a
best price or its quantity."""
BASE, SPAN, USED_LOW, USED_HIGH = 6, 7, 8, 9
"""The ladder: its first price, its length, and the first and the last place that may hold something."""
BOUND = 10
"""And the place after it: no bid is above, no ask below."""
COUNT = 12
"""And after it: bids and asks that there are."""
TOUCHED = 14
"""Whether one of the levels that are kept may have changed."""
DEPTH, FEATURES, FLOWS, TWICE_MID = 15, 16, 17, 18
BOUGHT, SOLD, BUYS, SELLS = 19, 20, 21, 22
"""Of the message that is being taken in: lots and trades by the aggressor's side."""
NEED_LOW, NEED_HIGH, NEED_RING, BAD_ROW, NEXT_ROW = 23, 24, 25, 26, 27
"""Why it cannot go on: prices beyond the ladder, the feature whose ring is full, the row that cannot be; and where
to go on."""
HEADER = 32

TOPS = 9
"""Columns of `DEPTH` levels behind the header: prices and quantities of bids and of asks, the same as they were
before, and the order flow."""

# A feature's record, by place.
CODE, LEVELS, WINDOW, BUCKET, RING, ROOM, FIRST, END, SUM_A, SUM_B, PART_A, PART_B = range(12)
RECORD = 12
"""Places of a record. `RING` is where its ring begins, `ROOM` how many entries it takes, a power of two."""
ENTRY = 3
"""Places of an entry of a ring: its time and two numbers."""

FAR = 1 << 62
"""In place of the price of a level that there is not: as an ask; negative, as a bid."""

MOST = 1 << 53
"""Lots; beyond it a float does not tell two quantities apart."""

# What features compute.
SPREAD, MID, MICROPRICE, SIZE_BID, SIZE_ASK, IMBALANCE, SLOPE_BID, SLOPE_ASK, AGE = range(9)
PRICE_AT_BID, PRICE_AT_ASK, SIZE_AT_BID, SIZE_AT_ASK = range(9, 13)
OFI, TRADE_IMBALANCE, BUY_SELL_RATIO, VOLATILITY, RETURN, VPIN = 16, 17, 18, 19, 20, 21

# Why compiled code returns: done, or what it needs before it can go on.
DONE, GROW, FULL, BAD, BACK, PAUSE = 0, -1, -2, -3, -4, -5
