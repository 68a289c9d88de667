"""Whatever becomes of requests and answers, no order is lost, none is sent twice, and every fill is told once."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from broken_handlers import BROKEN, BROKEN_AMENDS
from msgspec.structs import replace
from small_venue import SPOT, S, World

from mmkit.accounts import FillRecord, OrderRecord, OrderState, OrderUpdate, Refusal, Refused
from mmkit.commands import CancelOrder, OrderType, SubmitOrder
from mmkit.errors import RunError
from mmkit.events import Liquidity, Side
from mmkit.instruments import Instrument
from mmkit.live.handler import MOST_OVER, VALID_NS, OrderHandler
from mmkit.live.known import KnownOrder, Stage
from mmkit.live.memory import MemoryStore
from mmkit.live.requests import Cancel
from mmkit.live.store import Store, totals
from mmkit.orders import Orders
from mmkit.testing import BTCUSDT


def on_disk(folder: Path) -> Callable[[], Store]:
    return lambda: Store(folder / "orders.sqlite")


def lived(
    seed: int,
    folder: Path | None = None,
    handler: type[OrderHandler] = OrderHandler,
    **trouble: Any,
) -> World:
    """A minute of trading in which things go wrong, then two in which nothing does, and the stop."""
    memory = MemoryStore()
    trouble = {"instrument": BTCUSDT if seed % 2 else SPOT, **trouble}
    world = World(seed, on_disk(folder) if folder else lambda: memory, handler, **trouble)
    paid = Random(seed)
    for _ in range(120):
        world.act()
        for record in world.venue.open():
            if world.random.random() < (0.2 if trouble.get("amends") else 0.05):
                world.venue.fill(record.client_id, world.random.randrange(1, 30), world.now)
        if world.random.random() < 0.02:
            world.reconnect()
        if not world.venue.spot and paid.random() < 0.05:
            world.venue.fund(Decimal(paid.randrange(-9999, 9999)) / 10_000, world.now)
        world.run(S // 2)
        underrated(world)
    world.calm()
    for _ in range(60):
        world.stop()
        world.run(S)
    return world


def underrated(world: World) -> None:
    """Note orders that the venue may trade more of, or at another price, than this run's engine believes possible."""
    venue, lot = world.venue, world.instrument.lot
    known = {f"mm{world.life}-{one.order_id}": one for one in world.orders.active}
    for record in venue.open():
        order = known.get(record.client_id)
        if order is None or world.handler.orders[record.client_id].stage is Stage.LOST:
            continue
        left = int((record.quantity - record.executed) / lot)
        prices = {order.price, order.amending.price if order.amending else order.price}
        if order.most < left or world.instrument.ticks(record.price) not in prices:
            world.problems.append(f"{order} was {left} lots at {record.price} at the venue")


def wrong(world: World) -> list[str]:
    """Everything that is not as it has to be at the end."""
    venue, handler = world.venue, world.handler
    found = []
    if twice := [one for one in set(venue.placed) if venue.placed.count(one) > 1]:
        found.append(f"sent twice: {twice}")
    if left := [one.client_id for one in venue.open()]:
        found.append(f"left on the book: {left}")
    journal = world.store.fills()
    if sorted(one.trade_id for one in journal) != sorted(one.trade_id for one in venue.fills):
        found.append(f"{len(journal)} fills in the journal, {len(venue.fills)} at the venue")
    position, fees = totals(journal)
    theirs = sum((one.side.sign * one.quantity for one in venue.fills), Decimal(0))
    if BTCUSDT.quantity(position) != theirs:
        found.append(f"position {position} lots, at the venue {theirs}")
    for asset in ("BTC", "USDT"):
        charged = [one.fee for one in venue.fills if one.fee_asset == asset]
        if fees.get(asset, 0) != sum(charged, Decimal(0)):
            found.append(f"fees in {asset} differ")
    if world.store.money().fundings != venue.fundings:
        found.append("other fundings in the journal than at the venue")
    if left := Counter(world.funded) - Counter(one.amount for one in venue.fundings):
        found.append(f"fundings told twice: {left}")
    if not venue.spot and not world.books._wallet(venue.balances(), world.books._state()):
        found.append("the wallet is not what fills and funding come to")
    if handler.orders:
        found.append(f"not settled: {list(handler.orders.values())}")
    there = [venue.orders[one] for one in world.proven if one in venue.orders]
    if wrongly := [one for one in there if one.executed or one.state is OrderState.OPEN]:
        found.append(f"proven to have come to nothing, and did not: {wrongly}")
    if world.books.last or world.books.differs:
        found.append(f"differs: {world.books.last}")
    if world.problems:
        found.append(f"problems: {world.problems}")
    if world.orders.active:
        found.append(f"open for the engine: {world.orders.active}")
    if world.orders.lost:
        found.append(f"lost for the engine: {world.orders.lost}")
    return found


