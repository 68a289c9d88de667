from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_rows import BTCUSDT, INVERSE, ask, bid, sold
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.book import Book
from mmkit.errors import DataError
from mmkit.tape import (
    KIND,
    LAST,
    NAMES,
    RECORD,
    FeedStats,
    Kind,
    Row,
    Tape,
    file,
    index,
    messages_from_records,
    records,
    tape_from_records,
)
from mmkit.tape.file import TapeWriter
from mmkit.tape.index import NONE, UNKNOWN
from mmkit.testing import random_tape

BIG = 2**63 - 1
ROWS: list[Row] = [
    (10, 5, 0x83, 600_000, 7),
    (8, 5, 0x11, 600_001, 0),
    (BIG, 9, 0xFF, -BIG - 1, BIG),
]


def columns(*rows: Row) -> dict[str, Any]:
    names = ("ts_exchange", "ts_local", "kind", "price", "quantity")
    kinds = {"kind": np.uint8}
    return {
        name: np.array([row[index] for row in rows], dtype=kinds.get(name, np.int64))
        for index, name in enumerate(names)
    }


row_lists = st.lists(
    st.tuples(
        st.integers(-BIG - 1, BIG),
        st.integers(0, 50),
        st.integers(0, 255),
        st.integers(-BIG - 1, BIG),
        st.integers(-BIG - 1, BIG),
    ),
    max_size=20,
).map(lambda rows: sorted(rows, key=lambda row: row[1]))


@given(rows=row_lists)
def test_rows_come_back_out_of_a_tape_as_they_went_in(rows: list[Row]) -> None:
    tape = Tape.from_rows(BTCUSDT, rows)
    assert list(tape.rows()) == rows
    assert list(tape.rows(chunk=3)) == rows
    assert len(tape) == len(rows)
    assert all(type(value) is int for row in tape.rows() for value in row)


def test_a_tape_read_back_from_disk_is_the_tape_that_was_saved(tmp_path: Path) -> None:
    stats = FeedStats(messages=3, gaps=1, clock_offset_ns=[-5, 7], notes=["something ü"])
    tape = Tape.from_rows(INVERSE, ROWS, stats)
    path = tmp_path / "folder" / "day.tape"
    tape.save(path)
    back = Tape.load(path)
    assert list(back.rows()) == ROWS
    assert (back.instrument, back.stats) == (INVERSE, stats)
    for name in NAMES:
        assert getattr(back, name).dtype == getattr(tape, name).dtype
    assert os.listdir(path.parent) == ["day.tape"]


def test_a_loaded_tape_is_mapped_from_the_file_and_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "day.tape"
    random_tape(1).save(path)
    back = Tape.load(path)
    mapped = ("ts_exchange", "ts_local", "kind", "narrow_price", "narrow_quantity", "large")
    for name in mapped:
        column = getattr(back, name)
        assert not column.flags.owndata
        assert not column.flags.writeable
        assert column.flags.aligned


def test_a_mapped_tape_outlives_the_file_it_came_from(tmp_path: Path) -> None:
    path = tmp_path / "day.tape"
    tape = random_tape(2)
    tape.save(path)
    back = Tape.load(path)
    random_tape(3).save(path)  # replaces the file, as a rebuild does
    assert list(back.rows()) == list(tape.rows())
    path.unlink()
    assert list(back.rows()) == list(tape.rows())


def test_an_empty_tape_is_saved_and_loaded(tmp_path: Path) -> None:
    tape = Tape.from_rows(BTCUSDT, [])
    tape.save(tmp_path / "empty.tape")
    back = Tape.load(tmp_path / "empty.tape")
    assert (len(back), list(back.rows()), back.exchange_order().tolist()) == (0, [], [])


def test_a_tape_cut_anywhere_is_refused_and_never_read_as_a_shorter_one(tmp_path: Path) -> None:
    path = tmp_path / "day.tape"
    Tape.from_rows(BTCUSDT, ROWS).save(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            Tape.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match=f"{len(whole) + 1} bytes where {len(whole)} were expected"):
        Tape.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"mmkit tape", b"mmkit tape 1\n" + b"\0" * 99, b"PAR1" * 50]
)
def test_what_is_no_tape_of_this_version_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "day.tape"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a tape of this version"):
        Tape.load(path)


def test_a_header_that_promises_nonsense_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.tape"
    Tape.from_rows(BTCUSDT, ROWS).save(path)
    whole = path.read_bytes()
    magic = len(b"mmkit tape 2\n")
    for damaged in (
        whole[:magic] + (2**64 - 1).to_bytes(8, "little") + whole[magic + 8 :],
        whole.replace(b'"kind":3', b'"kind":9'),
        whole.replace(b'"kind":3', b'"kind":-'),
        whole.replace(b'"kind":3', b'"kine":3'),
        whole.replace(b'"facts":null', b'"facts":{}  '),
        whole.replace(b'"tick":"0.1"', b'"tick":"0.0"'),
    ):
        assert damaged != whole
        path.write_bytes(damaged)
        with pytest.raises(DataError):
            Tape.load(path)


