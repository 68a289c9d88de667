"""The execution venue `paper`: a `SimExchange` at the far end of a line with latency.

Backtest and dry run share it; they differ in the order in which they can hand it market data, and so in
what a report may overtake (`mmkit.settings.FillReports`):

``plain``
    Market data comes in order of ``ts_exchange``, commands are matched when they arrive, and a report
    takes the response latency. A report may overtake the market data that caused it.
``after_data``
    Market data comes as it is received. A command that arrives at X is matched as soon as data from
    after X has been received, or, where the market is quiet, ``data_wait`` after its answer would have
    been due. No report comes before the data that decided it. This needs no knowledge of the future, so
    it is what a dry run does, and a backtest that is compared with one.

The venue's clock is the latest time it has seen, of a row or of a command that arrives. When it reaches a
time at which funding is due or a fee tier is decided, that comes before the row or command is taken in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from mmkit.commands import AmendOrder, Amends, AnyCommand, OrderType, SubmitOrder, TimeInForce
from mmkit.errors import ConfigError, Mistake
from mmkit.events import (
    AmendRejected,
    CancelRejected,
    FundingPaid,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    Side,
    VenueEvent,
)
from mmkit.hookspecs import hookimpl
from mmkit.instruments import ContractKind
from mmkit.interfaces import Context, ExecutionVenue, PluginConfig, Provider
from mmkit.settings import FillReports, SimSettings
from mmkit.sim.exchange import NOT_THERE, Fill, SimExchange
from mmkit.sim.fees import Fees
from mmkit.sim.funding import Funding
from mmkit.sim.latency import Latency
from mmkit.sim.queue import queue_model
from mmkit.tape import KIND, NEVER, Kind, Row

_FUNDING = frozenset({int(Kind.MARK), int(Kind.FUNDING)})


class PaperConfig(PluginConfig):
    """`paper` has no keys of its own; how it behaves is under ``sim:``."""


class PaperVenue(ExecutionVenue):
    """Simulated money on real market data. Deterministic: the same calls give the same events."""

    simulated = True

    def __init__(self, config: PaperConfig, context: Context) -> None:
        self.settings: SimSettings = context.sim
        settings = self.settings
        self._exchange = SimExchange(
            queue_model(settings.queue), partial_fills=settings.partial_fills
        )
        self._latency = Latency(settings.latency)
        self._fees = Fees(settings.fees, context.instrument)
        self._fees_in_base = settings.fees.in_base
        if self._fees_in_base and context.instrument.kind is not ContractKind.SPOT:
            found = f"a spot market was expected for fees in base currency; found {context.instrument.symbol}"
            raise ConfigError([Mistake("", "sim.fees.in_base", found, "leave it out")])
        self._funding = Funding(context.instrument)
        # As Binance has it: a contract's order can have another price, one on spot only be made smaller.
        spot = context.instrument.kind is ContractKind.SPOT
        self.amends = Amends.SHRINK if spot else Amends.PRICE_AND_QUANTITY
        self._clock = 0
        self._next_ns = NEVER
        self._wait = settings.data_wait if settings.fill_reports is FillReports.AFTER_DATA else None
        # (arrives at the venue, matched at the latest, command); in order, as on one connection. Where one
        # may wait longer than the next, the next waits for it.
        self._arriving: deque[tuple[int, int, AnyCommand]] = deque()
        self._reports: deque[VenueEvent] = deque()

    def open(self, now_ns: int) -> None:
        """Begin a run at `now_ns`: the first fee tier is decided."""
        self._clock = now_ns
        self._fees.open(now_ns)
        self._next_ns = self._fees.next_ns

    def send(self, command: AnyCommand) -> None:
        """Put the command on the line."""
        arrives = command.ts_local + self._latency.entry(command.ts_local)
        if self._arriving:
            arrives = max(arrives, self._arriving[-1][0])
        deadline = arrives
        if self._wait is not None:
            deadline += self._latency.response(arrives) + self._wait
        self._arriving.append((arrives, deadline, command))

    def market(self, rows: Sequence[Row], now_ns: int) -> None:
        """Take in market data, matching what had arrived before each row by the venue's clock."""
        for row in rows:
            while self._arriving and self._arriving[0][0] < row[0]:
                self._match(now_ns)
            self._reach(row[0], now_ns)
            if row[2] & KIND in _FUNDING:
                self._funding.on_row(row, self._clock)
                self._next_ns = min(self._fees.next_ns, self._funding.next_ns)
            if fills := self._exchange.on_row(row):
                for fill in fills:
                    self._report_fill(fill, row[0], now_ns)
                self._report_expired(row[0], now_ns)

    def next_ns(self) -> int:
        """When a command must be matched or a report reaches us, whichever is first."""
        deadline = self._arriving[0][1] if self._arriving else NEVER
        return min(deadline, self._reports[0].ts_local) if self._reports else deadline

    def take(self, now_ns: int) -> list[VenueEvent]:
        """Match what is due and return the reports that have reached us."""
        while self._arriving and self._arriving[0][1] <= now_ns:
            self._match(now_ns)
        events: list[VenueEvent] = []
        while self._reports and self._reports[0].ts_local <= now_ns:
            events.append(self._reports.popleft())
        return events

    def _match(self, now_ns: int) -> None:
        at, _, command = self._arriving.popleft()
        self._reach(at, now_ns)
        order_id = command.order_id
        times = self._times(at, now_ns)
        if isinstance(command, SubmitOrder):
            arrival = self._exchange.arrive(command, at)
            if arrival.rejected is not None:
                self._reports.append(
                    OrderRejected(order_id=order_id, reason=arrival.rejected, **times)
                )
                return
            for fill in arrival.fills:
                self._report_fill(fill, at, now_ns)
            if arrival.resting:
                self._reports.append(OrderAccepted(order_id=order_id, **times))
            elif not arrival.fills or arrival.fills[-1].remaining:
                assert (  # others rest
                    command.time_in_force is TimeInForce.IOC
                    or command.order_type is OrderType.MARKET
                )
                self._reports.append(OrderCanceled(order_id=order_id, **times))
            self._report_expired(at, now_ns)
        elif isinstance(command, AmendOrder):
            self._amend(command, at, now_ns)
        elif self._exchange.cancel(order_id):
            self._reports.append(OrderCanceled(order_id=order_id, **times))
        else:
            self._reports.append(CancelRejected(order_id=order_id, reason=NOT_THERE, **times))

    def _amend(self, command: AmendOrder, at: int, now_ns: int) -> None:
        order_id = command.order_id
        amended = self._exchange.amend(order_id, command.price, command.quantity, at)
        times = self._times(at, now_ns)
        if amended.rejected is not None:
            self._reports.append(AmendRejected(order_id=order_id, reason=amended.rejected, **times))
        else:
            taken = sum(fill.quantity for fill in amended.fills)
            self._reports.append(
                OrderAmended(
                    order_id=order_id,
                    price=command.price,
                    quantity=command.quantity,
                    remaining=amended.remaining + taken,
                    **times,
                )
            )
        for fill in amended.fills:
            self._report_fill(fill, at, now_ns)
        if amended.canceled:
            self._reports.append(OrderCanceled(order_id=order_id, **times))
        self._report_expired(at, now_ns)

    def _reach(self, at: int, now_ns: int) -> None:
        """Move the venue's clock on to `at`, and let happen what is due by then."""
        self._clock = max(self._clock, at)
        if self._clock < self._next_ns:
            return
        if self._clock >= self._funding.next_ns:
            paid = self._funding.pay(self._exchange.position)
            if paid is not None:
                self._reports.append(
                    FundingPaid(
                        rate=paid.rate,
                        mark=paid.mark,
                        position=self._exchange.position,
                        amount=paid.amount,
                        **self._times(paid.due, now_ns),
                    )
                )
        if self._clock >= self._fees.next_ns:
            self._fees.reach(self._clock)
        self._next_ns = min(self._fees.next_ns, self._funding.next_ns)

    def _report_fill(self, fill: Fill, at: int, now_ns: int) -> None:
        self._fees.traded(fill.price, fill.quantity)
        in_base = Decimal(0)
        if self._fees_in_base and fill.side is Side.BUY:
            in_base = self._fees.in_base(fill.quantity, fill.liquidity)
        self._reports.append(
            OrderFilled(
                order_id=fill.order_id,
                price=fill.price,
                quantity=fill.quantity,
                remaining=fill.remaining,
                liquidity=fill.liquidity,
                fee=self._fees.of(fill.price, fill.quantity, fill.liquidity),
                fee_in_base=in_base,
                **self._times(at, now_ns),
            )
        )

    def _report_expired(self, at: int, now_ns: int) -> None:
        for order_id in self._exchange.expired():
            self._reports.append(OrderCanceled(order_id=order_id, **self._times(at, now_ns)))

    def _times(self, at: int, now_ns: int) -> dict[str, Any]:
        """Return when it happened and when we learn of it: not before now, not before an earlier report."""
        ts_local = max(at + self._latency.response(at), now_ns)
        if self._reports:
            ts_local = max(ts_local, self._reports[-1].ts_local)
        return {"ts_exchange": at, "ts_local": ts_local}


@hookimpl
def register_execution_venues() -> list[Provider[Any, ExecutionVenue]]:
    """Offer `paper`."""
    return [Provider("paper", PaperConfig, PaperVenue, "Simulated money on real market data")]
