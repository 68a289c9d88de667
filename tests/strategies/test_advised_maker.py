"""The market maker that listens to language models: bounded by its keys, whatever they say, and quoting without them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies_on_books import NEXO, TOPS, assert_crosses_nothing, assert_symmetric, one, quotes

from mmkit.answers import Anomaly, AnyAnswer, Conditions, MarketStructure, Volatility
from mmkit.commands import SubmitOrder
from mmkit.errors import OtherQuestion, StrategyError, UnknownAdvisor
from mmkit.events import Advice, OrderFilled, Side
from mmkit.instruments import Instrument
from mmkit.interfaces import NO_QUOTES, Context, MarketView, Quotes
from mmkit.orders import Order
from mmkit.settings import SimSettings
from mmkit.tape import Tape
from mmkit.testing import BTCUSDT, check_strategy, market_view, random_tape, run_strategy
from mmkit_strategies.advised_maker import AdvisedMaker
from mmkit_strategies.purse import BalanceConfig, Purse
from mmkit_strategies.realized import RealizedVolatility

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND
NAMES = {"volatility": "vol", "conditions": "state", "structure": "side", "anomaly": "alarm"}
NO_MEASURE = {"measured": {"times": 0}}


def maker(instrument: Instrument = BTCUSDT, sim: SimSettings | None = None, **config: Any) -> Any:
    context = Context(instrument, sim or SimSettings(), advisors=ADVISORS)
    keys = {**NO_MEASURE, **NAMES, **config}
    return AdvisedMaker(AdvisedMaker.Config.model_validate(keys), context)


ADVISORS = {
    "vol": "volatility",
    "state": "conditions",
    "side": "market_structure",
    "alarm": "explain_anomaly",
}


def advice(
    name: str, answer: AnyAnswer | None, at: int = BEGIN, lasts: int = 600 * SECOND
) -> Advice:
    return Advice(
        ts_exchange=at - SECOND,
        ts_local=at,
        name=name,
        question=ADVISORS.get(name, ""),
        answer=answer,
        refused="" if answer else "timeout: none",
        expires_ns=at + lasts,
        prompt_sha256="",
        text="",
        calls=(),
    )


HIGH = Volatility(level="HIGH", direction="UP", confidence=0.9, reason="")
STATE = Conditions(
    spread="WIDE", volatility="HIGH", liquidity="BID", suggested_spread_bps=9, warnings=()
)
DANGER = Anomaly(cause="", danger="HIGH", lines=("", "", ""))


def structure(signal: Any, confidence: float = 1.0) -> MarketStructure:
    return MarketStructure(
        signal=signal, confidence=confidence, direction="SIDEWAYS", risk="LOW", reason=""
    )


# Mid is 600,000 ticks: 15 bps of that are 900, so 450 to each side.
PLAIN = Quotes(bid=(599_550, 1), ask=(600_450, 1))


def test_without_advice_it_quotes_the_target_spread_around_mid() -> None:
    assert quotes(maker()) == PLAIN
    assert quotes(maker(spread="10ticks", size="0.01")) == Quotes(
        bid=(599_995, 10), ask=(600_005, 10)
    )
    assert quotes(maker(spread="10ticks", skew="2ticks"), position=3) == Quotes(
        bid=(599_989, 1), ask=(599_999 + 1, 1)
    )


def test_advice_widens_the_spread_at_its_pace_and_lets_go_of_it_when_it_expires() -> None:
    strategy = maker()
    strategy.on_event(advice("vol", HIGH))
    assert quotes(strategy, now=BEGIN) == PLAIN
    # 1.25 and 1.5 x 1.1 times 450; then back to 1.
    assert quotes(strategy, now=BEGIN + 30 * SECOND) == Quotes(bid=(599_437, 1), ask=(600_563, 1))
    assert quotes(strategy, now=BEGIN + 599 * SECOND) == Quotes(bid=(599_257, 1), ask=(600_743, 1))
    assert quotes(strategy, now=BEGIN + 600 * SECOND) == Quotes(bid=(599_257, 1), ask=(600_743, 1))
    assert quotes(strategy, now=BEGIN + 690 * SECOND) == PLAIN


@pytest.mark.parametrize(
    "said",
    [
        advice("vol", None),
        advice("other", HIGH),
        advice("vol", HIGH, lasts=-1),
        advice("side", structure("BUY")),
        advice("alarm", Anomaly(cause="", danger="MEDIUM", lines=("", "", ""))),
    ],
)
def test_what_is_no_advice_for_it_changes_nothing(said: Advice) -> None:
    strategy = maker()
    strategy.on_event(said)
    assert quotes(strategy, now=BEGIN + 60 * SECOND) == PLAIN


def test_an_advisor_that_is_not_there_or_is_asked_something_else_is_refused() -> None:
    with pytest.raises(
        UnknownAdvisor, match=r"found 'vols'; there is vol, .* \(did you mean 'vol'\?\)"
    ):
        maker(volatility="vols")
    with pytest.raises(
        OtherQuestion, match="is asked conditions was expected; 'vol' is asked volatility"
    ):
        maker(conditions="vol")
    with pytest.raises(
        OtherQuestion, match="is asked volatility was expected; 'state' is asked co"
    ):
        maker(volatility="state")
    with pytest.raises(
        OtherQuestion, match="is asked volatility was expected; 'state' is asked co"
    ):
        maker(conditions="", volatility="state")


def test_recorded_advice_to_another_question_stops_the_run() -> None:
    # Of a journal in which the advisor of that name was asked something else.
    strategy = maker()
    with pytest.raises(OtherQuestion, match="is asked volatility was expected; 'vol' is asked"):
        strategy.on_event(advice("vol", STATE))


def test_an_advisor_that_is_not_named_is_not_listened_to() -> None:
    strategy = maker(volatility="", anomaly="", structure="", lean="5ticks")
    for said in (advice("vol", HIGH), advice("alarm", DANGER), advice("side", structure("BUY"))):
        strategy.on_event(said)
    assert quotes(strategy, now=BEGIN + 60 * SECOND) == PLAIN


def test_both_quotes_lean_by_the_confidence_until_the_advice_expires() -> None:
    strategy = maker(lean="8ticks")
    for signal, ticks in (("BUY", 4), ("SELL", -4), ("NEUTRAL", 0)):
        strategy.on_event(advice("side", structure(signal, 0.5)))
        assert quotes(strategy, now=BEGIN + SECOND) == Quotes(
            bid=(599_550 + ticks, 1), ask=(600_450 + ticks, 1)
        )
    strategy.on_event(advice("side", structure("BUY"), lasts=60 * SECOND))
    assert quotes(strategy, now=BEGIN + 60 * SECOND - 1) != PLAIN
    assert quotes(strategy, now=BEGIN + 60 * SECOND) == PLAIN


def test_a_danger_pauses_for_a_while_then_quotes_come_back_though_it_is_still_said() -> None:
    strategy = maker(on_danger="pause", pause="10s")
    for second in range(0, 60, 2):
        at = BEGIN + second * SECOND
        strategy.on_event(advice("alarm", DANGER, at))
        assert (quotes(strategy, now=at) == NO_QUOTES) == (second // 10 % 2 == 0)
    ignored = maker(on_danger="nothing")
    ignored.on_event(advice("alarm", DANGER))
    assert quotes(ignored, now=BEGIN + 60 * SECOND) == PLAIN
    widened = maker()
    widened.on_event(advice("alarm", DANGER))
    assert quotes(widened, now=BEGIN + 60 * SECOND) == Quotes(bid=(599_325, 1), ask=(600_675, 1))


# --- whatever the advice ---

ANSWERS: dict[str, st.SearchStrategy[AnyAnswer]] = {
    "vol": st.builds(
        Volatility,
        level=st.sampled_from(("HIGH", "MEDIUM", "LOW")),
        direction=st.sampled_from(("UP", "DOWN", "SIDEWAYS")),
        confidence=st.floats(0, 1),
        reason=st.just(""),
    ),
    "state": st.builds(
        Conditions,
        spread=st.sampled_from(("NARROW", "NORMAL", "WIDE")),
        volatility=st.just("LOW"),
        liquidity=st.just("BID"),
        suggested_spread_bps=st.floats(0.001, 1000),
        warnings=st.just(()),
    ),
    "side": st.builds(structure, st.sampled_from(("BUY", "SELL", "NEUTRAL")), st.floats(0, 1)),
    "alarm": st.builds(
        Anomaly,
        cause=st.just(""),
        danger=st.sampled_from(("HIGH", "LOW")),
        lines=st.just(("", "", "")),
    ),
}
Said = tuple[str, AnyAnswer | None, int]
SAID = st.lists(
    st.one_of(
        *(
            st.tuples(st.just(name), st.none() | answers, st.integers(0, 90 * SECOND))
            for name, answers in ANSWERS.items()
        )
    ),
    max_size=6,
)


@given(
    said=SAID,
    top=TOPS,
    position=st.integers(-200, 200),
    spread=st.integers(0, 3000),
    lean=st.integers(0, 300),
    instrument=st.sampled_from((BTCUSDT, NEXO)),
)
def test_whatever_is_said_quotes_cross_nothing_and_stay_within_the_bounds(
    said: list[Said],
    top: tuple[int, int],
    position: int,
    spread: int,
    lean: int,
    instrument: Instrument,
) -> None:
    strategy = maker(
        instrument, spread=f"{spread}ticks", lean=f"{lean}ticks", size="0.1", max_position="1"
    )
    now = BEGIN
    for name, answer, later in said:
        now += later
        strategy.on_event(advice(name, answer, now))
    bid, ask = top[0], sum(top)
    answer = quotes(strategy, bid, ask, position, instrument, now=now + 30 * SECOND)
    assert_crosses_nothing(answer, bid, ask)
    limit = instrument.lots("1")
    mid = Fraction(bid + ask, 2)
    if own_bid := one(answer.bids):
        assert position + own_bid[1] <= limit
        assert own_bid[0] <= mid + lean - Fraction(spread, 4) + 1
        # Held up inside the book, or not further than the widest spread and the lean.
        assert own_bid[0] >= min(mid - lean - spread, ask - 1) - 2
    if own_ask := one(answer.asks):
        assert position - own_ask[1] >= -limit
        assert own_ask[0] >= mid - lean + Fraction(spread, 4) - 1
        assert own_ask[0] <= max(mid + lean + spread, bid + 1) + 2


@given(top=TOPS, said=SAID.map(lambda said: [one for one in said if one[0] != "side"]))
def test_it_is_symmetric_when_flat(top: tuple[int, int], said: list[Said]) -> None:
    strategy, now = maker(), BEGIN
    for name, answer, later in said:
        now += later
        strategy.on_event(advice(name, answer, now))
    bid, ask = top[0] + 600_000, sum(top) + 600_000
    assert_symmetric(quotes(strategy, bid, ask, now=now), bid, ask)


def test_it_passes_what_every_strategy_must() -> None:
    check_strategy(AdvisedMaker, spread="2ticks", measured={"window": "5s", "times": 3})
    spot = spot_btc()
    check_strategy(
        AdvisedMaker, spot, spread="2ticks", size="0.01", balance={"base": "0.02", "quote": "900"}
    )


def spot_btc() -> Instrument:
    """BTC/USDT as a spot market, of the grid of the random tapes."""
    import msgspec

    return msgspec.structs.replace(NEXO, symbol="BTC/USDT", tick=BTCUSDT.tick, lot=BTCUSDT.lot)


# --- measured volatility ---


@given(
    moves=st.lists(
        st.tuples(st.integers(SECOND, 5 * SECOND), st.integers(-50, 50)), min_size=20, max_size=60
    )
)
def test_realized_volatility_is_that_of_the_samples_in_the_window(
    moves: list[tuple[int, int]],
) -> None:
    window = 30 * SECOND
    realized = RealizedVolatility(window)
    times = BEGIN + np.cumsum([dt for dt, _ in moves])
    mids = 600_000.0 + np.cumsum([move for _, move in moves])
    for at, mid in zip(times.tolist(), mids.tolist(), strict=True):
        realized.see(at, mid)
        realized.see(at + SECOND // 2, mid + 1e6)  # too soon after it: not a sample
    inside = times >= times[-1] - window
    seconds = (times[inside][-1] - times[inside][0]) / SECOND
    expected = np.sqrt(np.square(np.diff(mids[inside])).sum() / seconds)
    assert realized.per_root_second() == pytest.approx(expected, rel=1e-12)


def test_realized_volatility_is_told_from_half_a_window_on_and_forgotten_over_a_hole() -> None:
    realized = RealizedVolatility(10 * SECOND)
    told = []
    for second in range(8):
        realized.see(BEGIN + second * SECOND, 600_000 + 3 * (second % 2))
        told.append(realized.per_root_second())
    assert told == [0, 0, 0, 0, 0, 3, 3, 3]
    realized.see(BEGIN + 100 * SECOND, 700_000)
    assert realized.per_root_second() == 0


def test_measured_volatility_widens_the_spread_by_so_many_times_of_it() -> None:
    strategy = maker(measured={"window": "10s", "times": 4}, spread="100ticks")
    for second in range(7):
        low = 599_999 + 10 * (second % 2)
        answer = quotes(strategy, low, low + 2, now=BEGIN + second * SECOND)
    # 10 ticks a second: 100 + 40.
    assert answer == Quotes(bid=(599_930, 1), ask=(600_070, 1))


# --- what is held ---


def test_a_balance_limits_what_is_quoted_and_too_small_is_not_quoted() -> None:
    no_fee = SimSettings.model_validate({"fees": {"maker": "0"}})

    def nexo(base: str, quote: str, **config: Any) -> Quotes:
        strategy = maker(
            NEXO,
            no_fee,
            spread="2ticks",
            size="1",
            max_position="10",
            balance={"base": base, "quote": quote},
            **config,
        )
        return quotes(strategy, 1000, 1002, instrument=NEXO)

    # The bid is at 1.000.
    assert nexo("5", "5") == Quotes(bid=(1000, 100), ask=(1002, 100))
    assert nexo("0.405", "0.999") == Quotes(bid=(1000, 99), ask=(1002, 40))
    assert nexo("0", "5") == Quotes(bid=(1000, 100), ask=None)
    assert nexo("5", "0.009") == Quotes(bid=None, ask=(1002, 100))
    assert nexo("0.4", "0.39", min_size="0.4") == Quotes(bid=None, ask=(1002, 40))
    with pytest.raises(StrategyError, match=r"strategy\.min_size: at most strategy\.size, 1, was"):
        nexo("1", "1", min_size="2")


def test_a_balance_is_refused_for_contracts() -> None:
    with pytest.raises(StrategyError, match=r"strategy\.balance: .* found it for BTC/USDT:USDT"):
        maker(balance={"base": "1", "quote": "1"})


def working(side: Side, price: int, quantity: int, remaining: int, order_id: int = 1) -> Order:
    order = Order(
        SubmitOrder(ts_local=0, order_id=order_id, side=side, price=price, quantity=quantity)
    )
    order.remaining, order.submitting = remaining, False
    return order


@given(
    standing=st.lists(
        st.tuples(st.sampled_from(Side), st.integers(990, 1012), st.integers(1, 100)), max_size=4
    ),
    base=st.integers(0, 300),
    quote=st.integers(0, 400),
    position=st.integers(-100, 100),
)
def test_whatever_stands_on_the_book_all_orders_together_never_cost_more_than_is_held(
    standing: list[tuple[Side, int, int]], base: int, quote: int, position: int
) -> None:
    strategy = maker(
        NEXO,
        spread="2ticks",
        size="1",
        max_position="2",
        balance={"base": str(Decimal(base) / 100), "quote": str(Decimal(quote) / 100)},
    )
    orders = [working(*one, one[2], number) for number, one in enumerate(standing)]
    view = market_view(NEXO, [(1000, 5)], [(1002, 5)], position=position)
    # Held at mid, with nothing paid: the money held is less by what the position is worth.
    shown = SimpleNamespace(
        best_bid=1000, best_ask=1002, position=position, now=0, orders=orders, equity=view.equity
    )
    answer = strategy.quote(cast(MarketView, shown))
    money = Fraction(quote, 100) + Fraction(view.equity) - position * Fraction(1001, 100_000)
    coins = base + position
    for side, levels, held in ((Side.BUY, answer.bids, money), (Side.SELL, answer.asks, coins)):
        if not levels:
            continue
        ((price, size),) = levels
        mine = [order for order in orders if order.side is side]
        kept = [o for o in mine if (o.price, o.quantity) == (price, size)]
        open_lots = [(o.price, o.remaining) for o in mine if not kept or o is not kept[0]]
        open_lots.append((price, kept[0].remaining if kept else size))
        total = sum(lots for _, lots in open_lots)
        assert total + position * side.sign <= NEXO.lots("2")
        if side is Side.SELL:
            assert total <= held
        else:
            worth = sum(Fraction(at * lots, 100_000) for at, lots in open_lots)
            assert worth * Fraction("1.0002") <= held


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), coins=st.integers(0, 30), money=st.integers(0, 2000))
def test_over_a_whole_market_neither_coins_nor_money_ever_fall_below_zero(
    seed: int, coins: int, money: int
) -> None:
    spot = spot_btc()
    start = {"base": str(Decimal(coins) / 1000), "quote": str(money)}
    sim = SimSettings.model_validate({"fees": {"maker": "0.001", "taker": "0.001"}})
    strategy = maker(spot, sim, spread="2ticks", size="0.01", max_position="1", balance=start)
    tape: Tape = random_tape(seed, 1500, spot)
    engine, entries = run_strategy(strategy, tape, sim)
    base, quote = Fraction(coins, 1000), Fraction(money)
    orders = {entry.order_id: entry for entry in entries if isinstance(entry, SubmitOrder)}
    fills = 0
    for entry in entries:
        if isinstance(entry, OrderFilled):
            fills += 1
            sign = orders[entry.order_id].side.sign
            lots = Fraction(spot.quantity(entry.quantity))
            base += sign * lots
            quote -= sign * lots * Fraction(spot.price(entry.price)) + Fraction(entry.fee)
            assert base >= 0
            assert quote >= 0
    assert fills or not (coins or money > 60)
    purse = Purse(BalanceConfig.model_validate(start), spot, Fraction(0))
    if engine.best_bid is not None and engine.best_ask is not None:
        assert purse.base(engine.view) == base
        assert purse.quote(engine.view) == quote
