"""Where the compiled engine could part from the reference: ties of time, large and rounded money, long runs."""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from both_engines import (
    KINDS,
    Restless,
    compare,
    queues,
    risks,
    session,
    sims,
    wakes,
)
from core_rows import INVERSE, SPOT, ask, bid, bought, gap, sold
from hypothesis import given, settings
from hypothesis import strategies as st
from markets import TO_MIDNIGHT, S, with_funding
from msgspec.structs import replace

from mmkit.commands import CancelOrder, SubmitOrder, TimeInForce
from mmkit.events import (
    MAIN,
    CancelRejected,
    FundingPaid,
    OrderAccepted,
    OrderCanceled,
    OrderFilled,
    OrderRejected,
    Side,
)
from mmkit.instruments import Instrument
from mmkit.interfaces import MarketView, Quotes, Strategy, Target
from mmkit.run.compiled import NotCompiled, replay_compiled
from mmkit.run.replay import replay_plain
from mmkit.settings import SimSettings
from mmkit.tape import LAST, SCALE, SELL, Kind, Row, Tape
from mmkit.testing import BTCUSDT, random_tape, snapshot_rows

DAY = 86_400 * 10**9
UNIT = Fraction(1, 10**12)


def at_ticks_of(tape: Tape, ns: int) -> Tape:
    """The tape on clocks that move in steps of `ns`, so that rows, wakes, commands and reports fall together."""
    rows = [(t - t % ns, local - local % ns, *rest) for t, local, *rest in tape.rows()]
    return Tape.from_rows(tape.instrument, rows)


TENTH = 10**8


class One(Strategy):
    """A bid below the market."""

    def quote(self, view: MarketView) -> Quotes | Target:
        return Quotes(bid=(99, 1))


def test_quotes_are_pulled_when_data_is_too_old_although_a_report_comes_at_that_very_instant() -> (
    None
):
    # Data of 0.0 s and of 1.0 s; the quote of 0.09 s is accepted at the instant at which data is 0.2 s old.
    rows = [*snapshot_rows([(100, 5)], [(102, 5)], 0, 0), bid(100, 6, 10 * TENTH)]
    tape = Tape.from_rows(BTCUSDT, rows)
    sim = SimSettings.model_validate({"latency": {"entry": "50ms", "response": "60ms"}})

    reference, memory = session(One, sim, {"every": "90ms"}, {"stale_after": "200ms"}, tape)
    replay_plain(reference, {MAIN: tape})

    reports = [e.ts_local for e in memory.entries if isinstance(e, OrderAccepted)]
    cancels = [e.ts_local for e in memory.entries if isinstance(e, CancelOrder)]
    assert (reports[0], cancels[0]) == (2 * TENTH, 2 * TENTH)
    compare(tape, sim, {"every": "90ms"}, {"stale_after": "200ms"}, One)


def test_a_fill_that_is_reported_as_funding_falls_due_is_told_at_its_time() -> None:
    tape = with_funding(random_tape(1270, 399), 1270, shift_ns=TO_MIDNIGHT)
    sim = SimSettings.model_validate(
        {
            "latency": {"entry": "10ms", "response": "10ms"},
            "queue": {"model": "power", "exponent": 0.5},
        }
    )
    compare(tape, sim, {"on": ["best", "fill"]}, {"price_band": "2ticks"})


coarse = st.sampled_from(["0s", "20ms", "100ms", "200ms", {"quantiles": ["0s", "300ms"]}])


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 700),
    step=st.sampled_from([10**7, 10**8]),
    sim=sims,
    entry=coarse,
    response=coarse,
    asked=wakes,
    risk=risks,
    strategy=st.sampled_from(KINDS),
    rough=st.booleans(),
    instrument=st.sampled_from([BTCUSDT, SPOT, INVERSE]),
    funding=st.booleans(),
)
def test_what_happens_at_the_very_same_time_happens_in_the_same_order_in_both(
    seed: int,
    messages: int,
    step: int,
    sim: SimSettings,
    entry: Any,
    response: Any,
    asked: dict[str, Any],
    risk: dict[str, str],
    strategy: type[Strategy],
    rough: bool,
    instrument: Instrument,
    funding: bool,
) -> None:
    changed = sim.model_dump(mode="json")
    changed["latency"] = {"entry": entry, "response": response}
    tape = random_tape(seed, messages, rough=rough, instrument=instrument)
    if funding:
        tape = with_funding(tape, seed, shift_ns=TO_MIDNIGHT)
    compare(
        at_ticks_of(tape, step), sim.model_copy(update=latencies(changed)), asked, risk, strategy
    )


