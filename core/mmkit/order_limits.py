"""Risk checks of single orders: what each is worth, how many there are, how fast they come, what pays for them."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from pydantic import Field

from mmkit.commands import SubmitOrder
from mmkit.events import Side
from mmkit.instruments import ContractKind
from mmkit.interfaces import Context, PluginConfig, RiskCheck, RiskView
from mmkit.portfolio import value_of
from mmkit.units import Duration, Exact, format_duration


class ValueLimit(PluginConfig):
    """A limit on the value of an order."""

    limit: Exact = Field(gt=0, description="Value in the settlement currency, a decimal in quotes.")


class MaxNotional(RiskCheck):
    """No single order worth more than the limit."""

    def __init__(self, config: ValueLimit, context: Context) -> None:
        self.limit, self._instrument = config.limit, context.instrument

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse what is worth more."""
        value = value_of(self._instrument, order.price, order.quantity)
        if value <= self.limit:
            return None
        settle = self._instrument.settle
        return (
            f"order worth {value:f} {settle}, limit {self.limit:f} ({value - self.limit:f} above)"
        )


class MinNotional(RiskCheck):
    """No single order worth less than the limit: the venue would refuse it. One that is reduce-only may be (Binance: -4164)."""

    def __init__(self, config: ValueLimit, context: Context) -> None:
        self.limit, self._instrument = config.limit, context.instrument

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse what is worth less."""
        if order.reduce_only:
            return None
        value = value_of(self._instrument, order.price, order.quantity)
        if value >= self.limit:
            return None
        settle = self._instrument.settle
        return (
            f"order worth {value:f} {settle}, least {self.limit:f} ({self.limit - value:f} below)"
        )


class CountLimit(PluginConfig):
    """A limit on a number."""

    limit: int = Field(ge=1, description="How many.")


class MaxOpenOrders(RiskCheck):
    """Never more orders that may still trade, those on their way and those of unknown fate included."""

    def __init__(self, config: CountLimit, context: Context) -> None:
        self.limit = config.limit

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse one too many."""
        count = len(view.working) + 1
        return None if count <= self.limit else f"{count} orders would be open, limit {self.limit}"


class RateLimit(PluginConfig):
    """A limit on a number in a span of time."""

    limit: int = Field(ge=1, description="How many.")
    per: Duration = Field(1_000_000_000, gt=0, description="In so long.")


class MaxOrderRate(RiskCheck):
    """Never more new orders in any span of so long."""

    def __init__(self, config: RateLimit, context: Context) -> None:
        self.limit, self._per = config.limit, config.per
        self._sent: deque[int] = deque()

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse one too many."""
        sent = self._sent
        while sent and sent[0] <= view.now - self._per:
            sent.popleft()
        if len(sent) < self.limit:
            return None
        per = format_duration(self._per)
        return f"{len(sent) + 1} orders within {per}, limit {self.limit}"

    def sent(self, order: SubmitOrder, view: RiskView) -> None:
        """Count it."""
        self._sent.append(view.now)


class Funds(PluginConfig):
    """What there is to trade with."""

    base: Exact | None = Field(
        None,
        ge=0,
        description="Of the base currency, at the start; spot only. In live trading the venue tells it.",
    )
    settle: Exact | None = Field(
        None,
        ge=0,
        description="Of the settlement currency (quote, of an inverse contract base), at the start. In live "
        "trading the venue tells it.",
    )
    leverage: Exact | None = Field(
        None,
        ge=1,
        description="Value of contracts held for each unit of margin; 1 unless given, in live trading what the account "
        "is set to.",
    )


class FundsThere(RiskCheck):
    """No order that could not be paid for if everything open on its side were filled too.

    On spot a buy is paid with quote currency and a sale with base currency. A contract needs the value of the
    larger position that could come of it, over the leverage, as margin.

    Attributes:
        leverage: As configured; `None` for what the account is set to in live trading, and 1 else.
    """

    def __init__(self, config: Funds, context: Context) -> None:
        self._config, self._instrument = config, context.instrument
        self.leverage = config.leverage

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Refuse what could not be paid for."""
        if self._instrument.kind is not ContractKind.SPOT:
            return None if order.reduce_only else self._margin(order, view)
        instrument = self._instrument
        if order.side is Side.SELL:
            there = self._there(self._config.base, instrument.base, view)
            free = None if there is None else there + view.held
            committed = instrument.quantity(view.exposure[1])
            return self._judged(
                instrument.quantity(order.quantity), committed, free, instrument.base
            )
        there = self._there(self._config.settle, instrument.quote, view)
        committed = sum(
            (
                value_of(instrument, one.price, one.remaining)
                for one in view.working
                if one.side is Side.BUY
            ),
            Decimal(0),
        )
        value = value_of(instrument, order.price, order.quantity)
        free = None if there is None else there + view.cash
        return self._judged(value, committed, free, instrument.quote)

    def _margin(self, order: SubmitOrder, view: RiskView) -> str | None:
        instrument, position = self._instrument, view.position
        buys, sells = view.exposure
        before = max(abs(position), position + buys, sells - position)
        after = max(
            before,
            position + buys + order.quantity
            if order.side is Side.BUY
            else sells + order.quantity - position,
        )
        if after == before:
            return None
        if view.best_bid is None or view.best_ask is None:
            return "there is no price to value margin at"
        # At the end of the spread where the same contracts are worth more.
        inverse = instrument.kind is ContractKind.INVERSE
        price = view.best_bid if inverse else view.best_ask
        there = self._there(self._config.settle, instrument.settle, view)
        free = None if there is None else there + view.equity
        needed = value_of(instrument, price, after) / (self.leverage or 1)
        return self._judged(needed, Decimal(0), free, instrument.settle)

    def _there(self, configured: Decimal | None, asset: str, view: RiskView) -> Decimal | None:
        told = view.funds.get(asset)
        return told if told is not None else configured

    def _judged(
        self, needed: Decimal, committed: Decimal, there: Decimal | None, asset: str
    ) -> str | None:
        if there is None:
            return f"nobody has said how much {asset} there is; write it under 'risk.balance', or 0"
        short = needed + committed - there
        if short <= 0:
            return None
        also = f" besides {committed:f} committed" if committed else ""
        return f"{needed:f} {asset} needed{also}, {there:f} there ({short:f} missing)"
