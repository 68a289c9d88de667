"""`mmkit backtest` over Tardis's files, made from a real capture."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from processes import SHARED, mmkit, write_config

CAPTURE = SHARED / "binance_usdm" / "btcusdt_20240808.gz"
MARKET = (
    'instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}'
)
STRATEGY = """
strategy: {plugin: join_best, "on": [best], size: "0.01", max_position: "0.05"}
sim: {fees: {maker: "0", taker: "0"}, partial_fills: false, queue: {model: risk_averse}, fill_reports: after_data}
"""
# By the order of receipt both files tell the same; by the venue's clock Tardis's trades are ahead of the book.
MESSAGES = 20_000


def tardis_files(folder: Path) -> None:
    """Write what Tardis would have of the capture's first messages, from the snapshot on."""
    book = ["exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount"]
    trades = ["exchange,symbol,timestamp,local_timestamp,id,side,price,amount"]
    whose, last = "binance-futures,BTCUSDT", None
    with gzip.open(CAPTURE, "rt") as file:
        for _, line in zip(range(MESSAGES), file, strict=False):
            stamp, _, text = line.partition(" ")
            message, local = json.loads(text), int(stamp) // 1000
            data = message.get("data", message)
            if "lastUpdateId" in data:
                last, word, time = data["lastUpdateId"], "true", data["T"]
                sides = (("bid", data["bids"]), ("ask", data["asks"]))
            elif data.get("e") == "depthUpdate":
                if last is None or data["u"] < last:
                    continue
                word, time = "false", data["T"]
                sides = (("bid", data["b"]), ("ask", data["a"]))
            elif data.get("e") == "trade" and data["X"] == "MARKET":
                side = "sell" if data["m"] else "buy"
                trades.append(
                    f"{whose},{data['T'] * 1000},{local},{data['t']},{side},{data['p']},{data['q']}"
                )
                continue
            else:
                continue
            book += [
                f"{whose},{time * 1000},{local},{word},{side},{price},{amount}"
                for side, levels in sides
                for price, amount in levels
            ]
    name = "binance-futures_{}_2024-08-08_BTCUSDT.csv.gz"
    for kind, lines in (("incremental_book_L2", book), ("trades", trades)):
        (folder / name.format(kind)).write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))


def test_tardis_files_give_the_fills_that_the_capture_they_are_made_of_gives(
    tmp_path: Path,
) -> None:
    tardis_files(tmp_path)
    with gzip.open(CAPTURE, "rt") as file:
        lines = [line for _, line in zip(range(MESSAGES), file, strict=False)]
    (tmp_path / "capture.txt").write_text("".join(lines))
    reports = {}
    for plugin, path in (("tardis", "binance-futures_*"), ("capture", "capture.txt")):
        data = f'data: {{plugin: {plugin}, paths: "{path}", clock_offset: 1300ms}}'
        userdir = write_config(tmp_path / plugin, f"{MARKET}\n{data}\n{STRATEGY}")
        run = mmkit("backtest", "-c", userdir / "config.yml", "--json", cwd=tmp_path)
        assert run.status == 0, run.stderr
        reports[plugin] = run.json
    of_tardis, of_capture = reports["tardis"], reports["capture"]
    assert of_tardis["fills"] > 10
    keys = ("fills", "position", "equity", "volume")
    assert {key: of_tardis[key] for key in keys} == {key: of_capture[key] for key in keys}


def test_a_mistake_in_a_file_ends_the_backtest_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    path.write_text(
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
        "binance-futures,BTCUSDT,1709251200000000,1709251200000000,true,bid,100.15,1\n"
    )
    data = f"data: {{plugin: tardis, paths: {path}}}"
    userdir = write_config(tmp_path / "user_data", f"{MARKET}\n{data}\n{STRATEGY}")
    run = mmkit("backtest", "-c", userdir / "config.yml", cwd=tmp_path)
    assert (run.status, run.stdout) == (4, "")
    assert f"{path}:2: " in run.stderr
    assert "100.15 is not a multiple of the tick 0.1" in run.stderr
