"""forceOrder: liquidations out of the order flow, told as Binance tells them."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_fixtures import NATIVE, decode

from mmkit.events import Side
from mmkit_sandbox import liquidation
from mmkit_sandbox.channel import StreamKind, parse_stream
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.matching import Trade
from mmkit_sandbox.simulation import SimulatedExchange

S = 1_000_000_000
START = 1_700_000_000 * S
SYMBOLS = {"usdm": "BTC/USDT:USDT", "coinm": "BTC/USD:BTC"}


def heard(market: str, seconds: int, seed: int = 1) -> tuple[list[Any], list[Any]]:
    """Return the trades and the liquidations of a market, as its streams tell them."""
    simulated = SimulatedExchange([Listing.of(SYMBOLS[market])], seed, START)
    name = NATIVE[market].lower()
    wanted = {parse_stream(market, f"{name}@{one}") for one in ("trade", "forceOrder")}
    trades, forced = [], []
    for channel, data in simulated.advance(START + seconds * S, wanted):  # type: ignore[arg-type]
        (trades if channel.kind is StreamKind.TRADE else forced).append(decode(data))
    return trades, forced


@pytest.mark.parametrize("market", list(SYMBOLS))
def test_a_liquidation_is_an_order_that_traded_what_the_trades_say(market: str) -> None:
    trades, forced = heard(market, 200)
    assert 8 < len(forced) < 60
    assert {one["o"]["S"] for one in forced} == {"BUY", "SELL"}
    for said in forced:
        order = said["o"]
        assert (order["s"], order["o"], order["f"]) == (NATIVE[market], "LIMIT", "IOC")
        assert said["E"] - 1000 < order["T"] <= said["E"]
        # In the same ms there may be other orders' trades, so its own are some that follow each other.
        sold = order["S"] == "SELL"
        there = [one for one in trades if one["T"] == order["T"] and one["m"] is sold]
        runs = [there[i:j] for i in range(len(there)) for j in range(i + 1, len(there) + 1)]
        whole = [
            run for run in runs if sum(Decimal(one["q"]) for one in run) == Decimal(order["z"])
        ]
        assert whole
        paid = [sum(float(one["p"]) * float(one["q"]) for one in run) for run in whole]
        average = [one / float(order["z"]) for one in paid]
        assert any(abs(one - float(order["ap"])) < 0.06 for one in average)
        assert any(run[-1]["q"] == order["l"] for run in whole)
        worst = max if not sold else min
        assert all(
            worst(Decimal(one["p"]), Decimal(order["p"])) == Decimal(order["p"])
            for run in whole
            for one in run
        )
        assert Decimal(order["z"]) <= Decimal(order["q"])
        assert (order["X"] == "FILLED") == (order["z"] == order["q"])


def test_of_many_in_a_second_only_the_latest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    _, few = heard("usdm", 120)
    monkeypatch.setattr(liquidation, "SHARE", 1.0)
    trades, forced = heard("usdm", 120)
    assert len(forced) > 2 * len(few)
    seconds = [one["E"] for one in forced]
    assert all(at % 1000 == 0 for at in seconds)
    assert len(set(seconds)) == len(seconds)
    assert trades == heard("usdm", 120)[0]


@given(st.lists(st.integers(1, 9), max_size=6))
def test_what_is_taken_is_the_latest_and_only_once(quantities: list[int]) -> None:
    found = liquidation.Liquidations(Random(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liquidation, "SHARE", 1.0)
        for number, quantity in enumerate(quantities):
            sweep = liquidation.Sweep(number, Side.SELL, 100, quantity)
            found.consider(sweep, [Trade(1, 0, 101, quantity, Side.SELL, number)], number)
    latest = found.take()
    assert (latest.filled if latest else None) == (quantities[-1] if quantities else None)
    assert found.take() is None


def test_what_is_called_a_liquidation_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trades, _ = heard("coinm", 60)
    monkeypatch.setattr(liquidation, "SHARE", 0.0)
    assert heard("coinm", 60) == (trades, [])


def test_liquidations_do_not_depend_on_when_one_begins_to_listen() -> None:
    simulated = SimulatedExchange([Listing.of(SYMBOLS["usdm"])], 1, START)
    simulated.advance(START + 60 * S, ())
    wanted = {parse_stream("usdm", "btcusdt@forceOrder")}
    late = [decode(data) for _, data in simulated.advance(START + 120 * S, wanted)]  # type: ignore[arg-type]
    assert late == [one for one in heard("usdm", 120)[1] if one["E"] > START // 10**6 + 60_000]
