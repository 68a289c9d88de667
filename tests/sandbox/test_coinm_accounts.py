"""Accounts on COIN-M: contracts of 100 USD, settled in BTC; told as COIN-M tells it. In virtual time."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Any

import pytest
from account_fixtures import BUY, SELL, World, refused
from hypothesis import given
from hypothesis import strategies as st

from mmkit.events import Side
from mmkit_sandbox import filters
from mmkit_sandbox.accountorder import Lasting, OrderKind, Placing
from mmkit_sandbox.contract import Contract
from mmkit_sandbox.ledger import ZERO
from mmkit_sandbox.listing import Listing
from mmkit_sandbox.wallet import Position

UNIT = Decimal("1E-8")
USD_100 = Contract(Decimal(100))


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BUY, SELL]),
            st.decimals("100", "200000", places=1),
            st.integers(1, 50),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_profits_of_a_position_are_those_of_fractions_but_for_a_digit_a_fill(
    trades: list[tuple[Side, Decimal, int]],
) -> None:
    position, profits, told = Position(20, USD_100), ZERO, ZERO
    held, entered, exact = 0, Fraction(), Fraction()
    for side, price, count in trades:
        profits += position.trade(side, price, Decimal(count), 0)
        told += side.sign * USD_100.worth(price, Decimal(count))
        # An independent calculation: mean entry, and what a contract of 100 USD is in BTC, in fractions.
        signed, each = side.sign * count, Fraction(100) / Fraction(price)
        if held * signed < 0:
            closed = min(abs(signed), abs(held)) * (1 if held > 0 else -1)
            released = entered * Fraction(closed, held)
            exact += released - closed * each
            entered, held, signed = entered - released, held - closed, signed + closed
        entered, held = entered + signed * each, held + signed
    assert position.quantity == held
    assert abs(Fraction(profits) - exact) <= len(trades) * Fraction(UNIT)
    # To the last digit it is what the exchange has told of each trade.
    assert profits == position.realised == told - position.cost
    assert (position.cost == 0) or held


def test_a_long_position_earns_bitcoin_as_the_price_rises_and_its_entry_is_a_price() -> None:
    position = Position(20, USD_100)
    position.trade(BUY, Decimal(50_000), Decimal(10), 0)
    assert (position.cost, position.entry) == (Decimal("0.02"), 50_000)
    assert position.unrealised(Decimal(62_500)) == Decimal("0.004")
    assert position.trade(SELL, Decimal(40_000), Decimal(5), 0) == Decimal("-0.0025")
    assert (position.quantity, position.cost) == (5, Decimal("0.01"))
    assert Position(20, USD_100).entry == 0


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"quantity": "0"}, -4003, "Quantity less than zero."),
        ({"quantity": "1.5"}, -1111, "Precision is over the maximum defined for this asset."),
        ({"price": "50000.05"}, -1111, "Precision is over the maximum defined for this asset."),
        ({"quantity": "100000"}, -2019, "Margin is insufficient."),
        ({"reduce_only": True}, -2022, "ReduceOnly Order is rejected."),
        (
            {"position_side": "LONG"},
            -4061,
            "Order's position side does not match user's setting.",
        ),
    ],
)
def test_an_order_is_refused_as_binance_refuses_it(
    changes: dict[str, Any], code: int, words: str
) -> None:
    world = World()
    changes = dict(changes)
    price = Decimal(changes.pop("price", world.away(world.coinm, BUY)))
    before = world.desk.ledger(world.account.key)
    with refused(code, words):
        world.place(world.coinm, BUY, changes.pop("quantity", "1"), price, **changes)
    assert world.desk.ledger(world.account.key) == before
    assert world.events() == []


def test_a_contract_is_the_least_that_can_be_ordered_whatever_the_coin_costs() -> None:
    for symbol, price in (("BTC/USD:BTC", "60000"), ("XRP/USD:XRP", "0.5")):
        asked = Placing(BUY, OrderKind.LIMIT, Decimal(1), Decimal(price))
        filters.check(Listing.of(symbol), asked, Decimal(price), Decimal(price), 0)
        with refused(-4003, "Quantity less than zero."):
            less = asked._replace(quantity=ZERO)
            filters.check(Listing.of(symbol), less, Decimal(price), Decimal(price), 0)


def test_margin_is_bitcoin_and_nothing_of_usdm() -> None:
    world = World(coin_futures={"BTC": Decimal("0.01")}, leverage=10)
    coinm, accounts, account = world.coinm, world.accounts, world.account
    world.place(coinm, BUY, "40", None)
    mark = accounts.mark(coinm)
    assert mark is not None
    worth = (Decimal(4000) / mark).quantize(UNIT)
    assert accounts.margins(account, coinm) == (worth / 10, worth / 10)
    assert accounts.committed(account, "BTC", "coinm") == worth / 10
    assert accounts.committed(account, "BTC") == accounts.committed(account, "USDT") == 0
    with refused(-2019, "Margin is insufficient."):
        world.place(coinm, BUY, "40", None)
    world.place(coinm, SELL, "40", None)
    assert account.position(coinm).quantity == account.position(coinm).cost == 0
    assert account.margin == {"USDT": 100_000}


def test_everything_is_told_in_contracts_and_bitcoin() -> None:
    world = World()
    coinm = world.coinm
    order = {"symbol": "BTCUSD_PERP", "side": "BUY", "type": "MARKET", "quantity": "3"}
    status, placed = world.ask("POST", "/dapi/v1/order", newOrderRespType="RESULT", **order)
    assert status == 200, placed
    (trade,) = world.ask("GET", "/dapi/v1/userTrades", symbol="BTCUSD_PERP")[1]
    worth = (Decimal(300) / Decimal(trade["price"])).quantize(UNIT)
    assert (
        trade.items()
        >= {
            "pair": "BTCUSD",
            "marginAsset": "BTC",
            "baseQty": f"{worth:.8f}",
            "qty": "3",
            "commission": f"{(worth * Decimal('0.0005')).quantize(UNIT, ROUND_DOWN):f}",
            "commissionAsset": "BTC",
        }.items()
    )
    assert "quoteQty" not in trade
    assert (
        placed.items()
        >= {
            "pair": "BTCUSD",
            "status": "FILLED",
            "executedQty": "3",
            "cumQty": "3",
            "cumBase": trade["baseQty"],
        }.items()
    )
    known = world.ask("GET", "/dapi/v1/order", symbol="BTCUSD_PERP", orderId=placed["orderId"])[1]
    assert known["cumBase"] == trade["baseQty"]
    assert abs(Decimal(known["avgPrice"]) - Decimal(trade["price"])) < 1  # of eight places of BTC
    assert "goodTillDate" not in known

    new, account, filled = world.events("coinm")
    assert (new["e"], new["i"], new["o"]["ma"], new["o"]["ps"]) == (
        "ORDER_TRADE_UPDATE",
        "sandbox",
        "BTC",
        "BOTH",
    )
    assert "n" not in new["o"]
    assert (filled["o"]["l"], filled["o"]["N"], filled["o"]["n"]) == (
        "3",
        "BTC",
        trade["commission"],
    )
    wallet = f"{2 - Decimal(trade['commission']):.8f}"
    assert account["a"]["m"] == "ORDER"
    assert account["a"]["B"] == [{"a": "BTC", "wb": wallet, "cw": wallet, "bc": "0"}]
    (position,) = account["a"]["P"]
    assert (position["s"], position["pa"], position["ps"]) == ("BTCUSD_PERP", "3", "BOTH")

    for query in ({}, {"pair": "BTCUSD"}, {"marginAsset": "BTC"}):
        (risk,) = world.ask("GET", "/dapi/v1/positionRisk", **query)[1]
        assert (risk["positionAmt"], risk["leverage"], risk["maxQty"]) == ("3", "20", "1000")
        assert Decimal(risk["notionalValue"]) == (300 / Decimal(risk["markPrice"])).quantize(UNIT)
    assert world.ask("GET", "/dapi/v1/positionRisk", pair="ETHUSD") == (200, [])
    whole = world.ask("GET", "/dapi/v1/account")[1]
    (bitcoin,) = (one for one in whole["assets"] if one["asset"] == "BTC")
    assert bitcoin["walletBalance"] == wallet
    assert [one["symbol"] for one in whole["positions"]] == ["BTCUSD_PERP"]
    balances = {one["asset"]: one for one in world.ask("GET", "/dapi/v1/balance")[1]}
    assert balances["BTC"]["balance"] == wallet
    assert balances["BTC"]["availableBalance"] == bitcoin["availableBalance"]
    # What happens here happens to nothing else.
    assert world.ask("GET", "/fapi/v1/userTrades", symbol="BTCUSDT") == (200, [])
    assert world.account.margin == {"USDT": 100_000}
    ledger = world.desk.ledger(world.account.key)
    assert ledger is not None
    assert ledger["coinm"]["wallet"]["BTC"] == wallet
    assert ledger["coinm"]["positions"]["BTCUSD_PERP"]["quantity"] == "3"
    assert ledger["usdm"]["positions"] == {}
    assert coinm.halted is False


def test_orders_are_listed_amended_counted_down_and_canceled_as_on_usdm() -> None:
    world = World()
    low = world.away(world.coinm, BUY)
    symbol = {"symbol": "BTCUSD_PERP"}
    order = symbol | {"side": "BUY", "type": "LIMIT", "timeInForce": "GTX", "quantity": "5"}
    placed = world.ask("POST", "/dapi/v1/order", price=low, newClientOrderId="a", **order)[1]
    assert (placed["status"], placed["cumBase"]) == ("NEW", "0.00000000")
    again = world.ask("POST", "/dapi/v1/order", price=low, newClientOrderId="a", **order)
    assert again == (400, {"code": -4116, "msg": "ClientOrderId is duplicated."})
    moved = {"origClientOrderId": "a", "side": "BUY", "price": low, "quantity": "6"}
    assert world.ask("PUT", "/dapi/v1/order", **symbol, **moved)[1]["origQty"] == "6"
    assert world.ask("GET", "/dapi/v1/openOrders", **symbol)[1][0]["origQty"] == "6"
    assert world.ask("DELETE", "/dapi/v1/order", origClientOrderId="a", **symbol)[1]["status"] == (
        "CANCELED"
    )
    for name in "bc":
        world.ask("POST", "/dapi/v1/order", price=low, newClientOrderId=name, **order)
    assert world.ask("DELETE", "/dapi/v1/allOpenOrders", **symbol)[1]["code"] == 200
    world.ask("POST", "/dapi/v1/order", price=low, **order)
    world.ask("POST", "/dapi/v1/countdownCancelAll", countdownTime=500, **symbol)
    assert len(world.account.open_orders(world.coinm)) == 1
    world.wait(0.6)
    assert world.account.open_orders(world.coinm) == []
    told = world.ask("POST", "/dapi/v1/leverage", leverage=7, **symbol)[1]
    assert told == {"symbol": "BTCUSD_PERP", "leverage": 7, "maxQty": "1000"}
    fees = world.ask("GET", "/dapi/v1/commissionRate", **symbol)[1]
    assert (fees["makerCommissionRate"], fees["takerCommissionRate"]) == ("0.0001", "0.0005")
    assert world.ask("POST", "/dapi/v1/marginType", **symbol, marginType="ISOLATED")[0] == 200
    (risk,) = world.ask("GET", "/dapi/v1/positionRisk", pair="BTCUSD")[1]
    assert risk["marginType"] == "isolated"
    assert world.ask("GET", "/dapi/v1/account")[1]["positions"][0]["isolated"] is True
    (brackets,) = world.ask("GET", "/dapi/v2/leverageBracket")[1]
    assert (brackets["symbol"], brackets["brackets"][0]["initialLeverage"]) == ("BTCUSD_PERP", 125)
    unknown = world.ask("GET", "/dapi/v1/openOrders", symbol="BTCUSDT")
    assert unknown == (400, {"code": -1121, "msg": "Invalid symbol."})


def test_the_position_mode_is_one_for_both_kinds_of_contract() -> None:
    world = World()
    world.place(world.coinm, BUY, "1", world.away(world.coinm, BUY), Lasting.GTX)
    path = "positionSide/dual"
    assert world.ask("POST", f"/fapi/v1/{path}", dualSidePosition="true")[1]["code"] == -4067
    world.accounts.cancel_all(world.account, world.coinm)
    assert world.ask("POST", f"/dapi/v1/{path}", dualSidePosition="true")[0] == 200
    assert world.ask("GET", f"/fapi/v1/{path}")[1] == {"dualSidePosition": True}


def test_weight_and_orders_count_for_both_kinds_of_contract_together() -> None:
    world = World()
    limits, now = world.desk.limits, world.now
    used = limits.count("usdm", 5, now)
    assert limits.count("coinm", 7, now) == used + 7
    assert limits.count("spot", 1, now) == 1
    limits.order("coinm", "k", now)
    assert limits.headers("usdm", "k", now)["X-MBX-ORDER-COUNT-10S"] == "1"


def test_a_listen_key_of_one_kind_of_contract_opens_no_stream_of_the_other() -> None:
    keys = World().desk.listen_keys
    linear, inverse = keys.make("k", 1), keys.make("k", 1, "coinm")
    assert linear != inverse
    assert (keys.owner(inverse, 2, "coinm"), keys.owner(inverse, 2)) == ("k", None)
    assert keys.extend("k", 2, "coinm") == inverse
    keys.drop("k", "coinm")
    assert (keys.owner(inverse, 3, "coinm"), keys.owner(linear, 3)) == (None, "k")
