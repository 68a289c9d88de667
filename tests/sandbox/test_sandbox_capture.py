"""Reading captures: every form of line, and files that cannot be read."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest
from sandbox_fixtures import DATA, SPOT_CAPTURE, USDM_CAPTURE

from mmkit.errors import CaptureError
from mmkit.recording.frames import frame
from mmkit_sandbox.capture import Line, read_lines
from mmkit_sandbox.replay import open_replay

NS = 1_723_161_255_030_314_667


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        (f"{NS}", NS),
        (f"{NS // 1000}", NS // 1000 * 1000),
        (f"{NS // 10**6}", NS // 10**6 * 10**6),
        (f"{NS // 10**9}", NS // 10**9 * 10**9),
        ("1723161255.030314", 1_723_161_255_030_314_000),
        ("1633998512.6462898", 1_633_998_512_646_289_800),
    ],
)
@pytest.mark.parametrize("colon", ["", ":"])
def test_the_unit_of_time_is_told_by_its_size(
    tmp_path: Path, text: str, ts: int, colon: str
) -> None:
    path = tmp_path / "capture"
    path.write_text(f'{text}{colon} {{"stream":"x"}}\n')
    assert list(read_lines(path)) == [Line(1, ts, b'{"stream":"x"}', "")]


def test_plain_gzip_xz_and_zstd_read_alike(tmp_path: Path) -> None:
    raw = b'1 {"a":1}\nwss://stream <-> 3\nconfiguration: {}\n\nhttps://x/depth?symbol=A -> 2.5: {"b":2}\n'
    paths = [tmp_path / name for name in ("plain", "gzip", "xz", "zstd")]
    paths[0].write_bytes(raw)
    paths[1].write_bytes(gzip.compress(raw))
    paths[2].write_bytes(lzma.compress(raw))
    # Frames that end within a line, and one that its writer had not finished.
    paths[3].write_bytes(frame(raw[:5]) + frame(raw[5:]) + frame(b"9 {}\n")[:-3])
    for path in paths:
        assert list(read_lines(path)) == [
            Line(1, 10**9, b'{"a":1}', ""),
            Line(5, 2_500_000_000, b'{"b":2}', "https://x/depth?symbol=A"),
        ]


def test_a_recorders_marks_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "day.zst"
    path.write_bytes(
        frame(b'mmkit: 7 start {"symbol":"X"}\n8 {"a":1}\nmmkit: 9 gap recorder why\n')
    )
    assert [line.number for line in read_lines(path)] == [2]


def test_a_damaged_frame_is_named_with_the_last_good_line(tmp_path: Path) -> None:
    path = tmp_path / "day.zst"
    damaged = bytearray(frame(b"8 {}\n" * 500))
    damaged[-6] ^= 0xFF
    path.write_bytes(frame(b"8 {}\n" * 3) + damaged + frame(b"8 {}\n"))
    with pytest.raises(CaptureError, match=r"day\.zst: cannot be read on after line 3:"):
        list(read_lines(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="nowhere: there is no such file"):
        open_replay([tmp_path / "nowhere"])


def test_a_file_cut_short_is_named_with_the_last_good_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(USDM_CAPTURE.read_bytes()[:100_000])
    with pytest.raises(CaptureError, match=r"cut\.gz: cannot be read on after line \d{3,}"):
        open_replay([path])


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text('1 {"stream":"btcusdt@trade","data":{"E":1}}\nhello\n')
    with pytest.raises(CaptureError, match="broken:2: expected '<time> <json>', found b'hello"):
        open_replay([path])
    path.write_text('1 {"stream":"btcusdt@trade","data":{"E":1}}\n2 {"stream":\n')
    with pytest.raises(CaptureError, match="broken:2: not a Binance message"):
        open_replay([path])


def test_a_message_that_cannot_be_read_is_told_before_anything_is_played(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text(
        '1 {"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":1,"U":1,"u":2,"b":[]}}\n'
    )
    with pytest.raises(CaptureError, match=r"broken:1: not a Binance message: .*`a`"):
        open_replay([path])


@pytest.mark.parametrize(
    ("data", "market"),
    [
        ('{"e":"trade","E":1,"t":1,"p":"1.5","q":"2","T":1,"m":true,"M":true}', "spot"),
        ('{"e":"trade","E":1,"t":1,"p":"1.5","q":"2","T":1,"m":true,"X":"MARKET"}', "usdm"),
        ('{"e":"bookTicker","E":1,"u":1,"b":"1","B":"1","a":"2","A":"1"}', "usdm"),
        ('{"u":1,"b":"1","B":"1","a":"2","A":"1"}', "spot"),
    ],
)
def test_the_market_is_told_by_the_fields_of_its_messages(
    tmp_path: Path, data: str, market: str
) -> None:
    path = tmp_path / "capture"
    name = "trade" if "trade" in data else "bookTicker"
    path.write_text(f'1 {{"stream":"btcusdt@{name}","data":{data}}}\n')
    (listing,) = open_replay([path]).listings
    assert listing.market == market


def test_a_file_without_a_message_is_an_error_that_shows_what_one_looks_like(
    tmp_path: Path,
) -> None:
    path = tmp_path / "empty"
    path.write_text("")
    with pytest.raises(CaptureError, match="empty: no message of a Binance stream"):
        open_replay([path])


@pytest.mark.parametrize(
    ("path", "market", "tick", "lot"),
    [
        (USDM_CAPTURE, "usdm", "0.10", "0.001"),
        (SPOT_CAPTURE, "spot", "0.001", "0.01"),
        (DATA / "binance_usdm" / "btcusdt_20230404.dat.gz", "usdm", "0.10", "0.001"),
    ],
)
def test_a_recorded_symbol_is_listed_with_the_grid_of_its_prices(
    path: Path, market: str, tick: str, lot: str
) -> None:
    (listing,) = open_replay([path]).listings
    assert (listing.market, str(listing.tick), str(listing.lot)) == (market, tick, lot)
    assert listing.symbol == listing.base + listing.quote
    assert listing.quote == "USDT"


def test_rest_answers_in_a_file_of_their_own_belong_to_the_streams_of_another() -> None:
    folder = DATA / "binance_30s"
    replay = open_replay(
        [folder / "BINANCE_FUTURES.http.0.0.xz", folder / "BINANCE_FUTURES.ws.1.0.xz"]
    )
    assert {listing.symbol for listing in replay.listings} == {
        "SUSHIUSDT",
        "AKROUSDT",
        "KEEPUSDT",
        "CTKUSDT",
    }
    for listing in replay.listings:
        assert listing.market == "usdm"
        assert replay.depth(listing, 1000) is not None
