"""The order flow of a simulated market: a queue-reactive model with a moving reference price.

Source: Huang, Lehalle and Rosenbaum, "Simulating and analyzing order book data: the queue-reactive
model", Journal of the American Statistical Association 110(509), 2015; their Model I for the queues
and Model III for the reference price. Around a reference price stand K queues a side. Limit, cancel
and market orders arrive at each as Poisson processes whose intensities depend on the size of that
queue. When a best queue is depleted, the reference price moves with probability theta; after such a
move the best queues are drawn, with probability theta_reinit, from their invariant distribution.

Two things are added, because their model is of large-tick stocks and BTCUSDT has a tiny tick. A move
of the reference price is many ticks, log-normally distributed, so that the mid has the volatility
asked for; and beyond the queues stands a sparse book whose distances are log-normal too (the hump of
Bouchaud, Mézard and Potters, "Statistical properties of stock order books", Quantitative Finance
2(4), 2002), each order of which lives for an exponentially distributed time.
"""

from __future__ import annotations

import math
from random import Random

import msgspec

from mmkit.events import Side
from mmkit_sandbox.liquidation import Sweep
from mmkit_sandbox.listing import COINM, SPOT, USDM, Listing
from mmkit_sandbox.matching import MatchingBook, TimeInForce

FLOW = ""
"""Owner of the orders of the flow itself; no account has this name."""

_S = 1_000_000_000

_MOVES_PER_SECOND = 1.48
"""How often the reference price moves with the default intensities: measured, 20 seeds of 200 s. It
depends on neither tick nor lot, because queues are counted in orders."""

_OUTER_LIFE_S = 20.0
_THETA = 0.6

# Mean value of a limit and of a market order in quote currency: what BTCUSDT's best queue and trades
# in the captures of 2024-08-08 come to. Of COIN-M there is no capture: USD-M's.
_ORDER_VALUE = {SPOT: 20_000, USDM: 48_000, COINM: 48_000}
_MARKET_VALUE = {SPOT: 1_300, USDM: 6_000, COINM: 6_000}


class FlowParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The model's constants. Sizes of queues are counted in average order sizes, rates per second.

    The intensities have the shapes found by Huang, Lehalle and Rosenbaum (their figures 2 to 4): that
    of limit orders is nearly flat in the size of the queue, but higher when the queue is empty;
    that of cancellations grows with it and then flattens; that of market orders decays. The
    figures were chosen so that the statistics in docs/sandbox.md resemble a capture's.
    """

    limit: tuple[float, ...] = (30.0, 1.0, 0.7)
    """Limit orders at the best queue and those behind it; the length is K."""
    refill: float = 3.0
    """How many times as often limit orders arrive at an empty best queue."""
    cancel: tuple[float, ...] = (12.0, 1.6, 1.2)
    """Cancellations per unit of queue, while the queue is short."""
    cancel_half: float = 24.0
    """Queue size at which the intensity of cancellations has fallen to half of a linear one's."""
    market: float = 16.0
    """Market orders against a short best queue."""
    market_decay: float = 6.0
    """Queue size over which the intensity of market orders falls by a factor of e."""
    outer: float = 30.0
    """Limit orders beyond the queues, on each side."""
    outer_life: float = _OUTER_LIFE_S
    """Mean seconds until an order beyond the queues is canceled."""
    theta: float = _THETA
    """Probability that the reference price moves when a best queue is depleted."""
    theta_reinit: float = 0.85
    """Probability that the best queues are drawn anew after a move."""
    sweep: float = 0.35
    """Probability that a move takes the orders in its way instead of their being canceled."""
    order_size: float = 800.0
    """Mean limit order in lots: the unit in which queues are counted."""
    order_sigma: float = 1.2
    """Of the log-normal limit order size."""
    market_size: float = 100.0
    """Mean market order in lots."""
    market_sigma: float = 1.8
    """Of the log-normal market order size."""
    move: float = 44.0
    """Root mean square of a move of the reference price, in ticks."""
    move_sigma: float = 1.0
    """Of the log-normal move."""
    outer_distance: float = 250.0
    """Median distance of an order beyond the queues, in ticks."""
    outer_sigma: float = 1.0
    """Of the log-normal distance."""

    liveliness: float = 1.0
    """How many events there are, compared with what the rates say."""

    @classmethod
    def of(cls, listing: Listing, volatility: float, liveliness: float = 1.0) -> FlowParameters:
        """Return constants that give `listing` a volatility, in basis points per square root of a second.

        A market that is less lively moves further at a time, so that it is as volatile, and fewer orders rest beyond its queues.
        """
        lot_value = listing.lot_value
        sigma = volatility * 1e-4 * float(listing.price / listing.tick)  # ticks in one second
        move = sigma / math.sqrt(_MOVES_PER_SECOND * liveliness)
        # A market whose ticks are large moves by one tick, and seldom: the paper's own case.
        return cls(
            theta=_THETA * min(1.0, move * move),
            move=max(1.0, move),
            move_sigma=1.0 if move > 1 else 0.0,
            outer_distance=max(8.0, 4.6 * sigma),
            order_size=max(1.0, _ORDER_VALUE[listing.market] / lot_value),
            market_size=max(1.0, _MARKET_VALUE[listing.market] / lot_value),
            outer_life=_OUTER_LIFE_S * liveliness,
            liveliness=liveliness,
        )


