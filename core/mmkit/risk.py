"""What forbids orders: the checks that ship, and the gate that every order passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from pydantic import Field

from mmkit.commands import SubmitOrder
from mmkit.errors import MmkitError, PluginError
from mmkit.events import OrderEvent, Side
from mmkit.hookspecs import hookimpl
from mmkit.interfaces import Context, PluginConfig, Provider, RiskCheck, RiskView
from mmkit.kill_switches import (
    HaltPosition,
    LossLimit,
    MaxLossPerDay,
    MaxRejectsPerMinute,
    PositionLimit,
    RejectLimit,
)
from mmkit.order_limits import (
    CountLimit,
    Funds,
    FundsThere,
    MaxNotional,
    MaxOpenOrders,
    MaxOrderRate,
    MinNotional,
    RateLimit,
    ValueLimit,
)
from mmkit.tape import NEVER
from mmkit.units import Distance, Duration, Exact


class RiskApproved(msgspec.Struct, frozen=True):
    """An order that has passed every check. Only `RiskGate.approve` makes one, so that none is sent unchecked."""

    order: SubmitOrder


class QuantityLimit(PluginConfig):
    """A limit in base currency, or contracts."""

    limit: Exact = Field(gt=0, description="Quantity, a decimal in quotes.")


class MaxPosition(RiskCheck):
    """No order that could take the position beyond the limit if everything open on its side were filled."""

    def __init__(self, config: QuantityLimit, context: Context) -> None:
        self.limit = context.instrument.floor_lots(config.limit)

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse what would pass the limit; an order that only brings the position down is free."""
        if order.reduce_only:
            return None
        buys, sells = view.exposure
        reach = (
            view.position + buys + order.quantity
            if order.side is Side.BUY
            else sells + order.quantity - view.position
        )
        return (
            None
            if reach <= self.limit
            else f"position could reach {reach} lots, limit {self.limit}"
        )


class MaxOrder(RiskCheck):
    """No single order above the limit."""

    def __init__(self, config: QuantityLimit, context: Context) -> None:
        self.limit = context.instrument.floor_lots(config.limit)

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse what is larger."""
        return (
            None
            if order.quantity <= self.limit
            else f"order of {order.quantity} lots, limit {self.limit}"
        )


class DistanceLimit(PluginConfig):
    """A limit on the distance from mid."""

    limit: Distance = Field(description='How far from mid, such as 1%, 50bps, 20ticks or "12.5".')


class PriceBand(RiskCheck):
    """No order further from mid than the limit, on either side."""

    def __init__(self, config: DistanceLimit, context: Context) -> None:
        self.limit, self._instrument = config.limit, context.instrument

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse what is further away, and everything while there is no mid."""
        if view.best_bid is None or view.best_ask is None:
            return "there is no mid price to compare with"
        mid = (view.best_bid + view.best_ask) / 2
        band = self.limit.ticks(mid, self._instrument)
        away = abs(order.price - mid)
        return None if away <= band else f"{away:g} ticks from mid, limit {band:g}"


class MoneyLimit(PluginConfig):
    """A limit in the settlement currency."""

    limit: Exact = Field(gt=0, description="Money in the settlement currency, a decimal in quotes.")


class MaxDrawdown(RiskCheck):
    """Stop for good once equity is so far below its peak."""

    def __init__(self, config: MoneyLimit, context: Context) -> None:
        self.limit = config.limit

    def halt(self, view: RiskView) -> str | None:
        """Halt at or beyond the limit."""
        drawdown = view.peak_equity - view.equity
        return None if drawdown < self.limit else self.words(drawdown)

    def words(self, drawdown: Decimal) -> str:
        """Return why a drawdown halts."""
        return f"drawdown {drawdown:.8f} reached the limit {self.limit}"


class TimeLimit(PluginConfig):
    """A limit in time."""

    limit: Duration = Field(gt=0, description="How long, such as 5s.")


class StaleAfter(RiskCheck):
    """Nothing on the book while market data is older than the limit."""

    def __init__(self, config: TimeLimit, context: Context) -> None:
        self.limit = config.limit

    def pull(self, view: RiskView) -> str | None:
        """Pull once the last data is as old as the limit."""
        age = view.now - view.last_data_ns
        return None if age < self.limit else f"no market data for {age / 1e9:.3f} s"

    def next_ns(self, view: RiskView) -> int:
        """The moment at which the last data becomes too old."""
        return view.last_data_ns + self.limit