def latencies(values: dict[str, Any]) -> dict[str, Any]:
    return {"latency": SimSettings.model_validate({"latency": values["latency"]}).latency}


@pytest.mark.parametrize("seed", range(4))
def test_latencies_recorded_along_with_the_data_are_those_of_the_reference(
    tmp_path: Path, seed: int
) -> None:
    tape = random_tape(seed, 1_500)
    # Measured from the middle of the data on, so that the ends hold beyond, too.
    lines = ["ts_ns,latency_ns"]
    start = tape.start_ns + (tape.end_ns - tape.start_ns) // 4
    lines += [f"{start + n * 10**8},{(n * n * 7_919_317) % 250_000_000}" for n in range(100)]
    (tmp_path / "series.csv").write_text("\n".join(lines) + "\n")
    series = {"series": str(tmp_path / "series.csv"), "max_gap": "1h"}
    sim = SimSettings.model_validate({"latency": {"entry": series, "response": series}})

    reference = compare(tape, sim, {"every": "50ms"}, {}, KINDS[seed % len(KINDS)])

    assert reference.engine.counts["orders"] > 50


# --- long runs ---

TIERS = [
    {"volume": "0", "maker": "0.0002", "taker": "0.0005"},
    {"volume": "1", "maker": "0.0001", "taker": "0.0004"},
    {"volume": "2000", "maker": "-0.00001", "taker": "0.00033"},
    {"volume": "60000", "maker": "-0.0001", "taker": "0"},
]


def stretched(tape: Tape, days: float, quiet: int = 0) -> Tape:
    """The tape over so many days, with so many in its middle in which nothing happens."""
    start, span = tape.start_ns, tape.end_ns - tape.start_ns
    factor, middle = int(days * DAY) // span, start + span // 2

    def moved(ts: int, local: int) -> int:
        return start + (ts - start) * factor + (quiet * DAY if local > middle else 0)

    rows = [(moved(row[0], row[1]), moved(row[1], row[1]), *row[2:]) for row in tape.rows()]
    return Tape.from_rows(tape.instrument, rows)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    days=st.sampled_from([2, 5, 45, 90]),
    quiet=st.sampled_from([0, 1, 29, 30, 31, 32, 70]),
    instrument=st.sampled_from([BTCUSDT, SPOT, INVERSE]),
    before=st.sampled_from(["0", "2000", "90000"]),
    strategy=st.sampled_from(KINDS),
)
def test_fee_tiers_of_months_are_those_of_the_reference_day_by_day(
    seed: int,
    days: int,
    quiet: int,
    instrument: Instrument,
    before: str,
    strategy: type[Strategy],
) -> None:
    tape = stretched(random_tape(seed, 900, instrument=instrument), days, quiet)
    sim = SimSettings.model_validate({"fees": {"tiers": TIERS, "volume_30d": before}})

    compare(tape, sim, {"every": "30m", "on": ["best"]}, {"max_position": "5"}, strategy)


