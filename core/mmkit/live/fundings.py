"""Funding payments of a contract: when they are asked for, and which of them are new.

No I/O, no clock. The user stream tells that the wallet has changed, but not by which payment, and may tell it twice or
never; the venue's list of payments has a number for each. So the list is what counts, and everything else is only a reason
to ask for it: the start of a run, a full hour, at which funding is paid, and a wallet that is not what fills come to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmkit.accounts import FundingRecord
from mmkit.events import FundingPaid
from mmkit.instruments import ContractKind, Instrument
from mmkit.live.retry import Retry
from mmkit.tape import NEVER

_S = 1_000_000_000
_HOUR_NS = 3600 * _S
"""Contracts are funded every one, two, four or eight hours, at full hours (Binance: ``fundingIntervalHours``)."""
_AFTER_NS = (10 * _S, 60 * _S)
"""How long after a full hour it is asked: Binance takes up to a minute to pay."""
_APART_NS = 30 * _S
"""How often hints may make us ask: Binance's list of payments weighs 30 of 2400 a minute."""
_SOON_NS = 1 * _S
_FIRST_WAIT_NS, _LONGEST_WAIT_NS = 1 * _S, 300 * _S
_GIVE_UP_NS = 30 * _S
"""How long an answer is waited for: orders can be kept without it."""
_OVERLAP_NS = _HOUR_NS
"""How far back before the last known payment is asked: payments are listed late."""


class Fundings:
    """What is known of the funding payments of one market.

    Args:
        instrument: What is traded; on spot there is no funding, and nothing is asked. Nor is it of `None`.
        start_ns: When the run begins, by its clock: what was paid before is in the books, and not in this run's profit.
        first_run_ns: When the first run began that the journal knows: what was paid before is not ours.
        known: What the journal has.
    """

    def __init__(
        self,
        instrument: Instrument | None = None,
        start_ns: int = 0,
        first_run_ns: int = 0,
        known: Iterable[FundingRecord] = (),
    ) -> None:
        self._start_ns, self._first_run_ns = start_ns, first_run_ns
        self.there_are = instrument is not None and instrument.kind is not ContractKind.SPOT
        """Whether they are asked for."""
        self._settle = instrument.settle if instrument is not None else ""
        self._ids: set[str] = set()
        self._last_ns = 0
        for one in known:
            self._ids.add(one.funding_id)
            self._last_ns = max(self._last_ns, one.ts_ns)
        self._asking = Retry(
            start_ns if self.there_are else NEVER, _FIRST_WAIT_NS, _LONGEST_WAIT_NS
        )
        self._after_this = False
        """Whether to ask again once what is being asked has been answered."""
        self._answered_ns = -1
        """When it was asked to which there has been an answer."""
        self._refused = False
        self._failing_ns = NEVER
        """Since when there has been no answer."""
        self.missed: list[FundingRecord] = []
        """What has been found to have been paid while no run was there, and not been told of."""

    @property
    def due_ns(self) -> int:
        """When to ask."""
        return self._asking.due_ns

    @property
    def since_ns(self) -> int:
        """From when on payments may be missing, by the venue's clock."""
        return max(self._first_run_ns, self._last_ns - _OVERLAP_NS)

    @property
    def failing(self) -> bool:
        """Whether it was not answered, or refused, when it was last asked."""
        return self._refused or self._failing_ns != NEVER

    def want(self, now_ns: int) -> None:
        """Ask before long: the wallet is not what we know of."""
        asking = self._asking
        if self.there_are and not asking.under_way:
            soon = max(now_ns + _SOON_NS, asking.asked_ns + _APART_NS)
            asking.due_ns = min(asking.due_ns, soon)

    def want_now(self, now_ns: int) -> None:
        """Ask at once: a wallet has been seen that is to be counted from."""
        if self._asking.under_way:
            self._after_this = True
        elif self.there_are:
            self._asking.due_ns = now_ns

    def asked(self, now_ns: int) -> None:
        """Take notice that it is being asked."""
        self._asking.asked(now_ns)

    def told(self, records: Sequence[FundingRecord], now_ns: int) -> list[FundingRecord]:
        """Take in the answer; return what is new, in order of time."""
        self._refused, self._answered_ns = False, self._asking.asked_ns
        self._failing_ns = NEVER
        self._asking.answered(now_ns if self._after_this else _next_round(now_ns))
        self._after_this = False
        new = []
        for one in sorted(records, key=lambda one: (one.ts_ns, one.funding_id)):
            if one.funding_id in self._ids or one.ts_ns < self._first_run_ns:
                continue
            self._ids.add(one.funding_id)
            self._last_ns = max(self._last_ns, one.ts_ns)
            new.append(one)
            if one.ts_ns < self._start_ns:
                self.missed.append(one)
        return new

    def unanswered(self, now_ns: int, *, refused: bool) -> None:
        """Take in that it was not answered, or refused: then it is not waited for."""
        self._refused = refused
        self._failing_ns = min(self._failing_ns, now_ns)
        self._asking.again(now_ns)

    def settled(self, since_ns: int, now_ns: int) -> bool:
        """Return whether all that was paid before a time is known, or the venue does not say."""
        return (
            not self.there_are
            or self._answered_ns >= since_ns
            or self._refused
            or now_ns >= self._failing_ns + _GIVE_UP_NS
        )

    def event(self, one: FundingRecord, now_ns: int) -> FundingPaid | None:
        """Return what the engine is told of a payment: nothing of one before this run, or in another currency."""
        if one.ts_ns < self._start_ns or one.asset != self._settle:
            return None
        return FundingPaid(ts_exchange=one.ts_ns, ts_local=now_ns, amount=one.amount)


def _next_round(now_ns: int) -> int:
    hour = now_ns - now_ns % _HOUR_NS
    rounds = [hour + after for after in _AFTER_NS] + [hour + _HOUR_NS + _AFTER_NS[0]]
    return next(one for one in rounds if one > now_ns)
