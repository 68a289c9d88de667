"""What no list of features can be, and no market data: told with its place in the configuration."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from mmkit.config.mistakes import check
from mmkit.config.yaml_source import read_yaml
from mmkit.errors import ConfigError, DataError, Mistake
from mmkit.features import DEFINITIONS, FeatureList, Features, Streaming, level_names
from mmkit.features.memory import WIDEST
from mmkit.instruments import ContractKind, Instrument
from mmkit.tape import LAST, Kind, Row, Tape
from mmkit.testing import BTCUSDT, random_tape, snapshot_rows

MISTAKES: list[tuple[Any, str, str]] = [
    ("imbalence", "", "did you mean 'imbalance'"),
    ({"name": "vipn", "bucket": "5"}, ".name", "did you mean 'vpin'"),
    ("nothing like it", "", "one of spread, mid, microprice, .* was expected; found"),
    ({"name": "imbalance", "level": 5}, ".level", "'imbalance' has no 'level': it takes levels"),
    ({"name": "imbalance", "leveled": 5}, ".leveled", "unknown key; did you mean 'level"),
    ({"name": "ask_price", "levels": 5}, ".levels", "no 'levels': it takes level; found 5"),
    ({"name": "bid_size", "level": 0}, ".level", "a level of 1 to 100 was expected; found 0"),
    ({"name": "levels", "levels": 101}, ".levels", "1 to 100 levels were expected; found 101"),
    ({"name": "levels", "level": 2}, ".level", "'levels' has no 'level': it takes levels"),
    ("level", "", "did you mean 'levels'"),
    ({"name": "imbalance", "levels": 0}, ".levels", "1 to 100 levels were expected; found 0"),
    ({"name": "imbalance", "levels": -1}, ".levels", "found -1"),
    ({"name": "imbalance", "levels": 101}, ".levels", "found 101"),
    ({"name": "imbalance", "levels": 1.5}, ".levels", "found 1.5"),
    ({"name": "imbalance", "levels": True}, ".levels", "expected|valid"),
    ({"name": "imbalance", "levels": "5"}, ".levels", "found '5'"),
    ({"name": "bid_volume"}, "", "'bid_volume' needs 'levels', such as 5; found nothing"),
    ({"name": "ofi"}, "", "'ofi' needs a window, such as 5s; found nothing"),
    ({"name": "ofi", "window": "10us"}, ".window", "1ms to 1d was expected; found"),
    ({"name": "ofi", "window": "2d"}, ".window", "1ms to 1d was expected; found"),
    ({"name": "ofi", "window": 5}, ".window", "with its unit, such as 100ms"),
    ({"name": "ofi", "window": "-5s"}, ".window", "with its unit, such as 100ms"),
    ({"name": "spread", "window": "1s"}, ".window", "'spread' has no 'window': it takes nothing"),
    ({"name": "return", "levels": 2, "window": "1s"}, ".levels", "no 'levels': it takes window"),
    ({"name": "vpin"}, "", "'vpin' needs a bucket, such as 5"),
    ({"name": "vpin", "bucket": "0"}, ".bucket", "above zero was expected; found"),
    ({"name": "vpin", "bucket": "NaN"}, ".bucket", "found"),
    ({"name": "vpin", "bucket": "5", "buckets": 0}, ".buckets", "1 to 10000 buckets were expected"),
    ({"levels": 3}, ".name", "missing"),
    (7, "", "a feature's name, or keys and values, was expected; found 7"),
    (None, "", "a feature's name, or keys and values, was expected; found"),
]


class Section(BaseModel):
    features: FeatureList


@pytest.mark.parametrize(("written", "place", "message"), MISTAKES)
def test_a_feature_that_cannot_be_is_told_with_its_place(
    written: Any, place: str, message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        Features(["spread", written], BTCUSDT, path="signals[0].features")
    (mistake,) = error.value.mistakes
    shorthand = ".name" if isinstance(written, str) else ""
    needed = re.search("needs '?(?:a )?(\\w+)", mistake.message)
    missing = f".{needed[1]}" if needed else ""
    assert mistake.path == f"signals[0].features[1]{place or shorthand or missing}"
    assert re.search(message, str(mistake))


@pytest.mark.parametrize(("written", "place", "message"), MISTAKES)
def test_it_is_told_with_its_line_where_it_stands_in_a_file(
    written: Any, place: str, message: str
) -> None:
    import yaml

    mistakes: list[Mistake] = []
    text = yaml.safe_dump({"features": ["spread", written]})
    assert check(Section, read_yaml(text, "config.yml", {}, mistakes), (), mistakes) is None
    (mistake,) = mistakes
    assert mistake.where.startswith("config.yml:")
    assert mistake.path in (f"features[1]{place}", "features[1]")
    assert re.search(message.partition(" (")[0].partition("; found")[0], str(mistake))


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        Features(["spred", {"name": "ofi", "levels": 0, "window": "0s"}], BTCUSDT)
    assert [mistake.path for mistake in error.value.mistakes] == [
        "features[0].name",
        "features[1].levels",
        "features[1].window",
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "a list of at least one feature, such as .* was expected; found an empty list"),
        ("spread", "a list of at least one feature"),
        (["spread", "mid", "spread"], "numbers 1 and 3 are both 'spread': take one out"),
        (
            [{"name": "ofi", "window": "60s"}, {"name": "ofi", "levels": 1, "window": "1m"}],
            "numbers 1 and 2 are both 'ofi_1_1m'",
        ),
        (["levels", {"name": "bid_price", "level": 2}], "are both 'bid_price_2'"),
    ],
)
def test_a_list_that_cannot_be_is_refused(written: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^features: .*{message}"):
        Features(written, BTCUSDT)


def test_a_bucket_that_is_no_whole_number_of_lots_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"^features\[1\]\.bucket: .*not a multiple of the lot"):
        Features(["mid", {"name": "vpin", "bucket": "0.0015"}], BTCUSDT)


def test_names_and_units_are_those_of_the_definitions() -> None:
    written = ["age", {"name": "ofi", "window": "1500ms"}, {"name": "vpin", "bucket": "5.0"}]
    features = Features(written, BTCUSDT)
    assert features.names == ("age", "ofi_1_1500ms", "vpin_5_50")
    assert features.units == ("s", "lots", "ratio")
    assert features.depth == 1
    assert [one.name for one in features.describe()] == list(features.names)
    back = [spec.model_dump(mode="json", exclude_none=True) for spec in features.specs]
    assert Features(back, BTCUSDT).specs == features.specs
    assert back[1] == {"name": "ofi", "levels": 1, "window": "1500ms"}


def test_levels_are_four_features_each_in_the_order_of_deeplob() -> None:
    features = Features(["mid", {"name": "levels", "levels": 2}, "bid_size"], BTCUSDT)
    names = ("ask_price", "ask_size", "bid_price", "bid_size")
    first, second = (tuple(f"{name}_{level}" for name in names) for level in (1, 2))
    assert features.names == ("mid", *first, *second, "bid_size")
    assert level_names(2) == first + second
    assert features.units == ("ticks", *("ticks", "lots") * 4, "lots")
    assert features.depth == 2
    assert Features(["levels"], BTCUSDT).names == level_names(10)
    assert Features(features.specs, BTCUSDT).names == features.names
    back = [spec.model_dump(mode="json", exclude_none=True) for spec in features.specs]
    assert Features(back, BTCUSDT).specs == features.specs


def test_every_feature_and_its_unit_is_in_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "features.md").read_text()
    for name, definition in DEFINITIONS.items():
        (line,) = re.findall(rf"^\| `{name}` .*$", text, re.MULTILINE)
        assert f"| {definition.unit} |" in line


# --- market data ---


def rows_with(row: Row) -> list[Row]:
    return [*snapshot_rows([(100, 5)], [(101, 5)], 5, 5), row]


@pytest.mark.parametrize(
    "row",
    [
        (9, 9, Kind.LEVEL | LAST, 0, 1),
        (9, 9, Kind.LEVEL | LAST, -4, 1),
        (9, 9, Kind.LEVEL | LAST, 100, -1),
        (9, 9, Kind.TRADE | LAST, 100, 2**53 + 1),
    ],
)
def test_a_row_that_cannot_be_is_refused_by_both(row: Row) -> None:
    features = Features(["mid"], BTCUSDT)
    rows = rows_with(row)
    message = rf"row {len(rows) - 1}: a price of at least one tick and a quantity of 0 to"
    with pytest.raises(DataError, match=message):
        features.compute(Tape.from_rows(BTCUSDT, rows), np.array([10]))
    streaming = Streaming(features)
    with pytest.raises(DataError, match=message):
        streaming.on_message(rows)
    # What came before it is taken in, and the next message is.
    assert streaming.values(9).tolist() == [100.5]
    streaming.on_message([(9, 9, Kind.LEVEL | LAST, 100, 0)])
    assert np.isnan(streaming.values(9)).all()


def test_prices_too_far_apart_are_refused() -> None:
    rows = rows_with((9, 9, Kind.LEVEL | LAST, WIDEST + 1_000, 1))
    with pytest.raises(DataError, match=f"within {WIDEST:,} ticks of each other were expected"):
        Features(["mid"], BTCUSDT).compute(Tape.from_rows(BTCUSDT, rows), np.array([10]))


def test_time_does_not_go_back_while_streaming() -> None:
    streaming = Streaming(Features(["mid"], BTCUSDT))
    streaming.on_message(rows_with((9, 9, Kind.LEVEL | LAST, 100, 4)))
    with pytest.raises(DataError, match=r"at least 9, that of the message before.*found 8"):
        streaming.on_message([(8, 8, Kind.LEVEL | LAST, 100, 3)])
    with pytest.raises(DataError, match=r"at least 9, that of the last message.*found 8"):
        streaming.values(8)
    assert streaming.values(9).tolist() == [100.5]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (np.array([3, 2]), "times in order were expected; found 2 at place 1, after 3"),
        (np.array([3.0]), "int64 in one dimension; found float64"),
        (np.array([[3]]), "int64 in one dimension; found int64 in 2"),
    ],
)
def test_times_that_cannot_be_asked_for_are_refused(at: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Features(["mid"], BTCUSDT).compute(random_tape(1, 20), at)


def test_a_tape_of_another_instrument_is_refused() -> None:
    other = Instrument(
        venue="binance",
        market="spot",
        symbol="NEXO/USDT",
        native="NEXOUSDT",
        base="NEXO",
        quote="USDT",
        kind=ContractKind.SPOT,
        tick=Decimal("0.001"),
        lot=Decimal("0.01"),
    )
    with pytest.raises(DataError, match="of the instrument that the features were made for"):
        Features(["mid"], other).compute(random_tape(1, 20), np.array([1]))
