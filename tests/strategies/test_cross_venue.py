"""Quotes in one market that are hedged in another: the price has the edge in it, and the hedge's funds suffice."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mmkit.config import load_config
from mmkit.engine import Engine
from mmkit.errors import OffGrid, StrategyError, UnknownMarket
from mmkit.events import MAIN
from mmkit.instruments import ContractKind, Instrument
from mmkit.interfaces import Context, MarketView, Quotes, Strategy, Target
from mmkit.recorder import Nothing
from mmkit.risk import RiskGate
from mmkit.run.replay import replay
from mmkit.run.session import Market, Session
from mmkit.settings import SimSettings
from mmkit.sim.paper import PaperConfig, PaperVenue
from mmkit.testing import BTCUSDT, build_strategy, market_view, random_tape
from mmkit_strategies.cross_venue import CrossVenue

SPOT = replace(
    BTCUSDT,
    market="spot",
    symbol="BTC/USDT",
    kind=ContractKind.SPOT,
    tick=Decimal("0.01"),
    lot=Decimal("0.00001"),
)
COARSE = replace(BTCUSDT, venue="other", tick=Decimal("0.5"), lot=Decimal("0.01"))
KEYS: dict[str, Any] = {"edge": "8bps", "size": "0.01", "max_position": "0.05"}


def built(hedge: Instrument, **changes: Any) -> Strategy:
    return build_strategy(CrossVenue, BTCUSDT, markets={"hedge": hedge}, **{**KEYS, **changes})


def shown(
    hedge: Instrument,
    *,
    middle: int = 60_000,
    position: int = 0,
    held: int = 0,
) -> MarketView:
    """A view of the main market around `middle` USDT, and the hedge one tick around it."""
    ticks = hedge.ticks(Decimal(middle))
    other = market_view(hedge, [(ticks - 1, 10**6)], [(ticks + 1, 10**6)], position=held)
    return market_view(
        BTCUSDT,
        [(middle * 10 - 1, 10)],
        [(middle * 10 + 1, 10)],
        position=position,
        markets={"hedge": other},
    )


def parts(answer: object) -> tuple[Quotes, Target]:
    assert isinstance(answer, dict)
    return answer[MAIN], answer["hedge"]


HEDGES = st.sampled_from([SPOT, COARSE])
FUNDS = {"hedge_base": "1000", "hedge_settle": "100000000"}


@given(HEDGES, st.integers(10_000, 90_000), st.integers(1, 60))
def test_each_quote_is_better_than_its_hedge_by_the_edge_and_no_more_than_a_tick_beyond(
    hedge: Instrument, middle: int, bps: int
) -> None:
    strategy = built(hedge, edge=f"{bps}bps", **FUNDS)
    view = shown(hedge, middle=middle)
    quotes, _ = parts(strategy.quote(view))
    sold_at = Fraction(hedge.price(view.markets["hedge"].best_bid or 0))
    bought_at = Fraction(hedge.price(view.markets["hedge"].best_ask or 0))
    tick, edge = Fraction(BTCUSDT.tick), Fraction(bps, 10_000)
    ((bid, _),), ((ask, _),) = quotes.bids, quotes.asks
    for wanted, got, toward in (
        (sold_at * (1 - edge), bid * tick, 1),
        (bought_at * (1 + edge), ask * tick, -1),
    ):
        best = Fraction((view.best_ask or 0) - 1 if toward > 0 else (view.best_bid or 0) + 1) * tick
        limit = min(wanted, best) if toward > 0 else max(wanted, best)
        # At most a tick away from the wanted price, never on the wrong side of it (but for the noise of floats).
        assert 0 <= (limit - got) * toward + Fraction(1, 10**6) < tick + Fraction(2, 10**6)


@given(
    HEDGES,
    st.integers(-50, 50),
    st.integers(-50, 50),
    st.decimals("0", "0.2", places=3),
    st.decimals("0", "12000", places=0),
    st.integers(1, 5),
)
@settings(max_examples=300)
def test_no_quote_is_made_whose_fill_could_not_be_hedged(
    hedge: Instrument,
    position: int,
    hedged: int,
    base: Decimal,
    settle: Decimal,
    leverage: int,
) -> None:
    held = -hedge.lots(BTCUSDT.quantity(hedged).quantize(hedge.lot, rounding="ROUND_DOWN"))
    view = shown(hedge, position=position, held=held)
    strategy = built(
        hedge, hedge_base=base, hedge_settle=settle, leverage=leverage, max_position="1"
    )
    quotes, target = parts(strategy.quote(view))

    lot, have = Fraction(hedge.lot), Fraction(held) * Fraction(hedge.lot)
    ask = Fraction(hedge.price(view.markets["hedge"].best_ask or 0))

    def opposite(lots: int) -> Fraction:
        """The whole lots of the hedge that are opposite to a position."""
        whole = Fraction(abs(lots), 1000) // lot * lot
        return -whole if lots > 0 else whole

    assert Fraction(target.position) * lot == opposite(position)
    comes_down = held * target.position >= 0 and abs(target.position) < abs(held)
    assert target.reduce_only is (hedge is not SPOT and comes_down)
    if hedge is SPOT:
        # The view's portfolio has the position and no cash was paid for it.
        other = view.markets["hedge"]
        mid = Fraction(other.best_bid + other.best_ask, 2) * Fraction(hedge.tick)  # type: ignore[operator]
        money = Fraction(settle) + Fraction(other.equity) - have * mid
        sells, buys = Fraction(base) + have, money / ask
    else:
        most = (Fraction(settle) + Fraction(view.markets["hedge"].equity)) * leverage / ask
        # Without any margin what there is can still be closed.
        sells, buys = max(most, 0) + have, max(most, 0) - have
    sell = have - opposite(position + 10)
    buy = opposite(position - 10) - have
    slack = lot  # of which no whole lot can be had nothing is sold
    if quotes.bids:
        assert sell <= max(sells, 0)
    elif position + 10 <= 1000:
        assert sell > sells - slack
    if quotes.asks:
        assert buy <= max(buys, 0)
    else:
        assert buy > buys - slack


@pytest.mark.parametrize("hedge", [SPOT, COARSE], ids=["spot", "contract"])
def test_without_funds_that_anybody_has_told_the_run_ends_and_says_so(hedge: Instrument) -> None:
    with pytest.raises(StrategyError, match="nobody has said what the account of 'hedge' has"):
        built(hedge).quote(shown(hedge))


def test_a_hedge_of_something_else_or_that_is_not_there_is_refused() -> None:
    with pytest.raises(OffGrid, match="a hedge of BTC/USDT was expected; found ETH/USDT:USDT"):
        built(replace(BTCUSDT, symbol="ETH/USDT:USDT", base="ETH"))
    with pytest.raises(UnknownMarket):
        build_strategy(CrossVenue, BTCUSDT, markets={"spot": SPOT}, **KEYS)


@pytest.mark.parametrize("seed", range(3))
def test_over_a_whole_backtest_what_is_filled_is_hedged_and_the_limit_holds(seed: int) -> None:
    other = replace(COARSE, tick=BTCUSDT.tick)
    strategy = built(other, edge="1ticks", hedge_settle="1000000", on=["best", "fill"])
    tapes = {MAIN: random_tape(seed), "hedge": random_tape(seed + 10, instrument=other)}
    sim = SimSettings.model_validate({"latency": {"entry": "1ms", "response": "1ms"}})
    markets = []
    for name, tape in tapes.items():
        engine = Engine(tape.instrument, strategy, RiskGate(), tape.start_ns, market=name)
        venue = PaperVenue(PaperConfig(), Context(tape.instrument, sim))
        markets.append(Market(engine, venue))
    (main, hedge) = markets
    replay(Session(*main, Nothing(), sim.fill_reports, [hedge]), tapes)

    assert main.engine.counts["fills"] > 3
    assert hedge.engine.counts["taker_fills"] == hedge.engine.counts["fills"] > 0
    assert abs(main.engine.position) <= 50
    # What is not hedged at the end is what was filled last, or no whole lot.
    open_position = abs(
        BTCUSDT.quantity(main.engine.position) + other.quantity(hedge.engine.position)
    )
    assert open_position <= Decimal("0.05")


def test_the_configuration_of_the_documentation_has_no_mistakes(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text()
    block = re.search(r"^## cross_venue$\s+^```yaml\n(.*?)^```$", page, re.M | re.S)
    assert block is not None
    path = tmp_path / "config.yml"
    path.write_text(block[1])
    assert load_config([path], userdir=tmp_path).strategy.name == "cross_venue"
