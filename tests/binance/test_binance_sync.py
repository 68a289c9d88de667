"""Keeping the book in step: the rules of spot and of USD-M."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from binance_fixtures import (
    MS,
    SPOT,
    USDM,
    book_of,
    sides,
    snapshot,
    spot_diff,
    usdm_diff,
    wire,
)
from hypothesis import given
from hypothesis import strategies as st

from mmkit.book import Book
from mmkit.instruments import Instrument
from mmkit.tape import KIND, LAST, GapReason, Kind, Row, Tape
from mmkit_binance.sync import REPEATS
from mmkit_binance.wire import BinanceWire


def kinds(rows: list[Row]) -> list[Kind]:
    return [Kind(row[2] & KIND) for row in rows]


def gaps(rows: list[Row]) -> list[GapReason]:
    return [GapReason(row[3]) for row in rows if row[2] & KIND == Kind.GAP]


def test_updates_wait_for_a_snapshot_and_come_out_with_it_now() -> None:
    decoder = wire(SPOT)
    assert decoder.wants_snapshot
    assert gaps(decoder.message(spot_diff(5, 9, 1, [(99.0, 1)]), 100)) == [GapReason.START]
    assert decoder.message(spot_diff(10, 12, 2, [(99.5, 2)]), 200) == []
    assert decoder.message(spot_diff(13, 14, 3, [(99.7, 3)]), 300) == []
    rows = decoder.snapshot(snapshot(11, [(99.0, 1), (98.0, 4)], [(101.0, 1)]), 400)
    # Spot's snapshot has no time: it takes that of the update that bridges it.
    assert [row[:2] for row in rows] == [(2 * MS, 400)] * 5 + [(3 * MS, 400)]
    assert [bool(row[2] & LAST) for row in rows] == [False, False, False, True, True, True]
    assert book_of(rows).bids.levels == {990: 1000, 980: 4000, 995: 2000, 997: 3000}
    assert not decoder.wants_snapshot
    assert decoder.stats.snapshots == 1


def test_a_snapshot_ahead_of_every_spot_update_is_used_and_those_it_holds_are_dropped() -> None:
    decoder = wire(SPOT)
    decoder.message(spot_diff(5, 9, 1, [(99.0, 1)]), 100)
    rows = decoder.snapshot(snapshot(11, [(99.0, 7)]), 200)
    assert book_of(rows).bids.levels == {990: 7000}
    assert decoder.message(spot_diff(10, 11, 2, [(99.0, 6)]), 300) == []
    assert book_of(rows + decoder.message(spot_diff(12, 12, 3, [(99.0, 5)]), 400)).bids.levels == {
        990: 5000
    }
    assert decoder.stats.gaps == 0


@pytest.mark.parametrize(("last", "fits"), [(3, False), (4, True), (5, True), (9, True)])
def test_a_spot_snapshot_fits_if_the_first_update_begins_at_most_one_after_it(
    last: int, fits: bool
) -> None:
    decoder = wire(SPOT)
    decoder.message(spot_diff(5, 9, 1, [(99.0, 1)]), 100)
    rows = decoder.snapshot(snapshot(last, [(98.0, 1)]), 200)
    assert (bool(rows), decoder.wants_snapshot) == (fits, not fits)
    assert decoder.stats.stale_snapshots == (not fits)


@pytest.mark.parametrize(
    ("last", "fits"),
    [
        (39, False),
        (40, True),  # pu == lastUpdateId
        (45, True),  # between pu and U: ids jump, nothing lies between
        (50, True),  # U <= lastUpdateId <= u
        (60, True),  # u == lastUpdateId: not dropped, it is the bridge
    ],
)
def test_a_usdm_snapshot_fits_if_it_is_not_older_than_the_update_before(
    last: int, fits: bool
) -> None:
    decoder = wire(USDM)
    decoder.message(usdm_diff(50, 60, 40, 1, [(99.0, 1)]), 100)
    rows = decoder.snapshot(snapshot(last, [(98.0, 1)], time=1), 200)
    assert bool(rows) == fits
    assert decoder.stats.stale_snapshots == (not fits)
    if fits:
        assert book_of(rows).bids.levels == {980: 1000, 990: 1000}
        assert decoder.message(usdm_diff(75, 80, 60, 2, [(97.0, 1)]), 300) != []
    assert decoder.stats.gaps == 0


def test_a_stale_snapshot_is_refused_and_another_one_fits() -> None:
    decoder = wire(SPOT)
    decoder.message(spot_diff(5, 9, 1, [(99.0, 1)]), 100)
    assert decoder.snapshot(snapshot(2), 200) == []
    assert decoder.wants_snapshot
    assert decoder.snapshot(snapshot(9, [(98.0, 1)]), 300) != []
    assert (decoder.stats.stale_snapshots, decoder.stats.snapshots) == (1, 1)


def test_a_missing_update_makes_the_book_unknown_until_a_snapshot_fits() -> None:
    decoder = wire(SPOT)
    rows = decoder.message(snapshot(10, [(99.0, 1)], [(101.0, 1)]), 100)
    rows += decoder.message(spot_diff(11, 11, 1, [(99.0, 2)]), 200)
    gap = decoder.message(spot_diff(13, 13, 3, [(98.0, 2)]), 300)
    assert gap == [(3 * MS, 300, Kind.GAP | LAST, GapReason.SEQUENCE, 0)]
    assert decoder.message(spot_diff(14, 14, 4, [(97.0, 2)]), 400) == []
    assert decoder.wants_snapshot
    assert not book_of(rows + gap).known
    again = decoder.snapshot(snapshot(13, [(99.0, 5)]), 500)
    assert book_of(rows + gap + again).bids.levels == {990: 5000, 970: 2000}
    assert decoder.stats.gaps == 1


def test_a_usdm_update_that_does_not_name_the_one_before_is_a_gap() -> None:
    decoder = wire(USDM)
    decoder.message(snapshot(10, [(99.0, 1)], time=1), 100)
    decoder.message(usdm_diff(9, 12, 8, 1, [(99.0, 2)]), 200)
    rows = decoder.message(usdm_diff(13, 15, 11, 3, [(98.0, 2)]), 300)
    assert gaps(rows) == [GapReason.SEQUENCE]


def test_a_missing_update_while_waiting_is_one_gap_and_what_came_before_it_is_let_go() -> None:
    decoder = wire(SPOT)
    decoder.message(spot_diff(5, 5, 1, [(99.0, 1)]), 100)
    assert gaps(decoder.message(spot_diff(7, 7, 3, [(98.0, 1)]), 200)) == [GapReason.SEQUENCE]
    assert decoder.snapshot(snapshot(5), 300) == []
    assert decoder.snapshot(snapshot(6, [(97.0, 1)]), 400) != []
    assert decoder.stats.gaps == 1


def test_a_snapshot_that_came_before_any_update_and_was_older_than_them_is_a_gap() -> None:
    decoder = wire(SPOT)
    decoder.snapshot(snapshot(5, [(99.0, 1)]), 100)
    assert gaps(decoder.message(spot_diff(9, 9, 1, [(99.0, 1)]), 200)) == [GapReason.SEQUENCE]


def test_a_snapshot_nobody_needs_does_not_disturb_the_chain() -> None:
    decoder = wire(SPOT)
    decoder.message(snapshot(10, [(99.0, 1)]), 100)
    decoder.message(spot_diff(11, 11, 1, [(99.0, 2)]), 200)
    assert decoder.message(snapshot(30, [(90.0, 1)]), 300) == []
    assert len(decoder.message(spot_diff(12, 12, 2, [(99.0, 3)]), 400)) == 1
    assert (decoder.stats.gaps, decoder.stats.snapshots, decoder.stats.ignored) == (0, 1, 1)


def test_a_recorder_that_began_anew_with_a_snapshot_is_a_gap_that_closes_at_once() -> None:
    decoder = wire(SPOT)
    decoder.message(snapshot(10, [(99.0, 1)]), 100)
    decoder.message(spot_diff(11, 11, 1, [(99.0, 2)]), 200)
    decoder.message(snapshot(50, [(90.0, 1)]), 300)
    rows = decoder.message(spot_diff(51, 51, 2, [(91.0, 3)]), 400)
    assert kinds(rows) == [Kind.GAP, Kind.SNAPSHOT, Kind.LEVEL, Kind.LEVEL]
    assert book_of(rows).bids.levels == {900: 1000, 910: 3000}
    assert (decoder.stats.gaps, decoder.stats.snapshots) == (1, 2)


def test_an_update_that_repeats_what_was_seen_is_ignored() -> None:
    for decoder, diff in ((wire(SPOT), spot_diff(11, 12, 1, [(99.0, 2)])),):
        decoder.message(snapshot(10, [(99.0, 1)]), 100)
        assert len(decoder.message(diff, 200)) == 1
        assert decoder.message(diff, 300) == []
        assert (decoder.stats.gaps, decoder.stats.ignored) == (0, 1)


def test_a_venue_that_counts_anew_is_a_gap_and_not_silence() -> None:
    decoder = wire(SPOT)
    decoder.message(snapshot(1000, [(99.0, 1)]), 100)
    decoder.message(spot_diff(1001, 1001, 1, [(99.0, 2)]), 200)
    rows: list[Row] = []
    for number in range(1, REPEATS + 2):
        rows += decoder.message(spot_diff(number, number, 1 + number, [(99.0, 2)]), 200 + number)
    assert gaps(rows) == [GapReason.SEQUENCE]
    assert decoder.wants_snapshot


def test_a_lost_connection_is_a_gap_row_and_everything_starts_anew() -> None:
    decoder = wire(SPOT)
    decoder.message(snapshot(10, [(99.0, 1)]), 100)
    decoder.message(spot_diff(11, 11, 1, [(99.0, 2)]), 200)
    # Nothing is known of the venue's time of a loss: it takes that of the newest message.
    latest = max(100, 1 * MS)
    assert decoder.lost(GapReason.CONNECTION, 300) == [
        (latest, 300, Kind.GAP | LAST, GapReason.CONNECTION, 0)
    ]
    assert decoder.wants_snapshot
    assert decoder.message(spot_diff(90, 91, 2, [(99.0, 2)]), 400) == []
    assert decoder.snapshot(snapshot(90, [(98.0, 1)]), 500) != []
    decoder.lost(GapReason.SILENCE, 600)
    assert decoder.stats.gaps == 2


# --- against a book that is known at every update id -------------------------------------------


@dataclass
class Venue:
    """A true book, and what it would have sent."""

    spot: bool
    diffs: list[str] = field(default_factory=list)
    lasts: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=lambda: [1000])
    books: dict[int, tuple[dict[int, int], dict[int, int]]] = field(default_factory=dict)

    def snapshot(self, at: int) -> str:
        bids, asks = self.books[at]
        return snapshot(
            at,
            [(price / 10, lots / 1000) for price, lots in bids.items()],
            [(price / 10, lots / 1000) for price, lots in asks.items()],
            time=None if self.spot else self.ids.index(at),
        )


change = st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3), st.integers(1, 9))


@st.composite
def venues(draw: st.DrawFn) -> Venue:
    venue = Venue(spot=draw(st.booleans()))
    bids: dict[int, int] = {900: 5}
    asks: dict[int, int] = {1000: 5}
    venue.books[1000] = (dict(bids), dict(asks))
    previous = 1000
    for _ in range(draw(st.integers(3, 8))):
        first, changes = 0, {}
        for is_bid, offset, quantity, jump in draw(st.lists(change, min_size=1, max_size=4)):
            at = venue.ids[-1] + (1 if venue.spot else jump)
            first = first or at
            side, price = (bids, 900 - offset) if is_bid else (asks, 1000 + offset)
            side.pop(price, None)
            if quantity:
                side[price] = quantity
            changes[is_bid, price] = quantity
            venue.ids.append(at)
            venue.books[at] = (dict(bids), dict(asks))
        told = [
            [(price / 10, lots / 1000) for (b, price), lots in changes.items() if b is is_bid]
            for is_bid in (True, False)
        ]
        last, time = venue.ids[-1], len(venue.ids)
        venue.diffs.append(
            spot_diff(first, last, time, *told)
            if venue.spot
            else usdm_diff(first, last, previous, time, *told)
        )
        venue.lasts.append(last)
        previous = last
    return venue


def check(book: Book, venue: Venue, at: int) -> None:
    if book.known:
        assert sides(book) == venue.books[at]


@given(venue=venues(), data=st.data())
def test_a_known_book_is_the_venues_book_whenever_the_snapshot_was_taken_and_arrived(
    venue: Venue, data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(venue.diffs) - 1), "first update received")
    arrives = data.draw(st.integers(begin, len(venue.diffs)), "updates before the snapshot")
    newest = venue.lasts[arrives - 1] if arrives else 1000
    taken = data.draw(st.sampled_from([at for at in venue.ids if at <= newest]), "snapshot at")
    decoder, book, rows = wire(SPOT if venue.spot else USDM, "depth"), Book(), []
    for number in range(begin, len(venue.diffs) + 1):
        if number == arrives:
            made = decoder.snapshot(venue.snapshot(taken), 10_000 * number + 1)
            rows += made
            for row in made:
                book.apply(row)
            if made and number > begin:
                check(book, venue, max(taken, venue.lasts[number - 1]))
        if number == len(venue.diffs):
            break
        made = decoder.message(venue.diffs[number], 10_000 * (number + 1))
        rows += made
        for row in made:
            book.apply(row)
        if number >= arrives:
            check(book, venue, max(taken, venue.lasts[number]))
    before = venue.lasts[begin - 1] if begin else 1000
    assert book.known == (taken >= before) or arrives == begin
    assert (
        decoder.stats.stale_snapshots + decoder.stats.gaps == (taken < before) or arrives == begin
    )
    if rows:
        # The venue's order tells the same book: nothing overtakes the snapshot or the gap.
        tape = Tape.from_rows(decoder_instrument(venue), rows)
        replayed = book_of(list(tape.rows(tape.exchange_order())))
        assert (replayed.known, sides(replayed)) == (book.known, sides(book))


def decoder_instrument(venue: Venue) -> Instrument:
    return SPOT if venue.spot else USDM


@given(venue=venues(), data=st.data())
def test_any_missing_update_but_the_first_and_last_is_exactly_one_gap(
    venue: Venue, data: st.DataObject
) -> None:
    removed = data.draw(st.integers(1, len(venue.diffs) - 2), "removed")
    arrives = data.draw(st.integers(0, len(venue.diffs)), "updates before the snapshot")
    taken = data.draw(st.sampled_from(venue.ids), "snapshot at")
    for missing, expected in ((None, 0), (removed, 1)):
        decoder: BinanceWire = wire(SPOT if venue.spot else USDM, "depth")
        for number, diff in enumerate(venue.diffs):
            if number == arrives:
                decoder.snapshot(venue.snapshot(taken), 10_000 * number + 1)
            if number != missing:
                decoder.message(diff, 10_000 * (number + 1))
        assert decoder.stats.gaps == expected
