"""The filters of a symbol: which prices and quantities are refused, with Binance's codes and words.

Sources: Binance Spot API, "Filters" and "Error codes" (-1013, -1111); USD-M Futures API, "Error code",
and COIN-M, the same
(-1111, -2025, -4001 to -4005, -4013, -4014, -4016, -4024, -4131, -4164). What is refused here is what
`Listing.info` announces.
"""

from __future__ import annotations

from decimal import Decimal

from mmkit.events import Side
from mmkit_sandbox.accountorder import OrderKind, Placing
from mmkit_sandbox.listing import (
    MAX_NUM_ORDERS,
    SPOT,
    SPOT_BAND,
    SPOT_MAX_NOTIONAL,
    SPOT_MIN_NOTIONAL,
    USDM,
    USDM_BAND,
    USDM_MIN_NOTIONAL,
    Listing,
)
from mmkit_sandbox.refused import Refused

_PLACES = 8  # more decimal places than that are refused before any filter is asked


def check(
    listing: Listing, asked: Placing, around: Decimal | None, best: Decimal | None, open_orders: int
) -> None:
    """Refuse an order that the symbol's filters do not let through.

    Args:
        listing: The symbol.
        asked: The order.
        around: What prices are compared with: the mark price or the mid; `None` without a book.
        best: The best price it could trade at, `None` if there is none.
        open_orders: How many the account has of this symbol.

    Raises:
        Refused: as Binance would.
    """
    if listing.market == SPOT:
        _spot(listing, asked, around, open_orders)
    else:
        _usdm(listing, asked, around, best, open_orders)


def _spot(listing: Listing, asked: Placing, around: Decimal | None, open_orders: int) -> None:
    price, quantity = asked.price, asked.quantity
    for name, value in (("quantity", quantity), ("price", price)):
        if value is not None and _places(value) > _PLACES:
            raise Refused(-1111, f"Parameter '{name}' has too much precision.")
    if price is not None and not _on_grid(price, listing.tick, listing.max_price):
        raise _failure("PRICE_FILTER")
    if price is not None and around is not None:
        down, up = SPOT_BAND
        if not around * down <= price <= around * up:
            raise _failure("PERCENT_PRICE_BY_SIDE")
    if not _on_grid(quantity, listing.lot, listing.max_quantity):
        raise _failure("LOT_SIZE")
    value_price = price if price is not None else around
    if value_price is not None:
        notional = value_price * quantity
        if notional < SPOT_MIN_NOTIONAL or (price is not None and notional > SPOT_MAX_NOTIONAL):
            raise _failure("NOTIONAL")
    if asked.kind is not OrderKind.MARKET and open_orders >= MAX_NUM_ORDERS:
        raise _failure("MAX_NUM_ORDERS")


def _failure(name: str) -> Refused:
    return Refused(-1013, f"Filter failure: {name}")


def _usdm(
    listing: Listing,
    asked: Placing,
    around: Decimal | None,
    best: Decimal | None,
    open_orders: int,
) -> None:
    price, quantity = asked.price, asked.quantity
    if quantity <= 0:
        raise Refused(-4003, "Quantity less than zero.")
    if _places(quantity) > listing.quantity_places:
        raise Refused(-1111, "Precision is over the maximum defined for this asset.")
    if quantity < listing.lot:
        raise Refused(-4004, "Quantity less than min quantity.")
    if quantity > listing.max_quantity:
        raise Refused(-4005, "Quantity greater than max quantity.")
    if quantity % listing.lot:
        raise Refused(-4023, "Qty not increased by step size.")
    if price is not None:
        _usdm_price(listing, asked.side, price, around)
    elif best is not None and around is not None and not _in_band(asked.side, best, around):
        raise Refused(
            -4131, "The counterparty's best price does not meet the PERCENT_PRICE filter limit."
        )
    value_price = price if price is not None else around
    if (
        listing.market == USDM
        and value_price is not None
        and value_price * quantity < USDM_MIN_NOTIONAL
        and not asked.reduce_only
    ):
        raise Refused(
            -4164,
            f"Order's notional must be no smaller than {USDM_MIN_NOTIONAL} "
            "(unless you choose reduce only).",
        )
    if asked.kind is not OrderKind.MARKET and open_orders >= MAX_NUM_ORDERS:
        raise Refused(-2025, "Reach max open order limit.")


def _usdm_price(listing: Listing, side: Side, price: Decimal, around: Decimal | None) -> None:
    if price <= 0:
        raise Refused(-4001, "Price less than 0.")
    if _places(price) > listing.price_places:
        raise Refused(-1111, "Precision is over the maximum defined for this asset.")
    if price < listing.tick:
        raise Refused(-4013, "Price less than min price.")
    if price > listing.max_price:
        raise Refused(-4002, "Price greater than max price.")
    if price % listing.tick:
        raise Refused(-4014, "Price not increased by tick size.")
    if around is not None and not _in_band(side, price, around):
        down, up = (around * share for share in USDM_BAND)
        if side is Side.BUY:
            raise Refused(-4016, f"Limit price can't be higher than {up:.{listing.price_places}f}.")
        raise Refused(-4024, f"Limit price can't be lower than {down:.{listing.price_places}f}.")


def _in_band(side: Side, price: Decimal, around: Decimal) -> bool:
    """Whether a price is not too good for the other side: that is all that PERCENT_PRICE forbids on contracts."""
    down, up = USDM_BAND
    return price <= around * up if side is Side.BUY else price >= around * down


def _on_grid(value: Decimal, step: Decimal, most: Decimal) -> bool:
    return step <= value <= most and value % step == 0


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
