"""Tapes as hftbacktest's events, Parquet and CSV, and back."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.book import Book
from mmkit.errors import DataError, OffGrid, UsageError
from mmkit.formats import load, save
from mmkit.formats.hftbacktest import EVENT, EXCHANGE, LOCAL, SELLS, events_of
from mmkit.tape import KIND, LAST, NAMES, SELL, FeedStats, Kind, Row, Tape
from mmkit.testing import BTCUSDT

BID, ASK = int(Kind.LEVEL), Kind.LEVEL | SELL


def equal(one: Tape, other: Tape) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in NAMES
    )


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Messages of every kind, with times of both clocks that cross."""
    rows: list[Row] = []
    local = draw(st.integers(0, 10)) + 10**18
    sizes = st.integers(1, 4)
    message = st.sampled_from(["levels", "trade", "snapshot", "gap", "best", "mark", "off_book"])
    for what in ["gap", "snapshot", *draw(st.lists(message, max_size=25))]:
        local += draw(st.integers(0, 5))
        at = local - draw(st.integers(0, 12))
        price = st.integers(100, 109)
        side = draw(st.sampled_from([0, int(SELL)]))
        if what in ("levels", "snapshot"):
            least = 0 if what == "levels" else 1
            told = [
                (
                    BID | draw(st.sampled_from([0, int(SELL)])),
                    draw(price),
                    draw(st.integers(least, 3)),
                )
                for _ in range(draw(sizes))
            ]
            if what == "snapshot":
                told.insert(0, (int(Kind.SNAPSHOT), 0, 0))
        elif what in ("trade", "off_book"):
            kind = Kind.TRADE if what == "trade" else Kind.OFF_BOOK
            told = [(kind | side, draw(price), draw(st.integers(1, 9)))]
        elif what == "gap":
            told = [(int(Kind.GAP), draw(st.integers(0, 3)), 0)]
        elif what == "best":
            told = [(int(Kind.BEST), 101, 2), (Kind.BEST | SELL, 102, 3)]
        else:
            told = [(int(Kind.MARK), 0, 10**13 + 7), (int(Kind.FUNDING), 1_700_000_000, -5)]
        told[-1] = (told[-1][0] | LAST, *told[-1][1:])
        rows += [(at, local, *one) for one in told]
    return Tape.from_rows(BTCUSDT, rows, FeedStats(notes=["a note"], snapshots=2))