def test_a_tape_that_could_not_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "day.tape"
    path.mkdir()
    with pytest.raises(OSError, match="day"):
        random_tape(1).save(path)
    assert os.listdir(tmp_path) == ["day.tape"]


def test_local_time_that_goes_back_is_refused_with_its_row() -> None:
    with pytest.raises(DataError) as caught:
        Tape.from_rows(BTCUSDT, [bid(1, 1, 0, 5), bid(1, 2, 0, 7), bid(1, 3, 0, 4)])
    assert str(caught.value) == (
        "row 2: ts_local goes back by 3 ns; a tape is in the order in which it was received"
    )


def test_columns_of_different_length_are_refused() -> None:
    uneven = columns(*ROWS)
    uneven["price"] = uneven["price"][:-1]
    with pytest.raises(DataError, match="equal length"):
        Tape(BTCUSDT, uneven)


def test_rows_of_one_instant_keep_their_order_in_the_order_of_the_exchange() -> None:
    rows = [bid(1, 1, 7, 0), bid(2, 1, 5, 1), ask(3, 1, 7, 2), sold(4, 1, 5, 3), bid(5, 1, 6, 4)]
    tape = Tape.from_rows(BTCUSDT, rows)
    assert tape.exchange_order().tolist() == [1, 3, 4, 0, 2]
    assert list(tape.rows(tape.exchange_order())) == [rows[index] for index in (1, 3, 4, 0, 2)]
    assert list(tape.rows(tape.exchange_order(), chunk=2)) == [
        rows[index] for index in (1, 3, 4, 0, 2)
    ]


@given(rows=row_lists)
def test_the_order_of_the_exchange_is_a_stable_sort(rows: list[Row]) -> None:
    tape = Tape.from_rows(BTCUSDT, rows)
    expected = sorted(range(len(rows)), key=lambda number: rows[number][0])
    assert tape.exchange_order().tolist() == expected


# --- the index: what an engine wants to know beforehand ---


def slow_tops(tape: Tape) -> list[tuple[int, int, int, int]]:
    """Row, time and best prices after each message that changed them, by the obvious book."""
    book, told = Book(), (UNKNOWN, UNKNOWN)
    found = []
    for number, row in enumerate(tape.rows()):
        book.apply(row)
        if row[2] & KIND == Kind.GAP:
            told = (-3, -3)
        if row[2] & LAST or number == len(tape) - 1:
            best = best_of(book)
            if best != told:
                told = best
                found.append((number, row[1], *best))
    return found


def best_of(book: Book) -> tuple[int, int]:
    if not book.known:
        return UNKNOWN, UNKNOWN
    bid, ask = book.best_bid, book.best_ask
    return NONE if bid is None else bid, NONE if ask is None else ask


@given(seed=st.integers(0, 10_000), messages=st.integers(1, 400), piece=st.sampled_from([7, 10**6]))
@settings(deadline=None)
def test_the_index_tells_the_best_prices_of_the_obvious_book_on_both_clocks(
    seed: int, messages: int, piece: int
) -> None:
    tape = random_tape(seed, messages, rough=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "PIECE", piece)
        made = index.index_of(tape)
    tops = zip(made.top_row, made.top_ts, made.top_bid, made.top_ask, strict=True)
    assert [tuple(map(int, top)) for top in tops] == slow_tops(tape)
    order = np.argsort(tape.ts_exchange, kind="stable")
    assert made.facts.in_order == (order.tolist() == list(range(len(tape))))
    assert made.order.tolist() == ([] if made.facts.in_order else order.tolist())
    # As of the end of every instant of the venue's clock.
    book = Book()
    for number, row in enumerate(tape.rows(order), 1):
        book.apply(row)
        if number == len(tape) or tape.ts_exchange[order[number]] != row[0]:
            n = int(np.searchsorted(made.exchange_row, number, side="right")) - 1
            best = (UNKNOWN, UNKNOWN)
            if n >= 0:
                best = (int(made.exchange_bid[n]), int(made.exchange_ask[n]))
            assert best == best_of(book)


