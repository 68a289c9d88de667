"""When the book of a tape is unknown."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.book import Book
from mmkit.quality.findings import Notebook
from mmkit.quality.tape import TapeCheck
from mmkit.tape import LAST, SELL, Gap, GapReason, Kind, Row, Tape, gaps_of, unknown_ns
from mmkit.testing import BTCUSDT

MESSAGES = st.lists(st.tuples(st.sampled_from("gsl"), st.integers(0, 5)), max_size=30)


def tape_of(messages: list[tuple[str, int]]) -> Tape:
    rows: list[Row] = []
    now = 10
    for what, pause in [("g", 0), *messages]:
        now += pause
        if what == "g":
            rows.append((now, now, Kind.GAP | LAST, GapReason.SEQUENCE, 0))
        elif what == "s":
            rows.append((now, now, int(Kind.SNAPSHOT), 0, 0))
            rows.append((now, now, int(Kind.LEVEL), 100, 1))
            rows.append((now, now, Kind.LEVEL | SELL | LAST, 101, 1))
        else:
            rows.append((now, now, Kind.LEVEL | LAST, 99, 1))
    return Tape.from_rows(BTCUSDT, rows)


@given(messages=MESSAGES)
def test_the_gaps_cover_just_the_time_in_which_the_book_is_unknown(
    messages: list[tuple[str, int]],
) -> None:
    tape = tape_of(messages)
    book, unknown, before = Book(), 0, None
    for row in tape.rows():
        if before is not None and not book.known:
            unknown += row[1] - before
        book.apply(row)
        before = row[1]
    gaps = gaps_of(tape)
    assert unknown_ns(gaps) == unknown
    assert [gap.row for gap in gaps] == [n for n, row in enumerate(tape.rows()) if row[2] & 15 == 4]


def test_a_gap_lasts_until_the_snapshot_is_complete_or_to_the_end() -> None:
    tape = tape_of([("l", 3), ("s", 4), ("l", 1), ("g", 2), ("l", 5)])
    assert gaps_of(tape) == [
        Gap(0, GapReason.SEQUENCE, 10, 17),
        Gap(6, GapReason.SEQUENCE, 20, 25),
    ]


def test_a_tape_without_rows_has_no_gap() -> None:
    assert gaps_of(Tape.from_rows(BTCUSDT, [])) == []


@settings(deadline=None)  # the first one compiles
@given(reason=st.sampled_from(GapReason), more=st.booleans())
def test_a_gap_of_every_reason_is_found_but_for_the_end_of_a_recording(
    reason: GapReason, more: bool
) -> None:
    book = [
        (10, 10, int(Kind.SNAPSHOT), 0, 0),
        (10, 10, int(Kind.LEVEL), 100, 1),
        (10, 10, Kind.LEVEL | SELL | LAST, 101, 1),
    ]
    gap = (20, 20, Kind.GAP | LAST, int(reason), 0)
    after = [(30, 30, *row[2:]) for row in book] if more else []
    notes = Notebook()
    TapeCheck(Tape.from_rows(BTCUSDT, [*book, gap, *after]), notes).run()
    ended = reason is GapReason.RECORDER and not more
    assert len(notes.findings()) == (0 if ended else 1)
