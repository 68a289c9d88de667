"""The loss of a day over all of its live runs in one market: `max_loss_per_day` after a restart."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from mmkit.engine import Engine
from mmkit.errors import RunError
from mmkit.kill_switches import MaxLossPerDay
from mmkit.live.days import DAY_NS, Day
from mmkit.live.ledger import PRECISE, Ledger


class Days(Protocol):
    """Where days are kept: the journal of orders."""

    def day(self, number: int) -> Day | None:
        """Return what was kept of a day."""

    def keep_day(self, day: Day) -> None:
        """Put a day on the disk."""


class DailyLoss:
    """Has a kill switch go on from the loss that the day has cost so far, and keeps what the next run needs to.

    What is kept is what all fills and funding had come to when the day began, position valued at mid. The rest follows from
    the journal itself, so that nothing is lost with a process that dies, and what happens between two runs counts too:
    orders that were filled when nobody was there, funding, and the price of what is held.

    Args:
        check: Of the market.
        engine: Of the market; before it begins with what the account has.
        ledger: What fills and funding come to.
        days: Where it is kept.
        path: The journal of orders, for errors.
        outside: The position that no fill of ours has made, in lots.

    Raises:
        RunError: if the kill switch has stopped this day already.
    """

    def __init__(
        self,
        check: MaxLossPerDay,
        engine: Engine,
        ledger: Ledger,
        days: Days,
        path: Path,
        outside: int = 0,
    ) -> None:
        self._check, self._engine, self._ledger = check, engine, ledger
        self._days, self._outside = days, outside
        self._kept: Day | None = None
        self._begun_at: Decimal | None = None
        """What all had come to when the profit of this run was 0."""
        today = days.day(engine.now // DAY_NS)
        if today is not None and today.lost is not None and today.lost >= check.limit:
            again = datetime.datetime.fromtimestamp(today.end_ns / 1e9, tz=datetime.UTC)
            raise RunError(
                f"{path}: 'max_loss_per_day' has stopped this market today, with a loss of {today.lost.normalize():f}; the limit "
                f"is {check.limit:f}; it can be traded again from {again:%Y-%m-%d %H:%M} UTC on, or today with a higher limit"
            )

    def begin(self, position: int, dust: Decimal) -> None:
        """Take in what the engine begins with."""
        if position or dust:
            self._engine.opened = self.opened
        else:
            self.opened(1)  # nothing is held, so that every price will do

    def opened(self, price: int) -> None:
        """Take in at which price, in ticks, the position was valued that the run begins with."""
        day = self._engine.now // DAY_NS
        self._begun_at = self._ledger.worth(price, self._outside)
        self._kept = self._days.day(day)
        if self._kept is not None:
            now = self._ledger.worth(price, self._kept.outside)
            self._check.begin(day, PRECISE.subtract(self._kept.worth, now))
        else:
            self._check.begin(day, Decimal(0))

    def keep(self) -> None:
        """Write down what is new: a day that has begun, and that it was stopped.

        Raises:
            RunError: if that cannot be written.
        """
        if self._begun_at is None:
            return
        day, equity = self._check.today
        kept, lost = self._kept, self._check.lost
        if kept is None or kept.day != day:
            worth = PRECISE.add(self._begun_at, equity)
            kept = Day(day=day, worth=worth, outside=self._outside)
        if lost is not None and kept.lost is None:
            kept = replace(kept, lost=lost)
        if kept is not self._kept:
            self._days.keep_day(kept)
            self._kept = kept
