"""Funding: charged at the times, the rate and the mark price that the public side tells, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from account_fixtures import BUY, SELL, World
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mmkit.instruments import ContractKind
from mmkit.sim.funding import funding_amount
from mmkit.tape import SCALE
from mmkit.testing import BTCUSDT
from mmkit_sandbox.channel import Channel, StreamKind
from mmkit_sandbox.funding import FundingTerms, payment
from mmkit_sandbox.ledger import ZERO, EntryKind, sums
from mmkit_sandbox.listing import Listing

EVERY_S = 5
OFTEN = FundingTerms(EVERY_S * 1000, Decimal("0.00012345"))
CONTRACTS = ("usdm", "coinm")
PATH = {"usdm": "/fapi/v1/income", "coinm": "/dapi/v1/income"}
SYMBOL = {"usdm": "BTCUSDT", "coinm": "BTCUSD_PERP"}
INSTRUMENTS = {
    "BTC/USDT:USDT": BTCUSDT,
    "BTC/USD:BTC": replace(
        BTCUSDT, kind=ContractKind.INVERSE, lot=Decimal(1), contract_size=Decimal(100)
    ),
}


def held(world: World, usdm: str = "0.05", coinm: str = "30") -> None:
    """Be long on USD-M and short on COIN-M."""
    world.place(world.usdm, BUY, usdm, None)
    world.place(world.coinm, SELL, coinm, None)


def marks(world: World, market: str, seconds: int) -> list[dict[str, Any]]:
    """Let time pass; return what the mark price stream says meanwhile."""
    channel = Channel(market, SYMBOL[market], StreamKind.MARK_PRICE, 0, 1000)
    world.now += seconds * 1_000_000_000
    return [msgspec.json.decode(one.data) for one in world.accounts.advance(world.now, {channel})]


@pytest.mark.parametrize("market", CONTRACTS)
def test_what_is_charged_follows_from_what_the_mark_price_stream_says(market: str) -> None:
    world = World(funding=OFTEN)
    held(world)
    world.events()
    wallet = dict(world.account.wallets[market])
    stream = marks(world, market, 3 * EVERY_S)
    quantity = world.account.position(world.listing(market)).quantity
    due = {one["T"] for one in stream[:-1]}
    # An independent calculation, from the public stream alone.
    expected = []
    for one in stream:
        if one["E"] in due:
            mark, rate = Decimal(one["p"]), Decimal(one["r"])
            value = quantity * mark if market == "usdm" else quantity * 100 / mark
            expected.append((one["E"], (-value * rate).quantize(Decimal("1E-8"))))
    assert len(expected) >= 2
    asset = "USDT" if market == "usdm" else "BTC"
    events = world.events(market)
    total = ZERO
    for (at, amount), event in zip(expected, events, strict=True):
        total += amount
        now = f"{wallet[asset] + total:.8f}"
        assert event["e"] == "ACCOUNT_UPDATE"
        assert (event["E"], event["T"]) == (at, at)
        assert event["a"] == {
            "m": "FUNDING_FEE",
            "B": [{"a": asset, "wb": now, "cw": now, "bc": f"{amount:.8f}"}],
            "P": [],
        }
    assert (total < 0) == (market == "usdm")  # longs pay at a rate above zero
    # REST, ledger and wallet say the same.
    told = world.ask("GET", PATH[market], incomeType="FUNDING_FEE", symbol=SYMBOL[market])[1]
    assert [(one["time"], Decimal(one["income"]), one["asset"]) for one in told] == [
        (at, amount, asset) for at, amount in expected
    ]
    ledger = world.desk.ledger(world.account.key)
    assert ledger is not None
    booked = [
        (one["time"], Decimal(one["amount"]))
        for one in ledger["entries"]
        if (one["market"], one["kind"]) == (market, "funding")
    ]
    assert booked == expected
    assert world.account.wallets[market][asset] == wallet[asset] + total
    assert sums(world.account.entries)[market, asset] == wallet[asset] + total


def test_the_next_time_is_the_one_that_the_public_side_announces() -> None:
    world = World(funding=OFTEN)
    listing = world.usdm
    for _ in range(4):
        mark = world.accounts.exchange.mark(listing)
        assert mark is not None
        assert mark.next_funding_ms % (EVERY_S * 1000) == 0
        assert 0 < mark.next_funding_ms - world.now // 1_000_000 <= EVERY_S * 1000
        assert mark.funding_rate == "0.00012345"
        world.wait(2)


def test_every_eight_hours_unless_told_otherwise() -> None:
    assert FundingTerms().next_ms(0) == FundingTerms().next_ms(28_799_999) == 28_800_000
    assert FundingTerms().next_ms(28_800_000) == 57_600_000


def test_it_does_not_depend_on_how_time_is_divided() -> None:
    one, other = World(funding=OFTEN), World(funding=OFTEN)
    for world, pieces in ((one, 1), (other, 130)):
        held(world)
        for _ in range(pieces):
            world.wait(13 / pieces)
    assert one.now == other.now
    assert one.events() == other.events()
    assert one.desk.ledger(one.account.key) == other.desk.ledger(other.account.key)


def test_without_a_position_or_a_rate_nothing_is_charged() -> None:
    flat, free = World(funding=OFTEN), World(funding=FundingTerms(EVERY_S * 1000, ZERO))
    held(flat)
    flat.place(flat.usdm, SELL, "0.05", None)
    flat.place(flat.coinm, BUY, "30", None)
    held(free)
    for world in (flat, free):
        world.wait(11)
        assert not [one for one in world.account.entries if one.kind is EntryKind.FUNDING]
        assert not [one for one in world.events() if one.get("a", {}).get("m") == "FUNDING_FEE"]


def test_shorts_receive_what_longs_pay_and_a_rate_below_zero_turns_it_round() -> None:
    for rate, sign in (("0.001", 1), ("-0.001", -1)):
        world = World(funding=FundingTerms(EVERY_S * 1000, Decimal(rate)))
        held(world)
        world.wait(6)
        paid = {
            one.market: one.amount for one in world.account.entries if one.kind is EntryKind.FUNDING
        }
        assert paid["usdm"] * sign < 0 < paid["coinm"] * sign


@given(
    st.sampled_from(list(INSTRUMENTS)),
    st.integers(-10_000, 10_000).filter(bool),
    st.decimals("1", "200000", places=8),
    st.decimals("-0.01", "0.01", places=8),
)
def test_it_is_what_a_dry_run_is_charged_by_the_same_words(
    symbol: str, lots: int, mark: Decimal, rate: Decimal
) -> None:
    instrument = INSTRUMENTS[symbol]
    quantity = lots * instrument.lot
    ours = funding_amount(instrument, lots, int(mark * SCALE), int(rate * SCALE), 0)
    assert payment(Listing.of(symbol).contract, quantity, mark, rate) == ours


def test_income_tells_every_change_of_the_wallet_once_and_page_by_page() -> None:
    world = World(funding=OFTEN)
    held(world)
    world.wait(12)
    world.place(world.usdm, SELL, "0.03", None)
    world.wait(1)
    for market in CONTRACTS:
        whole = world.ask("GET", PATH[market])[1]
        asset = "USDT" if market == "usdm" else "BTC"
        came = sum((Decimal(one["income"]) for one in whole if one["asset"] == asset), ZERO)
        assert came == world.account.wallets[market][asset]
        kinds = {one["incomeType"] for one in whole}
        assert kinds == {"TRANSFER", "COMMISSION", "FUNDING_FEE"} | (
            {"REALIZED_PNL"} if market == "usdm" else set()
        )
        numbers = [int(one["tranId"]) for one in whole]
        assert numbers == sorted(set(numbers))
        assert all(bool(one["tradeId"]) == (one["incomeType"] in _TRADED) for one in whole)
        begin = whole[0]["time"]
        pages: list[Any] = []
        page = 1
        while rows := world.ask("GET", PATH[market], startTime=begin, limit=2, page=page)[1]:
            pages, page = pages + rows, page + 1
        assert pages == whole
        # Without a time it is the latest that are told.
        assert world.ask("GET", PATH[market], limit=2)[1] == whole[-2:]
        last = whole[-1]["time"]
        assert world.ask("GET", PATH[market], startTime=last)[1] == [
            one for one in whole if one["time"] == last
        ]
        assert world.ask("GET", PATH[market], endTime=last - 1)[1] == [
            one for one in whole if one["time"] < last
        ]
    wrong = world.ask("GET", PATH["usdm"], incomeType="FUNDING")
    words = "Data sent for parameter 'incomeType' is not valid."
    assert wrong == (400, {"code": -1130, "msg": words})
    assert world.ask("GET", PATH["coinm"], symbol="BTCUSDT")[1]["code"] == -1121


_TRADED = {"COMMISSION", "REALIZED_PNL"}
