"""Small captures: times, files together, what is kept."""

from __future__ import annotations

import asyncio
import gzip
import logging
import lzma
from pathlib import Path

import numpy as np
import pytest
from capture_fixtures import (
    SECOND,
    diff_message,
    line,
    small,
    snapshot_message,
    source,
    tape,
    trade_message,
    write,
)
from pydantic import ValidationError

from mmkit.errors import CaptureError, ConfigError
from mmkit.tape import KIND, LAST, SELL, GapReason, Kind, Tape
from mmkit_capture.files import CaptureFile
from mmkit_capture.source import CaptureConfig

NS = 10**9


def rows(found: Tape) -> list[tuple[int, ...]]:
    return list(found.rows())


def test_a_capture_becomes_a_tape(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small(updates=1))
    first, second, third = (SECOND * NS + number * NS // 10 for number in range(3))
    sent = 20_000_000
    assert rows(tape(path, tmp_path)) == [
        (first, first, Kind.GAP | LAST, GapReason.START, 0),
        (first, first, Kind.SNAPSHOT, 0, 0),
        (first, first, Kind.LEVEL, 999, 2000),
        (first, first, Kind.LEVEL, 998, 1000),
        (first, first, Kind.LEVEL | SELL | LAST, 1001, 3000),
        (second - sent, second, Kind.LEVEL | LAST, 999, 11_000),
        (third - sent, third, Kind.TRADE | LAST, 1001, 500),
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_local_time_is_read_in_any_unit_and_exactly(unit: str, tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small(unit))
    assert rows(tape(path, tmp_path)) == rows(
        tape(write(tmp_path / "ns.txt", small("ns")), tmp_path)
    )


def test_seconds_keep_every_digit_a_float_would_lose(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", ["1633998512.0633569: {}\n", "1633998513: {}\n"])
    assert [found.ts_local for found in CaptureFile(path).lines()] == [
        1_633_998_512_063_356_900,
        1_633_998_513_000_000_000,
    ]


@pytest.mark.parametrize("packed", ["plain", "gz", "xz", "gz in disguise"])
def test_how_a_file_is_packed_is_seen_in_its_content(packed: str, tmp_path: Path) -> None:
    raw = "".join(small()).encode()
    name, content = {
        "plain": ("capture.txt", raw),
        "gz": ("capture.gz", gzip.compress(raw)),
        "xz": ("capture.xz", lzma.compress(raw)),
        "gz in disguise": ("capture.txt", gzip.compress(raw)),
    }[packed]
    (tmp_path / name).write_bytes(content)
    assert len(tape(tmp_path / name, tmp_path)) == 11


def test_headers_and_answers_to_other_requests_are_skipped_and_said(tmp_path: Path) -> None:
    lines = [
        "configuration: {}\n",
        "wss://host/stream?streams=btcusdt@depth <-> 1700000000.1\n",
        "https://host/api/v3/exchangeInfo -> 1699999999.5: {}\n",
        "\n",
        *small(),
    ]
    found = tape(write(tmp_path / "capture.txt", lines), tmp_path)
    assert len(found) == 11
    assert "3 lines carry no message and were skipped" in found.stats.notes


def test_of_the_snapshots_requested_only_that_of_the_symbol_counts(tmp_path: Path) -> None:
    lines = small("s")
    body = lines[0].partition(" ")[2]
    at = f"{SECOND}.0"
    write(
        tmp_path / "http.txt",
        [
            f"https://host/api/v3/depth?symbol=ETHUSDT&limit=1000 -> {at}: {body}",
            f"https://host/api/v3/depth?symbol=BTCUSDT&limit=1000 -> {at}: {body}",
        ],
    )
    write(tmp_path / "ws.txt", lines[1:])
    found = tape([tmp_path / "ws.txt", tmp_path / "http.txt"], tmp_path)
    assert (found.stats.snapshots, found.stats.ignored, len(found)) == (1, 1, 11)


def test_trades_are_those_that_are_there(tmp_path: Path) -> None:
    lines = [*small()[:-1], line(6, trade_message(6, "aggTrade"))]
    found = tape(write(tmp_path / "agg.txt", lines), tmp_path)
    assert found.kind[-1] & KIND == Kind.TRADE
    both = [*lines, line(7, trade_message(7))]
    found = tape(write(tmp_path / "both.txt", both), tmp_path)
    assert (found.kind & KIND == Kind.TRADE).sum() == 1
    found = tape(tmp_path / "both.txt", tmp_path, streams=["depth"])
    assert (found.kind & KIND == Kind.TRADE).sum() == 0


def test_a_clock_that_is_behind_is_set_right_and_one_that_is_ahead_is_left(tmp_path: Path) -> None:
    behind = [text.replace(str(SECOND), str(SECOND - 2), 1) for text in small()]
    found = tape(write(tmp_path / "behind.txt", behind), tmp_path)
    assert found.stats.clock_offset_ns == [2 * NS - 20_000_000]
    assert (found.ts_local - found.ts_exchange).min() == 0
    assert "were added to the recorder's clock" in "\n".join(found.stats.notes)
    found = tape(write(tmp_path / "right.txt", small()), tmp_path)
    assert found.stats.clock_offset_ns == [0]


def test_the_offset_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small())
    found = tape(path, tmp_path, clock_offset="1.5s")
    assert found.stats.clock_offset_ns == [1_500_000_000]
    assert found.ts_local[0] == SECOND * NS + 1_500_000_000


def test_files_in_sequence_go_on_without_a_new_snapshot_in_whatever_order_they_are_named(
    tmp_path: Path,
) -> None:
    whole = rows(tape(write(tmp_path / "whole.txt", small()), tmp_path))
    write(tmp_path / "part1.txt", small()[:3])
    write(tmp_path / "part2.txt", small()[3:])
    found = tape([tmp_path / "part2.txt", tmp_path / "part1.txt"], tmp_path)
    assert (rows(found), found.stats.gaps) == (whole, 0)
    assert rows(tape(str(tmp_path / "part?.txt"), tmp_path)) == whole


def test_a_file_whose_offset_would_put_it_before_the_one_ahead_is_moved_and_said(
    tmp_path: Path,
) -> None:
    # Both recorders are behind, the first one by a second more.
    early = [text.replace(str(SECOND), str(SECOND - 3), 1) for text in small()[:3]]
    late = [text.replace(str(SECOND), str(SECOND - 2), 1) for text in small()[3:]]
    late = [text.replace('"E": 17', '"E": 16') for text in late]  # sent long before: no offset
    write(tmp_path / "1.txt", early)
    write(tmp_path / "2.txt", late)
    found = tape([tmp_path / "1.txt", tmp_path / "2.txt"], tmp_path, streams=["depth"])
    assert found.stats.clock_offset_ns == [3 * NS - 20_000_000, 0]
    assert (np.diff(found.ts_local) >= 0).all()
    assert "moved to that end" in "\n".join(found.stats.notes)


def test_a_gap_is_counted_and_named_and_the_tape_goes_on(tmp_path: Path) -> None:
    lines = small()
    del lines[2]
    path = write(tmp_path / "capture.txt", lines)
    found = tape(path, tmp_path)
    kinds = (found.kind & KIND).tolist()
    assert found.stats.gaps == 1
    assert kinds[-2:] == [Kind.GAP, Kind.TRADE]
    assert found.stats.notes == [
        f"{path}:3: at least one update of the book is missing before this",
        f"the book is unknown from {path}:3 to the end",
    ]


def test_a_gap_is_closed_by_a_later_snapshot(tmp_path: Path) -> None:
    lines = small()
    del lines[2]
    lines.insert(4, line(5, snapshot_message(14)))
    found = tape(write(tmp_path / "capture.txt", lines), tmp_path)
    assert (found.stats.gaps, found.stats.snapshots) == (1, 2)
    assert not any("to the end" in note for note in found.stats.notes)


def test_a_tape_is_kept_beside_its_source_and_mapped_the_next_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mmkit")
    path = write(tmp_path / "capture.txt", small())
    built = tape(path, tmp_path / "userdir")
    (kept,) = tmp_path.glob("capture.txt.*.tape")
    assert "tape built rows=11" in caplog.text
    caplog.clear()
    mapped = tape(path, tmp_path / "userdir")
    assert (caplog.text, rows(mapped), mapped.stats) == ("", rows(built), built.stats)
    assert not mapped.narrow_price.flags.writeable
    # Other content, streams or offset is another tape.
    tape(path, tmp_path, streams=["depth"])
    assert f"path={kept} reason=it was built with other settings, or by another" in caplog.text
    tape(path, tmp_path, clock_offset="1s")
    path.write_text("".join(small(updates=6)))
    caplog.clear()
    assert len(tape(path, tmp_path)) == 12
    assert f"path={kept} reason=its source has changed" in caplog.text
    assert len(list(tmp_path.glob("*.tape"))) == 4
    assert kept.exists()


def test_a_damaged_tape_is_built_anew_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "capture.txt", small())
    built = rows(tape(path, tmp_path))
    (kept,) = tmp_path.glob("*.tape")
    whole = kept.read_bytes()
    for damaged in (whole[:-7], b"", b"something else", whole[:13] + b"\xff" * 8 + whole[21:]):
        kept.write_bytes(damaged)
        caplog.clear()
        assert rows(tape(path, tmp_path)) == built
        assert "kept tape cannot be used, building it anew" in caplog.text
        assert kept.read_bytes() == whole


def test_beside_a_read_only_source_nothing_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    path = write(folder / "capture.txt", small())
    folder.chmod(0o555)
    try:
        tape(path, tmp_path / "userdir")
        assert [found.name for found in folder.iterdir()] == ["capture.txt"]
    finally:
        folder.chmod(0o755)
    assert len(list((tmp_path / "userdir" / "data" / "tapes").glob("capture.txt.*.tape"))) == 1


def test_a_tape_that_cannot_be_kept_is_returned_all_the_same_unless_it_is_too_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, reader: str
) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    path = write(folder / "capture.txt", small())
    folder.chmod(0o555)
    (tmp_path / "userdir").write_text("not a folder")
    try:
        if reader == "by way of the disk":
            with pytest.raises(
                CaptureError, match=r"too long .* cannot be written: Not a directory; make room"
            ):
                tape(path, tmp_path / "userdir")
            return
        assert len(tape(path, tmp_path / "userdir")) == 11
    finally:
        folder.chmod(0o755)
    assert "tape not kept" in caplog.text


