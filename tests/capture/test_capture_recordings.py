"""Every real recording: what is rebuilt from it is what the venue said at the time."""

from __future__ import annotations

import gzip
import lzma
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from capture_fixtures import DATA, RECORDINGS, Recording, recorded, tape, wire_formats

from mmkit.book import Book
from mmkit.errors import CaptureError
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.tape import KIND, GapReason, Kind, Tape

BTC_USDM = {str(number): RECORDINGS[number] for number in range(3)}


@pytest.fixture(scope="module")
def userdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("userdir")


def test_the_recordings_are_there() -> None:
    missing = [path for found in RECORDINGS for path in found.paths if not (DATA / path).is_file()]
    assert not missing, f"expected under {DATA}"


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_the_book_equals_every_ticker_of_the_same_update_and_no_gap_is_seen(
    recording: Recording, userdir: Path
) -> None:
    found = recorded(recording, userdir)
    stats = found.stats
    assert (stats.tickers_compared, stats.tickers_different) == (recording.tickers, 0)
    assert (stats.gaps, stats.snapshots, stats.stale_snapshots) == (0, 1, 0)
    kinds = found.kind & KIND
    gaps = np.flatnonzero(kinds == Kind.GAP)
    assert gaps.tolist() == [0]
    assert found.price[0] == GapReason.START
    assert (found.ts_local[1:] >= found.ts_local[:-1]).all()
    # With the recorder's offset removed nothing is received before it was sent. What comes out
    # together with the snapshot is younger than that, never older.
    assert (found.ts_local - found.ts_exchange).min() >= 0
    # The rows of the book are in one order by either clock.
    book = np.isin(kinds, (Kind.GAP, Kind.SNAPSHOT, Kind.LEVEL))
    order = found.exchange_order()
    assert (np.flatnonzero(book) == order[book[order]]).all()


@pytest.mark.parametrize(
    ("recording", "offsets"),
    [
        (RECORDINGS[0], [1_272_156_851]),
        (RECORDINGS[1], [1_522_101_448, 1_523_469_656]),
    ],
    ids=str,
)
def test_the_recorders_offset_is_that_which_hftbacktest_finds(
    recording: Recording, offsets: list[int], userdir: Path
) -> None:
    assert recorded(recording, userdir).stats.clock_offset_ns == offsets


def test_files_recorded_at_once_share_one_clock(userdir: Path) -> None:
    found = recorded(RECORDINGS[5], userdir).stats.clock_offset_ns
    assert found == [5_785_000, 5_785_000]  # the file of REST answers alone carries no time at all


def test_the_print_of_the_insurance_fund_is_not_on_the_book(userdir: Path) -> None:
    found = recorded(RECORDINGS[2], userdir)
    off_book = np.flatnonzero(found.kind & KIND == Kind.OFF_BOOK)
    assert found.stats.off_book == len(off_book) == 1
    assert found.instrument.price(int(found.price[off_book[0]])) == Decimal("28722.5")


def test_totals_finer_than_the_lot_are_noted(userdir: Path) -> None:
    notes = recorded(RECORDINGS[3], userdir).stats.notes
    assert any("finer than the lot 0.00001" in note for note in notes)


def test_the_second_file_of_a_pair_alone_has_no_book() -> None:
    for recording in RECORDINGS[1:5]:
        with pytest.raises(CaptureError, match="holds no snapshot of the book"):
            recorded(recording._replace(paths=recording.paths[1:]), Path("unused"))


def test_a_tape_of_the_first_file_begins_with_its_first_message(userdir: Path) -> None:
    found = recorded(RECORDINGS[0], userdir)
    assert found.ts_local[0] == 1_723_161_255_030_314_667 + 1_272_156_851
    assert found.ts_exchange[0] == 1_723_161_256_298_000_000


# --- a line is missing --------------------------------------------------------------------------


