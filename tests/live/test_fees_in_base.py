"""Fees that spot takes from what is bought: position, money and profit are those of the account, to the last digit."""

import os
from decimal import Decimal

import pytest

from mmkit.commands import SubmitOrder
from mmkit.events import Side
from mmkit.interfaces import Context
from mmkit.order_limits import Funds, FundsThere
from mmkit.virtual_time import run
from mmkit_sandbox.chaos import Chaos
from mmkit_sandbox.chaosvenue import Allowed
from mmkit_sandbox.schedule import Schedule

HOUR = 3600 * 10**9
TEN_MINUTES = HOUR // 6
long = pytest.mark.skipif("MMKIT_LONG" not in os.environ, reason="takes half a minute")
ZERO = Decimal(0)


def quoted(lasts_ns: int, crash_at: list[int]) -> Chaos:
    """Quote at the sandbox's exchange, which takes the fee of a buy from what is bought."""
    plan = Schedule(
        market="spot",
        lasts_ns=lasts_ns,
        faults=[],
        crash_at=crash_at,
        size=3,
        levels=2,
        others=[],
        allowed=Allowed(),
    )

    async def whole() -> Chaos:
        chaos = Chaos(7, plan=plan)
        await chaos.run()
        return chaos

    return run(whole())


@pytest.mark.parametrize(
    ("lasts_ns", "crash_at"),
    [
        pytest.param(TEN_MINUTES, [], id="ten minutes"),
        pytest.param(HOUR, [], id="an hour", marks=long),
        pytest.param(TEN_MINUTES // 2, [300, 200], id="three lives"),
    ],
)
def test_after_quoting_with_fees_in_base_the_engine_has_what_the_account_has(
    lasts_ns: int, crash_at: list[int]
) -> None:
    chaos = quoted(lasts_ns, crash_at)
    assert chaos.violations == []
    assert chaos.crashes == len(crash_at)
    trader, account = chaos.trader, chaos.venue.account
    assert trader is not None
    assert trader.session is not None
    engine = trader.session.engine
    gone = {
        asset: balance.free + balance.locked - account.config.balances.get(asset, ZERO)
        for asset, balance in account.spot.balances.items()
    }
    fills = chaos.kept.fills()
    in_base = sum((one.fee for one in fills if one.fee_asset == "BTC"), ZERO)
    assert len(fills) > 20
    assert in_base > 0
    assert engine.held == gone["BTC"]
    bought = sum(one.side.sign * one.quantity for one in fills)
    assert engine.held == chaos.instrument.quantity(bought) - in_base
    assert trader.venue.books.ledger.held == (engine.position, engine.portfolio.dust)
    if not crash_at:
        assert engine.cash == gone["USDT"]
        assert engine.best_bid is not None
        assert engine.best_ask is not None
        mid = chaos.instrument.price(engine.best_bid + engine.best_ask) / 2
        assert engine.equity == gone["USDT"] + gone["BTC"] * mid


def test_no_more_is_sold_than_is_there_after_fees_in_base() -> None:
    chaos = quoted(HOUR // 12, [])
    assert chaos.trader is not None
    assert chaos.trader.session is not None
    engine, instrument = chaos.trader.session.engine, chaos.instrument
    assert engine.portfolio.dust > 0
    check = FundsThere(Funds(base=Decimal(1)), Context(instrument))
    there = instrument.floor_lots(1 + engine.held)
    sale = SubmitOrder(ts_local=0, order_id=1, side=Side.SELL, price=1000, quantity=there)
    assert check.veto(sale, engine) is None
    more = SubmitOrder(ts_local=0, order_id=1, side=Side.SELL, price=1000, quantity=there + 1)
    assert "missing" in (check.veto(more, engine) or "")
    assert engine.position + instrument.lots(Decimal(1)) == there + 1, (
        "the position alone would allow it"
    )
