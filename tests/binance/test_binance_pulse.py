"""A book that trades pass by: its stream has fallen silent while others go on."""

from __future__ import annotations

import pytest
from binance_fixtures import MS, SPOT, envelope, spot_diff, wire

from mmkit.tape import GapReason
from mmkit_binance.pulse import TRADES


def trade(reason: str = "MARKET") -> str:
    data = {
        "e": "trade",
        "E": 1,
        "s": "BTCUSDT",
        "t": 1,
        "p": "99.0",
        "q": "1.0",
        "T": 1,
        "m": True,
    }
    return envelope("btcusdt@trade", data | {"X": reason})


def test_a_book_is_behind_once_several_trades_have_passed_it_by() -> None:
    decoder = wire(SPOT)
    decoder.message(spot_diff(5, 10, 1, [(99.0, 1)]), 0)
    for number in range(TRADES):
        assert decoder.pulse.behind(500 * MS) == 0
        decoder.message(trade(), (100 + number) * MS)
    assert decoder.pulse.behind(500 * MS) == 400 * MS


@pytest.mark.parametrize("update", ["update", "loss"])
def test_an_update_or_a_loss_begins_the_count_anew(update: str) -> None:
    decoder = wire(SPOT)
    for _ in range(TRADES):
        decoder.message(trade(), 100 * MS)
    if update == "update":
        decoder.message(
            spot_diff(5, 10, 1), 200 * MS
        )  # one without levels tells that the stream lives
    else:
        decoder.lost(GapReason.CONNECTION, 200 * MS)
    assert decoder.pulse.behind(500 * MS) == 0


def test_prints_that_did_not_meet_the_book_do_not_count() -> None:
    decoder = wire(SPOT)
    for _ in range(TRADES):
        decoder.message(trade("INSURANCE_FUND"), 100 * MS)
    assert decoder.pulse.behind(500 * MS) == 0


def test_where_no_book_was_asked_for_none_is_behind() -> None:
    decoder = wire(SPOT, "trade")
    for _ in range(TRADES):
        decoder.message(trade(), 100 * MS)
    assert decoder.pulse.behind(500 * MS) == 0
