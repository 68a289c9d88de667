"""Where mmkit knows no numbers of a venue's, ccxt's class of an error decides, and a doubt is no refusal."""

from __future__ import annotations

import pytest

import ccxt
from mmkit.accounts import FateUnknown, Refusal, Refused
from mmkit_ccxt.refusals import meaning_for_orders

UNKNOWN = (
    "BaseError", "ExchangeError", "OperationFailed", "NetworkError", "ExchangeNotAvailable", "OnMaintenance",
    "RequestTimeout", "BadResponse", "NullResponse", "CancelPending", "UnsubscribeError", "ExchangeClosedByUser",
    "InvalidProxySettings", "InvalidAddress", "AddressPending",
)  # fmt: skip
"""Classes that may be raised without an answer, or for one that says nothing of the order."""
REFUSED = {
    "InsufficientFunds": Refusal.BALANCE,
    "OrderImmediatelyFillable": Refusal.WOULD_TAKE,
    "OrderNotFillable": Refusal.WOULD_TAKE,
    "DuplicateOrderId": Refusal.DUPLICATE,
    "OrderNotFound": Refusal.NO_SUCH_ORDER,
    "OrderNotCached": Refusal.FILTER,
    "InvalidOrder": Refusal.FILTER,
    "ContractUnavailable": Refusal.SYMBOL,
    "BadSymbol": Refusal.SYMBOL,
    "RateLimitExceeded": Refusal.RATE,
    "DDoSProtection": Refusal.RATE,
    "InvalidNonce": Refusal.CLOCK,
    "ChecksumError": Refusal.CLOCK,
    "AuthenticationError": Refusal.KEY,
    "PermissionDenied": Refusal.PERMISSION,
    "AccountNotEnabled": Refusal.PERMISSION,
    "AccountSuspended": Refusal.PERMISSION,
    "RestrictedLocation": Refusal.PERMISSION,
    "ManualInteractionNeeded": Refusal.PERMISSION,
    "MarketClosed": Refusal.BUSY,
    "ArgumentsRequired": Refusal.OTHER,
    "BadRequest": Refusal.OTHER,
    "NotSupported": Refusal.OTHER,
    "OperationRejected": Refusal.OTHER,
    "NoChange": Refusal.OTHER,
    "MarginModeAlreadySet": Refusal.OTHER,
}


EVERY = sorted(
    name
    for name, found in vars(ccxt).items()
    if isinstance(found, type) and issubclass(found, ccxt.BaseError)
)


@pytest.mark.parametrize("name", EVERY)
def test_every_class_of_ccxts_is_a_refusal_with_a_reason_or_settles_nothing(name: str) -> None:
    error = meaning_for_orders(getattr(ccxt, name)("venue says"), "createOrder", ())
    if name in UNKNOWN:
        assert isinstance(error, FateUnknown)
    else:
        assert isinstance(error, Refused)
        assert error.refusal is REFUSED[name]


def test_every_class_that_is_listed_here_is_one_of_ccxts() -> None:
    assert set(EVERY) == set(UNKNOWN) | set(REFUSED)


def test_a_duplicate_is_known_by_its_words_where_ccxt_has_another_class_for_it() -> None:
    error = meaning_for_orders(ccxt.InvalidOrder("x: Duplicate clientOrderId"), "createOrder", ())
    assert isinstance(error, Refused)
    assert error.refusal is Refusal.DUPLICATE


@pytest.mark.parametrize("error", [OSError("x"), KeyError("x"), ValueError("x")])
def test_what_is_no_error_of_ccxts_settles_nothing(error: Exception) -> None:
    assert isinstance(meaning_for_orders(error, "createOrder", ()), FateUnknown)
