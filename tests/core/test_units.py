from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from core_rows import BTCUSDT
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from mmkit.units import (
    Distance,
    Duration,
    Exact,
    WrittenFloat,
    format_duration,
    parse_duration,
)


class Times(BaseModel):
    every: Duration = 100_000_000


class Money(BaseModel):
    amount: Exact


class Far(BaseModel):
    away: Distance


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1ns", 1),
        ("250us", 250_000),
        ("250µs", 250_000),
        ("100ms", 100_000_000),
        ("1.5s", 1_500_000_000),
        ("0.25ms", 250_000),
        (" 2 m ", 120_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1.5d", 129_600_000_000_000),
        ("0s", 0),
        (0, 0),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str | int, ns: int) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        *("100", "ms", "", "1e3ms", "-5s", "+5s", "5 min", "5S", "1s 500ms", "nan s", "1_000ms"),
        *("1.s", ".5s", "5,5s", "１s", "٣s", "inf s"),
        *(1, 100, 0.0, 1.5, True, False, None, [], {}, b"5s"),
    ],
)
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="a duration with its unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0.5ns", "0.0001us", "1.0000000001s"])
def test_a_fraction_of_a_nanosecond_is_refused_and_not_cut_off(text: str) -> None:
    with pytest.raises(ValueError, match="nanosecond"):
        parse_duration(text)


@given(ns=st.integers(0, 10**20))
def test_a_duration_written_out_reads_back_as_the_same(ns: int) -> None:
    assert parse_duration(format_duration(ns)) == ns


def test_a_duration_is_written_in_the_largest_unit_that_keeps_it_whole() -> None:
    spans = (0, 1, 1_500, 100_000_000, 1_500_000_000, 60_000_000_000, 5_400_000_000_000)
    assert [format_duration(ns) for ns in spans] == [
        *("0s", "1ns", "1500ns", "100ms", "1500ms", "1m", "90m")
    ]


def test_a_duration_in_a_model_is_ns_in_python_and_text_in_json() -> None:
    times = Times(every="5s")  # type: ignore[arg-type]
    assert times.every == 5_000_000_000
    assert times.model_dump_json() == '{"every":"5s"}'
    assert Times.model_validate_json(times.model_dump_json()) == times
    assert Times().every == 100_000_000


def test_a_number_without_unit_is_no_duration_in_a_model() -> None:
    with pytest.raises(ValidationError, match="a duration with its unit"):
        Times.model_validate({"every": 100})


@pytest.mark.parametrize(
    ("text", "distance"),
    [
        ("5bps", Distance(Decimal(5), "bps")),
        ("1bp", Distance(Decimal(1), "bps")),
        ("0.5 %", Distance(Decimal("0.5"), "%")),
        ("3ticks", Distance(Decimal(3), "ticks")),
        ("1 tick", Distance(Decimal(1), "ticks")),
        ("0.5", Distance(Decimal("0.5"), "quote")),
        (" 12 ", Distance(Decimal(12), "quote")),
        ("0ticks", Distance(Decimal(0), "ticks")),
    ],
)
def test_a_distance_says_what_it_is_in(text: str, distance: Distance) -> None:
    assert Distance.parse(text) == distance
    assert Distance.parse(str(distance)) == distance
    assert Distance.parse(distance) is distance


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bps",
        "-1bps",
        "nan%",
        "infticks",
        "1e999ticks",
        "5pips",
        "5%%",
        "5 bps ticks",
        "x",
        5,
        0.5,
        None,
        True,
    ],
)
def test_what_is_no_distance_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="a distance such as"):
        Distance.parse(text)


@pytest.mark.parametrize(
    ("text", "ticks"),
    [("5bps", 300.0), ("1%", 6_000.0), ("3ticks", 3.0), ("0.5", 5.0), ("0.05", 0.5), ("0%", 0.0)],
)
def test_a_distance_in_ticks_at_60000(text: str, ticks: float) -> None:
    assert Distance.parse(text).ticks(600_000, BTCUSDT) == ticks


def test_a_distance_in_a_model_round_trips_through_json() -> None:
    far = Far.model_validate({"away": "5bps"})
    assert Far.model_validate_json(far.model_dump_json()) == far
    with pytest.raises(ValidationError, match="a distance such as"):
        Far.model_validate({"away": 5})


def test_exact_takes_text_integers_and_what_yaml_wrote() -> None:
    written: list[Any] = ["0.10", 3, Decimal("1E-8"), WrittenFloat("0.10"), WrittenFloat("1e-3")]
    assert [Money(amount=amount).amount.as_tuple() for amount in written] == [
        Decimal(text).as_tuple() for text in ("0.10", "3", "1E-8", "0.10", "0.001")
    ]


@pytest.mark.parametrize(
    "bad", [0.1, True, False, None, "x", "", "NaN", "Infinity", float("nan"), WrittenFloat(".inf")]
)
def test_exact_refuses_floats_bools_and_what_is_no_number(bad: Any) -> None:
    with pytest.raises(ValidationError):
        Money.model_validate({"amount": bad})


def test_a_float_is_refused_with_the_text_to_write_instead() -> None:
    with pytest.raises(ValidationError, match=r'a decimal in quotes was expected, such as "0\.1"'):
        Money.model_validate({"amount": 0.1})
