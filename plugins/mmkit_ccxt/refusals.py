"""What ccxt's exceptions mean for an order at a venue whose numeric codes mmkit does not know.

The tree of errors: ``ccxt/base/errors.py`` (4.5.90). A class that may be raised with or without an answer of the venue
means that the fate is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmkit.accounts import FateUnknown, Refusal, Refused
from mmkit.errors import VenueError
from mmkit.venues.secrets import without_secrets

_LONGEST_WORDS = 200
_GRID_WORDS = ("filter", "notional", "minimum", "precision")
"""In a request that is refused as wrong: price or size is, not its form."""


def meaning_for_orders(error: BaseException, doing: str, secrets: Iterable[str]) -> VenueError:
    """Return `Refused` if the venue, or ccxt before anything was sent, has said no, else `FateUnknown`.

    Args:
        error: What came out of ccxt.
        doing: What was asked of it.
        secrets: To be left out of the words.
    """
    import ccxt

    words = said(error, secrets)
    # Narrower classes first. OnMaintenance and RequestTimeout are NetworkErrors: an answer may be missing.
    table: list[tuple[Any, Refusal]] = [
        ((ccxt.RateLimitExceeded, ccxt.DDoSProtection), Refusal.RATE),
        (ccxt.InvalidNonce, Refusal.CLOCK),
        (ccxt.InsufficientFunds, Refusal.BALANCE),
        ((ccxt.OrderImmediatelyFillable, ccxt.OrderNotFillable), Refusal.WOULD_TAKE),
        (ccxt.DuplicateOrderId, Refusal.DUPLICATE),
        (ccxt.OrderNotFound, Refusal.NO_SUCH_ORDER),
        ((ccxt.BadSymbol, ccxt.ContractUnavailable), Refusal.SYMBOL),
        (ccxt.MarketClosed, Refusal.BUSY),
        (
            (
                ccxt.PermissionDenied,
                ccxt.AccountSuspended,
                ccxt.RestrictedLocation,
                ccxt.ManualInteractionNeeded,
            ),
            Refusal.PERMISSION,
        ),
        (ccxt.AuthenticationError, Refusal.KEY),
        (ccxt.InvalidOrder, Refusal.FILTER),
        (
            (ccxt.ArgumentsRequired, ccxt.BadRequest, ccxt.NotSupported, ccxt.OperationRejected),
            Refusal.OTHER,
        ),
    ]
    # ccxt has a class for it, and seldom uses it; taken for a plain refusal, an order that is there would be forgotten.
    if isinstance(error, ccxt.ExchangeError) and "duplicat" in words.lower():
        return Refused(Refusal.DUPLICATE, f"{doing}: the venue refuses ({words})")
    if isinstance(error, ccxt.BadRequest) and any(one in words.lower() for one in _GRID_WORDS):
        return Refused(Refusal.FILTER, f"{doing}: the venue refuses ({words})")
    for kinds, refusal in table:
        if isinstance(error, kinds):
            return Refused(refusal, f"{doing}: the venue refuses ({words})")
    return FateUnknown(f"{doing}: no answer that settles it ({words})")


def said(error: BaseException, secrets: Iterable[str]) -> str:
    """Return the class and the first words of an error, without secrets and signed addresses."""
    words = " ".join(without_secrets(str(error), secrets).split())[:_LONGEST_WORDS]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
