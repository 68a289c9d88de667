"""What a day has cost so far, over all of its runs."""

from __future__ import annotations

from decimal import Decimal

import msgspec

DAY_NS = 86_400_000_000_000


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """A day in UTC, of one market.

    Attributes:
        day: Its number, days since 1970.
        worth: What fills and funding had come to when it began, or when its first run did, the position valued at mid:
            `mmkit.live.ledger.Ledger.worth`.
        outside: The position that no fill of ours has made, in lots, which is in `worth` too.
        lost: With which loss the kill switch has stopped it; `None` if it has not.
    """

    day: int
    worth: Decimal
    outside: int = 0
    lost: Decimal | None = None

    @property
    def end_ns(self) -> int:
        """When the next one begins, ns since the epoch."""
        return (self.day + 1) * DAY_NS
