"""Dumps of data.binance.vision: trades, and best prices as the book there is."""

from __future__ import annotations

import csv
import hashlib
import io
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest
from capture_fixtures import tape
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkit.errors import CaptureError, ConfigError, DataError, OffGrid
from mmkit.tape import LAST, SELL, GapReason, Kind, Tape

T = 1_709_251_200_000  # 2024-03-01T00:00:00Z, ms
US = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z, us
TR, S, L, G = int(Kind.TRADE), int(Kind.SNAPSHOT), int(Kind.LEVEL), Kind.GAP | LAST
HEADERS = {
    "trades": "id,price,qty,quote_qty,time,is_buyer_maker",
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
    "bookTicker": "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
}
USDM = {"market": "usdm", "symbol": "BTC/USDT:USDT"}


@pytest.fixture(autouse=True)
def reader() -> str:
    """Dumps have one reader."""
    return "dumps"


def write(
    folder: Path,
    kind: str,
    lines: list[str],
    *,
    date: str = "2024-03-01",
    header: bool = True,
    packed: bool = True,
    symbol: str = "BTCUSDT",
) -> Path:
    text = "".join(f"{line}\n" for line in ([HEADERS[kind]] if header else []) + lines)
    name = f"{symbol}-{kind}-{date}"
    if not packed:
        path = folder / f"{name}.csv"
        path.write_text(text)
        return path
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", text)
    return path


def rows(found: Tape) -> list[tuple[int, int, int, int, int]]:
    return list(found.rows())


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("header", [True, False])
def test_futures_trades_with_or_without_names(tmp_path: Path, packed: bool, header: bool) -> None:
    lines = [f"7,100.1,1.5,150.15,{T},true", f"8,100.2,0.001,0.1002,{T + 3},false"]
    found = tape(write(tmp_path, "trades", lines, header=header, packed=packed), tmp_path, **USDM)
    ns = T * 1_000_000
    assert rows(found) == [
        (ns, ns, G, GapReason.START, 0),
        (ns, ns, TR | SELL | LAST, 1001, 1500),
        (ns + 3_000_000, ns + 3_000_000, TR | LAST, 1002, 1),
    ]
    assert any("the book is never known" in note for note in found.stats.notes)


def test_spot_times_are_microseconds_from_2025_on_and_milliseconds_before(tmp_path: Path) -> None:
    lines = [
        f"7,100.10000000,1.50000000,150.15,{US // 1000 - 1},True,True",
        f"8,100.20000000,0.00100000,0.1002,{US + 5},False,True",
    ]
    found = tape(write(tmp_path, "trades", lines, header=False), tmp_path)
    assert [row[:3] for row in rows(found)[1:]] == [
        (US * 1000 - 1_000_000, US * 1000 - 1_000_000, TR | SELL | LAST),
        (US * 1000 + 5000, US * 1000 + 5000, TR | LAST),
    ]


def test_aggregated_trades_of_spot_and_futures(tmp_path: Path) -> None:
    line = f"9,100.1,1.5,20,25,{T},true"
    futures = tape(write(tmp_path, "aggTrades", [line]), tmp_path, **USDM)
    spot = tape(write(tmp_path, "aggTrades", [f"{line},True"], header=False), tmp_path)
    assert [row[2:] for row in rows(futures)] == [row[2:] for row in rows(spot)]
    assert rows(spot)[1][2:] == (TR | SELL | LAST, 1001, 1500)


