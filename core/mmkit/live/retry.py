"""When something that has no answer yet, or not the one that is waited for, is asked for again."""

from __future__ import annotations

from mmkit.tape import NEVER

FIRST_WAIT_NS = 250_000_000
_LONGEST_WAIT_NS = 15_000_000_000


class Retry:
    """When something is asked for again: at once, then less and less often."""

    __slots__ = ("asked_ns", "denied_ns", "due_ns", "under_way", "wait_ns")

    def __init__(self, due_ns: int) -> None:
        self.due_ns, self.wait_ns, self.under_way = due_ns, FIRST_WAIT_NS, False
        self.asked_ns = 0
        self.denied_ns = NEVER

    def asked(self, now_ns: int) -> None:
        """Take notice that it is being asked."""
        self.under_way, self.due_ns, self.asked_ns = True, NEVER, now_ns

    def denied(self, now_ns: int, valid_ns: int) -> None:
        """The venue has said that there is no such order; that counts if it was asked after the order could arrive."""
        if self.asked_ns >= valid_ns:
            self.denied_ns = min(self.denied_ns, now_ns)

    def again(self, now_ns: int, least_ns: int = 0) -> None:
        """Have it asked again, not before `least_ns` from now."""
        self.under_way = False
        self.due_ns = now_ns + max(self.wait_ns, least_ns)
        self.wait_ns = min(2 * self.wait_ns, _LONGEST_WAIT_NS)
