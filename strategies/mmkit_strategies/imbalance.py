"""Quote around a mid that leans to where the book is thinner."""

from __future__ import annotations

from pydantic import Field, field_validator

from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes, Strategy
from mmkit.units import Distance, Exact
from mmkit_strategies.placement import two_sided
from mmkit_strategies.signal_skew import SignalSkew, SignalSkewConfig

Table = tuple[tuple[float, ...], ...]


def weighted_mid(bid: int, ask: int, bid_quantity: float, ask_quantity: float) -> float:
    """Return ``mid + spread (I - 1/2)`` with ``I = bid / (bid + ask)``, in ticks.

    The best prices, each weighted by the quantity on the other side: much on the bid pulls it to the ask.
    """
    # Floats, not whole numbers of any size, as compiled code has them.
    bid_quantity, ask_quantity = float(bid_quantity), float(ask_quantity)
    return (bid * ask_quantity + ask * bid_quantity) / (bid_quantity + ask_quantity)


def micro_price(
    bid: int, ask: int, bid_quantity: float, ask_quantity: float, adjustment: Table
) -> float:
    """Return mid plus the adjustment of its spread and imbalance, in ticks.

    S. Stoikov, "The micro-price: a high-frequency estimator of future prices", Quantitative Finance
    18(12), 2018, 1959-1966. A spread wider than the table takes its last row.

    Args:
        bid: Best bid in ticks.
        ask: Best ask in ticks.
        bid_quantity: At the best bid.
        ask_quantity: At the best ask.
        adjustment: Ticks by spread (rows: 1 tick, 2 ticks, ...) and by bucket of the imbalance (columns).
    """
    row = adjustment[min(ask - bid, len(adjustment)) - 1]
    bid_quantity, ask_quantity = float(bid_quantity), float(ask_quantity)
    share = bid_quantity / (bid_quantity + ask_quantity)
    return (bid + ask) / 2 + row[min(len(row) - 1, int(len(row) * share))]


class ImbalanceConfig(SignalSkewConfig):
    """Keys of `imbalance`."""

    half_spread: Distance = Field(
        description="Distance from the center to each quote, such as 5bps."
    )
    adjustment: Table = Field(
        (),
        description="Ticks from mid to the micro-price, by spread (rows: 1 tick, 2 ticks, ...) and by "
        "bucket of the imbalance (columns); 'mmkit calibrate microprice' prints it. Without it the mid "
        "is weighted by the quantities of the other side.",
    )
    skew: Distance = Field(
        Distance.parse("0ticks"),
        description="How far the center moves, against the inventory, for each `size` held.",
    )
    size: Exact = Field(gt=0, description="Quantity of each quote, a decimal in quotes.")
    max_position: Exact = Field(
        gt=0, description="Stop adding at this position, a decimal in quotes."
    )

    @field_validator("adjustment")
    @classmethod
    def _is_a_table(cls, adjustment: Table) -> Table:
        lengths = {len(row) for row in adjustment}
        if adjustment and (len(lengths) != 1 or 0 in lengths):
            raise ValueError("rows of equal length, one a spread, were expected")
        return adjustment


class Imbalance(Strategy):
    """Quote at ``center -+ half_spread``, where ``center = micro-price - skew x position / size``.

    The micro-price is `micro_price` if there is an `adjustment`, and `weighted_mid` otherwise, which is
    its simplest form and known to overshoot when the spread is wide. Never crosses the book.
    """

    Config = ImbalanceConfig
    depth = 1
    decision = "mmkit_strategies.around_mid_compiled:imbalance"

    def __init__(self, config: ImbalanceConfig, context: Context) -> None:
        super().__init__(config, context)
        self._signal = SignalSkew(config, context)
        self.decision_signal = self._signal.name
        self._half_spread, self._skew = config.half_spread, config.skew
        self._adjustment = config.adjustment
        self._instrument = context.instrument
        self._size = context.instrument.lots(config.size)
        self._max_position = context.instrument.lots(config.max_position)

    def parameters(self) -> tuple[float, ...]:
        """Limits, distances and the adjustment for the compiled decision."""
        table, instrument = self._adjustment, self._instrument
        return (
            self._size,
            self._max_position,
            *self._half_spread.formula(instrument),
            *self._skew.formula(instrument),
            *self._signal.parameters(),
            len(table),
            len(table[0]) if table else 0,
            *(ticks for row in table for ticks in row),
        )

    def quote(self, view: MarketView) -> Quotes:
        """Quote both sides, but not the one that would add beyond the limit."""
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None or bid >= ask:
            return NO_QUOTES
        book, position = view.book, view.position
        quantities = book.bids[0][1], book.asks[0][1]
        if self._adjustment:
            price = micro_price(bid, ask, *quantities, self._adjustment)
        else:
            price = weighted_mid(bid, ask, *quantities)
        # Distances are shares of mid: an adjustment may lead anywhere, below zero too.
        mid = (bid + ask) / 2
        center = price - self._skew.ticks(mid, self._instrument) * position / self._size
        center += self._signal.ticks(view, mid)
        away = self._half_spread.ticks(mid, self._instrument)
        return two_sided(
            bid,
            ask,
            center - away,
            center + away,
            size=self._size,
            position=position,
            max_position=self._max_position,
        )
