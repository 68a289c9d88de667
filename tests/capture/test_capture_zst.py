"""What `mmkit record` writes is read like any other capture: zstd frames, and marks between the messages."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from capture_fixtures import (
    DATA,
    RECORDINGS,
    SECOND,
    diff_message,
    line,
    small,
    snapshot_message,
    tape,
    trade_message,
    write,
)

from mmkit.errors import CaptureError
from mmkit.recording.frames import frame
from mmkit.tape import KIND, NAMES, GapReason, Kind, Tape


def framed(path: Path, lines: Sequence[str]) -> Path:
    """Write lines in frames of two."""
    pairs = [lines[at : at + 2] for at in range(0, len(lines), 2)]
    path.write_bytes(b"".join(frame("".join(pair).encode()) for pair in pairs))
    return path


def rows(found: Tape) -> np.ndarray:
    return np.stack([getattr(found, name).astype(np.int64) for name in NAMES])


def gaps(found: Tape) -> list[tuple[GapReason, int]]:
    there = np.flatnonzero(found.kind & KIND == Kind.GAP)
    return [(GapReason(found.price[at]), int(found.ts_local[at])) for at in there]


def mark(number: int, words: str) -> str:
    return f"mmkit: {SECOND * 10**9 + number * 10**8} {words}\n"


def test_a_real_recording_packed_second_by_second_gives_the_same_rows(tmp_path: Path) -> None:
    recording = RECORDINGS[1]
    options = {"market": "usdm", "symbol": recording.symbol}
    given = [DATA / recording.paths[0]]
    packed = []
    for path in given:
        lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        seconds = [b"".join(group) for _, group in groupby(lines, lambda text: text[:10])]
        packed.append(tmp_path / f"{path.stem}.zst")
        packed[-1].write_bytes(b"".join(map(frame, seconds)))
        assert len(seconds) > 40

    found = tape(packed, tmp_path, **options)

    # Those of another folder: what is kept beside the capture is not to be compared with itself.
    expected = tape(given, tmp_path / "other", **options)
    assert len(found) > 10_000
    np.testing.assert_array_equal(rows(found), rows(expected))
    assert found.stats.gaps == expected.stats.gaps


def test_a_gap_that_a_recorder_marked_is_a_gap_with_its_reason_and_time(tmp_path: Path) -> None:
    lines = small(updates=3)[:-1]
    lines += [
        mark(4, "gap connection the connection was lost"),
        line(6, diff_message(6, 30)),
        line(7, snapshot_message(30)),
        line(8, trade_message(8)),
        mark(9, "gap recorder recording stopped: interrupted"),
    ]

    found = tape(framed(tmp_path / "day.zst", lines), tmp_path)

    start = SECOND * 10**9
    assert gaps(found) == [
        (GapReason.START, start),
        (GapReason.CONNECTION, start + 4 * 10**8),
        (GapReason.RECORDER, start + 9 * 10**8),
    ]
    snapshots = found.ts_local[found.kind & KIND == Kind.SNAPSHOT]
    assert snapshots.tolist() == [start, start + 7 * 10**8]
    notes = " ".join(found.stats.notes)
    assert "day.zst:5: the connection was lost" in notes
    assert "day.zst:9: recording stopped: interrupted" in notes
    assert found.stats.gaps == 2


def test_other_marks_are_passed_over_and_counted(tmp_path: Path) -> None:
    lines = [mark(0, 'start {"symbol":"BTC/USDT"}'), *small(), mark(9, "day {}")]

    found = tape(framed(tmp_path / "day.zst", lines), tmp_path)

    np.testing.assert_array_equal(
        rows(found), rows(tape(write(tmp_path / "plain", small()), tmp_path))
    )
    assert "2 lines carry no message and were skipped" in found.stats.notes


@pytest.mark.parametrize(
    "text", ["mmkit: soon gap connection why\n", "mmkit: 17 gap boredom why\n"]
)
def test_a_mark_that_no_recorder_writes_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(CaptureError, match=r"day\.zst:8: .*mmkit:"):
        tape(framed(tmp_path / "day.zst", [*small(), text]), tmp_path)


def test_cut_anywhere_it_gives_the_whole_frames_and_says_so_or_is_refused(tmp_path: Path) -> None:
    lines = small(updates=7)
    whole = framed(tmp_path / "whole.zst", lines).read_bytes()
    ends = [0]
    for at in range(0, len(lines), 2):
        ends.append(ends[-1] + len(frame("".join(lines[at : at + 2]).encode())))
    expected = {
        end: rows(tape(write(tmp_path / f"plain{end}", lines[: 2 * number]), tmp_path))
        for number, end in enumerate(ends)
        if end
    }
    for cut in range(1, len(whole), 7):
        path = tmp_path / f"cut{cut}.zst"
        path.write_bytes(whole[:cut])
        last = max(end for end in ends if end <= cut)
        if not last:
            with pytest.raises(CaptureError):
                tape(path, tmp_path)
            continue
        found = tape(path, tmp_path)
        np.testing.assert_array_equal(rows(found), expected[last])
        left_out = f"{cut - last} bytes of a last zstd frame"
        assert any(left_out in note for note in found.stats.notes) == (cut > last)


def test_damage_within_is_refused(tmp_path: Path) -> None:
    path = framed(tmp_path / "day.zst", small(updates=9))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)

    with pytest.raises(CaptureError, match=r"day\.zst.*zstd data is damaged"):
        tape(path, tmp_path)


def test_a_snapshot_asked_of_a_local_exchange_is_one(tmp_path: Path) -> None:
    first, *rest = small()
    stamp, _, body = first.partition(" ")
    url = "http://127.0.0.1:8787/api/v3/depth?symbol=BTCUSDT&limit=1000"
    lines = [f"{url} -> {stamp}: {body}", *rest]

    found = tape(framed(tmp_path / "day.zst", lines), tmp_path)

    assert found.stats.snapshots == 1