@given(tape=tapes())
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tape"])
def test_a_tape_comes_back_from_a_table_as_it_was(
    suffix: str, tape: Tape, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("out") / f"t{suffix}"
    assert save(tape, path) == []
    back = load(path)
    assert equal(tape, back)
    assert (back.instrument, back.stats) == (tape.instrument, tape.stats)
    assert [found.name for found in path.parent.iterdir()] == [path.name]


# --- hftbacktest ----------------------------------------------------------------------------------


def books_of_tape(tape: Tape) -> dict[int, dict[tuple[bool, int], int]]:
    """Return the levels after each local time, as the tape tells them; none while they are unknown."""
    book, found = Book(), {}
    for row in tape.rows():
        book.apply(row)
        levels = {(False, p): q for p, q in book.bids.levels.items()}
        levels |= {(True, p): q for p, q in book.asks.levels.items()}
        found[row[1]] = levels
    return found


def books_of_events(
    events: np.ndarray, flag: int, clock: str
) -> dict[int, dict[tuple[bool, int], int]]:
    """Return the levels after each time, as somebody with one of the clocks sees them."""
    levels: dict[tuple[bool, int], int] = {}
    found = {}
    for event in events[events["ev"] & flag != 0]:
        if event["ev"] & 0xFF in (1, 4):
            key = (bool(event["ev"] & SELLS), round(event["px"] * 10))
            levels.pop(key, None)
            if quantity := round(event["qty"] * 1000):
                levels[key] = quantity
        found[int(event[clock])] = dict(levels)
    return found


@given(tape=tapes())
@settings(max_examples=150, deadline=None)
def test_events_tell_the_same_book_and_trades_in_the_order_of_both_clocks(tape: Tape) -> None:
    events = events_of(tape)
    for flag, clock in ((LOCAL, "local_ts"), (EXCHANGE, "exch_ts")):
        seen = events[events["ev"] & flag != 0]
        assert (np.diff(seen[clock]) >= 0).all()
    ours = books_of_tape(tape)
    for at, levels in books_of_events(events, LOCAL, "local_ts").items():
        assert levels == ours[at]
    trades = tape.kind & KIND == Kind.TRADE
    seen = events[(events["ev"] & LOCAL != 0) & (events["ev"] & 0xFF == 2)]
    assert np.array_equal(np.rint(seen["px"] * 10).astype(int), tape.price[trades])
    assert np.array_equal(seen["exch_ts"], tape.ts_exchange[trades])
    # Each event is told once to either clock.
    told = [np.sort(_unflagged(events[events["ev"] & flag != 0])) for flag in (LOCAL, EXCHANGE)]
    assert np.array_equal(*told)


def _unflagged(events: np.ndarray) -> np.ndarray:
    events = events.copy()
    events["ev"] &= ~np.uint64(LOCAL | EXCHANGE)
    return events


def test_a_float_is_the_one_nearest_to_the_decimal() -> None:
    rows = [(0, 0, Kind.TRADE | LAST, ticks, ticks) for ticks in range(1, 30_000, 7)]
    events = events_of(Tape.from_rows(BTCUSDT, rows))
    assert events["px"].tolist() == [float(Decimal(row[3]) * BTCUSDT.tick) for row in rows]
    assert events["qty"].tolist() == [float(Decimal(row[4]) * BTCUSDT.lot) for row in rows]


def test_events_come_back_but_for_what_hftbacktest_does_not_know(tmp_path: Path) -> None:
    rows: list[Row] = [
        (90, 95, Kind.GAP | LAST, 0, 0),
        (98, 100, int(Kind.SNAPSHOT), 0, 0),
        (98, 100, BID, 1000, 5),
        (98, 100, ASK | LAST, 1001, 6),
        (110, 120, int(Kind.BEST) | LAST, 1000, 5),
        (115, 121, Kind.TRADE | SELL | LAST, 1000, 2),
        (114, 122, BID, 1000, 3),
        (114, 122, ASK | LAST, 1002, 1),
    ]
    tape = Tape.from_rows(BTCUSDT, rows)
    path = tmp_path / "e.npz"
    assert save(tape, path) == ["1 rows of best were left out: it has none"]
    back = load(path, BTCUSDT)
    start = (98, 100, Kind.GAP | LAST, 0, 0)  # when it began is not told
    assert list(back.rows()) == [start, *rows[1:4], *rows[5:]]


def test_where_the_book_becomes_unknown_every_level_is_taken_away() -> None:
    rows: list[Row] = [
        (1, 1, int(Kind.SNAPSHOT), 0, 0),
        (1, 1, BID, 1000, 5),
        (1, 1, ASK | LAST, 1001, 6),
        (2, 2, Kind.GAP | LAST, 1, 0),
    ]
    events = events_of(Tape.from_rows(BTCUSDT, rows))
    assert [(e["local_ts"], e["px"], e["qty"]) for e in events[2:]] == [
        (2, 100.0, 0),
        (2, 100.1, 0),
    ]


def npz(path: Path, **columns: list[float]) -> Path:
    events = np.zeros(len(next(iter(columns.values()))), EVENT)
    for name, values in columns.items():
        events[name] = values
    np.savez(path, data=events)
    return path


def test_events_without_a_snapshot_are_known_from_the_first_on(tmp_path: Path) -> None:
    path = npz(tmp_path / "e.npz", ev=[1 | LOCAL], exch_ts=[5], local_ts=[7], px=[100.0], qty=[1])
    back = load(path, BTCUSDT)
    assert [row[2] & KIND for row in back.rows()] == [Kind.GAP, Kind.SNAPSHOT, Kind.LEVEL]
    assert "taken as known from the first on" in back.stats.notes[0]


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        ({"ev": [2, 3], "px": [1.0, 1.0]}, DataError, "event 1: .* found type 3"),
        ({"ev": [2], "px": [100.05]}, OffGrid, "event 0: price 100.05 is not a multiple of 0.1"),
        ({"ev": [2], "px": [float("nan")]}, OffGrid, "event 0: price nan"),
        ({"ev": [2, 2], "px": [1.0, 1.0], "local_ts": [2, 1]}, DataError, "ts_local goes back"),
        ({"ev": [2 | EXCHANGE], "px": [1.0]}, DataError, "holds no events"),
    ],
)
def test_events_that_cannot_be_used_are_refused(
    columns: dict[str, list[float]], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        load(npz(tmp_path / "e.npz", **columns), BTCUSDT)


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv", ".tape"])
def test_a_file_that_is_not_what_its_name_says_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match=str(path)):
        load(path, BTCUSDT)


def test_a_table_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"price": [1]}).to_parquet(path)
    with pytest.raises(DataError, match="'mmkit data convert' wrote was expected"):
        load(path)


def test_a_kind_that_is_none_is_refused_with_its_row(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    save(Tape.from_rows(BTCUSDT, [(0, 0, Kind.TRADE | LAST, 1, 1)] * 3), path)
    text = path.read_text().splitlines()
    text[3] = text[3].replace("trade", "trad")
    path.write_text("\n".join(text) + "\n")
    with pytest.raises(DataError, match=r"row 2: a kind of level, trade, .* found 'trad'"):
        load(path)


def test_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"one of \.tape, \.npz, \.parquet, \.csv was expected"):
        save(Tape.from_rows(BTCUSDT, []), tmp_path / "x.json")
    with pytest.raises(UsageError, match="do not say what they are about"):
        load(npz(tmp_path / "e.npz", ev=[2]))


def test_other_programs_read_the_tables(tmp_path: Path) -> None:
    rows: list[Row] = [(5, 6, Kind.TRADE | SELL | LAST, 600_001, 12), (7, 8, Kind.GAP | LAST, 2, 0)]
    tape = Tape.from_rows(BTCUSDT, rows)
    for name, read in (
        ("t.parquet", pd.read_parquet),
        ("t.csv", lambda p: pd.read_csv(p, comment="#")),
    ):
        save(tape, tmp_path / name)
        frame = read(tmp_path / name)
        assert frame["kind"].tolist() == ["trade", "gap"]
        assert frame.loc[0, ["side", "price", "quantity"]].tolist() == ["sell", 60000.1, 0.012]
        assert np.isnan(frame.loc[1, "price"])
        assert frame.loc[1, "ticks"] == 2
    first = (tmp_path / "t.csv").read_text().splitlines()[0]
    assert json.loads(first.removeprefix("# mmkit "))["instrument"]["symbol"] == BTCUSDT.symbol