@pytest.mark.parametrize("instrument", [BTCUSDT, INVERSE], ids=["linear", "inverse"])
def test_a_tier_begins_at_its_volume_and_not_a_lot_later(instrument: Instrument) -> None:
    tape = stretched(random_tape(5, 700, instrument=instrument), 1.9)
    asked = {"every": "1m"}

    def fees(volume: str) -> Decimal:
        tiers = [TIERS[0], {"volume": volume, "maker": "0", "taker": "0"}]
        sim = SimSettings.model_validate({"fees": {"tiers": tiers}})
        return compare(tape, sim, asked, {}).engine.portfolio.fees

    run, memory = session(Restless, SimSettings(), asked, {}, tape)
    replay_plain(run, {MAIN: tape})
    midnight = (tape.start_ns // DAY + 1) * DAY
    size = instrument.lot * instrument.contract_size
    traded = sum(
        (
            entry.quantity * size * (1 if instrument is INVERSE else entry.price * instrument.tick)
            for entry in memory.entries
            if isinstance(entry, OrderFilled) and entry.ts_exchange < midnight
        ),
        Decimal(0),
    )

    reached, missed = fees(f"{traded}"), fees(f"{traded + Decimal('0.0001')}")
    assert traded > 0
    assert reached < missed


# --- money ---


@pytest.mark.parametrize("lots", [1, 2, 3, 5, 6, 7, 10])
@pytest.mark.parametrize("price", [2**17, 2**15, 2**17 * 5, 3 * 2**16])
def test_inverse_values_that_lie_between_two_units_are_rounded_to_the_even_one(
    price: int, lots: int
) -> None:
    class Once(Strategy):
        def quote(self, view: MarketView) -> Quotes:
            assert view.best_bid is not None
            return Quotes(bid=(price, lots), ask=(price + 1, lots))

    step = 10**8
    rows: list[Row] = list(snapshot_rows([(price - 1, 5)], [(price + 2, 5)], 0, 0))
    for n in range(1, 60):
        rows.append((sold if n % 2 else bought)(price - 1 if n % 2 else price + 2, 50, n * step))
    tape = Tape.from_rows(INVERSE, rows)
    sim = SimSettings.model_validate({"fees": {"maker": "0.5", "taker": "0.5"}})

    reference = compare(tape, sim, {"every": "50ms"}, {}, Once)

    assert reference.engine.counts["fills"] > 5


class Whale(Strategy):
    """Buys and sells ever more of something, up to a position as large."""

    times = 1

    def quote(self, view: MarketView) -> Quotes | Target:
        bid, ask = view.best_bid, view.best_ask
        if bid is None or ask is None:
            return Quotes()
        buying = view.now // 10**9 % 4 < 2 and view.position < 40 * self.times
        level = (bid if buying else ask, (3 + view.now // 10**8 % 5) * self.times)
        return Quotes(bid=level) if buying else Quotes(ask=level)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    power=st.integers(0, 57),
    instrument=st.sampled_from([BTCUSDT, SPOT, INVERSE]),
    fees=st.sampled_from([{"maker": "0.00002"}, {"maker": "-0.00000000125"}, {"maker": "0.7"}]),
    size=st.sampled_from(["1", "100", "1000000000"]),
    funding=st.booleans(),
)
def test_money_that_64_bits_do_not_hold_is_left_to_the_reference_and_never_wrong(
    seed: int, power: int, instrument: Instrument, fees: dict[str, str], size: str, funding: bool
) -> None:
    strategy = type("Whale", (Whale,), {"times": 2**power})
    instrument = replace(instrument, contract_size=Decimal(size))
    tape = random_tape(seed, 300, instrument=instrument)
    if funding:
        tape = with_funding(tape, seed)
    sim = SimSettings.model_validate({"partial_fills": False, "fees": fees})

    try:
        compare(tape, sim, {"every": "50ms"}, {}, strategy)
    except NotCompiled:
        # Only what is really large is left to the reference.
        assert power > 10 or size != "1" or fees == {"maker": "-0.00000000125"}


@pytest.mark.parametrize("quantity", [2**63 - 1, 2**62, 10**18])
def test_a_quantity_as_large_as_it_may_be_passes_no_limit_by_overflowing(quantity: int) -> None:
    class Huge(Restless):
        def quote(self, view: MarketView) -> Quotes | Target:
            if view.now % 3 == 0 and view.best_bid is not None:
                return Quotes(bid=(view.best_bid, quantity))
            return super().quote(view)

    reference = compare(
        at_ticks_of(random_tape(8, 900), 10**7),
        SimSettings(),
        {"every": "50ms"},
        {"max_position": "0.03"},
        Huge,
    )

    assert reference.engine.risk.vetoes["max_position"] > 20
    assert reference.engine.counts["fills"] > 20


# --- what holds for every run, added up from the compiled engine's own entries ---


def run_compiled(
    tape: Tape, sim: SimSettings, asked: dict[str, Any], strategy: type[Strategy]
) -> tuple[Any, list[Any]]:
    made, memory = session(strategy, sim, asked, {}, tape)
    replay_compiled(made, tape)
    return made.engine, memory.entries


def worth(instrument: Instrument, price: Fraction | int, lots: int) -> Fraction:
    """What `lots` are worth, signed as they are; of an inverse contract a long is a debt."""
    quantity = lots * Fraction(instrument.lot) * Fraction(instrument.contract_size)
    value = quantity / (price * Fraction(instrument.tick))
    if instrument is INVERSE:
        return -round(value / UNIT) * UNIT
    return quantity * price * Fraction(instrument.tick)


runs = given(
    seed=st.integers(0, 10_000),
    messages=st.integers(1, 900),
    sim=sims,
    asked=wakes,
    strategy=st.sampled_from(KINDS),
)


@pytest.mark.parametrize("instrument", [BTCUSDT, SPOT, INVERSE], ids=["linear", "spot", "inverse"])
@settings(max_examples=25, deadline=None)
@runs
def test_cash_and_position_at_mid_less_fees_and_funding_are_equity_to_the_last_unit(
    instrument: Instrument,
    seed: int,
    messages: int,
    sim: SimSettings,
    asked: dict[str, Any],
    strategy: type[Strategy],
) -> None:
    tape = with_funding(
        random_tape(seed, messages, instrument=instrument), seed, shift_ns=TO_MIDNIGHT
    )
    engine, entries = run_compiled(tape, sim, asked, strategy)
    signs = {e.order_id: e.side.sign for e in entries if isinstance(e, SubmitOrder)}
    cash = paid = received = Fraction(0)
    position = 0
    for entry in entries:
        if isinstance(entry, OrderFilled):
            signed = signs[entry.order_id] * entry.quantity
            cash -= worth(instrument, entry.price, signed)
            position += signed
            paid += Fraction(entry.fee)
        elif isinstance(entry, FundingPaid):
            assert entry.position != 0
            received += Fraction(entry.amount)

    assert position == engine.position
    assert (Fraction(engine.portfolio.fees), Fraction(engine.portfolio.funding)) == (paid, received)
    if engine.best_bid is not None and engine.best_ask is not None:
        mid = Fraction(engine.best_bid + engine.best_ask, 2)
        held = worth(instrument, mid, position) if position else 0
        assert Fraction(engine.equity) == cash + held - paid + received


@settings(max_examples=60, deadline=None)
@runs
def test_none_of_our_orders_ever_meets_another_of_ours(
    seed: int, messages: int, sim: SimSettings, asked: dict[str, Any], strategy: type[Strategy]
) -> None:
    _, entries = run_compiled(random_tape(seed, messages), sim, asked, strategy)
    sent = {entry.order_id: entry for entry in entries if isinstance(entry, SubmitOrder)}
    resting: dict[int, SubmitOrder] = {}
    # Reports come in the order in which the venue wrote them.
    for entry in entries:
        if isinstance(entry, OrderAccepted | OrderFilled) and entry.order_id not in resting:
            order = sent[entry.order_id]
            for other in resting.values():
                if other.side is not order.side:
                    low, high = sorted((order, other), key=lambda one: one.side is Side.SELL)
                    assert low.price < high.price, (order, other)
            if isinstance(entry, OrderAccepted):
                resting[entry.order_id] = order
        if isinstance(entry, OrderCanceled) or (
            isinstance(entry, OrderFilled) and entry.remaining == 0
        ):
            resting.pop(entry.order_id, None)


@settings(max_examples=60, deadline=None)
@runs
def test_commands_arrive_and_reports_return_in_the_order_in_which_they_were_sent(
    seed: int, messages: int, sim: SimSettings, asked: dict[str, Any], strategy: type[Strategy]
) -> None:
    _, entries = run_compiled(random_tape(seed, messages), sim, asked, strategy)
    answers: dict[tuple[type, int], list[Any]] = defaultdict(list)
    commands, reports = [], []
    for entry in entries:
        if isinstance(entry, SubmitOrder | CancelOrder):
            commands.append(entry)
        elif isinstance(entry, CancelRejected):
            answers[CancelOrder, entry.order_id].append(entry)
        elif isinstance(entry, OrderAccepted | OrderRejected):
            answers[SubmitOrder, entry.order_id].append(entry)
        elif isinstance(entry, OrderCanceled):
            answers[CancelOrder, entry.order_id].append(entry)
        if isinstance(
            entry, OrderAccepted | OrderRejected | OrderFilled | OrderCanceled | CancelRejected
        ):
            reports.append(entry)

    taken = {
        entry.order_id
        for entry in commands
        if isinstance(entry, SubmitOrder) and entry.time_in_force is TimeInForce.IOC
    }
    arrived = []
    for command in commands:
        if command.order_id not in taken:
            (answer,) = answers[type(command), command.order_id]
            assert answer.ts_exchange >= command.ts_local
            arrived.append(answer.ts_exchange)
    assert arrived == sorted(arrived)
    decided = [command.ts_local for command in commands]
    assert decided == sorted(decided)
    heard = [report.ts_local for report in reports]
    assert heard == sorted(heard)
    assert all(report.ts_local >= report.ts_exchange for report in reports)


# --- the exchange ---


class Nearby(Strategy):
    """Quotes around a price that wanders, whatever the book is; takes now and then."""

    takes = True

    def quote(self, view: MarketView) -> Quotes | Target:
        turn = view.now // 10**8
        if self.takes and turn % 11 == 0:
            return Target(turn % 7 - 3)
        low = 99 + turn // 13 % 3
        return Quotes(
            bids=[(low, 3), (low - 1, 2)], asks=[(low + 1 + turn // 5 % 2, 3), (low + 4, 2)]
        )


def small_market(seed: int, happenings: int, scale: int = 1) -> Tape:
    """A book of few prices in which anything may happen: sides that stay empty or cross, gaps, snapshots.

    Of a `scale` above 1 some quantities are as much larger.
    """
    dice = random.Random(seed)

    def lots(most: int) -> int:
        return dice.randrange(1, most) * dice.choice((1, scale))

    rows: list[Row] = list(snapshot_rows([(100, 4), (99, 5)], [(101, 4), (103, 6)], 0, 0))
    now = local = 0
    for _ in range(happenings):
        now += dice.choice((0, 10**7, 3 * 10**7, 10**8))
        local = max(local, now + dice.choice((0, 0, 2 * 10**7)))
        what, price = dice.choice((bid, bid, ask, ask, bought, sold)), dice.randrange(97, 105)
        chance = dice.random()
        if chance < 0.02:
            rows.append(gap(now, local))
        elif chance < 0.06:
            bids = [(dice.randrange(97, 101) - n * 4, lots(20)) for n in range(dice.randrange(3))]
            asks = [(dice.randrange(101, 105) + n * 4, lots(20)) for n in range(dice.randrange(3))]
            rows += snapshot_rows(bids, asks, now, local)
        elif what in (bought, sold):
            rows.append(what(price, lots(9), now, local))
        else:
            rows.append(what(price, dice.choice((0, 0, lots(30))), now, local))
    return Tape.from_rows(BTCUSDT, rows)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    happenings=st.integers(1, 300),
    queue=queues | st.just({"model": "power", "exponent": 20}),
    partial=st.booleans(),
    takes=st.booleans(),
    scale=st.sampled_from([1, 1, 10**9, 10**16]),
    risk=risks,
    asked=wakes,
)
def test_a_small_book_in_which_anything_may_happen_is_matched_alike(
    seed: int,
    happenings: int,
    queue: Any,
    partial: bool,
    takes: bool,
    asked: dict[str, Any],
    scale: int,
    risk: dict[str, str],
) -> None:
    strategy = type("Nearby", (Nearby,), {"takes": takes})
    sim = SimSettings.model_validate(
        {
            "queue": queue,
            "partial_fills": partial,
            "latency": {"entry": "10ms", "response": "20ms"},
            "fees": {"maker": "0.0001", "taker": "0.0003"},
        }
    )

    compare(small_market(seed, happenings, scale), sim, asked, risk, strategy)


@pytest.mark.parametrize("instrument", [BTCUSDT, INVERSE], ids=["linear", "inverse"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fall_of_equity_that_just_reaches_its_limit_halts_the_run(
    instrument: Instrument, seed: int
) -> None:
    tape = random_tape(seed, 900, instrument=instrument)
    free = compare(tape, SimSettings(), {"every": "50ms"}, {})
    limit = free.engine.max_drawdown
    assert limit > 0

    halted = compare(tape, SimSettings(), {"every": "50ms"}, {"max_drawdown": f"{limit:f}"})
    more = compare(
        tape, SimSettings(), {"every": "50ms"}, {"max_drawdown": f"{limit + Decimal(10) ** -12:f}"}
    )

    assert halted.engine.halted is not None
    assert more.engine.halted is None


def test_a_queue_whose_power_no_float_holds_still_tells_who_was_ahead() -> None:
    class Joins(Strategy):
        def quote(self, view: MarketView) -> Quotes:
            return Quotes(bid=(100, 3))

    ms, many = 10**6, 10**16
    rows: list[Row] = [
        *snapshot_rows([(100, 5)], [(103, 5)], 0, 0),
        bid(100, 5 + many, 500 * ms),
        # Who leaves was behind us, where nearly everybody is: five are ahead as before.
        bid(100, 5 + many // 2, 600 * ms),
        sold(100, 3, 700 * ms),
        sold(100, 6, 800 * ms),
        bid(100, 5, 900 * ms),
    ]
    sim = SimSettings.model_validate({"queue": {"model": "power", "exponent": 20}})
    asked = {"every": "100ms"}
    tape = Tape.from_rows(BTCUSDT, rows)

    compare(tape, sim, asked, {}, Joins)
    _, entries = run_compiled(tape, sim, asked, Joins)

    fills = [entry for entry in entries if isinstance(entry, OrderFilled)]
    assert [(fill.ts_exchange, fill.quantity) for fill in fills] == [(800 * ms, 3)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), strategy=st.sampled_from(KINDS[:3]))
def test_funding_that_is_on_its_way_behind_a_fill_is_valued_when_it_is_told(
    seed: int, strategy: type[Strategy]
) -> None:
    tape = with_funding(random_tape(seed, 400), seed, every_s=1)
    sim = SimSettings.model_validate({"latency": {"entry": "0s", "response": "450ms"}})

    compare(tape, sim, {"every": "1500ms"}, {}, strategy)


@pytest.mark.parametrize("late", [0, 1])
def test_funding_announced_for_the_very_moment_or_one_that_has_passed_comes_too_late_in_both(
    late: int,
) -> None:
    rows: list[Row] = []
    for row in at_ticks_of(random_tape(4, 900), 10**8).rows():
        rows.append(row)
        at, local, kind = row[:3]
        if kind & LAST and at % S == 0:
            rows.append((at, local, int(Kind.MARK), 0, 60_000 * SCALE))
            rows.append((at, local, Kind.FUNDING | LAST, at // S - late, 30_000))
    tape = Tape.from_rows(BTCUSDT, rows)

    made = compare(tape, SimSettings(), {"every": "50ms"}, {})

    assert made.engine.counts["fills"] > 20
    assert made.engine.counts["fundings"] == 0


class BothSides(Strategy):
    """Quotes at the last prices there were, whether or not there is somebody."""

    def quote(self, view: MarketView) -> Quotes:
        # Another size each time, so that there is always an order to be sent.
        turn = 1 + view.now // 100_000_000 % 5
        return Quotes(bid=(600_000, turn), ask=(600_001, turn))


@pytest.mark.parametrize("limit", ["2ticks", "1%", "150%"])
@pytest.mark.parametrize("empty", [Kind.LEVEL, Kind.LEVEL | SELL], ids=["no bids", "no asks"])
def test_while_a_side_is_empty_there_is_no_mid_for_a_price_band_and_both_refuse_every_order(
    empty: int, limit: str
) -> None:
    price = 600_001 if empty & SELL else 600_000
    rows = list(snapshot_rows([(600_000, 9)], [(600_001, 9)], S, S))
    rows.append((3 * S, 3 * S, empty | LAST, price, 0))
    rows.append((9 * S, 9 * S, Kind.TRADE | LAST, price, 1))
    tape = Tape.from_rows(BTCUSDT, rows)
    reference = compare(tape, SimSettings(), {"every": "100ms"}, {"price_band": limit}, BothSides)
    assert reference.engine.risk.vetoes["price_band"] > 50


class Patient(Strategy):
    """Waits at the best prices until it is filled."""

    def quote(self, view: MarketView) -> Quotes:
        return Quotes(bid=(600_000, 7), ask=(600_001, 7))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "queue", [{"model": "power", "exponent": 2}, {"model": "risk_averse"}, {"model": "log"}]
)
def test_a_book_that_is_told_whole_each_time_moves_our_place_in_the_queue_alike_in_both(
    seed: int, queue: dict[str, Any]
) -> None:
    dice = random.Random(seed)
    rows: list[Row] = []
    for n in range(400):
        at = S + n * 100_000_000
        sides = [
            [(price, dice.randrange(1, 60)) for price in prices]
            for prices in ((600_000, 599_999, 599_998), (600_001, 600_002, 600_003))
        ]
        rows += snapshot_rows(*sides, at, at)
        side, price = dice.choice([(SELL, 600_000), (0, 600_001)])
        later = at + 50_000_000
        rows.append((later, later, Kind.TRADE | side | LAST, price, dice.randrange(1, 15)))
    tape = Tape.from_rows(BTCUSDT, rows)
    sim = SimSettings.model_validate(
        {"queue": queue, "latency": {"entry": "1ms", "response": "1ms"}}
    )
    reference = compare(tape, sim, {"every": "100ms"}, {}, Patient)
    assert reference.engine.counts["fills"] > 20
