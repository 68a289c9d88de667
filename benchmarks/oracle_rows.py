"""The oracle on our own rows: shows that a difference lies in the rows or in the rules.

Two steps, because hftbacktest lives in an environment of its own::

    python benchmarks/oracle_rows.py write OUT.npz CAPTURE...        # mmkit's Python
    HFT/bin/python benchmarks/oracle_rows.py run ROWS.npz... [--every 100ms] [--from NS]

``write`` reads captures of BTCUSDT on USD-M as a backtest does and writes the rows in hftbacktest's layout.
``run`` is ``join_best`` as in ``../shared/oracle/run_hftbacktest.py``, with both queue models; ``--from`` lets
it quote only from that moment on. Given several files it plays them one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from decimal import Decimal
from pathlib import Path

import numpy as np

# hftbacktest 2.4.4, hftbacktest/types.py
_DEPTH, _TRADE, _BUY, _SELL, _EXCHANGE, _LOCAL = 1, 2, 1 << 29, 1 << 28, 1 << 31, 1 << 30
_EVENT = np.dtype(
    [
        ("ev", "<u8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("px", "<f8"),
        ("qty", "<f8"),
        ("order_id", "<u8"),
        ("ival", "<i8"),
        ("fval", "<f8"),
    ]
)
_TICK, _LOT, _LATENCY_NS, _SIZE, _MAX_POSITION = 0.1, 0.001, 10_000_000, 0.01, 0.05
_EVERY = {"1s": 1_000_000_000, "100ms": 100_000_000}


def write(out: Path, captures: list[str]) -> None:
    """Write the rows of `captures` as hftbacktest's events, in order of local time."""
    from mmkit.clock import SimClock
    from mmkit.interfaces import (
        InstrumentSpec,
        SourceContext,
        WireFormatContext,
    )
    from mmkit.tape import KIND, SELL, Kind
    from mmkit_binance.wire import BinanceConfig, BinanceWire
    from mmkit_capture.source import CaptureConfig, CaptureSource

    spec = InstrumentSpec(
        venue="binance",
        market="usdm",
        symbol="BTC/USDT:USDT",
        tick=Decimal("0.1"),
        lot=Decimal("0.001"),
    )
    context = SourceContext(
        spec=spec,
        clock=SimClock(),
        userdir=out.parent,
        wire_formats=lambda instrument, streams: BinanceWire(
            BinanceConfig(), WireFormatContext(instrument, tuple(streams))
        ),
    )
    tape = asyncio.run(CaptureSource(CaptureConfig(paths=tuple(captures)), context).tape())
    what = tape.kind & KIND
    if np.count_nonzero(what == Kind.SNAPSHOT) != 1 or np.count_nonzero(what == Kind.GAP) != 1:
        raise SystemExit("a capture with one snapshot and no gap was expected")
    kept = np.isin(what, [Kind.LEVEL, Kind.TRADE, Kind.GAP])
    events = np.zeros(np.count_nonzero(kept), _EVENT)
    # Nothing is known before the only snapshot, so it clears nothing. The GAP row that says so begins
    # the run; as a level of quantity 0 at one tick it changes no book.
    side = np.where(tape.kind & SELL, _SELL, _BUY)
    events["ev"] = (np.where(what == Kind.TRADE, _TRADE, _DEPTH) | side)[kept]
    events["exch_ts"], events["local_ts"] = tape.ts_exchange[kept], tape.ts_local[kept]
    events["px"] = np.round(np.maximum(tape.price, 1) * _TICK, 1)[kept]
    events["qty"] = np.round(tape.quantity * _LOT, 3)[kept]
    np.savez(out, data=events)
    known = int(tape.ts_local[np.flatnonzero(what == Kind.SNAPSHOT)[0]])
    print(json.dumps({"rows": len(tape), "events": len(events), "book_known_at": known}))


def run(files: list[Path], every: str, quote_from: int) -> None:
    """Print what hftbacktest makes of `files`."""
    from hftbacktest import (  # type: ignore[import-not-found]
        BUY,
        GTX,
        LIMIT,
        BacktestAsset,
        HashMapMarketDepthBacktest,
    )
    from hftbacktest.data import correct_event_order  # type: ignore[import-not-found]
    from hftbacktest.types import event_dtype  # type: ignore[import-not-found]
    from numba import njit

    @njit
    def join_best(hbt, interval, quote_from):  # type: ignore[no-untyped-def]
        order_id = 1
        while hbt.elapse(interval) == 0:
            hbt.clear_inactive_orders(0)
            if hbt.current_timestamp < quote_from:
                continue
            depth, position = hbt.depth(0), hbt.position(0)
            bid, ask = depth.best_bid_tick, depth.best_ask_tick
            if bid <= 0 or ask >= 2147483647 or bid >= ask:
                continue
            has_bid = has_ask = False
            orders = hbt.orders(0).values()
            while orders.has_next():
                order = orders.get()
                if order.side == BUY:
                    keep = order.price_tick == bid and position < _MAX_POSITION
                    has_bid |= keep or not order.cancellable
                else:
                    keep = order.price_tick == ask and position > -_MAX_POSITION
                    has_ask |= keep or not order.cancellable
                if order.cancellable and not keep:
                    hbt.cancel(0, order.order_id, False)
            if not has_bid and position < _MAX_POSITION:
                hbt.submit_buy_order(0, order_id, bid * _TICK, _SIZE, GTX, LIMIT, False)
                order_id += 1
            if not has_ask and position > -_MAX_POSITION:
                hbt.submit_sell_order(0, order_id, ask * _TICK, _SIZE, GTX, LIMIT, False)
                order_id += 1
        return order_id - 1

    parts = []
    for file in files:
        events = np.load(file)["data"].astype(event_dtype)
        if not (events["ev"] & (_EXCHANGE | _LOCAL)).any():
            by_exchange = np.argsort(events["exch_ts"], kind="mergesort")
            by_local = np.argsort(events["local_ts"], kind="mergesort")
            events = correct_event_order(events, by_exchange, by_local)
        parts.append(events)
    for queue in ("risk_averse", "power"):
        asset = (
            BacktestAsset()
            .data(parts)
            .linear_asset(1.0)
            .constant_order_latency(_LATENCY_NS, _LATENCY_NS)
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(_TICK)
            .lot_size(_LOT)
            .last_trades_capacity(0)
        )
        power = queue == "power"
        asset = asset.power_prob_queue_model(2.0) if power else asset.risk_adverse_queue_model()
        backtest = HashMapMarketDepthBacktest([asset])
        orders = join_best(backtest, _EVERY[every], quote_from)
        state, depth = backtest.state_values(0), backtest.depth(0)
        equity = state.balance + state.position * (depth.best_bid + depth.best_ask) / 2
        result = {
            "queue": queue,
            "every": every,
            "orders": int(orders),
            "trades": int(state.num_trades),
            "position": round(float(state.position), 6),
            "equity": round(float(equity), 6),
        }
        print(json.dumps(result))
        backtest.close()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write")
    writing.add_argument("out", type=Path)
    writing.add_argument("captures", nargs="+")
    running = commands.add_parser("run")
    running.add_argument("files", type=Path, nargs="+")
    running.add_argument("--every", choices=sorted(_EVERY), default="1s")
    running.add_argument("--from", dest="quote_from", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.command == "write":
        write(arguments.out, arguments.captures)
    else:
        run(arguments.files, arguments.every, arguments.quote_from)


if __name__ == "__main__":
    _main()
