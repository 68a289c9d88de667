"""Accounts at the simulated exchange: orders in its books, money to the last digit; in virtual time."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from account_fixtures import BUY, SELL, World, refused
from hypothesis import given
from hypothesis import strategies as st

from mmkit.events import Liquidity, Side
from mmkit_sandbox.accountorder import Lasting, OrderKind, Status
from mmkit_sandbox.ledger import ZERO, EntryKind, sums
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.refused import Refused
from mmkit_sandbox.wallet import Position

ZEROS = Decimal("1E-8")
EXPECTED = {-2010, -2011, -2013, -2019, -2022, -2038, -4003, -4164, -5021, -5022, -5027}
"""What one who does things at random is refused for."""


def wander(world: World, seed: int, steps: int, pieces: int = 1) -> None:
    """Place, cancel and amend at random, with time passing in as many pieces as are asked for."""
    random, accounts, account = Random(seed), world.accounts, world.account
    for _ in range(steps):
        span = random.choice([50, 200, 1000])
        for _ in range(pieces):
            world.wait(span / 1000 / pieces)
        listing = random.choice([world.spot, world.usdm, world.coinm])
        waiting = account.open_orders(listing)
        try:
            act(world, random, listing, random.choice(waiting) if waiting else None)
        except Refused as no:
            if no.code not in EXPECTED:
                raise
        world.accounts.advance(accounts.now_ns)


_LOTS = {"spot": (20, 3000), "usdm": (2, 40), "coinm": (1, 40)}


def act(world: World, random: Random, listing: Listing, waiting: Any) -> None:
    accounts, account = world.accounts, world.account
    side = random.choice([BUY, SELL])
    quantity = str(listing.lot * random.randrange(*_LOTS[listing.market]))
    price = world.away(listing, side, random.randrange(-30, 60))
    choice = random.random()
    if waiting is not None and choice < 0.3:
        accounts.cancel(account, waiting)
    elif waiting is not None and choice < 0.4 and listing is not world.spot:
        accounts.amend(account, waiting, price, Decimal(quantity))
    elif waiting is not None and choice < 0.4 and waiting.remaining > listing.lot:
        accounts.reduce(account, waiting, waiting.quantity - listing.lot)
    elif choice < 0.5:
        world.place(listing, side, quantity, None)
    elif choice < 0.6 and listing is not world.spot:
        held = account.position(listing).quantity
        world.place(listing, SELL if held > 0 else BUY, str(abs(held)), price, reduce_only=True)
    else:
        lasting = random.choice([Lasting.GTC, Lasting.GTC, Lasting.IOC, Lasting.FOK])
        world.place(listing, side, quantity, price, lasting)


@pytest.mark.parametrize("seed", range(6))
def test_what_an_account_has_is_what_its_trades_come_to_to_the_last_digit(seed: int) -> None:
    world = World(seed)
    wander(world, seed, 150)
    account = world.account

    # An independent calculation: from the trades alone.
    expected = {("spot", asset): amount for asset, amount in account.config.balances.items()}
    expected |= {("usdm", a): amount for a, amount in (account.config.futures or {}).items()}
    expected |= {("coinm", a): amount for a, amount in (account.config.coin_futures or {}).items()}
    held = {"usdm": ZERO, "coinm": ZERO}
    paid = dict(held)
    liquidities = set()
    for order, trade in account.trades:
        sign = order.asked.side.sign
        liquidities.add((order.listing.market, trade.liquidity))
        maker, taker = account.fees(order.listing.market)
        rate = maker if trade.liquidity is Liquidity.MAKER else taker
        if order.listing is world.spot:
            expected["spot", "BTC"] += sign * trade.quantity
            expected["spot", "USDT"] -= sign * trade.quantity * trade.price
            expected["spot", trade.fee_asset] -= trade.fee
            received = trade.quantity if order.asked.side is BUY else trade.value
            assert trade.fee_asset == ("BTC" if order.asked.side is BUY else "USDT")
            assert 0 <= received * rate - trade.fee < ZEROS
        else:
            market = order.listing.market
            value = trade.quantity * trade.price
            if market == "coinm":
                # A contract is 100 USD; Binance tells it in eight places of BTC.
                value = (100 * trade.quantity / trade.price).quantize(ZEROS)
            assert trade.value == value
            assert trade.fee_asset == order.listing.settle
            held[market] += sign * trade.quantity
            paid[market] += sign * value
            expected[market, trade.fee_asset] -= trade.fee
            assert 0 <= trade.value * rate - trade.fee < ZEROS
    for market, asset in (("usdm", "USDT"), ("coinm", "BTC")):
        position = account.position(world.listing(market))
        # What was paid is what the position still stands for and what has been realised. A contract of COIN-M that is
        # bought is owed in BTC, so there it is the other way round.
        gained = (position.cost - paid[market]) * (1 if market == "usdm" else -1)
        expected[market, asset] += gained
        assert position.quantity == held[market]
        profits = (
            one.amount
            for one in account.entries
            if one.kind is EntryKind.PROFIT and one.market == market
        )
        assert position.realised == sum(profits, ZERO) == gained

    assert len(liquidities) == 6  # makers and takers on every market, or this says little
    balances = account.spot.balances
    found = {("spot", asset): one.free + one.locked for asset, one in balances.items()}
    found |= {
        (market, asset): amount
        for market, wallet in account.wallets.items()
        for asset, amount in wallet.items()
    }
    assert found == expected == sums(account.entries)
    waiting = account.open_orders(world.spot)
    locked = {"USDT": ZERO, "BTC": ZERO}
    for order in waiting:
        if order.asked.side is BUY:
            locked["USDT"] += order.price * order.remaining
        else:
            locked["BTC"] += order.remaining
    assert {asset: balances[asset].locked for asset in locked} == locked
    assert all(one.free >= 0 and one.locked >= 0 for one in balances.values())


@pytest.mark.parametrize("seed", range(3))
def test_the_accounts_open_orders_are_those_in_the_books_after_everything(seed: int) -> None:
    world = World(seed)
    wander(world, seed, 100)
    for listing in (world.spot, world.usdm, world.coinm):
        book = world.accounts.exchange.market(listing).book
        standing = {
            one.order_id: (one.price * listing.tick, one.remaining * listing.lot)
            for one in book.open_orders(world.account.key)
        }
        known = {
            one.order_id: (one.price, one.remaining) for one in world.account.open_orders(listing)
        }
        assert standing == known
    world.accounts.cancel_all(world.account, world.spot)
    world.accounts.cancel_all(world.account, world.usdm)
    world.accounts.cancel_all(world.account, world.coinm)
    assert all(one.locked == 0 for one in world.account.spot.balances.values())


def test_the_same_seed_and_orders_give_the_same_events_however_time_is_divided() -> None:
    one, other = World(7), World(7)
    wander(one, 3, 60)
    wander(other, 3, 60, pieces=5)
    assert one.events() == other.events() != []
    assert one.desk.ledger(one.account.key) == other.desk.ledger(other.account.key)


def test_events_and_queries_tell_the_same_story() -> None:
    """What a client makes of the user stream alone is what REST says in the end."""
    world = World(5)
    wander(world, 8, 150)
    orders: dict[tuple[str, int], tuple[str, str]] = {}
    balances: dict[str, tuple[str, str]] = {}
    trades: list[tuple[str, int, str]] = []
    contracts: dict[str, tuple[str, str]] = {}
    for event in world.events():
        match event["e"]:
            case "executionReport":
                orders["spot", event["i"]] = (event["X"], event["z"])
                if event["x"] == "TRADE":
                    trades.append(("spot", event["t"], event["n"]))
            case "ORDER_TRADE_UPDATE":
                told = event["o"]
                market = "coinm" if told["s"] == "BTCUSD_PERP" else "usdm"
                assert told.get("ma") == ("BTC" if market == "coinm" else None)
                orders[market, told["i"]] = (told["X"], told["z"])
                if told["x"] == "TRADE":
                    trades.append((market, told["t"], told["n"]))
            case "outboundAccountPosition":
                balances |= {row["a"]: (row["f"], row["l"]) for row in event["B"]}
            case "ACCOUNT_UPDATE":
                (position,), (balance,) = event["a"]["P"], event["a"]["B"]
                contracts[position["s"]] = (position["pa"], balance["wb"])
    ledger = world.desk.ledger(world.account.key)
    assert ledger is not None
    assert orders == {
        (one["market"], one["orderId"]): (one["status"], one["executedQty"])
        for one in ledger["orders"]
    }
    assert trades == [(one["market"], one["id"], one["commission"]) for one in ledger["trades"]]
    told_balances = world.ask("GET", "/api/v3/account")[1]["balances"]
    known = {row["asset"]: (row["free"], row["locked"]) for row in told_balances}
    assert balances == {asset: known[asset] for asset in ("BTC", "USDT")}
    assert contracts == {
        symbol: (ledger[market]["positions"][symbol]["quantity"], ledger[market]["wallet"][asset])
        for market, symbol, asset in (
            ("usdm", "BTCUSDT", "USDT"),
            ("coinm", "BTCUSD_PERP", "BTC"),
        )
    }


def test_an_order_waits_in_the_queue_behind_what_was_there() -> None:
    world = World()
    bid = world.best(world.spot, BUY)
    order = world.place(world.spot, BUY, "0.01", bid, kind=OrderKind.LIMIT_MAKER)
    book = world.accounts.exchange.market(world.spot).book
    queue = book.orders_at(BUY, int(bid / world.spot.tick))
    assert queue[-1].order_id == order.order_id
    assert len(queue) > 1
    # It is in the public book, too.
    depth = world.accounts.exchange.depth(world.spot, 1).bids[0]
    assert Decimal(depth[1]) == sum(one.remaining for one in queue) * world.spot.lot


@pytest.mark.parametrize(
    ("market", "changes", "code", "words"),
    [
        ("spot", {"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        (
            "spot",
            {"quantity": "0.0000000001"},
            -1111,
            "Parameter 'quantity' has too much precision.",
        ),
        ("spot", {"quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        ("spot", {"quantity": "1000"}, -1013, "Filter failure: NOTIONAL"),
        ("spot", {"price": "50000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ("spot", {"price": "500"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        (
            "spot",
            {"quantity": "10"},
            -2010,
            "Account has insufficient balance for requested action.",
        ),
        ("usdm", {"quantity": "0"}, -4003, "Quantity less than zero."),
        (
            "usdm",
            {"quantity": "0.0001"},
            -1111,
            "Precision is over the maximum defined for this asset.",
        ),
        ("usdm", {"price": "50000.15", "tick": "0.10"}, -4014, "Price not increased by tick size."),
        (
            "usdm",
            {"quantity": "0.001"},
            -4164,
            "Order's notional must be no smaller than 100 (unless you choose reduce only).",
        ),
        ("usdm", {"quantity": "100"}, -2019, "Margin is insufficient."),
        ("usdm", {"reduce_only": True}, -2022, "ReduceOnly Order is rejected."),
        (
            "usdm",
            {"position_side": "LONG"},
            -4061,
            "Order's position side does not match user's setting.",
        ),
    ],
)
def test_an_order_is_refused_as_binance_refuses_it(
    market: str, changes: dict[str, Any], code: int, words: str
) -> None:
    world = World()
    listing = world.listing(market)
    changes = dict(changes)
    changes.pop("tick", None)
    price = Decimal(changes.pop("price", world.away(listing, BUY)))
    before = world.desk.ledger(world.account.key)
    with refused(code, words):
        world.place(listing, BUY, changes.pop("quantity", "0.01"), price, **changes)
    assert world.desk.ledger(world.account.key) == before
    assert world.events() == []


def test_prices_far_off_are_refused_on_usdm_with_the_bound() -> None:
    world = World()
    mark = world.accounts.mark(world.usdm)
    assert mark is not None
    bound = f"{mark * Decimal('1.05'):.2f}"
    with refused(-4016, f"Limit price can't be higher than {bound}."):
        world.place(world.usdm, BUY, "0.01", Decimal(70_000))


def test_no_more_orders_than_allowed() -> None:
    world = World()
    price = world.away(world.spot, BUY)
    for _ in range(200):
        world.place(world.spot, BUY, "0.001", price)
    with refused(-1013, "Filter failure: MAX_NUM_ORDERS"):
        world.place(world.spot, BUY, "0.001", price)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_post_only_order_that_would_take_is_refused_and_leaves_no_trace(market: str) -> None:
    world = World()
    listing = world.listing(market)
    ask = world.best(listing, SELL)
    how: dict[str, Any] = (
        {"kind": OrderKind.LIMIT_MAKER} if market == "spot" else {"lasting": Lasting.GTX}
    )
    with pytest.raises(Refused) as no:
        world.place(listing, BUY, "0.01", ask, **how)
    assert no.value.code == (-2010 if market == "spot" else -5022)
    assert world.account.orders(listing) == []
    assert all(one.locked == 0 for one in world.account.spot.balances.values())
    world.place(listing, BUY, "0.01", ask - listing.tick, **how)


@pytest.mark.parametrize(("market", "code"), [("spot", -2010), ("usdm", -4116)])
def test_a_name_is_used_once_among_open_orders(market: str, code: int) -> None:
    world = World()
    listing = world.listing(market)
    price = world.away(listing, BUY)
    first = world.place(listing, BUY, "0.01", price, client_id="mm1-1")
    with pytest.raises(Refused) as no:
        world.place(listing, BUY, "0.01", price, client_id="mm1-1")
    assert no.value.code == code
    world.accounts.cancel(world.account, first)
    world.place(listing, BUY, "0.01", price, client_id="mm1-1")


def test_what_an_ioc_cannot_trade_expires_and_a_fok_trades_all_or_nothing() -> None:
    world = World()
    ask = world.best(world.usdm, SELL)
    order = world.place(world.usdm, BUY, "20", ask, Lasting.IOC)
    assert order.status is Status.EXPIRED
    assert 0 < order.executed < 20
    with pytest.raises(Refused) as no:
        world.place(world.usdm, SELL, "20", world.best(world.usdm, BUY), Lasting.FOK)
    assert no.value.code == -5021
    nothing = world.place(world.spot, SELL, "1.5", world.best(world.spot, BUY) + 5, Lasting.FOK)
    assert (nothing.status, nothing.executed) == (Status.EXPIRED, 0)


def test_a_reduce_only_order_never_turns_a_position_round() -> None:
    """Whatever else trades: one that is for more than there is left to reduce is taken off."""
    world = World()
    usdm = world.usdm
    world.place(usdm, BUY, "0.1", None)
    ask = world.best(usdm, SELL)
    reducing = world.place(usdm, SELL, "0.1", ask, Lasting.GTX, reduce_only=True)
    with refused(-2022, "ReduceOnly Order is rejected."):
        world.place(usdm, SELL, "0.1", ask, reduce_only=True)
    world.place(usdm, SELL, "0.02", None)
    assert reducing.status is Status.EXPIRED
    last = world.events("usdm")[-1]
    assert (last["o"]["i"], last["o"]["X"]) == (reducing.order_id, "EXPIRED")


def test_margin_is_what_position_and_orders_need_and_closing_is_always_possible() -> None:
    world = World(futures={"USDT": Decimal(200)})
    usdm, accounts, account = world.usdm, world.accounts, world.account
    world.place(usdm, BUY, "0.05", None)
    mark = accounts.mark(usdm)
    assert mark is not None
    held, both = accounts.margins(account, usdm)
    assert held == both == Decimal("0.05") * mark / 20
    with refused(-2019, "Margin is insufficient."):
        world.place(usdm, BUY, "0.05", None)
    world.place(usdm, SELL, "0.05", None)
    assert account.position(usdm).quantity == account.position(usdm).cost == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BUY, SELL]),
            st.decimals("0.0001", "99999", places=4),
            st.integers(1, 50),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_the_profits_of_a_position_add_up_to_what_was_paid_for_it_on_the_finest_grid(
    trades: list[tuple[Side, Decimal, int]],
) -> None:
    position, lot = Position(20), Decimal("0.0000001")
    paid = profits = ZERO
    for side, price, lots in trades:
        profits += position.trade(side, price, lots * lot, 0)
        paid += side.sign * price * lots * lot
    held = position.quantity
    if held:
        side = SELL if held > 0 else BUY
        profits += position.trade(side, Decimal("12.3456"), abs(held), 0)
        paid -= held * Decimal("12.3456")
    assert (position.quantity, position.cost) == (0, 0)
    assert profits == position.realised == -paid


def test_amending_on_usdm_keeps_the_number_and_loses_the_place() -> None:
    world = World()
    bid = world.best(world.usdm, BUY)
    order = world.place(world.usdm, BUY, "0.01", bid, Lasting.GTX, client_id="a")
    behind = world.place(world.usdm, BUY, "0.01", bid, Lasting.GTX, client_id="b")
    with refused(-5027, "No need to modify the order."):
        world.accounts.amend(world.account, order, bid, order.quantity)
    world.accounts.amend(world.account, order, bid, Decimal("0.02"))
    queue = world.accounts.exchange.market(world.usdm).book.orders_at(
        BUY, int(bid / world.usdm.tick)
    )
    assert [one.order_id for one in queue[-2:]] == [behind.order_id, order.order_id]
    # A post-only order that is amended so that it would take is gone.
    gone = world.accounts.amend(
        world.account, behind, world.best(world.usdm, SELL), behind.quantity
    )
    assert (gone.status, gone.executed) == (Status.CANCELED, 0)
    moved = world.place(world.usdm, BUY, "0.01", bid)
    taken = world.accounts.amend(world.account, moved, world.best(world.usdm, SELL), moved.quantity)
    assert taken.status is Status.FILLED
    assert taken.trades[0].liquidity is Liquidity.TAKER


def test_amending_on_spot_keeps_the_place_and_only_goes_down() -> None:
    world = World()
    bid = world.best(world.spot, BUY)
    order = world.place(world.spot, BUY, "0.02", bid)
    behind = world.place(world.spot, BUY, "0.02", bid)
    world.accounts.reduce(world.account, order, Decimal("0.01"))
    queue = world.accounts.exchange.market(world.spot).book.orders_at(
        BUY, int(bid / world.spot.tick)
    )
    assert [one.order_id for one in queue[-2:]] == [order.order_id, behind.order_id]
    assert world.account.spot.of("USDT").locked == bid * Decimal("0.03")
    with refused(-2038, "Order amend (quantity increase) is not supported."):
        world.accounts.reduce(world.account, order, Decimal("0.02"))


def test_the_countdown_cancels_when_it_is_due_unless_it_is_renewed() -> None:
    world = World()
    order = world.place(world.usdm, BUY, "0.01", world.away(world.usdm, BUY))
    world.accounts.countdown(world.account, world.usdm, 2000)
    world.wait(1.5)
    world.accounts.countdown(world.account, world.usdm, 2000)
    world.wait(1.999)
    assert order.open
    world.wait(0.001)
    assert (order.status, order.updated_ns) == (Status.CANCELED, world.now)
    late = world.place(world.usdm, BUY, "0.01", world.away(world.usdm, BUY))
    world.accounts.countdown(world.account, world.usdm, 2000)
    due = world.now + 2_000_000_000
    world.wait(10)
    assert (late.status, late.updated_ns) == (Status.CANCELED, due)
    order = world.place(world.usdm, BUY, "0.01", world.away(world.usdm, BUY))
    world.accounts.countdown(world.account, world.usdm, 1000)
    world.accounts.countdown(world.account, world.usdm, 0)
    world.wait(5)
    assert order.open


def test_a_restart_keeps_orders_that_still_stand_and_numbers_go_on() -> None:
    world = World()
    far = [world.place(one, BUY, "0.01", world.away(one, BUY)) for one in (world.spot, world.usdm)]
    near = world.place(world.spot, SELL, "0.01", world.best(world.spot, SELL))
    traded = world.place(world.spot, BUY, "0.01", None)
    world.accounts.restart()
    assert all(one.open for one in far)
    for side in (BUY, SELL):
        later = world.place(world.spot, side, "0.01", None)
        assert later.order_id > max(near.order_id, traded.order_id)
        assert later.trades[0].trade_id > traded.trades[-1].trade_id
    assert world.accounts.cancel(world.account, far[0]).status is Status.CANCELED
    ids = [(one.order.listing.market, one.trade.trade_id) for one in world.account.trades]
    assert len(set(ids)) == len(ids)


def test_a_hidden_order_trades_but_nobody_finds_it_for_a_while() -> None:
    world = World()
    world.accounts.hide_next_ns = 5_000_000_000
    order = world.place(world.spot, BUY, "0.01", world.away(world.spot, BUY), client_id="mm1-9")
    named = {"symbol": "BTCUSDT", "origClientOrderId": "mm1-9"}
    assert world.ask("GET", "/api/v3/order", **named)[1]["code"] == -2013
    assert world.ask("DELETE", "/api/v3/order", **named)[1]["code"] == -2011
    assert world.ask("GET", "/api/v3/openOrders", symbol="BTCUSDT")[1] == []
    assert order.open
    world.wait(5)
    assert world.ask("GET", "/api/v3/order", **named)[1]["orderId"] == order.order_id


def test_a_cancel_on_usdm_finds_a_hidden_order_as_it_acts_on_the_book() -> None:
    world = World()
    world.accounts.hide_next_ns = 5_000_000_000
    order = world.place(world.usdm, BUY, "0.01", world.away(world.usdm, BUY), client_id="mm1-9")
    named = {"symbol": "BTCUSDT", "origClientOrderId": "mm1-9"}
    assert world.ask("GET", "/fapi/v1/order", **named)[1]["code"] == -2013
    assert world.ask("DELETE", "/fapi/v1/order", **named)[1]["status"] == "CANCELED"
    assert not order.open


def test_a_key_that_may_not_trade_reads_and_places_nothing() -> None:
    world = World(can_trade=False)
    words = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
    denied = {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
    assert world.ask("POST", "/api/v3/order", **words) == (401, denied)
    assert world.ask("POST", "/fapi/v1/order", **words) == (401, denied)
    assert world.ask("GET", "/api/v3/account")[1]["canTrade"] is False
