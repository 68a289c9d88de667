"""The rule of money, added up from the journal alone, in fractions, by other code than that of the engine."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from core_rows import BTCUSDT, INVERSE, SPOT
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import TO_MIDNIGHT, S, anything, with_funding

from mmkit.commands import SubmitOrder
from mmkit.events import FundingPaid, Liquidity, OrderFilled
from mmkit.instruments import Instrument
from mmkit.settings import SimSettings
from mmkit.testing import random_tape, run_strategy

UNIT = Fraction(1, 10**12)
MIDNIGHT = 1_700_006_400 * S

latencies = st.sampled_from(
    ["0s", "10ms", "450ms", {"quantiles": ["1ms", "10ms", "2s"]}, {"quantiles": ["0s", "90ms"]}]
)
fees = st.sampled_from(
    [
        {"maker": "-0.00005", "taker": "0.0003"},
        {
            "tiers": [
                {"volume": "0", "maker": "0.0002", "taker": "0.0005"},
                {"volume": "6000", "maker": "-0.00001", "taker": "0.00033"},
            ],
            "volume_30d": "6000",
        },
    ]
)
queues = st.sampled_from(
    [
        {"model": "power"},
        {"model": "optimistic"},
        {"model": "pessimistic"},
        {"model": "calibrated", "behind": [1, 0]},
    ]
)
sims = st.builds(
    lambda entry, response, fees, queue, partial, reports: SimSettings.model_validate(
        {
            "latency": {"entry": entry, "response": response},
            "fees": fees,
            "queue": queue,
            "partial_fills": partial,
            "fill_reports": reports,
        }
    ),
    latencies,
    latencies,
    fees,
    queues,
    st.booleans(),
    st.sampled_from(["plain", "after_data"]),
)
instruments = pytest.mark.parametrize(
    "instrument", [BTCUSDT, SPOT, INVERSE], ids=["linear", "spot", "inverse"]
)


def worth(instrument: Instrument, price: Fraction | int, lots: int) -> Fraction:
    """What `lots` are worth, signed as they are; of an inverse contract a long is a debt."""
    quantity = lots * Fraction(instrument.lot) * Fraction(instrument.contract_size)
    at = price * Fraction(instrument.tick)
    return -round(quantity / at / UNIT) * UNIT if instrument is INVERSE else quantity * at


def volume(instrument: Instrument, fill: OrderFilled) -> Fraction:
    """What was traded, in quote currency."""
    if instrument is INVERSE:
        return Fraction(fill.quantity * 100)
    return worth(instrument, fill.price, fill.quantity)


def run(
    instrument: Instrument, seed: int, messages: int, sim: SimSettings
) -> tuple[Any, list[Any], dict[int, int]]:
    tape = with_funding(
        random_tape(seed, messages, instrument=instrument), seed, shift_ns=TO_MIDNIGHT
    )
    engine, entries = run_strategy(anything(seed), tape, sim)
    signs = {e.order_id: e.side.sign for e in entries if isinstance(e, SubmitOrder)}
    return engine, entries, signs


@instruments
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), messages=st.integers(5, 500), sim=sims)
def test_cash_and_position_at_mid_less_fees_and_funding_are_equity_to_the_last_unit(
    instrument: Instrument, seed: int, messages: int, sim: SimSettings
) -> None:
    engine, entries, signs = run(instrument, seed, messages, sim)
    cash = paid = received = Fraction(0)
    position = 0
    for entry in entries:
        if isinstance(entry, OrderFilled):
            signed = signs[entry.order_id] * entry.quantity
            cash -= worth(instrument, entry.price, signed)
            position += signed
            paid += Fraction(entry.fee)
        elif isinstance(entry, FundingPaid):
            received += Fraction(entry.amount)
    assert position == engine.position
    bid, ask = engine.best_bid, engine.best_ask
    if bid is not None and ask is not None:
        held = worth(instrument, Fraction(bid + ask, 2), position)
        assert Fraction(engine.equity) == cash + held - paid + received
    assert Fraction(engine.portfolio.fees) == paid
    assert Fraction(engine.portfolio.funding) == received


@instruments
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), messages=st.integers(100, 500), sim=sims)
def test_every_fee_and_every_payment_is_what_it_should_be(
    instrument: Instrument, seed: int, messages: int, sim: SimSettings
) -> None:
    _, entries, signs = run(instrument, seed, messages, sim)
    fills = [entry for entry in entries if isinstance(entry, OrderFilled)]
    tiers = sim.fees.tiers or (sim.fees, sim.fees)
    # 6000 were traded before the run, enough for the second tier; 5800 of them are left after midnight.
    before = sum(volume(instrument, fill) for fill in fills if fill.ts_exchange < MIDNIGHT)
    for fill in fills:
        reached = fill.ts_exchange < MIDNIGHT or 5800 + before >= 6000
        tier = tiers[1] if reached else tiers[0]
        rate = Fraction(tier.maker if fill.liquidity is Liquidity.MAKER else tier.taker)
        fee = abs(worth(instrument, fill.price, fill.quantity)) * rate
        expected = round(fee / UNIT) * UNIT if instrument is INVERSE else fee
        assert Fraction(fill.fee) == expected
    for payment in entries:
        if isinstance(payment, FundingPaid):
            position = sum(
                signs[fill.order_id] * fill.quantity
                for fill in fills
                if fill.ts_exchange < payment.ts_exchange
            )
            lots = Fraction(instrument.lot) * Fraction(instrument.contract_size) * position
            mark = Fraction(payment.mark)
            value = lots / mark if instrument is INVERSE else lots * mark
            assert payment.position == position != 0
            assert payment.ts_exchange % (3 * S) == 0
            assert Fraction(payment.amount) == Fraction(
                round(-value * Fraction(payment.rate) * 10**8), 10**8
            )
    due = [entry.ts_exchange for entry in entries if isinstance(entry, FundingPaid)]
    assert due == sorted(set(due))
    if instrument is SPOT:
        assert due == []
