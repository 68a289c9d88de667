"""How fast requests may leave, and what waits when the venue says that it was too fast."""

from __future__ import annotations

from collections import deque

from mmkit.accounts import Refusal, Refused
from mmkit.tape import NEVER

WINDOW_NS = 10_000_000_000
"""Venues count orders over ten seconds (Binance: ``ORDERS``, interval ``SECOND``, 10)."""
LEAST_HOLD_NS = 1_000_000_000
"""How long nothing is sent after a refusal that says nothing of when to come back."""
FOR_NOW = frozenset({Refusal.RATE, Refusal.BUSY, Refusal.CLOCK})
"""What may be tried again later as it is."""


class Pace:
    """Says what may leave now. No I/O, no clock.

    No order leaves in a hold: either the venue has refused one for now, or there would be more of them in ten
    seconds than it allows. It is refused here, and not kept: what is sent late is sent at an old price. A hold
    of our own lasts until half of the orders that are allowed may be sent again, so that quotes do not come and go.

    Once the venue refuses something that is no order for its rate, nothing leaves until it says, as asking on may
    get the address banned; then cancels leave first.
    """

    def __init__(self) -> None:
        self.orders_per_10s: int | None = None
        """What the venue allows; `None` if it does not tell."""
        self.why = ""
        """Of the last hold."""
        self._sent: deque[int] = deque()
        self._held_ns = 0
        self.silent_until_ns = 0
        """Until then nothing leaves."""

    def place(self, now_ns: int) -> Refused | None:
        """Count an order that leaves now, or say why it does not."""
        if not self.held(now_ns):
            self._forget(now_ns)
            limit = self.orders_per_10s
            if limit is None or len(self._sent) < limit:
                self._sent.append(now_ns)
                return None
            self._hold(
                self._sent[len(self._sent) - limit // 2 - 1] + WINDOW_NS,
                f"{len(self._sent)} orders have been sent within 10 s, and the venue allows {limit}",
            )
        return Refused(Refusal.RATE, self.why, retry_ns=self._held_ns - now_ns)

    def refused(self, refused: Refused, now_ns: int, *, an_order: bool) -> None:
        """Take in that the venue has refused something, an order or anything else."""
        if refused.refusal not in FOR_NOW:
            return
        until = now_ns + max(refused.retry_ns, LEAST_HOLD_NS)
        self._hold(until, f"the venue refuses for now: {refused}")
        if refused.refusal is Refusal.RATE and not an_order:
            self.silent_until_ns = max(self.silent_until_ns, until)

    def held(self, now_ns: int) -> bool:
        """Return whether no order may leave."""
        return now_ns < self._held_ns

    def silent(self, now_ns: int) -> bool:
        """Return whether nothing at all may leave."""
        return now_ns < self.silent_until_ns

    def next_ns(self, now_ns: int) -> int:
        """Return when either of them is over; `NEVER` if neither is."""
        return min(
            (one for one in (self._held_ns, self.silent_until_ns) if one > now_ns), default=NEVER
        )

    def _hold(self, until_ns: int, why: str) -> None:
        self._held_ns, self.why = max(self._held_ns, until_ns), why

    def _forget(self, now_ns: int) -> None:
        while self._sent and self._sent[0] <= now_ns - WINDOW_NS:
            self._sent.popleft()
