from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from core_rows import BTCUSDT, INVERSE, SPOT, bid, sold
from hypothesis import given
from hypothesis import strategies as st
from scripted import sim

from mmkit.commands import SubmitOrder, TimeInForce
from mmkit.errors import ConfigError
from mmkit.events import Liquidity, OrderFilled, Side
from mmkit.instruments import Instrument
from mmkit.interfaces import Context
from mmkit.settings import FeeSettings, SimSettings
from mmkit.sim.fees import DAY_NS, Fees
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.tape import NEVER
from mmkit.testing import snapshot_rows

MAKER, TAKER = Liquidity.MAKER, Liquidity.TAKER
MIDNIGHT = 20_000 * DAY_NS
NOON = DAY_NS // 2


def tiered(volume_30d: str = "0", *volumes: str) -> FeeSettings:
    """Makers pay 0.0002, and 0.0001 less in each tier; takers 0.001 less."""
    tiers = [
        {"volume": volume, "maker": f"{2 - n}e-4", "taker": f"{5 - n}e-3"}
        for n, volume in enumerate(("0", *(volumes or ("1000000", "15000000"))))
    ]
    return FeeSettings.model_validate({"tiers": tiers, "volume_30d": volume_30d})


def started(settings: FeeSettings, instrument: Instrument = BTCUSDT, at: int = NOON) -> Fees:
    fees = Fees(settings, instrument)
    fees.open(MIDNIGHT + at)
    return fees


def test_without_tiers_the_share_is_the_same_for_ever() -> None:
    fees = started(FeeSettings())
    for _ in range(40):
        fees.traded(600_000, 10**9)
    # 60 USDT are traded.
    assert fees.of(600_000, 1, MAKER) == Decimal("0.012")
    assert fees.of(600_000, 1, TAKER) == Decimal("0.03")
    assert fees.next_ns == NEVER


@pytest.mark.parametrize(
    ("volume", "maker"),
    [
        ("0", "0.0002"),
        ("999999.99999999", "0.0002"),
        ("1000000", "0.0001"),
        ("14999999", "0.0001"),
        ("15000000", "0"),
        ("9e30", "0"),
    ],
)
def test_the_first_tier_is_that_of_the_volume_before_the_run(volume: str, maker: str) -> None:
    assert started(tiered(volume)).tier.maker == Decimal(maker)


def test_the_tier_changes_at_midnight_and_not_before() -> None:
    fees = started(tiered())
    fees.traded(600_000, 50_000)  # 50 BTC at 60,000: three millions
    assert (fees.tier.maker, fees.next_ns) == (Decimal("0.0002"), MIDNIGHT + DAY_NS)
    fees.reach(MIDNIGHT + DAY_NS)
    assert (fees.tier.maker, fees.next_ns) == (Decimal("0.0001"), MIDNIGHT + 2 * DAY_NS)


def test_of_the_volume_before_the_run_a_thirtieth_drops_out_each_day() -> None:
    # 1,020,000 before the run: 986,000 are left after one midnight, below the million.
    fees = started(tiered("1020000"))
    assert fees.tier.maker == Decimal("0.0001")
    fees.reach(MIDNIGHT + DAY_NS)
    assert (fees.volume(), fees.tier.maker) == (986_000, Decimal("0.0002"))
    fees.reach(MIDNIGHT + 29 * DAY_NS)
    assert fees.volume() == 34_000
    for days in (30, 31, 400):
        fees.reach(MIDNIGHT + days * DAY_NS)
        assert fees.volume() == 0


def test_what_was_traded_counts_for_thirty_midnights() -> None:
    fees = started(tiered())
    fees.traded(600_000, 50_000)
    seen = []
    for days in range(1, 33):
        fees.reach(MIDNIGHT + days * DAY_NS)
        seen.append(fees.tier.maker == Decimal("0.0001"))
    assert seen == [True] * 30 + [False] * 2


@pytest.mark.parametrize(
    ("instrument", "price", "lots", "volume"),
    [
        (BTCUSDT, 600_000, 1_000, 60_000),  # 1 BTC
        (SPOT, 1_500, 100, Fraction("1.5")),  # 1 NEXO at 1.5
        (INVERSE, 600_000, 7, 700),  # 7 contracts of 100 USD, whatever the price
    ],
)
def test_volume_is_counted_in_quote_currency(
    instrument: Instrument, price: int, lots: int, volume: Fraction
) -> None:
    fees = started(tiered(), instrument)
    fees.traded(price, lots)
    assert fees.volume() == 0
    fees.reach(MIDNIGHT + DAY_NS)
    assert fees.volume() == volume


def test_a_rebate_may_be_a_tier() -> None:
    settings = FeeSettings.model_validate(
        {
            "tiers": [
                {"volume": "0", "maker": "0.0001", "taker": "0"},
                {"volume": "5", "maker": "-0.0001", "taker": "0"},
            ],
            "volume_30d": "5",
        }
    )
    assert started(settings).of(600_000, 1, MAKER) == Decimal("-0.006")


days = st.integers(0, 70)