def test_best_prices_are_the_book_and_trades_of_the_same_time_meet_it_first(tmp_path: Path) -> None:
    best = [f"1,100.1,1.5,100.3,2,{T},{T + 1}", f"5,100.1,0.5,100.3,2,{T + 3},{T + 4}"]
    paths = [
        write(tmp_path, "bookTicker", best),
        write(tmp_path, "trades", [f"7,100.1,1,100.1,{T + 3},true"]),
    ]
    found = tape(paths, tmp_path, **USDM)
    assert [row[2:] for row in rows(found)[1:]] == [
        (S, 0, 0),
        (L, 1001, 1500),
        (L | SELL | LAST, 1003, 2000),
        (TR | SELL | LAST, 1001, 1000),
        (S, 0, 0),
        (L, 1001, 500),
        (L | SELL | LAST, 1003, 2000),
    ]
    later = tape(paths, tmp_path, clock_offset="5ms", **USDM)
    assert {row[1] - row[0] for row in rows(later)} == {5_000_000}


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99), st.booleans()), max_size=30),
    ticks=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 99)), max_size=30),
    days=st.integers(1, 2),
    block=st.sampled_from([120, 1 << 22]),
)
def test_any_dumps_are_the_rows_a_slow_reader_makes(
    steps: list, ticks: list, days: int, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("dumps")
    paths, expected = [], []
    if not steps and not ticks:
        return
    for kind, changes in (("trades", steps), ("bookTicker", ticks)):
        at, lines = T, []
        for n, (step, amount, *maker) in enumerate(changes):
            at += step
            if kind == "trades":
                lines.append(f"{n},100.{n % 10},{amount},1,{at},{str(maker[0]).lower()}")
            else:
                lines.append(f"{n},100.1,{amount},100.2,1,{at},{at}")
        cut = len(lines) // days
        for day in range(days):
            part = lines[cut * day : cut * (day + 1) if day < days - 1 else None]
            if part:
                paths.append(write(folder, kind, part, date=f"2024-03-0{day + 1}"))
            for row in csv.DictReader(io.StringIO("\n".join([HEADERS[kind], *part]))):
                if kind == "trades":
                    side = SELL if row["is_buyer_maker"] == "true" else 0
                    made = [(TR | side | LAST, Decimal(row["price"]), Decimal(row["qty"]))]
                    at = int(row["time"])
                else:
                    at = int(row["transaction_time"])
                    made = [
                        (S, Decimal(0), Decimal(0)),
                        (L, Decimal(row["best_bid_price"]), Decimal(row["best_bid_qty"])),
                        (
                            L | SELL | LAST,
                            Decimal(row["best_ask_price"]),
                            Decimal(row["best_ask_qty"]),
                        ),
                    ]
                expected.append((at, kind == "bookTicker", made))
    expected.sort(key=lambda each: each[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmkit_capture.dumps._BLOCK", block)
        found = tape(paths[::-1], folder, **USDM)
    assert [
        (row[0] // 1_000_000, row[2], row[3] * Decimal("0.1"), row[4] * Decimal("0.001"))
        for row in rows(found)[1:]
    ] == [(at, *row) for at, _, made in expected for row in made]


def test_a_checksum_that_lies_beside_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path, "trades", [f"7,100.1,1.5,150.15,{T},true"])
    beside = tmp_path / f"{path.name}.CHECKSUM"
    beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    assert len(tape(tmp_path / "BTCUSDT-*", tmp_path / "userdir", **USDM)) == 2
    beside.write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(CaptureError, match=r"the SHA-256 0+ was expected.*download it anew"):
        tape(tmp_path / "BTCUSDT-*.zip", tmp_path / "userdir", **USDM)


def test_a_hole_in_the_ids_and_a_time_that_goes_back_are_noted(tmp_path: Path) -> None:
    lines = [f"7,1,1,1,{T + 5},true", f"10,1,1,1,{T + 3},true", f"11,1,1,1,{T + 6},true"]
    found = tape(write(tmp_path, "trades", lines), tmp_path, **USDM)
    assert [row[0] // 1_000_000 - T for row in rows(found)[1:]] == [5, 5, 6]
    assert "2 trades are missing, by their ids" in found.stats.notes
    assert any(note.startswith("1 lines were before the line ahead") for note in found.stats.notes)


def test_a_missing_day_of_best_prices_leaves_the_book_unknown(tmp_path: Path) -> None:
    paths = [
        write(
            tmp_path,
            "bookTicker",
            [f"{n},1,1,2,1,{T + n * 86_400_000},1"],
            date=f"2024-03-0{n + 1}",
        )
        for n in (0, 1, 3)
    ]
    found = tape(paths, tmp_path, **USDM)
    assert [row[2] for row in rows(found)][7:] == [G, S, L, L | SELL | LAST]
    assert found.stats.gaps == 1
    assert rows(found)[7][0] == (T + 86_400_000) * 1_000_000


BAD = {
    "off the grid": (f"8,100.15,1,1,{T},true", OffGrid, "100.15 is not a multiple"),
    "off the lot": (f"8,100.1,0.0001,1,{T},true", OffGrid, "0.0001 is not a multiple"),
    "no price": (f"8,,1,1,{T},true", CaptureError, "a price was expected; found ''"),
    "zero": (f"8,0,1,1,{T},true", CaptureError, "a price above zero was expected"),
    "no number": (f"8,x,1,1,{T},true", CaptureError, "a price was expected; found 'x'"),
    "seconds": ("8,1,1,1,1709251200,true", CaptureError, "a time in milliseconds or micro"),
    "no flag": (f"8,1,1,1,{T},yes", CaptureError, "true or false was expected; found 'yes'"),
    "spot": (f"8,1,1,1,{T},true,true", CaptureError, "found 7 columns; is 'instrument.market'"),
    "an empty line": ("", CaptureError, "found 1 columns"),
    "an id twice": (f"7,1,1,1,{T},true", CaptureError, "an id above 7 was expected"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    line, error, words = BAD[name]
    good = [f"{n},1,1,1,{T},true" for n in range(8)]
    path = write(tmp_path, "trades", [*good, line, f"9,1,1,1,{T},true"])
    with pytest.raises(error) as caught:
        tape(path, tmp_path, **USDM)
    assert str(caught.value).startswith(f"{path}:10: ")
    assert words in str(caught.value)


def test_what_is_no_dump_of_this_market_is_refused(tmp_path: Path) -> None:
    line = f"7,1,1,1,{T},true"
    good = write(tmp_path, "trades", [line])
    for name in ("BTCUSDT-bookDepth-2024-03-01.zip", "BTCUSDT-1m-2024-03.zip"):
        (tmp_path / name).touch()
    for arguments, words in (
        ({"paths": write(tmp_path, "trades", [line], symbol="ETHUSDT")}, "found that of 'ETHUSDT'"),
        ({"paths": good, "venue": "binanceus"}, "'instrument.venue: binance' was expected"),
        ({"paths": good, "streams": ["bookTicker"]}, "bookTicker was expected.*found only trade"),
        (
            {"paths": [good, write(tmp_path, "aggTrades", [f"7,1,1,1,1,{T},true"])]},
            "found both, wh",
        ),
        ({"paths": [good, write(tmp_path, "trades", [line], date="2024-03")]}, "an id above 7"),
        ({"paths": tmp_path / "BTCUSDT-bookDepth-2024-03-01.zip"}, "sums over bands"),
        ({"paths": tmp_path / "BTCUSDT-1m-2024-03.zip"}, "found 1m, which does not become rows"),
        ({"paths": tmp_path / "BTCUSDT-trades-2023-03-01.zip"}, "there is no such file"),
    ):
        with pytest.raises(CaptureError, match=words):
            tape(userdir=tmp_path, **{**USDM, **arguments})
    broken = tmp_path / "BTCUSDT-trades-2024-03-02.zip"
    broken.write_bytes(good.read_bytes()[:100])
    with pytest.raises(CaptureError, match="the zip is damaged or cut short"):
        tape(broken, tmp_path, **USDM)
    other = write(tmp_path, "trades", ["a,b"], header=False, packed=False)
    with pytest.raises(
        CaptureError, match=r":1: trades of usdm, of 6 columns, was expected; found a,b"
    ):
        tape(other, tmp_path, **USDM)
    capture = tmp_path / "capture.txt"
    capture.write_text("")
    with pytest.raises(CaptureError, match=r"captures or dumps .* found both"):
        tape([good, capture], tmp_path, **USDM)


def test_a_missing_grid_is_proposed(tmp_path: Path) -> None:
    path = write(tmp_path, "trades", [f"7,100.5,0.02,1,{T},true", f"8,101,0.04,1,{T},true"])
    with pytest.raises(ConfigError, match=r'add tick: "0.5", lot: "0.02" under instrument'):
        tape(path, tmp_path, tick=None, lot=None, **USDM)


def test_a_backtest_over_trades_alone_is_refused_with_what_to_add(tmp_path: Path) -> None:
    import mmkit

    path = write(tmp_path, "trades", [f"7,100.1,1.5,150.15,{T},true"])
    (tmp_path / "config.yml").write_text(
        'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}\n'
        f"data: {{plugin: capture, paths: {path}}}\n"
        'strategy: {plugin: join_best, every: 100ms, size: "0.01", max_position: "0.05"}\n'
    )
    with pytest.raises(
        DataError, match=r"BTC/USDT:USDT: recorded data with a book.*add what holds"
    ):
        mmkit.backtest(tmp_path / "config.yml")
    best = write(tmp_path, "bookTicker", [f"1,100.1,1.5,100.3,2,{T},{T + 1}"])
    mmkit.backtest(tmp_path / "config.yml", {"data.paths": [str(path), str(best)]})
