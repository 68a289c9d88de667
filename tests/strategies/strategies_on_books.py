"""Markets, configurations and looks at quotes that the tests of the bundled strategies share."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import Level, Quotes, Strategy
from mmkit.quoter import Quoter
from mmkit.testing import BTCUSDT, market_view

NEXO = Instrument(
    venue="binance",
    market="spot",
    symbol="NEXO/USDT",
    native="NEXOUSDT",
    base="NEXO",
    quote="USDT",
    kind=ContractKind.SPOT,
    tick=Decimal("0.001"),
    lot=Decimal("0.01"),
)

SIZES: dict[str, Any] = {"size": "0.1", "max_position": "1"}
"""On BTCUSDT 100 lots and 1000, on NEXO 10 and 100."""

TOPS = st.tuples(st.integers(1, 1_000_000), st.integers(1, 40))
"""Best bid in ticks, and the spread."""


def quotes(
    strategy: Strategy,
    bid: int | None = 599_999,
    ask: int | None = 600_001,
    position: int = 0,
    instrument: Instrument = BTCUSDT,
    now: int = 0,
    bid_quantity: int = 5,
    ask_quantity: int = 5,
) -> Quotes:
    view = market_view(
        instrument,
        [(bid, bid_quantity)] if bid is not None else [],
        [(ask, ask_quantity)] if ask is not None else [],
        position=position,
        now=now,
    )
    answer = strategy.quote(view)
    assert isinstance(answer, Quotes)
    return answer


def one(levels: tuple[Level, ...]) -> Level | None:
    assert len(levels) <= 1
    return levels[0] if levels else None


def assert_crosses_nothing(answer: Quotes, bid: int, ask: int) -> None:
    """No quote takes from the book, none meets one of our own, and the quoter accepts them."""
    for price, quantity in answer.bids:
        assert 0 < price < ask
        assert quantity > 0
    for price, quantity in answer.asks:
        assert price > bid
        assert quantity > 0
    if answer.bids and answer.asks:
        assert max(answer.bids)[0] < min(answer.asks)[0]
    Quoter().towards(answer, [], 0, (bid, ask), 0)


def assert_symmetric(answer: Quotes, bid: int, ask: int) -> None:
    """Every bid lies as far below mid as an ask lies above it, for the same quantity."""
    mirrored = [(bid + ask - price, quantity) for price, quantity in answer.bids]
    assert mirrored == list(answer.asks)
