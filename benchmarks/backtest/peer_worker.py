"""Runs in hftbacktest's environment: one JSON request a line in, one JSON answer a line out.

``peer_worker.py whole EVENTS SNAPSHOT`` is one run from start to end, for the measurements of whole processes.
The quoter is ``mm`` of ``../shared/oracle/bench_hftbacktest.py`` with its two distances as arguments.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from hftbacktest import (  # type: ignore[import-not-found]
    BUY,
    GTX,
    LIMIT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from numba import njit, uint64

_WARM_UP = 2_000  # events to compile with


@njit
def _quote(hbt: Any, half_spread: float, skew_ticks: float) -> int:
    asset = 0
    tick = hbt.depth(asset).tick_size
    size = 0.01
    limit = 0.1
    while hbt.elapse(100_000_000) == 0:
        hbt.clear_inactive_orders(asset)
        depth = hbt.depth(asset)
        best_bid = depth.best_bid_tick
        best_ask = depth.best_ask_tick
        position = hbt.position(asset)
        mid = (best_bid + best_ask) / 2.0
        skew = position / limit * skew_ticks
        bid = min(int(np.floor(mid - skew - half_spread)), best_bid)
        ask = max(int(np.ceil(mid - skew + half_spread)), best_ask)
        bid_id = uint64(bid)
        ask_id = uint64(ask)
        has_bid = False
        has_ask = False
        orders = hbt.orders(asset).values()
        while orders.has_next():
            order = orders.get()
            if order.side == BUY:
                if order.price_tick == bid and position < limit:
                    has_bid = True
                elif order.cancellable:
                    hbt.cancel(asset, order.order_id, False)
            elif order.price_tick == ask and position > -limit:
                has_ask = True
            elif order.cancellable:
                hbt.cancel(asset, order.order_id, False)
        if not has_bid and position < limit:
            hbt.submit_buy_order(asset, bid_id, bid * tick, size, GTX, LIMIT, False)
        if not has_ask and position > -limit:
            hbt.submit_sell_order(asset, ask_id, ask * tick, size, GTX, LIMIT, False)
    return 0


def _backtest(events: Any, snapshot: str) -> Any:
    asset = (
        BacktestAsset()
        .data(events)
        .initial_snapshot(snapshot)
        .linear_asset(1.0)
        .constant_order_latency(2_000_000, 1_000_000)
        .power_prob_queue_model(2.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0002, 0.0005)
        .tick_size(0.1)
        .lot_size(0.001)
        .last_trades_capacity(0)
        .roi_lb(54000.0)
        .roi_ub(66000.0)
    )
    return ROIVectorMarketDepthBacktest([asset])


def quoter(
    events: str,
    snapshot: str,
    jitted: bool = True,
    half_spread: float = 5.0,
    skew: float = 10.0,
) -> dict[str, Any]:
    """Run the quoter once; the file is read by the first step, so that is in the time."""
    decide = _quote if jitted else _quote.py_func
    wall, cpu = time.perf_counter(), time.process_time()
    backtest = _backtest(events, snapshot)
    decide(backtest, half_spread, skew)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    state = backtest.state_values(0)
    answer = {
        "wall": wall,
        "cpu": cpu,
        "fills": int(state.num_trades),
        "position": round(float(state.position), 6),
        "balance": round(float(state.balance), 6),
        "fees": round(float(state.fee), 6),
    }
    backtest.close()
    return answer


def compiled(events: str, snapshot: str) -> dict[str, Any]:
    """Compile the quoter, on the first events of a feed."""
    first = np.array(np.load(events, mmap_mode="r")[:_WARM_UP])  # kept: it is read where it lies
    backtest = _backtest(first, snapshot)
    _quote(backtest, 5.0, 10.0)
    backtest.close()
    return {}


def convert(capture: str, out: str) -> dict[str, Any]:
    """Convert a raw capture and write what came of it."""
    from hftbacktest.data.utils import binancefutures  # type: ignore[import-not-found]

    wall, cpu = time.perf_counter(), time.process_time()
    rows = binancefutures.convert(capture, output_filename=out, combined_stream=True)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "rows": len(rows),
    }


_ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "quoter": quoter,
    "compiled": compiled,
    "convert": convert,
}


def _main() -> None:
    # The library prints; answers go where only they go.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if sys.argv[1:2] == ["whole"]:
        print(json.dumps(quoter(sys.argv[2], sys.argv[3])), file=answers, flush=True)
        return
    for line in sys.stdin:
        request = json.loads(line)
        answer = _ANSWERS[request.pop("what")](**request)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _main()
