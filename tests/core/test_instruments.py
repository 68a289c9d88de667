from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from core_rows import BTCUSDT, INVERSE, SPOT, instrument_with
from hypothesis import example, given
from hypothesis import strategies as st

from mmkit.errors import OffGrid
from mmkit.instruments import ContractKind, GridParser, InstrumentSpec

STEPS = ("0.5", "5", "0.25", "0.00000001", "0.1", "0.001", "1", "10", "1E+2", "0.10", "2.5")
steps = st.sampled_from(STEPS)
counts = st.integers(-(10**15), 10**15)


@given(step=steps, count=counts)
def test_ticks_become_a_price_and_the_same_ticks_again(step: str, count: int) -> None:
    instrument = instrument_with(tick=step, lot=step)
    assert instrument.ticks(instrument.price(count)) == count
    assert instrument.lots(instrument.quantity(count)) == count
    assert Fraction(instrument.price(count)) == count * Fraction(step)


@given(step=steps, number=st.decimals(-(10**9), 10**9, places=10))
def test_a_decimal_becomes_ticks_only_if_it_is_a_whole_number_of_them(
    step: str, number: Decimal
) -> None:
    instrument = instrument_with(tick=step)
    ratio = Fraction(number) / Fraction(step)
    if ratio.denominator == 1:
        assert instrument.ticks(number) == ratio
    else:
        with pytest.raises(OffGrid):
            instrument.ticks(number)


def test_an_off_grid_price_is_refused_with_both_neighbours() -> None:
    with pytest.raises(OffGrid) as caught:
        BTCUSDT.ticks("61234.56")
    assert str(caught.value) == (
        "BTC/USDT:USDT: price 61234.56 is not a multiple of the tick 0.1; "
        "the nearest are 61234.5 and 61234.6"
    )


def test_an_off_grid_quantity_is_refused_with_both_neighbours() -> None:
    with pytest.raises(OffGrid) as caught:
        SPOT.lots("0.015")
    assert str(caught.value) == (
        "NEXO/USDT: quantity 0.015 is not a multiple of the lot 0.01; the nearest are 0.01 and 0.02"
    )


@pytest.mark.parametrize("text", ["abc", "", "-", "NaN", "sNaN", "Infinity", "1,5", "0x1"])
def test_what_is_no_number_is_refused_as_off_grid(text: str) -> None:
    with pytest.raises(OffGrid, match="must be a number"):
        BTCUSDT.ticks(text)


@given(step=steps, number=st.fractions(-(10**9), 10**9, max_denominator=10**6))
def test_floor_and_ceiling_are_the_nearest_ticks_on_either_side(
    step: str, number: Fraction
) -> None:
    instrument = instrument_with(tick=step, lot=step)
    below, above = instrument.floor_ticks(number), instrument.ceil_ticks(number)
    size = Fraction(step)
    assert below * size <= number < (below + 1) * size
    assert (above - 1) * size < number <= above * size
    assert instrument.floor_lots(number) == below


def test_rounding_takes_a_float_at_its_exact_value() -> None:
    # The float 0.3 lies below three tenths, the float 0.1 + 0.2 above.
    assert (BTCUSDT.floor_ticks(0.3), BTCUSDT.ceil_ticks(0.3)) == (2, 3)
    assert (BTCUSDT.floor_ticks(0.1 + 0.2), BTCUSDT.ceil_ticks(0.1 + 0.2)) == (3, 4)


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity"), None]
)
def test_rounding_refuses_what_is_no_number_and_says_so(bad: Any) -> None:
    for convert, what in (
        (BTCUSDT.floor_ticks, "price"),
        (BTCUSDT.ceil_ticks, "price"),
        (BTCUSDT.floor_lots, "quantity"),
    ):
        with pytest.raises(OffGrid, match=f"BTC/USDT:USDT: a finite {what} was expected; found "):
            convert(bad)


@pytest.mark.parametrize("bad", [0.5, 0.0015, 1e300])
def test_a_float_is_not_exact_and_is_refused_with_what_to_write(bad: float) -> None:
    with pytest.raises(
        OffGrid, match=r'exact quantity .* such as ".*" or a Decimal.*use floor_lots'
    ):
        BTCUSDT.lots(bad)  # type: ignore[arg-type]
    with pytest.raises(OffGrid, match=r"exact price .* use floor_ticks or ceil_ticks"):
        BTCUSDT.ticks(bad)  # type: ignore[arg-type]
    with pytest.raises(OffGrid, match="a finite quantity was expected; found nan"):
        BTCUSDT.lots(math.nan)  # type: ignore[arg-type]


def test_conversion_does_not_depend_on_the_decimal_context_of_whoever_calls() -> None:
    with localcontext() as context:
        context.prec = 4
        assert BTCUSDT.ticks("61234.5") == 612_345
        assert BTCUSDT.price(612_345) == Decimal("61234.5")


