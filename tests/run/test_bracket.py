"""`mmkit backtest --bracket`: one backtest under every model of fills, and what it says of them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from processes import SHARED, mmkit, write_config

from mmkit.config import draft_plain
from mmkit.errors import StrategyError
from mmkit.events import MAIN
from mmkit.interfaces import MarketView, Provider, Quotes, Strategy
from mmkit.run.bracket import Bracket, Group, Variant, bracket_text, run_bracket
from mmkit.run.many import Failed, run_many
from mmkit.tape import LAST, SELL, Kind, Row, Tape
from mmkit.testing import BTCUSDT, random_tape, snapshot_rows

CONFIG: dict[str, Any] = {
    "instrument": {
        "venue": "binance",
        "market": "usdm",
        "symbol": "BTC/USDT:USDT",
        "tick": "0.1",
        "lot": "0.001",
    },
    "data": {"plugin": "capture", "paths": ["never read.gz"]},
    "strategy": {"plugin": "join_best", "every": "1s", "size": "0.05", "max_position": "0.05"},
    "sim": {"fees": {"maker": "0", "taker": "0"}},
}
S = 10**9
BID, ASK = 600_000, 600_001


def rows(*messages: tuple[float, int, int, int]) -> list[Row]:
    """Messages of one row each, seen by all at once: second, kind, price, lots."""
    return [
        (int(second * S), int(second * S), kind | LAST, price, lots)
        for second, kind, price, lots in messages
    ]


# We join 90 lots at the bid; 110 join behind us, 100 leave, 60 are sold.
BOOK = snapshot_rows([(BID, 90), (BID - 1, 500)], [(ASK, 90), (ASK + 1, 500)])
QUEUE = [
    *BOOK,
    *rows(
        (3, Kind.LEVEL, BID, 200),
        (4, Kind.LEVEL, BID, 100),
        (5, Kind.TRADE | SELL, BID, 60),
        (6, Kind.LEVEL, BID, 40),
    ),
]
# Then whoever has sold at the ask has lost.
RISE = rows(
    (6.2, Kind.LEVEL | SELL, ASK + 40, 90),
    (6.3, Kind.LEVEL | SELL, ASK, 0),
    (6.4, Kind.LEVEL | SELL, ASK + 1, 0),
    (6.5, Kind.LEVEL, BID + 38, 90),
    (6.9, Kind.LEVEL, BID + 38, 91),
)


def found(
    rows: Sequence[Row],
    changes: dict[str, Any] | None = None,
    strategy: type[Strategy] | None = None,
) -> Bracket:
    provider: Any = Provider(strategy.__name__, strategy.Config, strategy) if strategy else None
    config = draft_plain(CONFIG).config(changes, provider)
    return run_bracket(config, {MAIN: Tape.from_rows(BTCUSDT, rows)})


def test_a_queue_worked_out_by_hand_fills_as_each_model_has_it() -> None:
    bracket = found(QUEUE)

    # Ahead of us are 90 of 200. Of those that leave, back^n / (back^n + ahead^n) were behind us.
    expected = {"optimistic": 50, "pessimistic": 0, "latency x 0.5": 10, "latency x 2": 10}
    for exponent in (1, 2, 3):
        behind = 110**exponent / (110**exponent + 90**exponent)
        expected[f"power, exponent {exponent}"] = round(60 - (90 - (1 - behind) * 100))
    assert expected["power, exponent 1"] == 15
    assert expected["power, exponent 3"] == 5
    volumes = {variant.name: int(variant.volume / BTCUSDT.lot) for variant in bracket.variants}
    assert volumes == expected


def test_the_rows_are_the_three_models_then_latencies_then_exponents_without_the_configured_one() -> (
    None
):
    def names(changes: dict[str, Any]) -> list[tuple[Group, str]]:
        return [(one.group, one.name) for one in found(QUEUE, changes).variants]

    fills = [("fills", "optimistic"), ("fills", "power, exponent 2"), ("fills", "pessimistic")]
    latency = [("latency", "latency x 0.5"), ("latency", "latency x 2")]
    assert names({}) == [
        *fills,
        *latency,
        ("exponent", "power, exponent 1"),
        ("exponent", "power, exponent 3"),
    ]
    assert names({"sim.queue.model": "risk_averse"}) == [
        fills[0],
        ("fills", "risk_averse"),
        fills[2],
        *latency,
        *(("exponent", f"power, exponent {exponent}") for exponent in (1, 2, 3)),
    ]


def test_a_profit_that_the_fill_model_makes_is_told_as_such() -> None:
    bracket = found([*QUEUE, *RISE])

    optimistic, _, pessimistic = bracket.variants[:3]
    # Bought 50 lots at the bid and sold them a tick higher; or only sold, before the price rose.
    assert optimistic.equity == Decimal("0.1") * 50 * Decimal("0.001")
    assert pessimistic.equity < 0
    assert (bracket.sign_depends, bracket.sign_sensitive) == (True, True)
    text = bracket_text(bracket)
    assert (
        f"The sign of the profit depends on the fill model: between {pessimistic.equity:f}" in text
    )
    assert "and 0.005 USDT. This backtest measures the model, not the strategy." in text


def test_the_latencies_of_the_bracket_are_half_and_twice_the_configured_ones() -> None:
    # The trade comes half a second after the strategy is asked for the first time.
    bought = [*BOOK, *rows((2, Kind.TRADE | SELL, BID, 500), (6, Kind.LEVEL, BID, 40))]

    def volumes(entry: str) -> list[int]:
        variants = found(bought, {"sim.latency.entry": entry}).variants
        three = [variants[1], *(one for one in variants if one.group == "latency")]
        return [int(one.volume / BTCUSDT.lot) for one in three]

    # Asked at 1 s; what arrives by 2 s is filled.
    assert volumes("400ms") == [50, 50, 50]
    assert volumes("800ms") == [50, 50, 0]
    assert volumes("1600ms") == [0, 50, 0]
    assert volumes("2100ms") == [0, 0, 0]


@pytest.mark.parametrize("seed", range(6))
def test_for_orders_that_stay_where_they_are_no_model_fills_less_than_pessimistic_or_more_than_optimistic(
    seed: int,
) -> None:
    class Stays(Strategy):
        """Quotes once around the first prices; tops nothing up."""

        first: tuple[int, int] | None = None

        def quote(self, view: MarketView) -> Quotes:
            if self.first is None and view.best_bid is not None and view.best_ask is not None:
                self.first = (view.best_bid, view.best_ask)
                bid, ask = self.first
                return Quotes(
                    bids=[(bid - step, 40) for step in range(5)],
                    asks=[(ask + step, 40) for step in range(5)],
                )
            return Quotes(
                bids=[(o.price, o.quantity) for o in view.orders if o.side == "buy"],
                asks=[(o.price, o.quantity) for o in view.orders if o.side == "sell"],
            )

    tape = random_tape(seed, 300)
    changes = {"strategy": {"every": "100ms"}, "sim.latency.entry": "0s"}
    bracket = found(list(tape.rows()), changes, Stays)

    volumes = {one.name: one.volume for one in bracket.variants if one.group != "latency"}
    assert volumes["optimistic"] > 0
    assert volumes["optimistic"] == max(volumes.values())
    assert volumes["pessimistic"] == min(volumes.values())


def test_a_strategy_that_fails_is_told_with_the_run_in_which_it_did() -> None:
    class Fails(Strategy):
        def quote(self, view: MarketView) -> Quotes:
            if view.position > 40:
                raise ValueError("too long")
            assert view.best_bid is not None
            return Quotes(bid=(view.best_bid, 50))

    with pytest.raises(StrategyError) as raised:
        found(QUEUE, {"strategy": {"every": "1s"}}, Fails)

    assert str(raised.value) == (
        "in the run 'optimistic' of the bracket: Fails.quote raised ValueError: too long"
    )


def test_of_many_runs_one_that_fails_with_a_fault_of_ours_is_raised_and_not_hidden() -> None:
    def broken() -> Any:
        raise KeyError("ours")

    tapes = {MAIN: Tape.from_rows(BTCUSDT, QUEUE)}
    with pytest.raises(KeyError, match="ours"):
        list(run_many(tapes, [broken]))

    def refused() -> Any:
        raise StrategyError("theirs")

    (failed,) = run_many(tapes, [refused])
    assert isinstance(failed, Failed)
    assert (failed.number, str(failed.error)) == (0, "theirs")


# --- what it says ---


def variant(group: Group, name: str, equity: str) -> Variant:
    zero = Decimal(0)
    return Variant(
        group=group,
        name=name,
        orders=1,
        fills=1,
        volume=zero,
        position=zero,
        fees=zero,
        equity=Decimal(equity),
        max_drawdown=zero,
    )


@pytest.mark.parametrize(
    ("fills", "latency", "depends", "sensitive", "words"),
    [
        (
            ["3", "2", "1"],
            ["2", "1"],
            False,
            False,
            "All three fill models agree on the sign of the profit: between 1 and 3 USDT, whatever the "
            "latency and the exponent above.",
        ),
        (
            ["3", "2", "1"],
            ["2", "-1"],
            False,
            True,
            "All three fill models agree on the sign of the profit: between 1 and 3 USDT; but it turns "
            "with latency x 2.",
        ),
        (
            ["-1", "-2", "-3"],
            ["0", "-1"],
            False,
            True,
            "All three fill models agree on the sign of the profit: between -3 and -1 USDT; but it turns "
            "with latency x 0.5.",
        ),
        (
            ["3", "0", "0"],
            ["0", "0"],
            True,
            True,
            "The sign of the profit depends on the fill model: between 0 and 3 USDT. This backtest "
            "measures the model, not the strategy.",
        ),
    ],
)
def test_the_words_say_which_runs_turn_the_sign(
    fills: list[str],
    latency: list[str],
    depends: bool,
    sensitive: bool,
    words: str,
) -> None:
    names = ("optimistic", "power, exponent 2", "pessimistic")
    variants = [variant("fills", *one) for one in zip(names, fills, strict=True)]
    variants += [
        variant("latency", f"latency x {factor}", equity)
        for factor, equity in zip(("0.5", "2"), latency, strict=True)
    ]
    bracket = Bracket(
        currency="USDT", variants=variants, sign_depends=depends, sign_sensitive=sensitive
    )

    assert bracket_text(bracket).splitlines()[-1] == words


# --- as a person runs it ---

CAPTURE = SHARED / "binance_usdm" / "btcusdt_20240718.gz"
WRITTEN = f"""
instrument: {{venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}}
data: {{plugin: capture, paths: ["{CAPTURE}"]}}
strategy: {{plugin: join_best, every: 1s, size: "0.01", max_position: "0.05"}}
sim: {{fees: {{maker: "-0.00005"}}}}
"""


def test_on_a_real_capture_it_prints_every_run_and_what_they_say_and_leaves_no_folder(
    tmp_path: Path,
) -> None:
    userdir = write_config(tmp_path / "user_data", WRITTEN)
    command = ("backtest", "-c", userdir / "config.yml", "--bracket")

    told = mmkit(*command, "--json", cwd=tmp_path).json
    ended = mmkit(*command, cwd=tmp_path)

    variants = {one["name"]: one for one in told["variants"]}
    assert [one["group"] for one in told["variants"]] == ["fills"] * 3 + ["latency"] * 2 + [
        "exponent"
    ] * 2
    for count in ("fills", "volume"):
        values = {
            name: Decimal(str(one[count]))
            for name, one in variants.items()
            if not name.startswith("latency")
        }
        assert values["optimistic"] == max(values.values()) > values["pessimistic"]
        assert values["pessimistic"] == min(values.values())
    single = mmkit("backtest", "-c", userdir / "config.yml", "--json", "--no-folder", cwd=tmp_path)
    configured = variants["power, exponent 2"]
    assert {name: single.json[name] for name in configured if name not in ("group", "name")} == {
        name: value for name, value in configured.items() if name not in ("group", "name")
    }
    equities = [Decimal(str(one["equity"])) for one in told["variants"]]
    signs = [(equity > 0) - (equity < 0) for equity in equities]
    assert told["sign_depends"] == (len(set(signs[:3])) > 1)
    assert told["sign_sensitive"] == (len(set(signs)) > 1)
    assert told["currency"] == "USDT"

    lines = ended.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[1:] if line][:-1] == list(variants)
    assert lines[-1].startswith(
        "The sign of the profit depends" if told["sign_depends"] else "All three fill models agree"
    )
    assert (ended.status, ended.stderr) == (0, "")
    assert not (userdir / "results").exists()


@pytest.mark.parametrize(
    "option", [("--no-folder",), ("--engine", "reference"), ("--journal", "all")]
)
def test_an_option_that_a_bracket_would_not_heed_is_refused(
    option: tuple[str, ...], tmp_path: Path
) -> None:
    ended = mmkit("backtest", "--bracket", *option, cwd=tmp_path)
    assert ended.status == 2
    assert f"'{option[0]}' has no meaning beside '--bracket'" in ended.stderr