@given(
    before=st.integers(0, 10**8),
    trades=st.lists(st.tuples(days, st.integers(1, 10**7), st.integers(1, 10**5)), max_size=30),
    thresholds=st.lists(st.integers(1, 10**9), max_size=4, unique=True).map(sorted),
    visits=st.lists(days, max_size=20),
)
def test_the_tier_is_that_of_a_slow_count_over_the_days(
    before: int, trades: list[tuple[int, int, int]], thresholds: list[int], visits: list[int]
) -> None:
    fees = started(tiered(str(before), *(str(volume) for volume in thresholds or [1])))
    volumes = [0, *(thresholds or [1])]
    happened = sorted([(day, trade) for day, *trade in trades] + [(day, []) for day in visits])
    done: list[tuple[int, Fraction]] = []
    for day, trade in happened:
        now = MIDNIGHT + day * DAY_NS + DAY_NS // 3 if day else MIDNIGHT + NOON
        if now >= fees.next_ns:
            fees.reach(now)
        # Each of the thirty days before the run had a thirtieth of what was traded there.
        traded = [*((-n, Fraction(before, 30)) for n in range(1, 31)), *done]
        volume = sum(value for when, value in traded if day - 30 <= when < day)
        expected = max(n for n, needed in enumerate(volumes) if volume >= needed)
        assert fees.tier.maker == Decimal(f"{2 - expected}e-4")
        if trade:
            price, lots = trade
            fees.traded(price, lots)
            done.append((day, Fraction(price * lots, 10_000)))  # ticks of 0.1, lots of 0.001


# --- at the venue ---


def fills_around(midnight: int, reports: str, **changes: Any) -> list[OrderFilled]:
    """Four million USDT are bought before a midnight and some more after it; return the fills."""
    settings = sim(reports, fees=tiered().model_dump(), **changes)
    paper = PaperVenue(PaperConfig(), Context(BTCUSDT, settings))
    begun = midnight - 1000
    paper.open(begun)
    paper.market(snapshot_rows([(600_000, 50)], [(600_002, 20)], begun, begun), begun)

    def submit(number: int, at: int, lots: int) -> None:
        paper.send(
            SubmitOrder(ts_local=at, order_id=number, side=Side.BUY, price=600_001, quantity=lots)
        )

    submit(1, begun, 100_000)
    submit(2, begun + 1, 1)
    submit(3, midnight - 3, 1)  # arrives at midnight
    told = []
    for at, lots in (
        (begun + 500, 70_000),
        (midnight - 1, 1),
        (midnight, 40_000),
        (midnight + 1, 1),
    ):
        row = sold(600_001, lots, at)
        told += paper.take(at - 1)
        paper.market((row,), at)
    while (due := paper.next_ns()) != NEVER:
        told += paper.take(due)
    return [event for event in told if isinstance(event, OrderFilled)]


@pytest.mark.parametrize("reports", ["plain", "after_data"])
def test_the_venue_charges_by_its_own_clock(reports: str) -> None:
    fills = fills_around(MIDNIGHT, reports)
    shares = [
        (fill.ts_exchange - MIDNIGHT, fill.fee / (Decimal("60000.1") * fill.quantity / 1000))
        for fill in fills
    ]
    assert shares == [
        (-500, Decimal("0.0002")),
        (-1, Decimal("0.0002")),
        (0, Decimal("0.0001")),
        (0, Decimal("0.0001")),
        (1, Decimal("0.0001")),
    ]


def test_a_row_that_comes_late_does_not_turn_the_venues_clock_back() -> None:
    settings = sim("after_data", fees=tiered("1020000").model_dump())
    paper = PaperVenue(PaperConfig(), Context(BTCUSDT, settings))
    begun = MIDNIGHT + NOON
    paper.open(begun)
    paper.market(snapshot_rows([(600_000, 50)], [(600_002, 20)], begun, begun), begun)
    paper.send(SubmitOrder(ts_local=begun, order_id=1, side=Side.BUY, price=600_001, quantity=9))
    after = MIDNIGHT + DAY_NS + 5
    paper.market((bid(599_990, 1, after),), after)
    paper.market((sold(600_001, 1, MIDNIGHT + DAY_NS - 5),), after + 1)
    [fill] = [e for e in paper.take(after + 99) if isinstance(e, OrderFilled)]
    assert fill.ts_exchange < MIDNIGHT + DAY_NS
    assert fill.fee == Decimal("60.0001") * Decimal("0.0002")


def test_the_fee_of_a_buy_in_base_is_worth_what_it_would_be_in_quote() -> None:
    spot = SPOT
    fees = started(FeeSettings(in_base=True), spot)
    for price, lots in ((600_000, 1), (599_999, 77), (1, 3)):
        for liquidity in (MAKER, TAKER):
            taken = fees.in_base(lots, liquidity)
            assert taken * spot.price(price) == fees.of(price, lots, liquidity)


def test_a_simulated_spot_venue_takes_the_fee_of_a_buy_from_what_is_bought_and_of_a_sale_from_money() -> (
    None
):
    charged = SimSettings.model_validate({"fees": {"in_base": True, "taker": "0.001"}})
    paper = PaperVenue(PaperConfig(), Context(SPOT, charged))
    paper.open(0)
    paper.market(snapshot_rows([(999, 50)], [(1001, 50)]), 0)
    for number, side, price in ((1, Side.BUY, 1001), (2, Side.SELL, 999)):
        paper.send(
            SubmitOrder(
                ts_local=0,
                order_id=number,
                side=side,
                price=price,
                quantity=40,
                time_in_force=TimeInForce.IOC,
            )
        )
    paper.market(snapshot_rows([(999, 50)], [(1001, 50)], 10**10, 10**10), 10**10)
    fills = [one for one in paper.take(10**11) if isinstance(one, OrderFilled)]
    assert [one.fee_in_base for one in fills] == [Decimal("0.0004"), Decimal(0)]
    with pytest.raises(ConfigError, match="a spot market was expected for fees in base currency"):
        PaperVenue(PaperConfig(), Context(BTCUSDT, charged))
