"""Every code of Binance's that is told to be handled is a refusal with a reason, or a fate that is unknown."""

from __future__ import annotations

import pytest

from mmkit.accounts import FateUnknown, Refusal, Refused
from mmkit.venues.binance_codes import error_of

UNKNOWN = None
EVERY = ("spot", "usdm", "coinm")
CONTRACTS = ("usdm", "coinm")
TABLE: list[tuple[tuple[str, ...], int, int, str, Refusal | None]] = [
    (EVERY, 400, -1000, "An unknown error occurred while processing the request.", UNKNOWN),
    (EVERY, 400, -1001, "Internal error; unable to process your request.", UNKNOWN),
    (EVERY, 400, -1006, "An unexpected response was received from the message bus.", UNKNOWN),
    (EVERY, 408, -1007, "Timeout waiting for response from backend server.", UNKNOWN),
    (EVERY, 429, -1003, "Too many requests.", Refusal.RATE),
    (EVERY, 503, -1008, "Server is currently overloaded with other requests.", Refusal.BUSY),
    (EVERY, 400, -1013, "Filter failure: LOT_SIZE", Refusal.FILTER),
    (
        EVERY,
        400,
        -1015,
        "Too many new orders; current limit is 50 orders per 10 SECOND.",
        Refusal.RATE,
    ),
    (EVERY, 400, -1021, "Timestamp for this request is outside of the recvWindow.", Refusal.CLOCK),
    (EVERY, 400, -1022, "Signature for this request is not valid.", Refusal.KEY),
    (EVERY, 400, -1102, "Mandatory parameter 'price' was not sent.", Refusal.OTHER),
    (EVERY, 400, -1106, "Parameter 'timeInForce' sent when not required.", Refusal.OTHER),
    (EVERY, 400, -1111, "Precision is over the maximum defined for this asset.", Refusal.FILTER),
    (EVERY, 400, -1121, "Invalid symbol.", Refusal.SYMBOL),
    (EVERY, 401, -2008, "Invalid Api-Key ID.", Refusal.KEY),
    (EVERY, 400, -2010, "Account has insufficient balance for requested action.", Refusal.BALANCE),
    (EVERY, 400, -2010, "Order would immediately match and take.", Refusal.WOULD_TAKE),
    (EVERY, 400, -2010, "Duplicate order sent.", Refusal.DUPLICATE),
    (EVERY, 400, -2010, "Market is closed.", Refusal.BUSY),
    (EVERY, 400, -2010, "This symbol is not permitted for this account.", Refusal.PERMISSION),
    (EVERY, 400, -2010, "Something new.", Refusal.OTHER),
    (EVERY, 400, -2011, "Unknown order sent.", Refusal.NO_SUCH_ORDER),
    (EVERY, 400, -2011, "Order was not canceled due to cancel restrictions.", Refusal.OTHER),
    (EVERY, 400, -2013, "Order does not exist.", Refusal.NO_SUCH_ORDER),
    (EVERY, 400, -2014, "API-key format invalid.", Refusal.KEY),
    (EVERY, 401, -2015, "Invalid API-key, IP, or permissions for action.", Refusal.PERMISSION),
    (CONTRACTS, 400, -2018, "Balance is insufficient.", Refusal.BALANCE),
    (CONTRACTS, 400, -2019, "Margin is insufficient.", Refusal.BALANCE),
    (CONTRACTS, 400, -2020, "Unable to fill.", Refusal.OTHER),
    (("spot",), 409, -2021, "Order cancel-replace partially failed.", UNKNOWN),
    (CONTRACTS, 400, -2021, "Order would immediately trigger.", Refusal.OTHER),
    (("spot",), 400, -2022, "Order cancel-replace failed.", Refusal.OTHER),
    (CONTRACTS, 400, -2022, "ReduceOnly Order is rejected.", Refusal.REDUCE_ONLY),
    (CONTRACTS, 400, -2025, "Reach max open order limit.", Refusal.FILTER),
    (
        ("spot",),
        400,
        -2026,
        "Order was canceled or expired with no executed qty over 90 days ago.",
        Refusal.NO_SUCH_ORDER,
    ),
    (
        CONTRACTS,
        400,
        -2026,
        "This OrderType is not supported when reduceOnly.",
        Refusal.REDUCE_ONLY,
    ),
    (
        CONTRACTS,
        400,
        -2027,
        "Exceeded the maximum allowable position at current leverage.",
        Refusal.BALANCE,
    ),
    (CONTRACTS, 400, -2028, "Leverage is smaller than permitted.", Refusal.BALANCE),
    (("spot",), 400, -2035, "Subscription active.", Refusal.OTHER),
    (("spot",), 400, -2038, "Order amend is not supported.", Refusal.OTHER),
    (CONTRACTS, 400, -4003, "Quantity less than or equal to zero.", Refusal.FILTER),
    (CONTRACTS, 400, -4014, "Price not increased by tick size.", Refusal.FILTER),
    (CONTRACTS, 400, -4015, "Client order id is not valid.", Refusal.OTHER),
    (CONTRACTS, 400, -4028, "Leverage 200 is not valid", Refusal.OTHER),
    (CONTRACTS, 400, -4046, "No need to change margin type.", Refusal.OTHER),
    (CONTRACTS, 400, -4061, "Order's position side does not match user's setting.", Refusal.MODE),
    (
        CONTRACTS,
        400,
        -4067,
        "Position side cannot be changed if there exists open orders.",
        Refusal.MODE,
    ),
    (
        CONTRACTS,
        400,
        -4068,
        "Position side cannot be changed if there exists position.",
        Refusal.MODE,
    ),
    (CONTRACTS, 400, -4116, "ClientOrderId is duplicated.", Refusal.DUPLICATE),
    (CONTRACTS, 400, -4120, "Order type not supported for this endpoint.", Refusal.OTHER),
    (
        CONTRACTS,
        400,
        -4131,
        "The counterparty's best price does not meet the PERCENT_PRICE filter limit.",
        Refusal.FILTER,
    ),
    (CONTRACTS, 400, -4164, "Order's notional must be no smaller than 100.", Refusal.FILTER),
    (CONTRACTS, 400, -4192, "Trade forbidden due to Cooling-off Period.", Refusal.PERMISSION),
    (
        CONTRACTS,
        400,
        -4400,
        "Futures Trading Quantitative Rules violated, only reduceOnly order is allowed.",
        Refusal.PERMISSION,
    ),
    (
        CONTRACTS,
        400,
        -4401,
        "Compliance restricted account permission: can only place reduceOnly order.",
        Refusal.PERMISSION,
    ),
    (
        CONTRACTS,
        400,
        -5021,
        "Due to the order could not be filled immediately, the FOK order has been rejected.",
        Refusal.OTHER,
    ),
    (
        CONTRACTS,
        400,
        -5022,
        "Due to the order could not be executed as maker, the Post Only order will be rejected.",
        Refusal.WOULD_TAKE,
    ),
    (CONTRACTS, 400, -5027, "No need to modify the order.", Refusal.OTHER),
]
CASES = [(market, *rest) for markets, *rest in TABLE for market in markets]