def test_a_tape_that_is_not_finished_leaves_nothing_behind(tmp_path: Path) -> None:
    interrupted = write(tmp_path / "1.txt", [*small() * 300, "no message\n"])
    with pytest.raises(CaptureError):
        tape(interrupted, tmp_path / "userdir")
    bookless = write(tmp_path / "2.txt", [each for each in small() if "lastUpdateId" not in each])
    with pytest.raises(CaptureError):
        tape(bookless, tmp_path / "userdir")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["1.txt", "2.txt"]


def test_tick_and_lot_must_be_told_and_what_fits_is_proposed(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small())
    with pytest.raises(ConfigError) as error:
        asyncio.run(source(path, tmp_path, tick=None, lot=None).instrument())
    assert str(error.value) == (
        "instrument: a capture does not carry tick and lot; every price in it is a multiple of 0.1 "
        'and every quantity in it is a multiple of 0.5; add tick: "0.1", lot: "0.5" under instrument'
    )
    with pytest.raises(ConfigError) as error:
        tape(path, tmp_path, lot=None)
    assert str(error.value).endswith('add lot: "0.5" under instrument')


def test_the_instrument_is_what_the_user_wrote(tmp_path: Path) -> None:
    found = asyncio.run(
        source("unread", tmp_path, market="usdm", symbol="BTC/USDT:USDT").instrument()
    )
    assert (found.native, found.settle, str(found.tick)) == ("BTCUSDT", "USDT", "0.1")


def test_one_path_needs_no_list_and_none_is_a_mistake() -> None:
    assert CaptureConfig(paths="a.gz").paths == ("a.gz",)
    with pytest.raises(ValidationError):
        CaptureConfig(paths=[])
    with pytest.raises(ValidationError):
        CaptureConfig(paths="a", clock_offset="soon")


def test_bare_messages_are_read_as_well(tmp_path: Path) -> None:
    lines = [line(0, snapshot_message())]
    lines += [line(number, diff_message(number, 10 + number)["data"]) for number in (1, 2)]
    assert len(tape(write(tmp_path / "capture.txt", lines), tmp_path)) == 7
