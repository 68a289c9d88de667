"""`mmkit data check` on captures: clean where they are clean, and every planted fault at its line.

``PLANTINGS=2000 pytest tests/capture/test_capture_check.py`` plants more.
"""

from __future__ import annotations

import asyncio
import gzip
import lzma
import os
import zlib
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from capture_fixtures import (
    DATA,
    RECORDINGS,
    Recording,
    diff_message,
    line,
    small,
    snapshot_message,
    source,
    write,
)
from planted import HEAVY, LIGHT, Planting, Text, parsed, plant

from mmkit.errors import CaptureError
from mmkit.run.quality import Looked, Quality, look

NEXO = RECORDINGS[4]


@pytest.fixture(autouse=True)
def reader() -> str:
    """Read as it comes: a check has one way of reading, not the three of a tape."""
    return ""


def look_at(paths: list[Path], userdir: Path, recording: Recording, **options: Any) -> Looked:
    grid: dict[str, Any] = {"tick": recording.tick, "lot": recording.lot} | options
    found = source(
        paths,
        userdir,
        venue=recording.venue,
        market=recording.market,
        symbol=recording.symbol,
        **grid,
    )
    return asyncio.run(look(found, "main", recording.symbol, recording.venue))


def counts(quality: Quality) -> dict[str, int]:
    return {finding.code: finding.count for finding in quality.findings}


def words_of(quality: Quality, code: str) -> list[str]:
    return [
        f"{place.where}: {place.words}"
        for finding in quality.findings
        if finding.code == code
        for place in finding.places
    ]


# --- what is there ------------------------------------------------------------------------------

# Trades outside the book are those of a script of its own: the rebuilt book before each trade.
EXPECTED: dict[str, dict[str, int]] = {
    "binance_usdm/btcusdt_20240808.gz": {"clock_offset": 1, "outside_trade": 11_043},
    "binance_usdm/btcusdt_20240719.gz": {"clock_offset": 2, "outside_trade": 4_362},
    "binance_usdm/btcusdt_20230405.dat.gz": {
        "clock_offset": 2,
        "outside_trade": 3_753,
        "off_book": 1,
    },
    "binance_spot/btcusdt_20240809.gz": {"clock_offset": 2, "outside_trade": 10_654, "reader": 1},
    "binance_spot_nexousdt/nexousdt_20240724.dat.gz": {
        "clock_offset": 2,
        "outside_trade": 3_427,
        "quiet": 7,
    },
    # By the name of the second file, which holds the stream.
    "binance_30s/BINANCE.ws.1.0.xz": {"clock_offset": 2, "skipped_lines": 2},
    "binance_30s/BINANCE_FUTURES.ws.1.0.xz": {"skipped_lines": 2},
    "binance_30s/BINANCE_US.ws.1.0.xz": {"clock_offset": 2, "skipped_lines": 2},
}
OUTSIDE_30S = {"SUSHI/USDT:USDT": 6, "OMG/BUSD": 1}


@cache
def recorded(recording: Recording) -> Quality:
    paths = [DATA / path for path in recording.paths]
    return look_at(paths, Path("unused"), recording).quality


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_a_recording_that_is_clean_is_found_clean_and_its_traps_are_named(
    recording: Recording,
) -> None:
    quality = recorded(recording)
    expected = {"unknown_at_start": 1, **EXPECTED[recording.paths[-1]]}
    if recording.symbol in OUTSIDE_30S:
        expected["outside_trade"] = OUTSIDE_30S[recording.symbol]
    assert quality.errors == 0
    assert counts(quality) == expected
    assert quality.tickers_compared == recording.tickers


def test_the_traps_are_told_with_their_figures() -> None:
    assert words_of(recorded(RECORDINGS[2]), "off_book") == [
        f"{DATA}/binance_usdm/btcusdt_20230405.dat.gz:12840: at 28722.5, 575.4 above the ask "
        "(the venue calls it INSURANCE_FUND)"
    ]
    assert [word.split(": ")[1] for word in words_of(recorded(RECORDINGS[1]), "clock_offset")] == [
        "by 1,522.101 ms",
        "by 1,523.470 ms",
    ]
    assert round(recorded(NEXO).longest_ns / 1e9, 1) == 43.5
    assert any(word.split(": ")[1].startswith("43.5") for word in words_of(recorded(NEXO), "quiet"))


