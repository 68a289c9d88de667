"""Risk checks that stop a run for good, besides `mmkit.risk.MaxDrawdown`."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from pydantic import Field

from mmkit.events import OrderEvent, OrderRejected
from mmkit.interfaces import Context, PluginConfig, RiskCheck, RiskView
from mmkit.units import Exact

_DAY_NS = 86_400_000_000_000
_MINUTE_NS = 60_000_000_000


class LossLimit(PluginConfig):
    """A limit on a loss."""

    limit: Exact = Field(gt=0, description="Money in the settlement currency, a decimal in quotes.")


class MaxLossPerDay(RiskCheck):
    """Stop for good once so much has been lost since midnight UTC, or since the run began if that was later.

    A live run goes on from what earlier ones have lost on the day: `begin`.
    """

    def __init__(self, config: LossLimit, context: Context) -> None:
        self.limit = config.limit
        self._day = -1
        self._at_midnight = self._last = Decimal(0)
        self.lost: Decimal | None = None
        """With which loss it has stopped the run; `None` if it has not."""

    @property
    def today(self) -> tuple[int, Decimal]:
        """The day that is being counted, days since 1970, or -1 for none yet; and the equity at its beginning."""
        return self._day, self._at_midnight

    def begin(self, day: int, equity: Decimal) -> None:
        """Count a day from an equity that it began with, which may be of before this run."""
        self._day, self._at_midnight = day, equity

    def halt(self, view: RiskView) -> str | None:
        """Halt at or beyond the limit."""
        day, equity = view.now // _DAY_NS, view.equity
        if day != self._day:
            # What it was when it was last looked at: what has changed since belongs to the new day.
            self._day, self._at_midnight = day, self._last
        self._last = equity
        loss = self._at_midnight - equity
        if loss < self.limit:
            return None
        self.lost = loss if self.lost is None else self.lost
        return f"lost {loss:.8f} today, limit {self.limit:f}"


class RejectLimit(PluginConfig):
    """A limit on refused orders."""

    limit: int = Field(ge=1, description="How many within a minute.")


class MaxRejectsPerMinute(RiskCheck):
    """Stop for good once the venue has refused so many orders within a minute.

    Post-only orders that would have traded count too: a strategy that makes many of them does not see the
    market that it quotes in.
    """

    def __init__(self, config: RejectLimit, context: Context) -> None:
        self.limit = config.limit
        self._at: deque[int] = deque()

    def heard(self, event: OrderEvent, view: RiskView) -> str | None:
        """Halt at the limit."""
        if not isinstance(event, OrderRejected):
            return None
        refused = self._at
        refused.append(event.ts_local)
        while refused[0] <= event.ts_local - _MINUTE_NS:
            refused.popleft()
        if len(refused) < self.limit:
            return None
        return f"{len(refused)} orders refused within a minute, limit {self.limit}; the last: {event.reason}"


class PositionLimit(PluginConfig):
    """A limit on the position."""

    limit: Exact = Field(
        gt=0, description="Quantity in base currency, or contracts, a decimal in quotes."
    )


class HaltPosition(RiskCheck):
    """Stop for good once the position is beyond the limit, by whatever way it got there."""

    def __init__(self, config: PositionLimit, context: Context) -> None:
        self.limit = context.instrument.floor_lots(config.limit)

    def heard(self, event: OrderEvent, view: RiskView) -> str | None:
        """Halt beyond the limit."""
        held = abs(view.position)
        if held <= self.limit:
            return None
        return f"position of {view.position} lots, limit {self.limit} ({held - self.limit} beyond)"