class OrderFlow:
    """Sends orders to a matching book, one event at a time.

    The times and orders follow from the random generator alone: how often `step` is called between
    two readings of a clock makes no difference.

    Args:
        book: Where the orders go; other owners' orders in it are traded with like any other.
        random: The only source of randomness.
        parameters: The model's constants.
        reference: Where the best bid starts, in ticks.
        start_ns: When the flow begins.
    """

    def __init__(
        self,
        book: MatchingBook,
        random: Random,
        parameters: FlowParameters,
        reference: int,
        start_ns: int,
    ) -> None:
        self._book, self._random, self._parameters = book, random, parameters
        self._bid = reference  # price of the best bid queue; the best ask queue is one tick above
        self._orders: list[int] = []  # ids, those that are gone included until they are drawn
        self._empty = {Side.BUY: False, Side.SELL: False}
        self._queue_law = _invariant_law(parameters)
        self.moves = 0
        """How often the reference price has moved."""
        self.swept: Sweep | None = None
        """The order that took what was in the way of the last move, until somebody takes note of it."""
        self.next_ns = start_ns
        """When the next event happens."""
        for side in Side:
            for _ in range(round(parameters.outer * parameters.outer_life)):
                self._outer(side)
            self._draw_queue(side)
        self._rates: list[float] = []
        self._schedule()

    def rest_until(self, now_ns: int) -> None:
        """Let nothing happen before a time."""
        self.next_ns = max(self.next_ns, now_ns)

    def step(self) -> None:
        """Carry out the event that is due at `next_ns` and draw the one after it."""
        rates = self._rates
        queues = len(self._parameters.limit)
        point = self._random.random() * sum(rates)
        index = -1
        for index, rate in enumerate(rates):  # noqa: B007  # the index is wanted after the loop
            point -= rate
            if point < 0:
                break
        side = Side.SELL if index % 2 else Side.BUY
        what, level = divmod(index // 2, queues)
        if what == 0:
            self._place(side, self._price(side, level))
        elif what == 1:
            self._cancel_one(side, level)
        elif level == 0:
            self._take(side)
        elif level == 1:
            self._outer(side)
        else:
            self._cancel_any()
        self._notice_depletion()
        self._schedule()

    def _schedule(self) -> None:
        """Work out the intensities in the book as it is, and when the next event happens.

        Order of the rates: limit orders by level (buy, sell), cancellations by level, then market
        orders, orders beyond the queues and their cancellations, each as a pair.
        """
        parameters, total = self._parameters, self._book.total
        unit, half = parameters.order_size, parameters.cancel_half
        limits: list[float] = []
        cancels: list[float] = []
        best: list[float] = []
        for level, (limit, cancel) in enumerate(
            zip(parameters.limit, parameters.cancel, strict=True)
        ):
            for side in (Side.BUY, Side.SELL):
                queue = total(side, self._price(side, level)) / unit
                if level == 0:
                    best.append(queue)
                limits.append(limit if queue or level else limit * parameters.refill)
                cancels.append(cancel * queue / (1 + queue / half))
        bid, ask = best
        decay = parameters.market_decay
        leave = len(self._orders) / parameters.outer_life / 2
        rates = [
            *limits,
            *cancels,
            parameters.market * math.exp(-ask / decay) if ask else 0.0,
            parameters.market * math.exp(-bid / decay) if bid else 0.0,
            parameters.outer,
            parameters.outer,
            leave,
            leave,
        ]
        self._rates = rates
        self.next_ns += max(
            1, round(self._random.expovariate(sum(rates) * parameters.liveliness) * _S)
        )

    def _price(self, side: Side, level: int) -> int:
        return self._bid - level if side is Side.BUY else self._bid + 1 + level

    def _lots(self, mean: float, sigma: float) -> int:
        """Draw a log-normal size with this mean, at least one lot, at most twenty times the mean."""
        size = mean * math.exp(self._random.gauss(-sigma * sigma / 2, sigma))
        return max(1, round(min(size, 20 * mean)))

    def _place(self, side: Side, price: int) -> None:
        if price <= 0:
            return
        parameters = self._parameters
        size = self._lots(parameters.order_size, parameters.order_sigma)
        order_id = self._book.submit(FLOW, side, price, size, self.next_ns)
        if self._book.order(order_id):
            self._orders.append(order_id)

    def _outer(self, side: Side) -> None:
        parameters = self._parameters
        distance = parameters.outer_distance * math.exp(
            self._random.gauss(0.0, parameters.outer_sigma)
        )
        self._place(side, self._price(side, len(parameters.limit) + round(distance)))

    def _cancel_one(self, side: Side, level: int) -> None:
        orders = [
            order
            for order in self._book.orders_at(side, self._price(side, level))
            if order.owner == FLOW
        ]
        if orders:
            self._book.cancel(self._random.choice(orders).order_id, self.next_ns)

    def _cancel_any(self) -> None:
        """Draw any order; cancel it if it stands beyond the queues."""
        if not self._orders:
            return
        index = self._random.randrange(len(self._orders))
        order = self._book.order(self._orders[index])
        if order is not None:
            distance = (self._price(order.side, 0) - order.price) * order.side.sign
            if 0 <= distance < len(self._parameters.limit):
                return  # has an intensity of its own
            self._book.cancel(order.order_id, self.next_ns)
        self._orders[index] = self._orders[-1]
        self._orders.pop()

    def _take(self, side: Side) -> None:
        parameters = self._parameters
        size = self._lots(parameters.market_size, parameters.market_sigma)
        self._book.submit(FLOW, side, None, size, self.next_ns, time_in_force=TimeInForce.IOC)

    def _notice_depletion(self) -> None:
        for side in (Side.BUY, Side.SELL):
            empty = not self._book.total(side, self._price(side, 0))
            depleted = empty and not self._empty[side]
            self._empty[side] = empty
            if depleted and self._random.random() < self._parameters.theta:
                self._move(side)
                return

    def _move(self, depleted: Side) -> None:
        """Move the reference price towards the side whose best queue is gone."""
        parameters, random, book = self._parameters, self._random, self._book
        sigma = parameters.move_sigma
        # The mean square of a log-normal is median**2 * exp(2 * sigma**2).
        ticks = parameters.move * math.exp(random.gauss(-sigma * sigma, sigma))
        taker = Side.BUY if depleted is Side.SELL else Side.SELL
        target = self._bid + taker.sign * max(1, round(ticks))
        if target <= 0:
            return
        self._leave(taker)
        self._bid = target
        self.moves += 1
        self._clear(depleted, taker)
        if random.random() < parameters.theta_reinit:
            for side in Side:
                self._draw_queue(side)
        self._empty = {side: not book.total(side, self._price(side, 0)) for side in Side}

    def _leave(self, side: Side) -> None:
        """Cancel most of the queues that the reference price is about to leave behind."""
        for level in range(len(self._parameters.limit)):
            for order in self._book.orders_at(side, self._price(side, level)):
                if order.owner == FLOW and self._random.random() < 0.8:
                    self._book.cancel(order.order_id, self.next_ns)

    def _clear(self, side: Side, taker: Side) -> None:
        """Empty the levels of `side` that the reference price has passed."""
        limit = self._price(side, 0) + taker.sign * -1
        in_the_way = []
        for price, _ in self._book.levels(side):
            if (price - limit) * taker.sign > 0:
                break
            in_the_way.append(price)
        if self._random.random() >= self._parameters.sweep:
            for price in in_the_way:
                for order in self._book.orders_at(side, price):
                    if order.owner == FLOW:
                        self._book.cancel(order.order_id, self.next_ns)
        left = sum(self._book.total(side, price) for price in in_the_way)
        if left:
            order_id = self._book.submit(
                FLOW, taker, limit, left, self.next_ns, time_in_force=TimeInForce.IOC
            )
            self.swept = Sweep(order_id, taker, limit, left)

    def _draw_queue(self, side: Side) -> None:
        """Fill a best queue with as many orders as its invariant distribution says."""
        point = self._random.random()
        orders = 0
        for orders, probability in enumerate(self._queue_law, start=1):  # noqa: B007
            point -= probability
            if point < 0:
                break
        for _ in range(orders):
            self._place(side, self._price(side, 0))


def _invariant_law(parameters: FlowParameters) -> list[float]:
    """Return the probabilities of best queues of 1, 2, ... orders.

    Detailed balance of a birth and death process: Huang, Lehalle and Rosenbaum, section 2.3.3,
    conditional on the queue's not being empty.
    """
    weights = [1.0]
    for queue in range(1, 60):
        leave = parameters.cancel[0] * (queue + 1) / (1 + (queue + 1) / parameters.cancel_half)
        leave += parameters.market * math.exp(-(queue + 1) / parameters.market_decay)
        weights.append(weights[-1] * parameters.limit[0] / leave)
    whole = sum(weights)
    return [weight / whole for weight in weights]
