"""One simulated symbol: matching, order flow, and what the public streams say about them."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from itertools import groupby, islice
from random import Random

from mmkit.events import Side
from mmkit_sandbox import payload
from mmkit_sandbox.candles import INTERVALS, Candle, Candles
from mmkit_sandbox.channel import DIFF_INTERVALS, Channel, StreamKind
from mmkit_sandbox.exchange import AggTrade, Depth, Mark, Message, PriceLevel, PublicTrade
from mmkit_sandbox.flow import FlowParameters, OrderFlow
from mmkit_sandbox.funding import USUAL, FundingTerms
from mmkit_sandbox.liquidation import EVERY_MS, Liquidations
from mmkit_sandbox.listing import FUTURES, SPOT, Listing
from mmkit_sandbox.matching import MatchingBook, Trade
from mmkit_sandbox.truth import TrueBook, Truth

_MS = 1_000_000
_MARK_INTERVALS = (1000, 3000)
_PARTIAL_LEVELS = (5, 10, 20)
_KEPT_TRADES = 1000  # the most that GET trades answers with
_KEPT_AGG_TRADES = 5000  # GET aggTrades goes back so far: some minutes; Binance's, without end
_CANDLES = {
    SPOT: {2000: INTERVALS[1:], 1000: INTERVALS[:1]},
    **{market: {250: INTERVALS[1:]} for market in FUTURES},
}
"""How often candles are told while they change, in ms, and which."""


class _DiffBatch:
    """The changes that one depth interval has gathered so far."""

    def __init__(self, interval_ms: int, update_id: int) -> None:
        self.interval_ns = interval_ms * _MS
        self.interval_ms = interval_ms
        self.previous = self.last = update_id
        self.first = 0
        self.levels: dict[tuple[Side, int], int] = {}


class SimulatedMarket:
    """A matching book with its order flow, and its streams.

    Every change of a level has an update id. On spot they are consecutive. On futures they are not,
    as on Binance, where one sequence counts the changes of all symbols.

    Args:
        listing: What is traded.
        seed: Together with the listing it decides everything that happens.
        start_ns: When the market opens.
        volatility: In basis points per square root of a second.
        remember: Whether `truth` is kept.
        price: Where it starts, in ticks; the listing's price if not given.
        first_ids: The numbers of the first order and of the first trade.
        liveliness: How many orders the flow sends, compared with what is usual.
        funding: When holders pay each other, and how much; contracts only.
    """

    def __init__(
        self,
        listing: Listing,
        seed: str,
        start_ns: int,
        volatility: float,
        *,
        remember: bool = False,
        price: int | None = None,
        first_ids: tuple[int, int] = (1, 1),
        liveliness: float = 1.0,
        funding: FundingTerms = USUAL,
    ) -> None:
        self.listing, self._funding = listing, funding
        self.book = MatchingBook(*first_ids)
        # random.Random takes a str through SHA-512: the same on every platform and in every process.
        random = Random(f"{seed} {listing.market} {listing.symbol}")  # noqa: S311  # not for secrets
        reference = int(listing.price / listing.tick) if price is None else price
        parameters = FlowParameters.of(listing, volatility, liveliness)
        self._flow = OrderFlow(self.book, random, parameters, reference, start_ns)
        self.book.take_changes()
        self.now_ns = start_ns
        self._update_id = 1_000_000
        self._change_ms = start_ns // _MS
        self.truth: Truth | None = None
        """The book at each of its latest update ids."""
        if remember:
            sides = [dict(self.book.levels(side)) for side in (Side.BUY, Side.SELL)]
            self.truth = Truth(self._update_id, self._change_ms, *sides)
        self.agg_trades: deque[AggTrade] = deque(maxlen=_KEPT_AGG_TRADES)
        """The latest aggregate trades, oldest first."""
        self._agg_id = 0
        self._candles = Candles(
            tuple(name for names in _CANDLES[listing.market].values() for name in names)
        )
        # Not the market's own generator: what is called a liquidation decides nothing.
        self._liquidations = Liquidations(
            Random(f"{seed} {listing.market} {listing.symbol} liquidations")  # noqa: S311
        )
        self._best: tuple[PriceLevel, PriceLevel] | None = None
        self._trades: deque[PublicTrade] = deque(maxlen=_KEPT_TRADES)
        self._batches = [
            _DiffBatch(interval, self._update_id) for interval in DIFF_INTERVALS[listing.market]
        ]
        # Every depth and candle interval is a multiple of 50 ms, every mark interval of 1 s.
        self._boundary_ns = start_ns - start_ns % (50 * _MS) + 50 * _MS
        self._wanted: Container[Channel] = ()
        self._messages: list[Message] = []
        symbol, market = listing.symbol, listing.market
        self._trade_channel = Channel(market, symbol, StreamKind.TRADE)
        self._agg_channel = Channel(market, symbol, StreamKind.AGG_TRADE)
        self._ticker_channel = Channel(market, symbol, StreamKind.BOOK_TICKER)
        self._force_channel = Channel(market, symbol, StreamKind.FORCE_ORDER)

    def advance(self, now_ns: int, wanted: Container[Channel]) -> list[Message]:
        """Let everything happen that is due by `now_ns`; return the messages of wanted channels."""
        self._wanted = wanted
        flow = self._flow
        while True:
            due = min(flow.next_ns, self._boundary_ns)
            if due > now_ns:
                break
            self.now_ns = due
            if due == flow.next_ns:
                flow.step()
                self.publish(due)
            else:
                self._tick(due)
        self.now_ns = max(self.now_ns, now_ns)
        messages, self._messages = self._messages, []
        return messages

    def rest_until(self, now_ns: int) -> None:
        """Let nothing happen by itself before a time: nobody trades, and no stream says anything."""
        self._flow.rest_until(now_ns)
        every = 50 * _MS
        self._boundary_ns = max(self._boundary_ns, now_ns - now_ns % every + every)

    def publish(self, now_ns: int) -> None:
        """Give update ids to what has changed in the book and tell the streams; call after every order."""
        changes = self.book.take_changes()
        now_ms = now_ns // _MS
        for change in changes:
            # Any stride will do on futures; this one makes the gaps differ.
            stride = 1 if self.listing.market == SPOT else 1 + self._update_id % 7
            self._update_id += stride
            if self.truth is not None:
                self.truth.note(self._update_id, now_ms, change.side, change.price, change.total)
            for batch in self._batches:
                if not batch.levels:
                    batch.first = self._update_id
                batch.levels[change.side, change.price] = change.total
                batch.last = self._update_id
        if changes:
            self._change_ms = now_ms
            self._publish_trades(self.book.take_trades(), now_ms)
            self._publish_best(now_ms)

    def depth(self, limit: int) -> Depth:
        """Return the book as it is."""
        return Depth(
            self._update_id,
            self._change_ms,
            self._top(Side.BUY, limit),
            self._top(Side.SELL, limit),
        )

    def told(self, book: TrueBook, limit: int | None = None) -> Depth:
        """Return a book that was, as GET depth tells books."""
        price_text, quantity_text = self.listing.price_text, self.listing.quantity_text
        bids, asks = (
            [
                (price_text(price), quantity_text(levels[price]))
                for price in islice(sorted(levels, reverse=best_is_highest), limit)
            ]
            for levels, best_is_highest in ((book.bids, True), (book.asks, False))
        )
        return Depth(book.update_id, book.ts_ms, bids, asks)

    @property
    def mid(self) -> int | None:
        """The price between the best ones in ticks, `None` if a side is empty."""
        bid, ask = self.book.best(Side.BUY), self.book.best(Side.SELL)
        return None if bid is None or ask is None else (bid + ask) // 2

    def trades(self, limit: int) -> list[PublicTrade]:
        """Return the latest trades, oldest first."""
        return list(self._trades)[-limit:]

    def mark(self) -> Mark | None:
        """Return the mark price, which is the mid, and the funding."""
        bid, ask = self.book.best(Side.BUY), self.book.best(Side.SELL)
        if self.listing.market == SPOT or bid is None or ask is None:
            return None
        now_ms = self.now_ns // _MS
        price = f"{self.listing.tick * (bid + ask) / 2:.8f}"
        return Mark(
            mark_price=price,
            index_price=price,
            settle_price=price,
            funding_rate=f"{self._funding.rate:.8f}",
            next_funding_ms=self._funding.next_ms(now_ms),
            ts_ms=now_ms,
        )

    def _top(self, side: Side, limit: int) -> list[PriceLevel]:
        price_text, quantity_text = self.listing.price_text, self.listing.quantity_text
        return [
            (price_text(price), quantity_text(total))
            for price, total in islice(self.book.levels(side), limit)
        ]

    def _publish_trades(self, trades: list[Trade], now_ms: int) -> None:
        self._close_candles(now_ms)
        for trade in trades:
            public = self._public(trade, trade.quantity, now_ms)
            self._trades.append(public)
            value = self.listing.value(trade.price, trade.quantity)
            self._candles.add(
                now_ms,
                trade.trade_id,
                trade.price,
                trade.quantity,
                value,
                not public.buyer_is_maker,
            )
            if self._trade_channel in self._wanted:
                self._say(self._trade_channel, payload.trade(self.listing, public))
        for _, group in groupby(trades, lambda trade: (trade.taker_order_id, trade.price)):
            self._agg_id += 1
            together = list(group)
            whole = self.listing.quantity_text(sum(trade.quantity for trade in together))
            first, last = together[0], together[-1]
            found = AggTrade(
                self._agg_id,
                self.listing.price_text(first.price),
                whole,
                first.trade_id,
                last.trade_id,
                now_ms,
                first.aggressor is Side.SELL,
            )
            self.agg_trades.append(found)
            if self._agg_channel in self._wanted:
                self._say(self._agg_channel, payload.agg_trade(self.listing, found))
        sweep, self._flow.swept = self._flow.swept, None
        if sweep is not None and self.listing.market in FUTURES:
            self._liquidations.consider(sweep, trades, now_ms)

    def _close_candles(self, now_ms: int) -> None:
        for candle in self._candles.closed(now_ms):
            self._say_candle(candle, now_ms, closed=True)

    def _say_candle(self, candle: Candle, now_ms: int, *, closed: bool) -> None:
        listing = self.listing
        channel = Channel(listing.market, listing.symbol, StreamKind.KLINE, candle=candle.interval)
        if channel in self._wanted:
            self._say(channel, payload.kline(listing, candle, now_ms, closed=closed))

    def _public(self, trade: Trade, quantity: int, now_ms: int) -> PublicTrade:
        return PublicTrade(
            trade.trade_id,
            self.listing.price_text(trade.price),
            self.listing.quantity_text(quantity),
            now_ms,
            trade.aggressor is Side.SELL,
        )

    def _publish_best(self, now_ms: int) -> None:
        if self._ticker_channel not in self._wanted:
            self._best = None
            return
        nothing = ("0", "0")
        bid = next(iter(self._top(Side.BUY, 1)), nothing)
        ask = next(iter(self._top(Side.SELL, 1)), nothing)
        if self._best != (bid, ask):
            self._best = (bid, ask)
            message = payload.book_ticker(self.listing, self._update_id, bid, ask, now_ms)
            self._say(self._ticker_channel, message)

    def _tick(self, now_ns: int) -> None:
        """Send what goes out at fixed intervals: depth, candles, liquidations and mark price."""
        self._boundary_ns += 50 * _MS
        now_ms = now_ns // _MS
        self._close_candles(now_ms)
        for every_ms, names in _CANDLES[self.listing.market].items():
            if now_ms % every_ms == 0:
                for candle in self._candles.changed(names, now_ms):
                    self._say_candle(candle, now_ms, closed=False)
        for batch in self._batches:
            if now_ns % batch.interval_ns == 0 and batch.levels:
                self._send_depth(batch, now_ms)
                batch.previous = batch.last
                batch.levels = {}
        if self.listing.market in FUTURES:
            self._tick_futures(now_ms)

    def _tick_futures(self, now_ms: int) -> None:
        listing = self.listing
        # Taken whoever listens, so that nobody hears of an old one.
        found = self._liquidations.take() if now_ms % EVERY_MS == 0 else None
        if found is not None and self._force_channel in self._wanted:
            self._say(self._force_channel, payload.force_order(listing, found, now_ms))
        for interval in _MARK_INTERVALS:
            channel = Channel(listing.market, listing.symbol, StreamKind.MARK_PRICE, 0, interval)
            if now_ms % interval == 0 and channel in self._wanted and (mark := self.mark()):
                self._say(channel, payload.mark_price(listing, mark))

    def _send_depth(self, batch: _DiffBatch, now_ms: int) -> None:
        listing = self.listing
        channel = Channel(listing.market, listing.symbol, StreamKind.DIFF, 0, batch.interval_ms)
        whole = payload.Batch(
            batch.first, batch.last, batch.previous, self._change_ms, bids=[], asks=[]
        )
        if channel in self._wanted:
            for (side, price), total in batch.levels.items():
                levels = whole.bids if side is Side.BUY else whole.asks
                levels.append((listing.price_text(price), listing.quantity_text(total)))
            self._say(channel, payload.diff(listing, whole, now_ms))
        for count in _PARTIAL_LEVELS:
            channel = channel._replace(kind=StreamKind.PARTIAL, levels=count)
            if channel in self._wanted:
                self._say(channel, payload.partial(listing, whole, self.depth(count), now_ms))

    def _say(self, channel: Channel, data: bytes) -> None:
        self._messages.append(Message(channel, data))
