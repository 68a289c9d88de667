"""Reading many messages at a time gives what reading one at a time gives: rows, stats, notes and errors."""

from __future__ import annotations

import asyncio
import gzip
import json
import lzma
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from capture_fixtures import (
    DATA,
    RECORDINGS,
    Recording,
    line,
    small,
    source,
    trade_message,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmkit_capture.source
from mmkit.errors import MmkitError
from mmkit.interfaces import WireFormat
from mmkit.tape import Tape, kept
from mmkit_binance.wire import BinanceWire
from mmkit_capture import blocks

Build = Callable[..., "Tape | str"]

NEVER_WORTH_IT = 2**63
EXAMPLES = int(os.environ.get("FAST_EXAMPLES", "25"))


@pytest.fixture
def reader() -> None:
    """Both, here."""


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build a tape in both ways, see that they are the same, and return it, or the words of the error.

    With ``fast=True`` the fast one must have done it by itself.
    """
    monkeypatch.setattr(kept, "load", lambda path: None)
    monkeypatch.setattr(kept, "keep", lambda tape, path: None)
    by_message = mmkit_capture.source.CaptureSource._build_by_message
    asked = []

    async def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        return await by_message(*arguments)

    monkeypatch.setattr(mmkit_capture.source.CaptureSource, "_build_by_message", counted)

    def outcome(worth_it: int, paths: Sequence[Path], **options: Any) -> Tape | str:
        monkeypatch.setattr(mmkit_capture.source, "WORTH_IT", worth_it)
        try:
            return asyncio.run(source(paths, tmp_path / "userdir", **options).tape())
        except MmkitError as error:
            return f"{type(error).__name__}: {error}"

    def build(paths: Sequence[Path] | Path, fast: bool = True, **options: Any) -> Tape | str:
        paths = [paths] if isinstance(paths, Path) else paths
        found = outcome(0, paths, **options)
        if fast:
            assert not asked, "it was left to the reference"
        expected = outcome(NEVER_WORTH_IT, paths, **options)
        asked.clear()
        same(found, expected)
        return expected

    return build


def same(found: Tape | str, expected: Tape | str) -> None:
    if isinstance(expected, str) or isinstance(found, str):
        assert found == expected
        return
    assert found.stats == expected.stats
    assert found.instrument == expected.instrument
    for name in ("ts_exchange", "ts_local", "kind", "price", "quantity"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, name)


def recorded(both: Build, recording: Recording, **options: Any) -> Tape:
    found = both(
        [DATA / path for path in recording.paths],
        venue=recording.venue,
        market=recording.market,
        symbol=recording.symbol,
        tick=recording.tick,
        lot=recording.lot,
        **options,
    )
    assert isinstance(found, Tape)
    return found


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_every_recording_gives_the_same_tape(recording: Recording, both: Build) -> None:
    assert recorded(both, recording).stats.tickers_compared == recording.tickers


ALL = ["depth", "trade", "bookTicker"]


@pytest.mark.parametrize(
    ("number", "options"),
    [
        (2, {"streams": [*ALL, "markPrice"]}),
        (2, {"streams": ["markPrice"]}),
        (2, {"clock_offset": "1.5s"}),
        (2, {"streams": ["depth"], "clock_offset": "0s"}),
        (3, {"streams": ALL}),  # spot's best prices have no time but ours
        (4, {"streams": ALL, "clock_offset": "1h"}),
        (9, {"streams": ["depth", "aggTrade", "bookTicker"]}),
        (9, {"streams": ["depth", "trade"]}),  # there are none
    ],
)
def test_other_streams_and_offsets_give_the_same_tape(
    number: int, options: dict[str, Any], both: Build
) -> None:
    recorded(both, RECORDINGS[number], **options)


def lines_of(recording: Recording, count: int = 200) -> list[bytes]:
    """Return the first lines of a recording; the snapshot, if it is among them, cut to five levels."""
    path = DATA / recording.paths[-1 if "30s" in recording.paths[0] else 0]
    opener: Any = lzma.open if path.suffix == ".xz" else gzip.open
    with opener(path) as file:
        found = [next(file) for _ in range(count)]
    for number, raw in enumerate(found):
        stamp, _, body = raw.partition(b" ")
        if body.startswith(b'{"lastUpdateId'):
            said = json.loads(body)
            said |= {side: said[side][:5] for side in ("bids", "asks")}
            found[number] = stamp + b" " + json.dumps(said).encode() + b"\n"
    return found


USDM, SPOT = RECORDINGS[2], RECORDINGS[3]


def market(recording: Recording) -> dict[str, str]:
    return {"tick": recording.tick, "lot": recording.lot} | {
        "market": recording.market,
        "symbol": recording.symbol,
    }


def put(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(lines))
    return path


@pytest.mark.parametrize("size", [1, 50, 700, 5_000])
@pytest.mark.parametrize("recording", [USDM, SPOT], ids=str)
def test_blocks_of_any_size_give_the_same_tape(
    recording: Recording,
    size: int,
    both: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", size)
    monkeypatch.setattr("mmkit_capture.fast.OPENING", size)
    path = put(tmp_path / "capture", lines_of(recording))
    assert isinstance(both(path, **market(recording)), Tape)


def stream(raw: bytes) -> str:
    return "snapshot" if b"lastUpdateId" in raw else raw.split(b"@")[1].split(b'"')[0].decode()


def test_streams_recorded_into_files_of_their_own_are_merged(
    both: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 3_000)
    lines = lines_of(USDM, 1500)
    whole = both(put(tmp_path / "whole", lines), **market(USDM))
    names = sorted({stream(raw) for raw in lines})
    parts = [put(tmp_path / name, [raw for raw in lines if stream(raw) == name]) for name in names]
    found = both(parts, **market(USDM))
    assert isinstance(found, Tape)
    assert isinstance(whole, Tape)
    assert found.stats.tickers_different == 0
    for name in ("ts_local", "price", "quantity", "kind"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def shifted(raw: bytes, by: int) -> bytes:
    stamp, _, body = raw.partition(b" ")
    return f"{int(stamp) + by} ".encode() + body


@pytest.mark.parametrize("recording", [USDM, SPOT], ids=str)
@pytest.mark.parametrize("by", [0, -1_000_000, -3_000_000, 500_000])  # us
def test_recorders_whose_clocks_differ_are_set_right_one_by_one(
    recording: Recording, by: int, both: Build, tmp_path: Path
) -> None:
    unit = 1 if recording is USDM else 1000
    lines = lines_of(recording, 300)
    early = [shifted(raw, -5_000_000 * unit) for raw in lines[:150]]
    late = [shifted(raw, by * unit) for raw in lines[150:]]
    paths = [put(tmp_path / "late", late), put(tmp_path / "early", early)]
    found = both(paths, **market(recording))
    assert isinstance(found, Tape)
    assert found.stats.gaps == 0


@pytest.mark.parametrize("recording", [USDM, SPOT], ids=str)
def test_times_at_a_seam_are_moved(recording: Recording, both: Build, tmp_path: Path) -> None:
    # The first recorder is behind, and its last message was long on the way; the second is ahead.
    unit = 1 if recording is USDM else 1000
    lines = lines_of(recording, 300)
    early = [*lines[:153], shifted(lines[153], 100_000 * unit)]
    late = [shifted(raw, 100_500 * unit) for raw in lines[154:]]
    late = [raw for raw in late if raw.split()[0] >= early[-1].split()[0]]
    found = both([put(tmp_path / "1", early), put(tmp_path / "2", late)], **market(recording))
    assert isinstance(found, Tape)
    assert any("moved to that end" in note for note in found.stats.notes)


def test_at_one_instant_the_order_is_that_of_the_files(both: Build, tmp_path: Path) -> None:
    lines = [text.encode() for text in small(updates=2_000)]
    stamp = lines[1].partition(b" ")[0]
    same = [stamp + b" " + raw.partition(b" ")[2] for raw in lines[1:]]
    trades = [line(1, trade_message(number)).encode() for number in range(999)]
    paths = [
        put(tmp_path / "depth", [lines[0], *same[:-1]]),
        put(
            tmp_path / "trades",
            [raw.replace(b"0.500", b"0.%03d" % n) for n, raw in enumerate(trades)],
        ),
    ]
    found = both(paths)
    assert isinstance(found, Tape)
    assert found.quantity[-999:].tolist() == list(range(999))


@pytest.mark.parametrize("recording", [USDM, SPOT], ids=str)
def test_bytes_that_are_no_utf_8_are_refused_wherever_they_are(
    recording: Recording, both: Build, tmp_path: Path
) -> None:
    lines = lines_of(recording)
    lines[150] = lines[150].replace(b'"data":{', b'"data":{"note":"\xff",')
    words = both(put(tmp_path / "capture", lines), fast=False, **market(recording))
    assert "capture:151: UTF-8 was expected; found byte 0xff" in str(words)


@pytest.mark.parametrize(
    "stamp", ["99999999999", "9999999999999", "9" * 18, "9" * 20, "0", "-1", "1.5.5", "1e9", ""]
)
def test_odd_local_times_are_read_alike(stamp: str, both: Build, tmp_path: Path) -> None:
    lines = small()
    lines[-1] = f"{stamp} {lines[-1].partition(' ')[2]}"
    both(put(tmp_path / "capture", [text.encode() for text in lines]), fast=False)


def test_what_begins_later_than_the_file_is_read_as_well(
    both: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmkit_capture.fast.OPENING", 1_000)
    lines = lines_of(USDM, 400)
    for late in ("depth", "trade", "markPrice", "bookTicker"):
        first = [raw for raw in lines[:100] if not stream(raw).startswith(late)]
        assert isinstance(both(put(tmp_path / late, first + lines[100:]), **market(USDM)), Tape)


def test_other_layouts_of_a_line(both: Build, tmp_path: Path) -> None:
    lines = [text.encode() for text in small(updates=40)]
    stamps = [raw.partition(b" ")[0] for raw in lines]
    lines[3] = lines[3].replace(b" ", b"   \t", 1)
    lines[4] = b"  " + lines[4]
    lines[5] = lines[5].replace(b"\n", b" \r\n")
    lines[6] = lines[6].replace(b"{", b'{"word": "\xe2\x82\xac", ', 1)
    lines[7] = lines[7].replace(stamps[7], stamps[7][:-9] + b"." + stamps[7][-9:] + b":")
    lines[8] = lines[8].replace(stamps[8], stamps[8][:-6])
    lines[9] = b"\n\r\n" + lines[9]
    lines[10] = b"configuration: x\n" + lines[10]
    lines[-1] = lines[-1].rstrip()
    found = both(put(tmp_path / "capture", lines))
    assert isinstance(found, Tape)
    assert len(found) == 46
    assert "3 lines carry no message and were skipped" in found.stats.notes


@pytest.mark.parametrize("module", [gzip, lzma])
def test_a_file_of_several_packed_parts_is_read_as_one(
    module: Any, both: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 1_000)
    monkeypatch.setattr("mmkit_capture.files._PACKED", 100)
    raw = b"".join(lines_of(USDM))
    parts = (raw[:2_000], raw[2_000:2_001], b"", raw[2_001:])
    path = put(tmp_path / "capture", [module.compress(part) for part in parts])
    assert isinstance(both(path, **market(USDM)), Tape)


def _cut(whole: bytes) -> bytes:
    return whole[:-9]


def _without_checksum(whole: bytes) -> bytes:
    return whole[:-8]


def _checksum_changed(whole: bytes) -> bytes:
    return whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:]


def _middle_changed(whole: bytes) -> bytes:
    return whole[:3_000] + bytes([whole[3_000] ^ 16]) + whole[3_001:]


def _zeros_behind(whole: bytes) -> bytes:
    return whole + b"\0" * 600


def _more_behind(whole: bytes) -> bytes:
    return whole + b"more"


@pytest.mark.parametrize(
    "change",
    [_cut, _without_checksum, _checksum_changed, _middle_changed, _zeros_behind, _more_behind],
)
@pytest.mark.parametrize("module", [gzip, lzma])
def test_what_is_wrong_with_a_packed_file_is_told_alike(
    change: Callable[[bytes], bytes], module: Any, both: Build, tmp_path: Path
) -> None:
    whole = change(module.compress(b"".join(lines_of(USDM))))
    both(put(tmp_path / "capture", [whole]), fast=False, **market(USDM))


def test_a_block_that_is_not_ordinary_is_left_to_the_wire_format(
    both: Build, tmp_path: Path
) -> None:
    # A reader that is asked again for every line would take longer than none.
    lines = [raw.replace(b'"e":', b'"\\u0065":') for raw in lines_of(USDM, 600)]
    assert isinstance(both(put(tmp_path / "capture", lines), **market(USDM)), Tape)


def test_without_a_fast_reader_a_capture_is_read_one_message_at_a_time(
    both: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BinanceWire, "fast_reader", WireFormat.fast_reader)
    path = put(tmp_path / "capture", [text.encode() for text in small()])
    assert isinstance(both(path, fast=False), Tape)


# --- captures as they might be --------------------------------------------------------------------


@st.composite
def captures(draw: st.DrawFn, recording: Recording) -> list[list[bytes]]:
    """Return the lines of one to three files, some of them not as they were."""
    lines = list(lines_of(recording, 90))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        raw = lines[at]
        what = draw(st.sampled_from(("cut", "byte", "stamp", "remove", "repeat", "swap", "add")))
        if what == "cut":
            lines[at] = raw[: draw(st.integers(0, len(raw)))] + draw(st.sampled_from((b"", b"\n")))
        elif what == "byte":
            place = draw(st.integers(0, max(0, len(raw) - 1)))
            new = draw(st.sampled_from(list(b'{}[]",:\\ \n\t019.eEX-\x00\x0b\x80\xc3\xa9')))
            lines[at] = raw[:place] + bytes([new]) + raw[place + 1 :]
        elif what == "stamp":
            stamp, _, body = raw.partition(b" ")
            changes = (
                stamp[:-3],
                stamp + b":",
                stamp[:-6] + b"." + stamp[-6:],
                b"9" * 19,
                b"9" * 25,
                b"0",
                b"",
                b"x",
                stamp + b".",
            )
            lines[at] = draw(st.sampled_from(changes)) + b" " + body
        elif what == "remove":
            del lines[at : at + draw(st.integers(1, 30))]
        elif what == "repeat":
            lines.insert(at, raw)
        elif what == "swap":
            lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
        else:
            lines.insert(at, draw(st.sampled_from(ADDED)))
        lines = lines or [b"\n"]
    if draw(st.booleans()):
        return [lines]
    count = draw(st.integers(2, 3))
    if draw(st.booleans()):  # one after the other, by clocks of their own
        cuts = sorted(
            draw(st.lists(st.integers(0, len(lines)), min_size=count - 1, max_size=count - 1))
        )
        files = [lines[a:b] for a, b in zip([0, *cuts], [*cuts, len(lines)], strict=True)]
        by = draw(st.sampled_from((0, -1_000_000, 40_000, -20_000)))
        return [*files[:-1], [moved(raw, by) for raw in files[-1]]]
    owners = draw(st.lists(st.integers(0, count - 1), min_size=len(lines), max_size=len(lines)))
    if draw(st.booleans()):  # at once, each stream in one file
        streams = [raw.partition(b"@")[2][:5] for raw in lines]
        owner = {name: owners[number] for number, name in enumerate(streams)}
        owners = [owner[name] for name in streams]
    return [
        [raw for raw, of in zip(lines, owners, strict=True) if of == file] for file in range(count)
    ]


ADDED = (
    b"\n",
    b"configuration: {}\n",
    b"wss://host/stream <-> 1680652700.1\n",
    b"https://host/exchangeInfo -> 1680652700.2: {}\n",
    b'https://host/depth?symbol=BTCUSDT -> 1680652700.45: {"lastUpdateId":2710246762461,"bids":[],"asks":[]}\n',
    b'https://host/depth?symbol=ETHUSDT -> 1680652700.45: {"lastUpdateId":1,"bids":[],"asks":[]}\n',
    b'1680652700460000 {"result":null,"id":1}\n',
    b'1680652700460000 {"stream":"ethusdt@depth","data":{"e":"depthUpdate","s":"ETHUSDT","E":1}}\n',
    b'1680652700460000 {"stream":"btcusdt@kline_1m","data":{"e":"kline"}}\n',
    b'1680652700460000 {"e":"serverShutdown","E":1680652700460}\n',
    b"hello\n",
)


def moved(raw: bytes, by: int) -> bytes:
    stamp, space, body = raw.partition(b" ")
    return str(int(stamp) + by).encode() + space + body if stamp.isdigit() else raw


@pytest.mark.parametrize("recording", [USDM, SPOT], ids=str)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_in_the_files_both_say_the_same(
    recording: Recording,
    both: Build,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: st.DataObject,
) -> None:
    files = data.draw(captures(recording))
    size = data.draw(st.sampled_from((100, 2_000, 1 << 20)))
    monkeypatch.setattr(blocks, "BLOCK", size)
    monkeypatch.setattr("mmkit_capture.fast.OPENING", size)
    paths = [put(tmp_path / f"{number}", lines) for number, lines in enumerate(files)]
    options: dict[str, Any] = data.draw(
        st.sampled_from(({}, {"streams": ALL}, {"clock_offset": "1s"}, {"streams": ["depth"]}))
    )
    both(paths, fast=False, **market(recording), **options)
