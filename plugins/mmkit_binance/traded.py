"""Whether a stream of trades is silent because nobody trades: the venue's REST knows."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from mmkit.errors import FeedError
from mmkit.units import format_time
from mmkit_binance import messages
from mmkit_binance.allowance import AGG_TRADES_WEIGHT, TRADES_WEIGHT, Rank, Weight
from mmkit_binance.endpoints import kind_of
from mmkit_binance.messages import decode, nanoseconds
from mmkit_binance.rest import Rest
from mmkit_binance.sockets import Item, What
from mmkit_binance.subscription import Subscription

_log = logging.getLogger("mmkit.binance")

# The same trades as the stream of that name: USD-M's aggTrade leaves some out, over REST as well.
_NEWEST: dict[str, tuple[str, dict[str, int], msgspec.json.Decoder[Any]]] = {
    "trade": ("trades", TRADES_WEIGHT, messages.rest_trades),
    "aggTrade": ("aggTrades", AGG_TRADES_WEIGHT, messages.rest_agg_trades),
}
_SUBSCRIBED_NS = 1_000_000_000  # until a stream that was asked for has surely begun
_ON_ITS_WAY_S = 2.0  # at most, from what REST tells to the message of it


class Traded:
    """Looks for trades that silent streams should have told, and tells `What.NEVER` when there is one.

    Args:
        rest: Asked, now and then, for the newest trade.
        market: ``spot``, ``usdm`` or ``coinm``.
        native: The venue's own name of the instrument.
        streams: Of this instrument; told.

    Attributes:
        looking: The streams that have not spoken yet, each with what looks.
    """

    def __init__(self, rest: Rest, market: str, native: str, streams: Subscription) -> None:
        self._rest, self._market, self._native = rest, market, native
        self._streams = streams
        self.looking: dict[str, asyncio.Task[None]] = {}

    def look(self, item: Item, ts_venue: int) -> None:
        """Begin with the stream of `What.UNHEARD`, told at `ts_venue` by the venue's clock, ns."""
        if kind_of(item.stream) in _NEWEST and item.stream not in self.looking:
            since = ts_venue - int(item.content.seconds * 1e9)
            self.looking[item.stream] = self._streams.spawn(self._look(item, since))

    def heard(self, stream: str) -> None:
        """Take note that a stream has spoken."""
        if (task := self.looking.pop(stream, None)) is not None:
            task.cancel()

    async def stop(self) -> None:
        """Return when nothing is asked any more."""
        for task in self.looking.values():
            task.cancel()
        await asyncio.gather(*self.looking.values(), return_exceptions=True)

    async def _look(self, item: Item, since: int) -> None:
        path, weights, decoder = _NEWEST[kind_of(item.stream)]
        weight = Weight(weights[self._market], Rank.LATER)
        while True:
            try:
                raw = await self._rest.get(path, weight=weight, symbol=self._native, limit=1)
                trades = decode(decoder, raw, f"the newest of '{path}'")
            except FeedError as error:
                _log.warning(
                    "whether anybody trades cannot be told stream=%s reason=%s", item.stream, error
                )
            else:
                newest = max((nanoseconds(trade.time) for trade in trades), default=0)
                if newest > since + _SUBSCRIBED_NS:
                    await asyncio.sleep(_ON_ITS_WAY_S)
                    found = f"{item.content.error}; over REST, '{path}' has a trade of {format_time(newest)}"
                    await self._streams.put(Item(What.NEVER, item.route, FeedError(found)))
                    return
            await asyncio.sleep(item.content.seconds)