@pytest.mark.parametrize("seed", range(25))
def test_no_order_is_lost_and_none_is_sent_twice_on_a_line_that_loses_delays_and_repeats(
    seed: int,
) -> None:
    world = lived(seed)
    assert wrong(world) == []


@pytest.mark.parametrize("seed", range(25))
def test_a_process_that_dies_at_any_step_finds_every_order_and_fill_again(
    seed: int,
) -> None:
    world = lived(seed, crashes=0.01)
    assert world.life > 1
    assert wrong(world) == []


@pytest.mark.parametrize("seed", range(10))
def test_an_order_that_the_venue_denies_for_hours_is_exposure_until_it_is_found(
    seed: int,
) -> None:
    world = lived(seed, trouble=0.6, hide_ns=4 * 3600 * S)
    assert wrong(world) == []
    assert world.lost


@pytest.mark.parametrize("seed", range(30))
def test_an_order_that_is_amended_is_never_worth_less_to_us_than_to_the_venue(seed: int) -> None:
    world = lived(seed, amends=True, crashes=0.01 * (seed % 2), trouble=(0.2, 0.5, 0.0)[seed % 3])
    assert wrong(world) == []
    if not seed % 2:
        assert world.venue.amended
    for record in world.venue.orders.values():
        ours = last_written(world, record.client_id)
        # Of one that was traded whole no record need have told at which price it stood.
        if ours.order_type is OrderType.LIMIT and record.state is not OrderState.FILLED:
            terms = world.instrument.ticks(record.price), world.instrument.lots(record.quantity)
            assert (ours.price, ours.quantity) == terms
            assert not ours.amending


@pytest.mark.parametrize(
    ("seed", "trouble", "hide_s", "crashes", "amends"),
    [
        # Paid between the venue's list of payments and its balances.
        (10191, 0.3, 1800, 0.02, True),
        # The venue did not tell for so long that the run began to count without.
        (10678, 0.6, 4 * 3600, 0.002, False),
        (11302, 0.6, 4 * 3600, 0.002, False),
    ],
)
def test_funding_that_is_told_only_after_the_wallet_was_counted_is_not_counted_twice(
    seed: int, trouble: float, hide_s: int, crashes: float, amends: bool
) -> None:
    world = lived(
        seed,
        instrument=BTCUSDT,
        trouble=trouble,
        hide_ns=hide_s * S,
        crashes=crashes,
        amends=amends,
    )
    assert wrong(world) == []
    assert world.proven or not world.lost


def last_written(world: World, client_id: str) -> KnownOrder:
    assert isinstance(world.store, MemoryStore)
    return msgspec.json.decode(world.store._over[client_id], type=KnownOrder)