@pytest.mark.parametrize(("market", "status", "code", "words", "refusal"), CASES)
def test_a_code_means_what_it_means_on_this_product(
    market: str, status: int, code: int, words: str, refusal: Refusal | None
) -> None:
    error = error_of(market, status, code, words)
    if refusal is None:
        assert isinstance(error, FateUnknown)
    else:
        assert isinstance(error, Refused)
        assert (error.refusal, error.code) == (refusal, code)
    assert words[:150] in str(error)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("code", [None, -1, -1013, -2010])
def test_what_a_failing_server_says_settles_nothing(status: int, code: int | None) -> None:
    assert isinstance(error_of("spot", status, code, "x"), FateUnknown)


@pytest.mark.parametrize("status", [418, 429])
@pytest.mark.parametrize("code", [None, -1003, -1015, -1099])
def test_too_many_requests_are_told_with_when_to_come_back(status: int, code: int | None) -> None:
    error = error_of("usdm", status, code, "slow down", retry_after_s=7)
    assert isinstance(error, Refused)
    assert (error.refusal, error.retry_ns) == (Refusal.RATE, 7_000_000_000)


def test_a_ban_that_is_told_by_its_end_is_waited_for_to_its_end() -> None:
    words = "Way too many requests; IP(1.2.3.4) banned until 1700000060000."
    error = error_of("spot", 418, -1003, words, now_ms=1_700_000_000_000)
    assert isinstance(error, Refused)
    assert error.retry_ns == 60_000_000_000


def test_a_firewall_without_a_code_has_not_let_the_request_through() -> None:
    error = error_of("spot", 403, None, "<html>Request blocked</html>")
    assert isinstance(error, Refused)
    assert error.refusal is Refusal.OTHER
