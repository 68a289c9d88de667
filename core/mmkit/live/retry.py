"""When something that has no answer yet, or not the one that is waited for, is asked for again."""

from __future__ import annotations

from mmkit.tape import NEVER

FIRST_WAIT_NS = 250_000_000
_LONGEST_WAIT_NS = 15_000_000_000


class Retry:
    """When something is asked for again: at once, then less and less often.

    Args:
        due_ns: When it is asked for first.
        wait_ns: How long after the first time it is asked again; after each that follows twice as long.
        longest_ns: How long at the most.
    """

    __slots__ = (
        "_first_ns",
        "_longest_ns",
        "asked_ns",
        "denied_ns",
        "due_ns",
        "under_way",
        "wait_ns",
    )

    def __init__(
        self, due_ns: int, wait_ns: int = FIRST_WAIT_NS, longest_ns: int = _LONGEST_WAIT_NS
    ) -> None:
        self.due_ns, self.wait_ns, self.under_way = due_ns, wait_ns, False
        self._first_ns, self._longest_ns = wait_ns, longest_ns
        self.asked_ns = 0
        self.denied_ns = NEVER

    def asked(self, now_ns: int) -> None:
        """Take notice that it is being asked."""
        self.under_way, self.due_ns, self.asked_ns = True, NEVER, now_ns

    def denied(self, now_ns: int, valid_ns: int) -> None:
        """The venue has said that there is no such order; that counts if it was asked after the order could arrive."""
        if self.asked_ns >= valid_ns:
            self.denied_ns = min(self.denied_ns, now_ns)

    def answered(self, due_ns: int) -> None:
        """Take notice of the answer; it is asked next, anew, at `due_ns`."""
        self.under_way, self.due_ns, self.wait_ns = False, due_ns, self._first_ns

    def again(self, now_ns: int, least_ns: int = 0) -> None:
        """Have it asked again, not before `least_ns` from now."""
        self.under_way = False
        self.due_ns = now_ns + max(self.wait_ns, least_ns)
        self.wait_ns = min(2 * self.wait_ns, self._longest_ns)