@cache
def messages(recording: Recording) -> tuple[tuple[str, bytes], ...]:
    """Return the symbol's messages in order of receipt, and what each is."""
    spec = _instrument(recording)
    decoder, found = wire_formats(spec, ("depth",)), []
    for path in recording.paths:
        opener = lzma.open if path.endswith(".xz") else gzip.open
        with opener(DATA / path) as file:
            for raw in file:
                head, _, body = raw.strip().partition(b" {")
                if not body or not raw[:1].isdigit():
                    if b"/depth?symbol=" + spec.native.encode() + b"&" in head:
                        found.append((float(head.split()[-1][:-1]), "snapshot", b"{" + body))
                    continue
                info = decoder.describe(b"{" + body)
                if (
                    info
                    and info.symbol in ("", spec.native)
                    and info.stream in ("depth", "snapshot")
                ):
                    found.append((float(head.rstrip(b":")), info.stream, b"{" + body))
    found.sort(key=lambda item: item[0])
    return tuple((stream, body) for _, stream, body in found)


def _instrument(recording: Recording) -> Instrument:
    spec = InstrumentSpec(venue=recording.venue, market=recording.market, symbol=recording.symbol)
    return Instrument(
        venue=spec.venue,
        market=spec.market,
        symbol=spec.symbol,
        native=spec.base + spec.quote,
        base=spec.base,
        quote=spec.quote,
        kind=spec.kind,
        tick=Decimal(recording.tick),
        lot=Decimal(recording.lot),
    )


def gaps(recording: Recording, kept: list[tuple[str, bytes]]) -> tuple[int, int, Book]:
    decoder, book, rows = wire_formats(_instrument(recording), ("depth",)), Book(), 0
    for number, (_, body) in enumerate(kept):
        for row in decoder.message(body, number):
            rows += row[2] & KIND == Kind.GAP and row[3] == GapReason.SEQUENCE
            book.apply(row)
    return decoder.stats.gaps, rows, book


SMALL = [found for found in RECORDINGS if "binance_30s" in found.paths[0] and found.tickers > 1]


@pytest.mark.parametrize("recording", SMALL, ids=str)
def test_any_removed_update_is_exactly_one_gap(recording: Recording) -> None:
    told = messages(recording)
    assert gaps(recording, list(told))[0] == 0
    updates = [number for number, (stream, _) in enumerate(told) if stream == "depth"]
    # The first has nothing before it to miss it, the last nothing after. Every one on the quietest
    # symbols, an even sample of 24 on the others.
    inner = updates[1:-1]
    for removed in inner[:: max(1, len(inner) // 24)]:
        kept = [*told[:removed], *told[removed + 1 :]]
        count, rows, book = gaps(recording, kept)
        assert (count, rows) == (1, 1), f"update {removed}"
        assert not book.known or removed < 20  # before the snapshot, it may still fit


@pytest.mark.parametrize("recording", [RECORDINGS[1], RECORDINGS[4]], ids=str)
def test_a_removed_update_of_a_long_recording_is_one_gap_in_the_tape(
    recording: Recording, tmp_path: Path
) -> None:
    with gzip.open(DATA / recording.paths[0], "rt") as file:
        lines = file.readlines()
    updates = [number for number, line in enumerate(lines) if '"depthUpdate"' in line]
    for removed in (updates[200], updates[len(updates) // 2], updates[-2]):
        path = tmp_path / f"without_{removed}.dat"
        path.write_text("".join(lines[:removed] + lines[removed + 1 :]))
        found: Tape = tape(
            path,
            tmp_path,
            market=recording.market,
            symbol=recording.symbol,
            tick=recording.tick,
            lot=recording.lot,
        )
        following = updates[updates.index(removed) + 1]  # its line moved up by one
        assert found.stats.gaps == 1
        assert f"{path}:{following}: at least one update" in "\n".join(found.stats.notes)
        rows = (found.kind & KIND == Kind.GAP) & (found.price == GapReason.SEQUENCE)
        assert rows.sum() == 1