class RiskGate:
    """All checks of a run; every order passes here before it leaves."""

    def __init__(self, checks: Sequence[tuple[str, RiskCheck]] = ()) -> None:
        self.checks: tuple[tuple[str, RiskCheck], ...] = ()
        self._vetoing: list[tuple[str, RiskCheck]] = []
        self._counting: list[tuple[str, RiskCheck]] = []
        self._listening: list[tuple[str, RiskCheck]] = []
        self._pulling: list[tuple[str, RiskCheck]] = []
        self._halting: list[tuple[str, RiskCheck]] = []
        self._timing: list[tuple[str, RiskCheck]] = []
        for name, check in checks:
            self.add(name, check)
        self.vetoes: Counter[str] = Counter()
        """How often each check refused an order."""
        self.first: dict[str, str] = {}
        """Why each check refused the first order that it did."""

    def add(self, name: str, check: RiskCheck) -> None:
        """Have one more check; it is asked after the others."""
        self.checks += ((name, check),)
        # Most checks do one or two of these, and all of them are asked with every message of a book.
        for method, asked in (
            ("veto", self._vetoing),
            ("sent", self._counting),
            ("heard", self._listening),
            ("pull", self._pulling),
            ("halt", self._halting),
            ("next_ns", self._timing),
        ):
            if _overrides(check, method):
                asked.append((name, check))

    def approve(self, order: SubmitOrder, view: RiskView) -> RiskApproved | None:
        """Return the order as approved, or `None` if a check refused it."""
        for name, check in self._vetoing:
            with _named(name):
                reason = check.veto(order, view)
            if reason is not None:
                self.refuse(name, reason)
                return None
        for name, check in self._counting:
            with _named(name):
                check.sent(order, view)
        return RiskApproved(order)

    def refuse(self, name: str, reason: str) -> None:
        """Count an order that is refused, and why the first was."""
        self.vetoes[name] += 1
        self.first.setdefault(name, reason)

    def heard(self, event: OrderEvent, view: RiskView) -> str | None:
        """Tell the checks that listen; return the first reason why the run must stop for good, or `None`."""
        first: str | None = None
        for name, check in self._listening:
            with _named(name):
                reason = check.heard(event, view)
            if reason is not None and first is None:
                first = f"{name}: {reason}"
        return first

    def pull(self, view: RiskView) -> str | None:
        """Return the first reason why nothing may be on the book now, or `None`."""
        return self._first(self._pulling, lambda check: check.pull(view))

    def halt(self, view: RiskView) -> str | None:
        """Return the first reason why the run must stop for good, or `None`."""
        return self._first(self._halting, lambda check: check.halt(view))

    def next_ns(self, view: RiskView, after_ns: int) -> int:
        """Return when, after `after_ns`, `pull` may next change by time alone."""
        soonest = NEVER
        for name, check in self._timing:
            with _named(name):
                due = check.next_ns(view)
            if due > after_ns:
                soonest = min(soonest, due)
        return soonest

    @staticmethod
    def _first(
        checks: Sequence[tuple[str, RiskCheck]], ask: Callable[[RiskCheck], str | None]
    ) -> str | None:
        for name, check in checks:
            with _named(name):
                reason = ask(check)
            if reason is not None:
                return f"{name}: {reason}"
        return None


def _overrides(check: RiskCheck, method: str) -> bool:
    return getattr(type(check), method) is not getattr(RiskCheck, method)


class _named:  # noqa: N801 - reads as a word of the `with` statement
    """Says which check it was that raised: a check that cannot answer must not let an order through."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, MmkitError):
            raise PluginError(
                f"the risk check '{self._name}' raised {type(error).__name__}: {error}; "
                "no order passes a check that cannot answer"
            ) from error


@hookimpl
def register_risk_checks() -> list[Provider[Any, RiskCheck]]:
    """The checks that ship."""
    return [
        Provider(
            "max_position",
            QuantityLimit,
            MaxPosition,
            "No order that could take the position beyond the limit",
        ),
        Provider("max_order", QuantityLimit, MaxOrder, "No single order above the limit"),
        Provider(
            "price_band", DistanceLimit, PriceBand, "No order further from mid than the limit"
        ),
        Provider(
            "max_drawdown",
            MoneyLimit,
            MaxDrawdown,
            "Stop for good once equity is so far below its peak",
        ),
        Provider(
            "stale_after", TimeLimit, StaleAfter, "Nothing on the book while market data is older"
        ),
        Provider("max_notional", ValueLimit, MaxNotional, "No single order worth more"),
        Provider("min_notional", ValueLimit, MinNotional, "No single order worth less"),
        Provider("max_open_orders", CountLimit, MaxOpenOrders, "No more orders open at once"),
        Provider(
            "max_order_rate", RateLimit, MaxOrderRate, "No more new orders within a span of time"
        ),
        Provider("balance", Funds, FundsThere, "No order that could not be paid for"),
        Provider(
            "max_loss_per_day",
            LossLimit,
            MaxLossPerDay,
            "Stop for good once so much is lost in a day",
        ),
        Provider(
            "max_rejects_per_minute",
            RejectLimit,
            MaxRejectsPerMinute,
            "Stop for good once the venue refuses so many orders within a minute",
        ),
        Provider(
            "halt_position",
            PositionLimit,
            HaltPosition,
            "Stop for good once the position is beyond the limit",
        ),
    ]