@pytest.mark.skipif("MMKIT_SCHEDULES" not in os.environ, reason="says how many; takes long")
@pytest.mark.timeout(0)
def test_many_schedules() -> None:
    counts = dict.fromkeys(("orders", "fills", "deaths", "lost", "proven", "amends"), 0)
    for seed in range(10_000, 10_000 + int(os.environ["MMKIT_SCHEDULES"])):
        kind = seed % 4
        world = lived(
            seed,
            trouble=(0.1, 0.3, 0.6, 0.3)[kind],
            hide_ns=(60, 600, 4 * 3600, 1800)[kind] * S,
            crashes=(0.0, 0.01, 0.002, 0.02)[kind],
            instrument=BTCUSDT if (seed // 4) % 2 else SPOT,
            amends=(seed // 8) % 2 == 1,
        )
        assert wrong(world) == [], seed
        counts["amends"] += len(world.venue.amended)
        counts["orders"] += len(world.venue.placed)
        counts["fills"] += len(world.venue.fills)
        counts["deaths"] += world.life - 1
        counts["lost"] += world.lost
        counts["proven"] += len(world.proven)
    sys.stdout.write(f"{counts}\n")


def test_nothing_is_lost_where_nothing_goes_wrong() -> None:
    world = lived(1, trouble=0.0)
    assert wrong(world) == []
    assert not world.lost
    assert not world.handler.orders


def test_the_same_seed_gives_the_same_trace_on_disk_as_in_memory(
    tmp_path: Path,
) -> None:
    first, second, kept = (lived(7, folder, crashes=0.01) for folder in (None, None, tmp_path))
    assert first.trace == second.trace == kept.trace
    assert kept.life > 1
    assert wrong(kept) == []


@pytest.mark.parametrize("instrument", [SPOT, BTCUSDT])
def test_an_order_that_never_arrived_is_over_once_that_is_proven(instrument: Instrument) -> None:
    world = lived(3, trouble=0.6, instrument=instrument)
    assert wrong(world) == []
    assert world.proven


def test_a_run_of_many_orders_remembers_the_last_of_them() -> None:
    handler = OrderHandler(BTCUSDT, "mm1", 0)
    for number in range(1, MOST_OVER + 11):
        handler.command(
            SubmitOrder(ts_local=0, order_id=number, side=Side.BUY, price=1, quantity=1), 0
        )
        handler.place_refused(f"mm1-{number}", Refused(Refusal.WOULD_TAKE, "no", -5022), 0)
        handler.take()
    there = [handler.is_ours(f"mm1-{number}") for number in range(1, MOST_OVER + 11)]
    assert there == [False] * 10 + [True] * MOST_OVER


@pytest.mark.parametrize("broken", BROKEN)
def test_a_handler_that_is_broken_is_caught(broken: type[OrderHandler]) -> None:
    for seed in range(60):
        try:
            world = lived(seed, None, broken, crashes=0.005 * (seed % 2), trouble=0.5)
        except RunError:  # the engine hears of an order that it does not have
            return
        if wrong(world):
            return
    pytest.fail("60 schedules found nothing wrong")


@pytest.mark.parametrize("broken", BROKEN_AMENDS)
def test_a_handler_that_amends_wrongly_is_caught(broken: type[OrderHandler]) -> None:
    for seed in range(300):
        try:
            world = lived(seed, None, broken, trouble=0.5, amends=True, instrument=BTCUSDT)
        except RunError:
            return
        if wrong(world):
            return
    pytest.fail("300 schedules found nothing wrong")


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.EXPIRED, OrderState.FILLED])
def test_a_cancel_that_meets_the_end_of_its_order_on_the_way_is_answered_once(
    state: OrderState,
) -> None:
    handler, orders = OrderHandler(BTCUSDT, "mm1", 1), Orders()
    submit = SubmitOrder(ts_local=1, order_id=1, side=Side.BUY, price=650_000, quantity=5)
    orders.sent(submit)
    handler.command(submit, 1)
    record = OrderRecord(
        client_id="mm1-1",
        venue_id="7",
        side=Side.BUY,
        price=BTCUSDT.price(650_000),
        quantity=BTCUSDT.quantity(5),
        executed=Decimal(0),
        state=OrderState.OPEN,
        ts_ns=2,
    )
    handler.placed(record, 2)
    executed = record.quantity if state is OrderState.FILLED else Decimal(0)
    fill = FillRecord(
        trade_id="1",
        venue_id="7",
        client_id="mm1-1",
        side=Side.BUY,
        price=record.price,
        quantity=record.quantity,
        fee=Decimal(0),
        fee_asset="",
        liquidity=Liquidity.MAKER,
        ts_ns=3,
    )
    handler.update(
        OrderUpdate(
            record=replace(record, state=state, executed=executed),
            fill=fill if executed else None,
        ),
        3,
    )
    # The engine has heard of nothing yet.
    cancel = CancelOrder(ts_local=3, order_id=1)
    orders.sent(cancel)
    handler.command(cancel, 3)
    for event in handler.take().events:
        orders.apply(event)  # type: ignore[arg-type]
    assert not orders.active


def test_a_cancel_denied_too_early_to_prove_anything_is_sent_again_at_once() -> None:
    handler = OrderHandler(BTCUSDT, "mm1", 1)
    handler.command(
        SubmitOrder(ts_local=1, order_id=1, side=Side.BUY, price=650_000, quantity=5), 1
    )
    denied = Refused(Refusal.NO_SUCH_ORDER, "Unknown order sent.", -2011)
    asked = VALID_NS - S // 10
    handler.place_unanswered("mm1-1", "timeout", 2)
    handler.cancel_all(asked)
    handler.take()
    handler.cancel_refused("mm1-1", denied, VALID_NS + S // 10)
    handler.wake(VALID_NS + S // 10)
    assert Cancel("mm1-1") in handler.take().requests


def test_two_of_our_orders_that_trade_with_each_other_are_both_filled_by_the_one_trade() -> None:
    handler = OrderHandler(BTCUSDT, "mm1", 1)
    for number, side in ((1, Side.BUY), (2, Side.SELL)):
        handler.command(
            SubmitOrder(ts_local=1, order_id=number, side=side, price=650_000, quantity=5), 1
        )
    sides = [
        FillRecord(
            trade_id="77",
            venue_id=str(number),
            client_id=f"mm1-{number}",
            side=side,
            price=Decimal(65_000),
            quantity=Decimal("0.005"),
            fee=Decimal(0),
            fee_asset="",
            liquidity=Liquidity.MAKER,
            ts_ns=2,
        )
        for number, side in ((1, Side.BUY), (2, Side.SELL))
    ]
    for _ in range(2):
        handler.fills_told(sides, 3)
    fills = handler.take().fills
    assert [(one.trade_id, one.client_id) for one in fills] == [("77", "mm1-1"), ("77", "mm1-2")]
    assert totals(fills)[0] == 0
    assert not handler.orders