@given(rows=row_lists)
def test_facts_are_those_of_the_whole_tape(rows: list[Row]) -> None:
    tape = Tape.from_rows(BTCUSDT, rows)
    facts = tape.index.facts
    prices = [row[3] for row in rows if row[2] & KIND in (Kind.LEVEL, Kind.TRADE)]
    kinds = [row[2] & KIND for row in rows]
    assert facts.counts == [kinds.count(kind) for kind in range(16)]
    assert facts.narrow_prices == all(0 <= price < 2**31 for price in prices)
    if prices and facts.narrow_prices:
        assert (facts.low, facts.high) == (min(prices), max(prices))
    if rows:
        assert facts.first_exchange == min(row[0] for row in rows)
        assert facts.last_exchange == max(row[0] for row in rows)
        assert tape.start_ns == min(rows[0][1], facts.first_exchange)
    assert facts.whole_messages == all(a[2] & LAST or a[1] == b[1] for a, b in pairwise(rows))


def test_a_tape_of_many_rows_is_saved_with_its_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "_INDEXED", 1)
    tape = random_tape(4, rough=True)
    path = tmp_path / "day.tape"
    tape.save(path)
    back = Tape.load(path)
    assert "index" in back.__dict__
    assert back.index.facts == tape.index.facts
    for name in index.PARTS:
        assert np.array_equal(getattr(back.index, name), getattr(tape.index, name))
    whole = path.read_bytes()
    for size in range(0, len(whole), 997):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            Tape.load(path)


@pytest.mark.parametrize("indexed", [1, 10**9])
def test_a_tape_written_piece_by_piece_is_the_tape_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indexed: int
) -> None:
    monkeypatch.setattr(file, "_INDEXED", indexed)
    monkeypatch.setattr(index, "PIECE", 1_000)
    tape = random_tape(5, rough=True)
    tape.save(tmp_path / "whole.tape")
    with TapeWriter(tmp_path / "pieces.tape", BTCUSDT) as writer:
        for start in range(0, len(tape), 777):
            writer.add({name: getattr(tape, name)[start : start + 777] for name in NAMES})
        back = writer.finish(FeedStats())
    assert (tmp_path / "whole.tape").read_bytes() == (tmp_path / "pieces.tape").read_bytes()
    assert list(back.rows()) == list(tape.rows())
    assert sorted(os.listdir(tmp_path)) == ["pieces.tape", "whole.tape"]


def test_a_tape_that_was_not_finished_leaves_nothing_behind(tmp_path: Path) -> None:
    def broken_off() -> None:
        with TapeWriter(tmp_path / "day.tape", BTCUSDT) as writer:
            writer.add(columns(*ROWS))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    assert os.listdir(tmp_path) == []


def test_local_time_that_goes_back_between_pieces_is_refused_with_its_row(tmp_path: Path) -> None:
    with TapeWriter(tmp_path / "day.tape", BTCUSDT) as writer:
        writer.add(columns(bid(1, 1, 0, 5), bid(1, 2, 0, 7)))
        with pytest.raises(DataError, match="row 2: ts_local goes back by 3 ns"):
            writer.add(columns(bid(1, 3, 0, 4)))


# --- records of a journal ---


@given(rows=row_lists)
def test_records_read_back_as_the_rows_they_were_made_of(rows: list[Row]) -> None:
    raw = records((0, row) for row in rows)
    assert len(raw) == 34 * len(rows) == RECORD.itemsize * len(rows)
    assert list(tape_from_records(BTCUSDT, raw).rows()) == rows


def test_records_written_piece_by_piece_are_the_records_of_the_whole() -> None:
    assert b"".join(records([(0, row)]) for row in ROWS) == records((0, row) for row in ROWS)


@given(rows=row_lists, cuts=st.lists(st.integers(0, 2), max_size=20))
def test_records_of_several_markets_read_back_as_messages_and_as_tapes(
    rows: list[Row], cuts: list[int]
) -> None:
    markets = [cuts[n] if n < len(cuts) else 0 for n in range(len(rows))]
    raw = records(zip(markets, rows, strict=True))
    told = messages_from_records(raw)
    assert [(market, row) for market, message in told for row in message] == list(
        zip(markets, rows, strict=True)
    )
    for (market, message), (after, _) in pairwise(told):
        assert message[-1][2] & LAST or after != market
    for number in range(3):
        own = [row for market, row in zip(markets, rows, strict=True) if market == number]
        assert list(tape_from_records(BTCUSDT, raw, market=number).rows()) == own


@pytest.mark.parametrize("cut", range(1, 34))
def test_a_record_cut_short_by_a_crash_is_left_out(cut: int) -> None:
    raw = records((0, row) for row in ROWS)
    assert list(tape_from_records(BTCUSDT, raw[:-cut]).rows()) == ROWS[:-1]


def test_no_records_at_all_are_an_empty_tape() -> None:
    assert records([]) == b""
    assert len(tape_from_records(BTCUSDT, b"")) == 0
    assert len(tape_from_records(BTCUSDT, b"\0" * 33)) == 0
