"""Tardis's CSV datasets become the rows that the tables of their columns say."""

from __future__ import annotations

import csv
import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tardis_fixtures import (
    DAY,
    FIXTURE,
    HEADERS,
    T,
    expected_states,
    rows,
    states,
    tape,
    write,
)

from mmkit.errors import CaptureError, ConfigError, DataError, OffGrid
from mmkit.tape import KIND, LAST, SELL, GapReason, Kind, Tape

L, TR, S, G = int(Kind.LEVEL), int(Kind.TRADE), int(Kind.SNAPSHOT), Kind.GAP | LAST


def short(found: Tape) -> list[tuple[int, int, int, int, int]]:
    """The rows, with times in us since `T`."""
    return [(ex // 1000 - T, lo // 1000 - T, *rest) for ex, lo, *rest in rows(found)]


def book(*lines: tuple[int, int, str, str, str, str]) -> list[str]:
    return [f"{T + ex},{T + lo},{rest}" for ex, lo, *cells in lines for rest in [",".join(cells)]]


SMALL = book(
    (10, 15, "true", "bid", "100.1", "1.5"),
    (10, 15, "true", "ask", "100.3", "2"),
    (20, 26, "false", "bid", "100.1", "0"),
    (20, 26, "false", "bid", "100.0", "0.25"),
)


def test_the_fixture_holds_the_levels_that_its_lines_say(tmp_path: Path) -> None:
    found = tape(FIXTURE, tmp_path, tick="0.01")
    expected = []
    with FIXTURE.open() as file:
        for row in csv.DictReader(file):
            sides = [
                {
                    Decimal(row[f"{side}[{n}].price"]): Decimal(row[f"{side}[{n}].amount"])
                    for n in range(25)
                }
                for side in ("bids", "asks")
            ]
            expected.append((int(row["local_timestamp"]), (sides[0], sides[1])))
    assert len(expected) == 10
    assert states(found) == [(expected[0][0], None), *expected]
    assert (found.stats.messages, found.stats.snapshots, found.stats.gaps) == (10, 10, 0)


@pytest.mark.parametrize("packed", [False, True])
def test_a_book_is_a_snapshot_and_its_changes(tmp_path: Path, packed: bool) -> None:
    found = tape(write(tmp_path, "incremental_book_L2", SMALL, packed=packed), tmp_path)
    assert short(found) == [
        (10, 15, G, GapReason.START, 0),
        (10, 15, S, 0, 0),
        (10, 15, L, 1001, 1500),
        (10, 15, L | SELL | LAST, 1003, 2000),
        (20, 26, L, 1001, 0),
        (20, 26, L | LAST, 1000, 250),
    ]
    assert found.stats.messages == 2


def test_a_trade_is_ahead_of_the_book_of_its_event_by_both_clocks(tmp_path: Path) -> None:
    # One is received in the same microsecond as the book, the other after it.
    trades = [f"{T + 20},{T + 26},7,sell,100.1,1.5", f"{T + 20},{T + 30},8,buy,100.3,1"]
    paths = [
        write(tmp_path, "incremental_book_L2", SMALL),
        write(tmp_path, "trades", trades),
    ]
    found = tape(paths, tmp_path)
    told = [(row[1] // 1000 - T, row[2], row[3]) for row in rows(found)][4:]
    assert told == [
        (26, TR | SELL | LAST, 1001),
        (26, L, 1001),
        (26, L | LAST, 1000),
        (30, TR | LAST, 1003),
    ]
    by_exchange = [row[2] & KIND for row in found.rows(found.exchange_order())]
    assert by_exchange[-4:] == [TR, TR, L, L]


def test_trades_of_one_local_timestamp_are_one_message(tmp_path: Path) -> None:
    trades = [
        f"{T},{T + 5},1,buy,100.1,1",
        f"{T},{T + 5},2,buy,100.2,1",
        f"{T},{T + 6},3,sell,1e2,1e-3",
    ]
    found = tape(write(tmp_path, "trades", trades), tmp_path)
    assert [(row[2], row[3], row[4]) for row in rows(found)[1:]] == [
        (TR, 1001, 1000),
        (TR | LAST, 1002, 1000),
        (TR | SELL | LAST, 1000, 1),
    ]
    assert any("the book is never known" in note for note in found.stats.notes)


def test_a_trade_without_aggressor_and_a_liquidation_fill_nobody(tmp_path: Path) -> None:
    paths = [
        write(tmp_path, "trades", [f"{T},{T + 5},1,unknown,100.1,1"]),
        write(tmp_path, "liquidations", [f"{T},{T + 6},2,sell,100.2,3"]),
    ]
    found = tape(paths, tmp_path)
    off = int(Kind.OFF_BOOK)
    assert [row[2:] for row in rows(found)[1:]] == [
        (off | LAST, 1001, 1000),
        (off | SELL | LAST, 1002, 3000),
    ]
    assert found.stats.off_book == 2


QUOTES = [f"{T},{T + 5},2,100.3,100.1,1.5", f"{T + 1},{T + 7},,,100.2,0.5", f"{T + 2},{T + 8},,,,"]


@pytest.mark.parametrize("kind", ["quotes", "book_ticker"])
def test_best_prices_are_the_book_where_there_is_no_other(tmp_path: Path, kind: str) -> None:
    found = tape(write(tmp_path, kind, QUOTES), tmp_path)
    assert short(found)[1:] == [
        (0, 5, S, 0, 0),
        (0, 5, L, 1001, 1500),
        (0, 5, L | SELL | LAST, 1003, 2000),
        (1, 7, S, 0, 0),
        (1, 7, L | LAST, 1002, 500),
        (2, 8, S | LAST, 0, 0),
    ]


def test_best_prices_beside_a_book_do_not_change_it(tmp_path: Path) -> None:
    paths = [write(tmp_path, "incremental_book_L2", SMALL), write(tmp_path, "quotes", QUOTES)]
    best = [row[2:] for row in rows(tape(paths, tmp_path)) if row[2] & KIND == Kind.BEST]
    one = int(Kind.BEST)
    assert best == [(one, 1001, 1500), (one | SELL | LAST, 1003, 2000), (one | LAST, 1002, 500)]


def test_five_levels_are_read_ask_first_and_may_be_missing(tmp_path: Path) -> None:
    line = ",".join([f"{T},{T + 5}", "100.3,2,100.1,1.5", "100.4,1,,", *[",,,"] * 3])
    found = tape(write(tmp_path, "book_snapshot_5", [line]), tmp_path)
    assert [row[2:] for row in rows(found)[1:]] == [
        (S, 0, 0),
        (L, 1001, 1500),
        (L | SELL, 1003, 2000),
        (L | SELL | LAST, 1004, 1000),
    ]


def test_mark_prices_and_funding_are_told(tmp_path: Path) -> None:
    due = T + 8 * 3_600_000_000
    lines = [
        f"{T},{T + 5},{due},0.0001,,1000,100.2,100.25,100.12345678",
        f"{T + 1},{T + 6},,,,1000,100.2,,",
        f"{T + 2},{T + 7},{due},-0.00000001,0.5,,,,",
    ]
    found = tape(write(tmp_path, "derivative_ticker", lines), tmp_path)
    assert short(found)[1:] == [
        (0, 5, int(Kind.MARK), 0, 10_012_345_678),
        (0, 5, Kind.FUNDING | LAST, due // 1_000_000, 10_000),
        (2, 7, Kind.FUNDING | LAST, due // 1_000_000, -1),
    ]


def test_an_empty_file_is_a_day_without_data(tmp_path: Path) -> None:
    empty = tmp_path / "binance-futures_trades_2024-03-01_BTCUSDT.csv.gz"
    empty.write_bytes(gzip.compress(b""))
    with pytest.raises(CaptureError, match=r"lines were expected; found none"):
        tape(empty, tmp_path)
    header_only = write(tmp_path, "liquidations", [])
    found = tape([write(tmp_path, "incremental_book_L2", SMALL), empty, header_only], tmp_path)
    assert len(found) == 6
    assert any("no data that day" in note for note in found.stats.notes)


def test_a_recorder_whose_clock_is_behind_is_moved_forward(tmp_path: Path) -> None:
    path = write(
        tmp_path, "trades", [f"{T + 9},{T + 5},1,buy,100.1,1", f"{T + 9},{T + 20},2,buy,1,1"]
    )
    found = tape(path, tmp_path)
    assert found.stats.clock_offset_ns == [4000]
    assert [row[1] // 1000 - T for row in rows(found)] == [9, 9, 24]
    assert tape(path, tmp_path, clock_offset="0ms").stats.clock_offset_ns == [0]


# --- the book against a slow and obvious one -----------------------------------------------------

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["bid", "ask"]), st.integers(1, 6), st.integers(0, 3), st.integers(0, 2)
    ),
    min_size=1,
    max_size=4,
)
MESSAGES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 9), CHANGES), min_size=1, max_size=14
)


@settings(max_examples=150, deadline=None)
@given(
    files=st.lists(st.tuples(st.integers(0, 2), st.booleans(), MESSAGES), min_size=1, max_size=3),
    block=st.sampled_from([150, 400, 1 << 22]),
)
def test_any_lines_give_the_book_of_a_slow_and_obvious_reader(
    files: list, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tardis")
    texts, paths, day = [], [], 0
    for n, (later, begins_with_snapshot, messages) in enumerate(files):
        day += later + (1 if n else 0)
        at, lines = T + day * DAY, []
        for number, (step, late, changes) in enumerate(messages):
            at += step  # 0: the same message goes on
            for side, price, amount, flag in changes:
                snapshot = flag == 0 or (begins_with_snapshot and number == 0)
                word = "true" if snapshot else "false"
                lines.append(f"{at - late},{at},{word},{side},{price}.5,0.00{amount}")
        texts.append(lines)
        paths.append(write(folder, "incremental_book_L2", lines, day=f"2024-03-{day + 1:02}"))
    expected = expected_states(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmkit_tardis.files._BLOCK", block)
        if len(expected) == 1:
            with pytest.raises(
                CaptureError, match=r"a snapshot of the book was expected; found none in"
            ):
                tape(paths, folder)
            return
        found = tape(paths[::-1], folder)
    told = states(found)
    assert told == expected
    # The simulated exchange sees the same books: no update is before its snapshot.
    about_book = [
        row for row in rows(found) if row[2] & KIND in (Kind.LEVEL, Kind.SNAPSHOT, Kind.GAP)
    ]
    order = [row for row in found.rows(found.exchange_order()) if row in set(about_book)]
    assert [row[0] for row in about_book] == sorted(row[0] for row in about_book)
    assert order == about_book
    assert found.stats.gaps == sum(state is None for _, state in expected) - 1
    assert found.stats.messages == sum(state is not None for _, state in expected)


@settings(max_examples=60, deadline=None)
@given(
    times=st.tuples(*[st.lists(st.integers(0, 40), max_size=12).map(sorted)] * 3),
    block=st.sampled_from([120, 1 << 22]),
)
def test_files_of_several_kinds_are_merged_by_local_time_trades_first(
    times: tuple[list[int], ...], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("merged")
    trades, books, quotes = times
    books = sorted(set(books))
    paths = [
        write(
            folder,
            "incremental_book_L2",
            [f"{T + t},{T + t},{str(not n).lower()},bid,{n + 1},1" for n, t in enumerate(books)],
        ),
        write(folder, "quotes", [f"{T + t},{T + t},,,{n + 1},1" for n, t in enumerate(quotes)]),
        write(
            folder, "trades", [f"{T + t},{T + t},{n},buy,{n + 1},1" for n, t in enumerate(trades)]
        ),
    ]
    expected = sorted(
        [(t, 0, TR, n) for n, t in enumerate(trades)]
        + [(t, 1, L, n) for n, t in enumerate(books)]
        + [(t, 2, int(Kind.BEST), n) for n, t in enumerate(quotes)]
    )
    if not expected:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmkit_tardis.files._BLOCK", block)
        found = tape(paths, folder)
    told = [
        (lo // 1000 - T, kind & KIND, price // 10 - 1)
        for _, lo, kind, price, _ in rows(found)
        if kind & KIND not in (Kind.GAP, Kind.SNAPSHOT)
    ]
    assert told == [(t, kind, n) for t, _, kind, n in expected]


# --- what is refused -----------------------------------------------------------------------------

BAD = {
    "an off-grid price": (
        "incremental_book_L2",
        f"{T},{T},true,bid,100.15,1",
        OffGrid,
        "100.15 is not",
    ),
    "an off-grid amount": ("trades", f"{T},{T},1,buy,100.1,1.0001", OffGrid, "1.0001 is not"),
    "a price that is none": (
        "trades",
        f"{T},{T},1,buy,abc,1",
        CaptureError,
        "price: a number above",
    ),
    "no price": ("trades", f"{T},{T},1,buy,,1", CaptureError, "found an empty cell"),
    "a price of zero": ("trades", f"{T},{T},1,buy,0,1", CaptureError, "price: a number above zero"),
    "an amount below zero": ("trades", f"{T},{T},1,buy,1,-1", CaptureError, "found '-1'"),
    "nan": ("trades", f"{T},{T},1,buy,nan,1", CaptureError, "found 'nan'"),
    "a number too large": ("trades", f"{T},{T},1,buy,1,1e30", CaptureError, "fits 64 bits"),
    "a side that is none": ("trades", f"{T},{T},1,bid,1,1", CaptureError, "buy or sell or unknown"),
    "a flag that is none": (
        "incremental_book_L2",
        f"{T},{T},True,bid,1,1",
        CaptureError,
        "true or f",
    ),
    "no local time": (
        "trades",
        f"{T},,1,buy,1,1",
        CaptureError,
        "local_timestamp: a time in micro",
    ),
    "nanoseconds": ("trades", f"{T}000,{T}000,1,buy,1,1", CaptureError, "a time in microseconds"),
    "a line cut short": (
        "trades",
        f"{T},{T},1,buy",
        CaptureError,
        "8 columns of trades were expected",
    ),
    "an empty line": ("trades", None, CaptureError, "8 columns of trades were expected; found 1"),
    "half a level": ("quotes", f"{T},{T},1,,100.1,1", CaptureError, "both or neither"),
    "a rate of nine decimals": (
        "derivative_ticker",
        f"{T},{T},{T},0.000000001,,,,,",
        CaptureError,
        "at most 8 decimals",
    ),
}
GOOD = {
    "incremental_book_L2": f"{T},{T},true,bid,1,1",
    "trades": f"{T},{T},1,buy,1,1",
    "quotes": f"{T},{T},1,2,1,1",
    "derivative_ticker": f"{T},{T},,,,,,,",
}


@pytest.mark.parametrize("name", BAD)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    kind, line, error, words = BAD[name]
    path = write(tmp_path, kind, [GOOD[kind]] * 40)
    with path.open("a") as file:
        file.write("\n" if line is None else f"binance-futures,BTCUSDT,{line}\n")
        file.write(f"binance-futures,BTCUSDT,{GOOD[kind]}\n")
    with pytest.raises(error) as caught:
        tape(path, tmp_path)
    assert str(caught.value).startswith(f"{path}:42: ")
    assert words in str(caught.value)


def test_local_time_that_goes_back_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "trades", [GOOD["trades"], f"{T},{T - 5},1,buy,1,1"])
    with pytest.raises(CaptureError, match=r":3: local_timestamp goes back by 5 us"):
        tape(path, tmp_path)


@pytest.mark.parametrize(
    ("whose", "words"),
    [
        (
            "binance,BTCUSDT",
            ":2: exchange 'binance-futures' was expected; found 'binance'; check 'inst",
        ),
        (
            "binanse-futures,BTCUSDT",
            "did you mean 'binance-futures'\\? valid are: ascendex, .*woo-x",
        ),
        (
            "binance-futures,ETHUSDT",
            ":2: symbol 'BTCUSDT' was expected; found 'ETHUSDT'; change 'ins",
        ),
    ],
)
def test_data_of_another_market_is_refused(tmp_path: Path, whose: str, words: str) -> None:
    path = write(tmp_path, "trades", [GOOD["trades"]], whose=whose)
    with pytest.raises(CaptureError, match=words):
        tape(path, tmp_path)


def test_other_columns_are_refused_with_those_expected(tmp_path: Path) -> None:
    path = tmp_path / "binance-futures_trades_2024-03-01_BTCUSDT.csv"
    path.write_text("exchange,symbol,local_timestamp,timestamp,id,side,price,amount\n")
    with pytest.raises(
        CaptureError, match=r":1: .* of trades: exchange,symbol,timestamp,local_t.*valid"
    ):
        tape(path, tmp_path)
    path.write_text(HEADERS["incremental_book_L2"] + "\n")
    with pytest.raises(
        CaptureError, match=r"of trades were expected.*those of incremental_book_L2"
    ):
        tape(path, tmp_path)


def test_columns_that_two_data_types_have_need_a_name(tmp_path: Path) -> None:
    path = write(tmp_path, "trades", [GOOD["trades"]]).rename(tmp_path / "some.csv")
    with pytest.raises(CaptureError, match=r"trades or liquidations have the same columns"):
        tape(path, tmp_path)
    # As in Tardis's addresses.
    folder = tmp_path / "binance-futures" / "trades" / "2024" / "03" / "01"
    folder.mkdir(parents=True)
    assert len(tape(path.rename(folder / "BTCUSDT.csv"), tmp_path)) == 2


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"exchange": "binance-future"},
            "data.exchange.*did you mean 'binance-futures'\\? valid are",
        ),
        (
            {"types": ["trade"]},
            "data.types.*found 'trade'; did you mean 'trades'\\? valid are: incr",
        ),
        (
            {"venue": "nowhere"},
            "data.exchange: Tardis's id of 'nowhere' usdm is not known here; set",
        ),
    ],
)
def test_names_that_tardis_does_not_know_are_refused_with_the_nearest(
    tmp_path: Path, config: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        tape(write(tmp_path, "trades", [GOOD["trades"]]), tmp_path, **config)


def test_two_books_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    line = ",".join([f"{T},{T + 5}", "100.3,2,100.1,1.5", *[",,,"] * 4])
    paths = [
        write(tmp_path, "incremental_book_L2", SMALL),
        write(tmp_path, "book_snapshot_5", [line]),
    ]
    with pytest.raises(
        CaptureError, match=r"the book was expected; found incremental_book_L2 and book"
    ):
        tape(paths, tmp_path)
    assert len(tape(paths, tmp_path, types="incremental_book_L2")) == 6
    with pytest.raises(
        CaptureError, match=r"trades was expected, as 'data.types' says; found only book"
    ):
        tape(paths, tmp_path, types=["trades"])


def test_what_two_files_hold_at_once_is_refused(tmp_path: Path) -> None:
    paths = [
        write(
            tmp_path, "trades", [f"{T + n},{T + n},1,buy,1,1" for n in part], day=f"2024-03-0{day}"
        )
        for day, part in ((1, (0, 5)), (2, (5, 9)))
    ]
    with pytest.raises(CaptureError, match=r"would be counted twice"):
        tape(paths, tmp_path)


def test_a_file_cut_short_or_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "trades", [GOOD["trades"]] * 2000, packed=True)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CaptureError, match=r"gzip data is damaged or cut short"):
        tape(path, tmp_path)
    with pytest.raises(CaptureError, match=r"there is no such file"):
        tape(tmp_path / "trades.csv", tmp_path)
    with pytest.raises(CaptureError, match=r"no file matches"):
        tape(tmp_path / "*.nothing", tmp_path)


def test_a_missing_grid_is_proposed_from_the_files(tmp_path: Path) -> None:
    paths = [
        write(tmp_path, "incremental_book_L2", SMALL),
        write(tmp_path, "trades", [GOOD["trades"]]),
    ]
    with pytest.raises(ConfigError, match=r'add tick: "0.1", lot: "0.25" under instrument'):
        tape(paths, tmp_path, tick=None, lot=None)


def test_a_tape_is_kept_until_its_files_change(tmp_path: Path) -> None:
    path = write(tmp_path, "incremental_book_L2", SMALL)
    built = rows(tape(path, tmp_path))
    (place,) = tmp_path.glob("*.tape")
    assert (rows(tape(path, tmp_path)), list(tmp_path.glob("*.tape"))) == (built, [place])
    write(tmp_path, "incremental_book_L2", SMALL[:2])
    assert len(tape(path, tmp_path)) == 4


def test_every_error_about_data_ends_a_run_as_one(tmp_path: Path) -> None:
    assert issubclass(CaptureError, DataError)
