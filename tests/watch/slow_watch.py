"""The market watch once more, slow and obvious: every statistic from all rows so far, with numpy and pandas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmkit.instruments import Instrument
from mmkit.tape import KIND, SELL, Kind, Row
from mmkit.watch import WatchSettings

Found = tuple[str, str | None, int]
"""An alert: its kind, side and ``ts_local``."""


def trades_of(rows: Sequence[Row]) -> pd.DataFrame:
    """The trades, each with the number of gaps before it."""
    table = pd.DataFrame(
        np.array(rows, dtype=np.int64).reshape(-1, 5),
        columns=["ts_exchange", "ts_local", "kind", "price", "quantity"],
    )
    what = table["kind"] & KIND
    table["span"] = (what == Kind.GAP).cumsum()
    table["sell"] = (table["kind"] & SELL) != 0
    return table[what == Kind.TRADE].reset_index(drop=True)


def statistics_at(rows: Sequence[Row], settings: WatchSettings, now: int) -> dict[str, Any]:
    """What holds at `now`, after all of `rows`."""
    table = trades_of(rows)
    gaps = sum(row[2] & KIND == Kind.GAP for row in rows)
    table = table[table["span"] == gaps]
    prices = table["price"].to_numpy()[-settings.window :]
    last = table.tail(settings.trades)
    recent = table[table["ts_local"] > now - settings.span]
    told = len(prices) >= settings.least
    return {
        "price": int(prices[-1]) if len(prices) else None,
        "mean": float(np.mean(prices)) if told else None,
        "deviation": float(np.std(prices, ddof=1)) if told else None,
        "buys": int((~last["sell"]).sum()),
        "sells": int(last["sell"].sum()),
        "bought": int(last.loc[~last["sell"], "quantity"].sum()),
        "sold": int(last.loc[last["sell"], "quantity"].sum()),
        "flow_bought": int(recent.loc[~recent["sell"], "quantity"].sum()),
        "flow_sold": int(recent.loc[recent["sell"], "quantity"].sum()),
        "flow_trades": len(recent),
    }


def scores(table: pd.DataFrame, settings: WatchSettings, floor: float) -> pd.Series[float]:
    """The z-score of each trade against the prices before it, NaN where there are too few."""
    z = pd.Series(np.nan, index=table.index)
    for _, part in table.groupby("span"):
        prices = part["price"].to_numpy()
        for place in range(settings.least, len(prices)):
            # Not `rolling`, whose sums drift: by 5e-4 within 20,000 trades of BTCUSDT.
            before = prices[max(0, place - settings.window) : place]
            deviation = max(float(np.std(before, ddof=1)), floor)
            z[part.index[place]] = (prices[place] - np.mean(before)) / deviation
    return z


def alerts(rows: Sequence[Row], settings: WatchSettings, instrument: Instrument) -> list[Found]:
    """Price anomalies and large trades, with the floor in ticks."""
    table = trades_of(rows)
    z = scores(table, settings, float(settings.floor.amount))
    found: list[Found] = []
    last: dict[tuple[str, str], int] = {}
    for number, trade in table.iterrows():
        at, side = int(trade["ts_local"]), "sell" if trade["sell"] else "buy"
        kinds = []
        if settings.deviations is not None and abs(z[number]) > settings.deviations:
            kinds.append(("PriceAnomaly", "buy" if z[number] > 0 else "sell"))
        if settings.large_trade is not None and (
            instrument.quantity(int(trade["quantity"])) > settings.large_trade
        ):
            kinds.append(("LargeTrade", side))
        for key in kinds:
            if key not in last or at - last[key] >= settings.cooldown:
                last[key] = at
                found.append((*key, at))
    return found
