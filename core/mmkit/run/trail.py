"""What happened in a run, kept in memory as a table, and as pandas frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmkit.commands import AmendOrder, AnyCommand, CancelOrder, OrderType, SubmitOrder, TimeInForce
from mmkit.events import (
    MAIN,
    Advice,
    AmendRejected,
    AnyEvent,
    CancelRejected,
    FeedLost,
    FeedRestored,
    FundingPaid,
    Liquidity,
    OrderAccepted,
    OrderAmended,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    Side,
    Signal,
    WatchEvent,
)
from mmkit.instruments import ContractKind, Instrument
from mmkit.recorder import Recorder
from mmkit.sim.kernel import layout as k
from mmkit.tape import SCALE, GapReason, Tape

if TYPE_CHECKING:
    import pandas as pd

_NAMES = k.ENTRY.names or ()
_LINE = np.dtype([*((name, np.int64) for name in _NAMES), ("amount", np.float64)])
"""A line of the compiled engine's log, with money (`amount`): a fill's fee, or the funding received."""

_CODES: dict[type, int] = {
    SubmitOrder: k.SUBMIT,
    CancelOrder: k.CANCEL,
    OrderAccepted: k.ACCEPTED,
    OrderRejected: k.REJECTED_POST_ONLY,
    OrderFilled: k.FILLED,
    OrderCanceled: k.CANCELED,
    CancelRejected: k.CANCEL_REJECTED,
    FeedLost: k.FEED_LOST,
    FeedRestored: k.FEED_RESTORED,
    FundingPaid: k.FUNDED,
}
_REJECTED = (k.REJECTED_POST_ONLY, k.REJECTED_UNKNOWN, k.REJECTED_SELF_TRADE)
_LASTING, _MARKET = ("post_only", "ioc", "market"), 2
_SIDES, _LIQUIDITY = ("buy", "sell"), ("maker", "taker")


class Trail(Recorder):
    """A recorder in memory. Either engine may write it; the frames come out the same.

    Args:
        instruments: What was traded, by market.
    """

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = dict(instruments)
        self._lines: dict[str, list[tuple[Any, ...]]] = {market: [] for market in instruments}
        self._parts: dict[str, list[npt.NDArray[Any]]] = {market: [] for market in instruments}
        self._sells: set[tuple[str, int]] = set()

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        """Take in one command or event; in no frame is what the market watch, models and advisors have to say, and amends."""
        if isinstance(
            entry, WatchEvent | Signal | Advice | AmendOrder | OrderAmended | AmendRejected
        ):
            return
        value = {name: getattr(entry, name, 0) for name in _NAMES}
        value["what"], value["fee"], amount = _CODES[type(entry)], 0, 0.0
        if isinstance(entry, SubmitOrder):
            value["selling"] = entry.side is Side.SELL
            value["taker"] = entry.time_in_force is TimeInForce.IOC
            if entry.order_type is OrderType.MARKET:
                value["taker"] = _MARKET
            if value["selling"]:
                self._sells.add((entry.market, entry.order_id))
        elif isinstance(entry, OrderFilled):
            value["selling"] = (entry.market, entry.order_id) in self._sells
            value["taker"] = entry.liquidity is Liquidity.TAKER
            amount = float(entry.fee)
        elif isinstance(entry, FundingPaid):
            # A real venue tells the amount alone; the rest is 0 then.
            value["quantity"], amount = entry.position or 0, float(entry.amount)
            value["price"] = int((entry.mark or 0) * SCALE)
            value["remaining"] = int((entry.rate or 0) * SCALE)
        elif isinstance(entry, FeedLost):
            value["price"] = GapReason[entry.reason.upper()]
        self._lines[entry.market].append((*value.values(), amount))

    def begin_anew(self) -> None:
        """Forget everything: the run starts over."""
        for market in self._instruments:
            self._lines[market].clear()
            self._parts[market].clear()
        self._sells.clear()

    def lines(self, log: npt.NDArray[Any], money: npt.NDArray[np.float64]) -> None:
        """Take in lines of the compiled engine's log, with the money of each; it has one market."""
        part = np.empty(len(log), _LINE)
        for name in _NAMES:
            part[name] = log[name]
        part["amount"] = money
        self._parts[MAIN].append(part)

    def table(self, market: str = MAIN) -> npt.NDArray[Any]:
        """Return everything that happened in a market, in order."""
        lines, parts = self._lines[market], self._parts[market]
        if lines:
            parts.append(np.array(lines, _LINE))
            lines.clear()
        return np.concatenate([np.empty(0, _LINE), *parts])

    def fills(self, market: str = MAIN) -> pd.DataFrame:
        """Return every fill: when it was known here, when it happened, and the position after it."""
        table, instrument = self.table(market), self._instruments[market]
        found = table[table["what"] == k.FILLED]
        sign = 1 - 2 * found["selling"]
        return self._frame(
            found,
            {
                "time_exchange": _times(found["ts_exchange"]),
                "order_id": found["order_id"],
                "side": _named(found["selling"], _SIDES),
                "liquidity": _named(found["taker"], _LIQUIDITY),
                "price": found["price"] * float(instrument.tick),
                "quantity": found["quantity"] * float(instrument.lot),
                "remaining": found["remaining"] * float(instrument.lot),
                "fee": found["amount"],
                "position": np.cumsum(sign * found["quantity"]) * float(instrument.lot),
            },
        )

    def funding(self, market: str = MAIN) -> pd.DataFrame:
        """Return every payment of funding; `amount` is positive if it was received."""
        table, instrument = self.table(market), self._instruments[market]
        found = table[table["what"] == k.FUNDED]
        return self._frame(
            found,
            {
                "time_exchange": _times(found["ts_exchange"]),
                "position": found["quantity"] * float(instrument.lot),
                "amount": found["amount"],
            },
        )

    def equity(self, tape: Tape, every_ns: int, market: str = MAIN) -> pd.DataFrame:
        """Return position, money and equity over time, by what had been learned; floats.

        From the first of the data until all that was under way at its end has arrived. While the book is unknown
        or a side of it is empty, `mid` is not a number, nor is `equity` while there is a position.

        Args:
            tape: What the run was over.
            every_ns: Between two rows.
            market: Which.
        """
        import pandas as pd

        table, instrument = self.table(market), self._instruments[market]
        fills, funding = table[table["what"] == k.FILLED], table[table["what"] == k.FUNDED]
        end_ns = max([tape.end_ns, *table["ts_local"][-1:].tolist()])
        times = np.arange(tape.start_ns, end_ns + every_ns, every_ns)
        inverse = instrument.kind is ContractKind.INVERSE
        bought = (1 - 2 * fills["selling"]) * fills["quantity"]
        size = float(instrument.lot) * float(instrument.contract_size)
        price = fills["price"] * float(instrument.tick)
        received = bought * size / price if inverse else -bought * size * price
        index = tape.index
        mid = _as_of(index.top_ts, (index.top_bid + 0.0 + index.top_ask) / 2, times)
        missing = _as_of(index.top_ts, np.minimum(index.top_bid, index.top_ask), times) < 0
        mid = np.where(missing, np.nan, mid * float(instrument.tick))
        position = _as_of(fills["ts_local"], np.cumsum(bought), times, 0.0) * float(instrument.lot)
        cash = _as_of(fills["ts_local"], np.cumsum(received), times, 0.0)
        fees = _as_of(fills["ts_local"], np.cumsum(fills["amount"]), times, 0.0)
        paid = _as_of(funding["ts_local"], np.cumsum(funding["amount"]), times, 0.0)
        held = position * float(instrument.contract_size)
        worth = -held / mid if inverse else held * mid
        worth = np.where(position == 0, 0.0, worth)
        columns = {
            "mid": mid,
            "position": position,
            "cash": cash,
            "fees": fees,
            "funding": paid,
            "equity": cash + worth - fees + paid,
        }
        return pd.DataFrame(columns, index=pd.DatetimeIndex(_times(times), name="time"))

    def orders(self, market: str = MAIN) -> pd.DataFrame:
        """Return every order, with what became of it: filled, canceled, rejected or open."""
        import pandas as pd

        table, instrument = self.table(market), self._instruments[market]
        sent = table[table["what"] == k.SUBMIT]
        ids = sent["order_id"]
        # Ids ascend as orders are sent.
        after = table[(table["what"] > k.CANCEL) & (table["order_id"] > 0)]
        of = np.searchsorted(ids, after["order_id"])
        filled, ended = np.zeros(len(ids)), np.full(len(ids), np.datetime64("NaT", "ns"))
        accepted = ended.copy()
        status = np.full(len(ids), "open", dtype=object)
        what, times = after["what"], after["ts_local"].astype("datetime64[ns]")
        np.add.at(filled, of[what == k.FILLED], after["quantity"][what == k.FILLED])
        rejected = np.isin(what, _REJECTED)
        accepted[of[what == k.ACCEPTED]] = times[what == k.ACCEPTED]
        for name, mask in (
            ("canceled", what == k.CANCELED),
            ("rejected", rejected),
            ("filled", (what == k.FILLED) & (after["remaining"] == 0)),
        ):
            status[of[mask]] = name
            ended[of[mask]] = times[mask]
        lot = float(instrument.lot)
        return self._frame(
            sent,
            {
                "order_id": ids,
                "side": _named(sent["selling"], _SIDES),
                "time_in_force": _named(sent["taker"], _LASTING),
                "price": sent["price"] * float(instrument.tick),
                "quantity": sent["quantity"] * lot,
                "filled": filled * lot,
                "status": pd.Categorical(status, ["open", "filled", "canceled", "rejected"]),
                "accepted": pd.DatetimeIndex(accepted, tz="UTC"),
                "ended": pd.DatetimeIndex(ended, tz="UTC"),
            },
        )

    def _frame(self, lines: npt.NDArray[Any], columns: dict[str, Any]) -> pd.DataFrame:
        import pandas as pd

        index = pd.DatetimeIndex(_times(lines["ts_local"]), name="time")
        return pd.DataFrame(columns, index=index)


def _as_of(
    times: npt.NDArray[np.int64],
    values: npt.NDArray[Any],
    at: npt.NDArray[np.int64],
    before: float = np.nan,
) -> npt.NDArray[np.float64]:
    """Return the values that hold at each of `at`; `before` ahead of the first."""
    last = np.searchsorted(times, at, side="right")
    return np.concatenate([[before], values.astype(np.float64)])[last]


def _times(ns: npt.NDArray[np.int64]) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(ns.astype("datetime64[ns]"), tz="UTC")


def _named(codes: npt.NDArray[np.int64], names: tuple[str, ...]) -> Any:
    import pandas as pd

    return pd.Categorical.from_codes(codes.tolist(), pd.Index(names))
