"""What cannot be used is refused, in words that say where and what to do."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from capture_fixtures import (
    diff_message,
    line,
    small,
    snapshot_message,
    tape,
    trade_message,
    write,
)

from mmkit.errors import CaptureError, DataError, OffGrid


def refusal(path: Path | str, tmp_path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        tape(path, tmp_path, **options)
    assert error.value.exit_code == 4
    assert not list(tmp_path.rglob("*.tape"))
    return str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    words = refusal(tmp_path / "gone.gz", tmp_path)
    assert words.startswith(f"{tmp_path}/gone.gz: there is no such file; check 'data.paths'")


def test_a_pattern_that_matches_nothing(tmp_path: Path) -> None:
    assert "no file matches" in refusal(str(tmp_path / "*.gz"), tmp_path)


def test_a_folder(tmp_path: Path) -> None:
    assert "found a folder" in refusal(tmp_path, tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b"", mtime=0), b"\n\n"],
    ids=["nothing", "gzip of nothing", "empty lines"],
)
def test_an_empty_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "empty.gz"
    path.write_bytes(content)
    words = refusal(path, tmp_path)
    assert f"{path}: lines of '<local time> <json>' were expected; found none" in words


def test_another_symbol_and_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small())
    words = refusal(path, tmp_path, symbol="ETH/USDT")
    assert "messages of 'ETHUSDT' were expected; found those of BTCUSDT" in words


def test_json_of_something_else(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", [line(0, {"price": 1})])
    assert "found no market data that 'binance' sends" in refusal(path, tmp_path)


@pytest.mark.parametrize(("packing", "module"), [("gzip", gzip), ("xz", lzma)])
def test_a_file_cut_in_the_middle_of_a_block(packing: str, module: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    whole = module.compress("".join(small(updates=5000)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    words = refusal(path, tmp_path)
    assert f"{path}: the {packing} data is damaged or cut short after line " in words
    assert f"check it with '{packing} -t cut'" in words
    assert int(words.split("after line ")[1].split()[0]) > 0 or packing == "xz"


def test_a_file_whose_packed_data_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "damaged.gz"
    whole = bytearray(gzip.compress("".join(small(updates=500)).encode()))
    whole[-6] ^= 0xFF  # of its checksum
    path.write_bytes(whole)
    assert "damaged or cut short" in refusal(path, tmp_path)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("hello world\n", "'<local time> <json>' was expected; found 'hello world'"),
        ('{"stream":"x"}\n', "'<local time> <json>' was expected"),
        ("1700000000300000000\n", "'<local time> <json>' was expected"),
        ('17x {"a":1}\n', "'<local time> <json>' was expected"),
        ('1700000000300000000 {"stream":"btcusdt@dep', "as JSON was expected"),
        ("1700000000300000000 <html></html>\n", "a web page"),
        (line(3, {"stream": "btcusdt@depth", "data": {"s": "BTCUSDT"}}), "required field"),
    ],
)
def test_a_broken_line_and_its_number(broken: str, words: str, tmp_path: Path) -> None:
    lines = small()
    path = write(tmp_path / "capture.txt", [*lines[:3], broken])
    found = refusal(path, tmp_path)
    assert found.startswith(f"{path}:4: ")
    assert words in found


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "capture.txt"
    path.write_bytes("".join(small()).encode() + b'1700000009000000000 {"stream":"\xff\xfe"}\n')
    words = refusal(path, tmp_path)
    assert words.startswith(f"{path}:8: UTF-8 was expected; found byte 0xff at position 11")


def test_a_file_that_is_no_text_at_all(tmp_path: Path) -> None:
    path = tmp_path / "capture.bin"
    path.write_bytes(bytes(range(256)) * 10)
    assert "'<local time> <json>' was expected" in refusal(path, tmp_path)


def test_local_time_that_goes_back(tmp_path: Path) -> None:
    lines = small()
    lines[3], lines[4] = lines[4], lines[3]
    path = write(tmp_path / "capture.txt", lines)
    words = refusal(path, tmp_path)
    assert words.startswith(f"{path}:5: local time goes back by 100000000 ns")


def test_no_snapshot(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small()[1:])
    words = refusal(path, tmp_path)
    assert f"{path}: holds no snapshot of the book" in words
    assert "5 updates" in words


def test_only_a_snapshot_that_is_too_old(tmp_path: Path) -> None:
    lines = small()
    path = write(tmp_path / "capture.txt", [*lines[2:3], line(2, snapshot_message(3)), *lines[3:]])
    assert "no snapshot of the book fits its updates (1 found" in refusal(path, tmp_path)


def test_only_trades(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", [line(1, trade_message(1))])
    assert "updates of the book were expected; found only trade" in refusal(path, tmp_path)


def test_streams_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small())
    words = refusal(path, tmp_path, streams=["markPrice"])
    assert "messages of markPrice were expected; found depth, snapshot, trade" in words


def test_a_snapshot_that_does_not_say_whose_it_is_among_several_books(tmp_path: Path) -> None:
    lines = [*small(), line(9, diff_message(9, 77, "ETHUSDT"))]
    path = write(tmp_path / "capture.txt", lines)
    words = refusal(path, tmp_path)
    assert words.startswith(f"{path}:1: a snapshot that says whose it is was expected")


def test_a_price_off_the_tick_grid(tmp_path: Path) -> None:
    lines = [text.replace("99.9", "99.95") for text in small()]
    path = write(tmp_path / "capture.txt", lines)
    with pytest.raises(OffGrid) as error:
        tape(path, tmp_path)
    assert str(error.value).startswith(f"{path}:1: BTC/USDT: price 99.95 is not a multiple of 0.1")
    assert "are 'instrument.tick' and 'instrument.lot' those of this capture?" in str(error.value)


def test_a_lot_that_is_not_the_captures(tmp_path: Path) -> None:
    path = write(tmp_path / "capture.txt", small(updates=30))
    with pytest.raises(OffGrid, match="quantity"):
        tape(path, tmp_path, lot="7")


def test_an_error_answer_where_the_snapshot_should_be(tmp_path: Path) -> None:
    answer = json.dumps({"code": -1121, "msg": "Invalid symbol."})
    first = f"https://host/api/v3/depth?symbol=BTCUSDT&limit=9 -> 1700000000.0: {answer}\n"
    path = write(tmp_path / "capture.txt", [first, *small("s")[1:]])
    with pytest.raises(CaptureError, match=r":1: .*Invalid symbol"):
        tape(path, tmp_path)