@pytest.mark.parametrize("bad", ["0", "-0.1", "NaN", "Infinity"])
def test_a_grid_without_a_step_above_zero_is_refused(bad: str) -> None:
    with pytest.raises(OffGrid, match="tick must be above zero"):
        instrument_with(tick=bad)
    with pytest.raises(OffGrid, match="lot must be above zero"):
        instrument_with(lot=bad)


@pytest.mark.parametrize(
    ("symbol", "kind", "base", "quote"),
    [
        ("BTC/USDT", ContractKind.SPOT, "BTC", "USDT"),
        ("BTC/USDT:USDT", ContractKind.LINEAR, "BTC", "USDT"),
        ("BTC/USD:BTC", ContractKind.INVERSE, "BTC", "USD"),
        ("1000PEPE/USDC:USDC", ContractKind.LINEAR, "1000PEPE", "USDC"),
    ],
)
def test_a_unified_symbol_says_how_profit_is_settled(
    symbol: str, kind: ContractKind, base: str, quote: str
) -> None:
    spec = InstrumentSpec(venue="binance", market="any", symbol=symbol)
    assert (spec.kind, spec.base, spec.quote) == (kind, base, quote)


def test_profit_is_counted_in_quote_currency_but_for_inverse_contracts() -> None:
    assert (SPOT.settle, BTCUSDT.settle, INVERSE.settle) == ("USDT", "USDT", "BTC")


# --- the parser of a venue's texts ---


def plain(number: Decimal) -> str:
    return f"{number:f}"


@given(step=steps, count=counts, zeros=st.integers(0, 10))
@example(step="0.1", count=0, zeros=0)
@example(step="5", count=-3, zeros=2)
def test_the_parser_equals_decimal_division_for_every_text_on_the_grid(
    step: str, count: int, zeros: int
) -> None:
    text = plain(Decimal(step) * count)
    text += ("" if "." in text else ".") * bool(zeros) + "0" * zeros
    assert GridParser(Decimal(step), "price", "X")(text) == count


@given(step=steps, number=st.decimals(-(10**6), 10**6, places=9))
def test_the_parser_refuses_every_text_off_the_grid(step: str, number: Decimal) -> None:
    parse = GridParser(Decimal(step), "price", "X")
    ratio = Fraction(number) / Fraction(step)
    if ratio.denominator == 1:
        assert parse(plain(number)) == ratio
    else:
        with pytest.raises(OffGrid, match="is not a multiple of"):
            parse(plain(number))


NO_NUMBERS = [
    *(
        "",
        ".",
        "-",
        "+",
        "-.",
        "abc",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "0x10",
        "1e5",
        "1E5",
    ),
    *("1.5e1", "1 ", " 1", "\t1", "1\n", "1. 5", "1 .5", "1_000", "1_0.5", "1.5_0", "1.0_0"),
    *("１", "１.5", "1.５", "٣", "²", "1,5", "1.2.3", "1..2", "--1", "+-1", "1.-5", "1.+5", "−1"),
    *("1.5 ", "1.50 ", "1.5０", "1\x00", "$1", "None", "true"),
]


@pytest.mark.parametrize("step", ["0.1", "0.001", "1", "5", "0.00000001"])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_the_parser_refuses_what_is_no_plain_decimal_number(text: str, step: str) -> None:
    with pytest.raises(OffGrid):
        GridParser(Decimal(step), "price", "X")(text)


@given(text=st.text(alphabet="0123456789.-+_eE \t\n１٣", max_size=6), step=steps)
@example(text="", step="0.1")
@example(text="-.5", step="1")
@example(text=".0", step="1")
def test_whatever_the_parser_takes_is_plain_and_worth_what_decimal_says(
    text: str, step: str
) -> None:
    try:
        units = GridParser(Decimal(step), "price", "X")(text)
    except OffGrid:
        return
    assert set(text) <= set("0123456789.-+")
    assert units * Decimal(step) == Decimal(text)


def test_the_parser_says_what_was_expected_and_what_was_found() -> None:
    parse = GridParser(Decimal("0.1"), "price", "BTC/USDT")
    with pytest.raises(OffGrid) as caught:
        parse("61234.56")
    assert str(caught.value) == "BTC/USDT: price 61234.56 is not a multiple of 0.1"
    with pytest.raises(OffGrid) as caught:
        parse("１")
    assert str(caught.value) == "BTC/USDT: price must be a decimal number, found '１'"


@pytest.mark.parametrize("sign", ["", "-"])
def test_more_steps_than_64_bits_hold_are_refused_with_how_many_are_not(sign: str) -> None:
    parse = GridParser(Decimal("0.1"), "price", "BTC/USDT")
    assert parse(f"{sign}922337203685477580.7") == int(f"{sign}{2**63 - 1}")
    with pytest.raises(OffGrid, match=r"steps of 0\.1; less than 9,223,372,036,854,775,808"):
        parse(f"{sign}922337203685477580.8")