def test_tick_and_lot_are_taken_from_the_data_if_nobody_says_them(tmp_path: Path) -> None:
    recording = RECORDINGS[9]
    paths = [DATA / path for path in recording.paths]
    found = look_at(paths, tmp_path, recording, tick=None, lot=None).quality
    assert found.errors == 0
    [words] = words_of(found, "grid_taken")
    assert words.endswith('tick: "0.001", lot: "1"')


def test_the_second_file_of_a_pair_has_no_snapshot(tmp_path: Path) -> None:
    with gzip.open(DATA / RECORDINGS[2].paths[1], "rt") as file:
        path = write(tmp_path / "second.dat", file.readlines()[:2000])
    quality = look_at([path], tmp_path, RECORDINGS[2]).quality
    assert words_of(quality, "no_snapshot") == [f"{path}: none found"]
    assert quality.unknown_ns == quality.end_ns - quality.start_ns


def test_a_snapshot_older_than_the_stream(tmp_path: Path) -> None:
    lines = small()
    path = write(tmp_path / "c.txt", [*lines[2:3], line(2, snapshot_message(3)), *lines[3:]])
    quality = look_at([path], tmp_path, BTC_SPOT).quality
    assert words_of(quality, "stale_snapshot") == [f"{path}:2: "]
    assert words_of(quality, "no_snapshot") == [f"{path}: 1 found, all too old"]


BTC_SPOT = Recording("binance", "spot", "BTC/USDT", "0.1", "0.001", (), 0)


def test_a_stream_in_two_files_at_once(tmp_path: Path) -> None:
    one = write(tmp_path / "one.txt", small())
    two = write(tmp_path / "two.txt", small()[2:])
    found = words_of(look_at([one, two], tmp_path, BTC_SPOT).quality, "recorded_twice")
    assert found
    assert found[0].startswith(f"{one} and {two}: 'depth', ")


def test_trades_between_two_files_are_missed(tmp_path: Path) -> None:
    texts = texts_of(BASES[0])
    lines = [text.line for text in texts]
    trades = [n for n, text in enumerate(texts) if n > 2000 and text.kind == "trade"]
    first = write(tmp_path / "first.dat", lines[: trades[0]])
    second = write(tmp_path / "second.dat", lines[trades[2] :])
    quality = look_at([first, second], tmp_path, BASES[0].recording).quality
    assert words_of(quality, "missing_trade") == [
        f"{second}:1: 2 missing between the file before it and this one"
    ]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="there is no such file"):
        look_at([tmp_path / "gone.gz"], tmp_path, BTC_SPOT)


def test_a_market_that_stood_crossed_or_locked_is_told_once_a_spell(tmp_path: Path) -> None:
    def bid(number: int, price: str, quantity: str) -> str:
        message = diff_message(number, 10 + number)
        message["data"]["b"] = [[price, quantity]]
        return line(number, message)

    lines = [
        line(0, snapshot_message()),
        bid(1, "100.1", "1"),  # locked with the ask at 100.1
        bid(2, "100.0", "1"),
        bid(3, "100.1", "0"),
        bid(4, "100.3", "2"),
        bid(5, "100.2", "2"),
        bid(6, "100.3", "0"),
        bid(7, "100.2", "0"),
    ]
    quality = look_at([write(tmp_path / "c.txt", lines)], tmp_path, BTC_SPOT).quality
    assert words_of(quality, "locked") == [f"{tmp_path}/c.txt:2: bid 100.1, ask 100.1, for 0.200 s"]
    assert words_of(quality, "crossed") == [
        f"{tmp_path}/c.txt:5: bid 100.3, ask 100.1, for 0.300 s"
    ]


# --- what is planted ----------------------------------------------------------------------------


class Base(NamedTuple):
    """A real capture to plant in, or its beginning."""

    name: str
    recording: Recording
    path: str
    lines: int
    beside: tuple[str, ...] = ()


BASES = (
    Base("usdm", RECORDINGS[2], "binance_usdm/btcusdt_20230404.dat.gz", 3000),
    Base("spot", RECORDINGS[3], "binance_spot/btcusdt_20240808.gz", 4000),
    Base("nexo", NEXO, "binance_spot_nexousdt/nexousdt_20240723.dat.gz", 1804),
    Base("sushi", RECORDINGS[9], RECORDINGS[9].paths[1], 1536, RECORDINGS[9].paths[:1]),
)


