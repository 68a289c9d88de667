"""Statistics and events in words and as plain data: the prices, quantities and times that people read."""

from __future__ import annotations

from typing import Any

from msgspec.structs import asdict

from mmkit.events import (
    MAIN,
    HighVolatility,
    LargeTrade,
    OneSidedTrades,
    PriceAnomaly,
    Statistics,
    StrongFlow,
    WatchEvent,
)
from mmkit.instruments import Instrument
from mmkit.units import format_time

_TICKS = frozenset({"price", "mean", "deviation"})
_LOTS = frozenset({"quantity", "bought", "sold", "flow_bought", "flow_sold", "flow"})


def plain(event: WatchEvent, instrument: Instrument) -> dict[str, Any]:
    """Return an event as plain data.

    Times in ns since the epoch. Prices in quote currency and quantities in base currency (contracts if inverse) are
    decimals; ``mean`` and ``deviation``, in quote currency, ``z``, ``volatility`` in basis points and the shares are
    floats.
    """
    values = {
        "type": type(event).__name__,
        **asdict(event),
        "symbol": instrument.symbol,
        "venue": instrument.venue,
    }
    if isinstance(event, Statistics):
        values |= {
            "flow": event.flow,
            "buy_sell_ratio": event.buy_sell_ratio,
            "buy_share": event.buy_share,
        }
    return {name: _plain(name, value, instrument) for name, value in values.items()}


def _plain(name: str, value: Any, instrument: Instrument) -> Any:
    if name in _TICKS and value is not None:
        return instrument.price(value) if isinstance(value, int) else money(value, instrument)
    if name in _LOTS:
        return instrument.quantity(value)
    return value


def money(ticks: float, instrument: Instrument) -> float:
    """Return an average or a deviation in quote currency."""
    # Not a multiplication by the tick as a float: a tenth is none, and 0.30000000000000004 no price.
    numerator, denominator = instrument.tick.as_integer_ratio()
    return ticks * numerator / denominator


def line(event: WatchEvent, instrument: Instrument) -> str:
    """Return an event in one line of ``key=value``, its time first."""
    where = "" if event.market == MAIN else f" market={event.market}"
    return (
        f"{format_time(event.ts_local)} {type(event).__name__}{where} {figures(event, instrument)}"
    )


def figures(event: WatchEvent, instrument: Instrument) -> str:
    """Return the numbers of an event as ``key=value``."""

    def price(ticks: int) -> str:
        return f"{instrument.price(ticks):f}"

    def quantity(lots: int) -> str:
        return f"{instrument.quantity(lots):f}"

    def about(ticks: float) -> str:
        return f"{money(ticks, instrument):.6g}" if ticks < 1 else _near(ticks, instrument)

    match event:
        case Statistics():
            parts = [
                "" if event.price is None else f"price={price(event.price)}",
                "" if event.volatility is None else f"volatility={event.volatility:.3f}bps",
                "" if event.z is None else f"z={event.z:+.2f}",
                f"trades={event.buys + event.sells} buys={event.buys} sells={event.sells}",
                "" if event.buy_sell_ratio is None else f"ratio={event.buy_sell_ratio:.2f}",
                f"flow={quantity(event.flow)} bought={quantity(event.flow_bought)} "
                f"sold={quantity(event.flow_sold)}",
            ]
            return " ".join(part for part in parts if part)
        case PriceAnomaly():
            said = (
                f"side={event.side} price={price(event.price)} z={event.z:+.2f} "
                f"mean={about(event.mean)} deviation={about(event.deviation)} prices={event.prices}"
            )
        case LargeTrade():
            said = (
                f"side={event.side} quantity={quantity(event.quantity)} price={price(event.price)}"
            )
        case HighVolatility():
            said = (
                f"volatility={event.volatility:.3f}bps deviation={about(event.deviation)} "
                f"mean={about(event.mean)}"
            )
        case OneSidedTrades():
            said = (
                f"side={event.side} bought={quantity(event.bought)} sold={quantity(event.sold)} "
                f"buys={event.buys} sells={event.sells}"
            )
        case StrongFlow():
            said = (
                f"side={event.side} bought={quantity(event.flow_bought)} "
                f"sold={quantity(event.flow_sold)} trades={event.flow_trades}"
            )
    return f"{said} suppressed={event.suppressed}" if event.suppressed else said


def _near(ticks: float, instrument: Instrument) -> str:
    """Return an average to one decimal more than prices have."""
    exponent = instrument.tick.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # a finite tick, as `Instrument` has checked
    return f"{money(ticks, instrument):.{max(0, -exponent) + 1}f}"
