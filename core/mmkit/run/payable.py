"""Whether an account can pay for what a run would quote: looked at before it quotes."""

from __future__ import annotations

import logging
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

from mmkit.errors import ConfigError, Mistake, VenueError
from mmkit.instruments import ContractKind, Instrument
from mmkit.portfolio import value_of

if TYPE_CHECKING:
    from mmkit.run.accounts import Account

_log = logging.getLogger("mmkit.live")

_SIZES = ("min_size", "size")
"""What strategies call the quantity of a quote, the least one first; ``strategy.size`` of all that ship."""


def refuse_unpayable(account: Account, strategy: Any, where: str) -> None:
    """Refuse quotes that the venue would, whatever their price: worth too little, or more than there is.

    Where only one side can be paid for, that is said in the log. Nothing is said where the venue was not asked for a
    price.

    Args:
        account: Opened.
        strategy: Its configuration, which may hold a size; `None` for a market that is not quoted, of which the
            smallest order that the venue takes is judged.
        where: Names the account in errors.

    Raises:
        ConfigError: if the size is worth less than the venue takes.
        VenueError: if neither side can be paid for.
    """
    instrument, info = account.instrument, account.info
    if info.price is None:
        return
    price = instrument.floor_ticks(info.price)
    least = _least(instrument, price, info.min_notional)
    name, size = _size_of(strategy)
    lots = least if size is None else instrument.floor_lots(size)
    if not lots:
        return  # which is off the grid, and refused for that
    if lots < least:
        value = value_of(instrument, price, lots)
        words = (
            f"{where}: an order worth at least {info.min_notional:f} {instrument.quote} was expected, the venue's least; "
            f"found {size:f}, worth {value:.2f} {instrument.quote} at a price of {instrument.price(price)}"
        )
        hint = f"take at least {instrument.quantity(least)}"
        raise ConfigError([Mistake("", f"strategy.{name}", words, hint)])
    what = "the smallest order" if size is None else f"a quote of strategy.{name}"
    if instrument.kind is ContractKind.SPOT:
        _judge_spot(account, price, lots, what, where)
    else:
        _judge_margin(account, price, lots, what, where)


def _judge_spot(account: Account, price: int, lots: int, what: str, where: str) -> None:
    instrument = account.instrument
    base, quote = instrument.base, instrument.quote
    quantity, value = instrument.quantity(lots), value_of(instrument, price, lots)
    has_base = account.funds[base] + account.opening
    has_quote = account.funds[quote]
    buys, sells = has_quote >= value, has_base >= quantity
    needed = f"{quantity:f} {base} to sell, or {value:.2f} {quote} to buy {quantity:f} {base}"
    there = f"{has_base.normalize():f} {base} and {has_quote.normalize():f} {quote} free"
    if not buys and not sells:
        raise VenueError(
            f"{where}: a balance that pays for {what} was expected: {needed}; found {there}; bring money to the account, "
            "or take a smaller size"
        )
    if not buys or not sells:
        side, asset = ("bid", quote) if not buys else ("ask", base)
        _log.warning(
            "one_sided side=%s asset=%s; %s needs %s; there is %s; no %s is quoted until there is more",
            *("ask" if side == "bid" else "bid", asset, what, needed, there, side),
        )


def _judge_margin(account: Account, price: int, lots: int, what: str, where: str) -> None:
    instrument, info = account.instrument, account.info
    if account.position or info.multi_assets or info.leverage is None:
        return  # what brings a position down needs nothing; and what all assets are worth together is not known
    balance = account.balances.get(instrument.settle)
    free = Decimal(0) if balance is None else balance.free
    needed = value_of(instrument, price, lots) / info.leverage
    if free < needed:
        raise VenueError(
            f"{where}: a balance that pays for {what} was expected: {needed:.4f} {instrument.settle} as margin of "
            f"{instrument.quantity(lots):f} at leverage {info.leverage:f}; found {free.normalize():f} {instrument.settle} "
            "free; bring money to the account, or take a smaller size"
        )


def _least(instrument: Instrument, price: int, min_notional: Decimal | None) -> int:
    """Return the lots of the smallest order that the venue takes."""
    if min_notional is None or instrument.kind is ContractKind.INVERSE:
        return 1
    one = value_of(instrument, price, 1)
    return max(1, int((min_notional / one).to_integral_value(ROUND_CEILING)))


def _size_of(strategy: Any) -> tuple[str, Decimal | None]:
    for name in _SIZES:
        size = getattr(strategy, name, None)
        if isinstance(size, Decimal):
            return name, size
    return "", None