@cache
def texts_of(base: Base) -> list[Text]:
    path = DATA / base.path
    with lzma.open(path, "rt") if path.suffix == ".xz" else gzip.open(path, "rt") as file:
        lines = file.readlines()[: base.lines]
    return parsed(lines, base.recording.symbol.split(":")[0].replace("/", ""))


def found_in(
    base: Base, lines: list[str], tmp_path: Path
) -> tuple[set[tuple[str, int]], dict[str, int]]:
    """Return errors and repeated updates by line, and how many there are of each code."""
    path = write(tmp_path / "planted.txt", lines)
    paths = [path, *(DATA / name for name in base.beside)]
    quality = look_at(paths, tmp_path, base.recording).quality
    places = {
        (finding.code, int(place.where.rpartition(":")[2]))
        for finding in quality.findings
        if finding.grade == "error" or finding.code == "repeated_update"
        for place in finding.places
    }
    return places, counts(quality)


PLANTINGS = int(os.environ.get("PLANTINGS", "96"))


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
def test_nothing_is_found_where_nothing_is_planted(base: Base, tmp_path: Path) -> None:
    assert found_in(base, [text.line for text in texts_of(base)], tmp_path)[0] == set()


@pytest.mark.parametrize("part", range(8))
def test_every_planted_fault_is_found_at_its_line_and_no_other(part: int, tmp_path: Path) -> None:
    for seed in range(part, PLANTINGS, 8):
        base = BASES[seed // 8 % len(BASES)]
        planted = plant(texts_of(base), seed, base.recording.tick)
        found, _ = found_in(base, planted.lines, tmp_path)
        until = planted.from_line or len(planted.lines) + 1
        # A level that was told wrongly stays in the book: what follows is wrong, too.
        surely = {one for one in found if one[1] < until or one in planted.wanted}
        assert surely - planted.allowed == planted.wanted, f"seed {seed}, {base.name}"


@pytest.mark.parametrize("fault", [*LIGHT, *HEAVY], ids=lambda fault: fault.__name__)
def test_each_kind_of_fault_is_among_those_that_are_planted(fault: Any, tmp_path: Path) -> None:
    texts = texts_of(BASES[0])
    planting = Planting(texts, Random(1), BASES[0].recording.tick)
    assert any(fault(planting, 200, 2800) for _ in range(50))
    planted = planting.result()
    found, _ = found_in(BASES[0], planted.lines, tmp_path)
    assert planted.wanted
    assert planted.wanted <= found


@pytest.mark.parametrize("seed", range(6))
def test_a_gzip_file_that_is_cut_is_told_with_the_last_line_that_can_be_read(
    seed: int, tmp_path: Path
) -> None:
    base = BASES[0]
    whole = gzip.compress("".join(text.line for text in texts_of(base)).encode())
    cut = whole[: Random(seed).randrange(len(whole) // 3, len(whole) - 20)]
    readable = zlib.decompressobj(31).decompress(cut).count(b"\n")
    path = tmp_path / "cut.gz"
    path.write_bytes(cut)
    quality = look_at([path], tmp_path, base.recording).quality
    [words] = words_of(quality, "unreadable")
    assert words.startswith(f"{path}:{readable}: the gzip data is damaged or cut short after line")
    assert [f.code for f in quality.findings if f.grade == "error"] == ["unreadable"]
    assert quality.rows


# What no reading of a file can show: nothing in what is left says that anything was there.
def test_what_cannot_be_seen(tmp_path: Path) -> None:
    base = BASES[0]
    texts = texts_of(base)
    sound = counts_of(base, texts, tmp_path)
    snapshot = next(n for n, text in enumerate(texts) if text.kind == "snapshot")
    trades = [n for n, text in enumerate(texts) if text.kind == "trade"]
    updates = [n for n, text in enumerate(texts) if text.kind == "depth"]
    tickers = [n for n, text in enumerate(texts) if text.kind == "ticker" and n > snapshot]
    for removed in (trades[0], trades[-1], updates[-1], tickers[5]):
        left = [text for n, text in enumerate(texts) if n != removed]
        assert counts_of(base, left, tmp_path).keys() == sound.keys()


def counts_of(base: Base, texts: list[Text], tmp_path: Path) -> dict[str, int]:
    return found_in(base, [text.line for text in texts], tmp_path)[1]
