"""Runs in nautilus_trader's environment: ``nautilus_worker.py EVENTS SNAPSHOT HOW_MANY``.

The quoter of ``peer_worker.py`` as a strategy of its own kind: asked by a timer every 100 ms, post-only limit
orders, 2 ms to the exchange. Its latency model has no way back, its exchange no queue: a limit order is
filled as soon as a trade meets its price. Only the engine's run is timed, not making its objects.
"""

from __future__ import annotations

import json
import math
import sys
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from nautilus_trader.backtest.engine import (  # type: ignore[import-not-found]
    BacktestEngine,
    BacktestEngineConfig,
)
from nautilus_trader.backtest.models import LatencyModel  # type: ignore[import-not-found]
from nautilus_trader.config import LoggingConfig  # type: ignore[import-not-found]
from nautilus_trader.model.currencies import USDT  # type: ignore[import-not-found]
from nautilus_trader.model.data import (  # type: ignore[import-not-found]
    BookOrder,
    OrderBookDelta,
    TradeTick,
)
from nautilus_trader.model.enums import (  # type: ignore[import-not-found]
    AccountType,
    AggressorSide,
    BookAction,
    BookType,
    OmsType,
    OrderSide,
    RecordFlag,
)
from nautilus_trader.model.identifiers import TradeId  # type: ignore[import-not-found]
from nautilus_trader.model.objects import Money, Price, Quantity  # type: ignore[import-not-found]
from nautilus_trader.test_kit.providers import (  # type: ignore[import-not-found]
    TestInstrumentProvider,
)
from nautilus_trader.trading.strategy import Strategy  # type: ignore[import-not-found]

_TRADE, _SOLD, _LOCAL = 2, 1 << 28, 1 << 30  # hftbacktest 2.4.4, hftbacktest/types.py
_TICK, _SIZE, _LIMIT = 0.1, 0.01, 0.1
_HALF_SPREAD, _SKEW = 5.0, 10.0


class Quoter(Strategy):  # type: ignore[misc]
    """The two-sided quoter."""

    def __init__(self, instrument: Any) -> None:
        super().__init__()
        self._instrument = instrument
        self._size = Quantity(_SIZE, 3)
        self._working: list[Any] = []
        self.fills = 0

    def on_start(self) -> None:
        """Ask for the book, and to be asked."""
        self.subscribe_order_book_deltas(self._instrument.id, BookType.L2_MBP)
        self.clock.set_timer("quote", timedelta(milliseconds=100), callback=self._quote)

    def on_order_filled(self, event: Any) -> None:
        """Count."""
        self.fills += 1

    def _quote(self, event: Any) -> None:
        identity = self._instrument.id
        book = self.cache.order_book(identity)
        if book is None or book.best_bid_price() is None or book.best_ask_price() is None:
            return
        best_bid = round(float(book.best_bid_price()) / _TICK)
        best_ask = round(float(book.best_ask_price()) / _TICK)
        held = float(self.portfolio.net_position(identity))
        center = (best_bid + best_ask) / 2.0 - held / _LIMIT * _SKEW
        wanted = {}
        if held < _LIMIT - _SIZE / 2:
            wanted[OrderSide.BUY] = min(math.floor(center - _HALF_SPREAD), best_bid)
        if held > -_LIMIT + _SIZE / 2:
            wanted[OrderSide.SELL] = max(math.ceil(center + _HALF_SPREAD), best_ask)
        # Its own list, as asking the cache each time is most of the run.
        self._working = [order for order in self._working if not order.is_closed]
        for order in self._working:
            if wanted.get(order.side) == round(float(order.price) / _TICK):
                del wanted[order.side]
            elif order.is_open and not order.is_pending_cancel:
                self.cancel_order(order)
        for side, price in wanted.items():
            order = self.order_factory.limit(
                identity, side, self._size, Price(price * _TICK, 1), post_only=True
            )
            self._working.append(order)
            self.submit_order(order)


def _data(instrument: Any, snapshot: Any, events: Any) -> list[Any]:
    identity = instrument.id
    start = int(min(events["local_ts"].min(), events["exch_ts"].min()))
    made: list[Any] = [OrderBookDelta.clear(identity, 0, start, start)]
    for rows, known in ((snapshot, start), (events, None)):
        for event, exchange, local, price, quantity in zip(
            rows["ev"].tolist(),
            rows["exch_ts"].tolist(),
            rows["local_ts"].tolist(),
            rows["px"].tolist(),
            rows["qty"].tolist(),
            strict=True,
        ):
            sold = bool(event & _SOLD)
            at, seen = known or exchange, known or local
            if event & 0xFF == _TRADE:
                aggressor = AggressorSide.SELLER if sold else AggressorSide.BUYER
                made.append(
                    TradeTick(
                        identity,
                        Price(price, 1),
                        Quantity(quantity, 3),
                        aggressor,
                        TradeId(str(len(made))),
                        at,
                        seen,
                    )
                )
                continue
            side = OrderSide.SELL if sold else OrderSide.BUY
            order = BookOrder(side, Price(price, 1), Quantity(quantity, 3), 0)
            action = BookAction.UPDATE if quantity else BookAction.DELETE
            last = RecordFlag.F_LAST
            made.append(OrderBookDelta(identity, action, order, last, 0, at, seen))
    return made


def _main() -> None:
    rows = np.load(sys.argv[1], mmap_mode="r")[: int(sys.argv[3])]
    rows = rows[rows["ev"] & _LOCAL != 0]
    instrument = TestInstrumentProvider.btcusdt_perp_binance()
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        instrument.id.venue,
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(10_000_000, USDT)],
        default_leverage=Decimal(10),
        latency_model=LatencyModel(base_latency_nanos=2_000_000),
        book_type=BookType.L2_MBP,
        trade_execution=True,
    )
    engine.add_instrument(instrument)
    engine.add_data(_data(instrument, np.load(sys.argv[2])["data"], rows))
    quoter = Quoter(instrument)
    engine.add_strategy(quoter)
    wall, cpu = time.perf_counter(), time.process_time()
    engine.run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"wall": wall, "cpu": cpu, "events": len(rows), "fills": quoter.fills}))


if __name__ == "__main__":
    _main()
