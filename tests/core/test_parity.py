from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import yaml
from core_rows import BTCUSDT

from mmkit.config import Config, load_config, load_resolved
from mmkit.errors import DataError, RunError
from mmkit.events import MAIN, OrderFilled
from mmkit.interfaces import RunInfo
from mmkit.journal import Journal, RecordedRun, RunRecord
from mmkit.run.assembly import assemble
from mmkit.run.parity import Parity, open_recorded, parity
from mmkit.settings import FillReports
from mmkit.sim.latency_files import digests
from mmkit.tape import LAST, RECORD, Row
from mmkit.testing import random_tape

MS = 1_000_000
CONFIG = """
instrument: {venue: binance, market: usdm, symbol: "BTC/USDT:USDT", tick: "0.1", lot: "0.001"}
data: {plugin: capture, paths: [nothing.gz]}
strategy: {plugin: skewed, every: 70ms, on: [best, fill], half_spread: 1ticks, skew: 1ticks,
           size: "0.01", max_position: "0.05"}
risk: {max_position: "0.04", stale_after: 80ms}
sim: {latency: {entry: 4ms, response: 6ms}, data_wait: 50ms}
"""


def config_in(folder: Path, text: str = CONFIG) -> Config:
    path = folder / "config.yml"
    path.write_text(text)
    return load_config([path], userdir=folder)


def dry_run(config: Config, folder: Path, *, ends: bool = True, command: str = "trade") -> Path:
    """Run as 'mmkit trade' does: data in pieces, a timer now and then, a stop, an end."""
    folder.mkdir()
    rows = list(random_tape(4, messages=400).rows())
    start_ns = rows[0][1] - 3 * MS
    journal = Journal(folder, market=True)
    run = RunInfo(
        run_id="by-hand",
        command=command,
        folder=str(folder),
        instrument=BTCUSDT,
        strategy=config.strategy.name,
    )
    record = RunRecord(info=run, start_ns=start_ns, files=digests(config.sim.latency))
    live = assemble(config, {MAIN: BTCUSDT}, journal, start_ns, FillReports.AFTER_DATA)
    message: list[Row] = []
    for number, row in enumerate(rows):
        message.append(row)
        if row[2] & LAST:
            if number % 3 == 0:
                live.advance(message[0][1] - number % 2)
            journal.market(message)
            live.receive(message)
            message = []
    record.stop_ns = rows[-1][1] + 9 * MS
    live.advance(record.stop_ns)
    live.stop(record.stop_ns)
    if ends:
        record.end_ns = record.stop_ns + 200 * MS
        live.advance(record.end_ns)
    journal.write_record(record)
    journal.close()
    return folder


def compared(folder: Path, config: Config) -> Parity:
    return parity(open_recorded(folder), config)


def test_a_dry_run_replayed_as_a_backtest_is_the_same_to_the_last_entry(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = dry_run(config, tmp_path / "run")
    result = compared(folder, config)
    entries = RecordedRun(folder).entries()
    assert (result.equal, result.first_difference) == (True, "")
    assert result.entries == result.replayed == len(entries) > 300
    assert result.fills == sum(isinstance(entry, OrderFilled) for entry in entries) > 20
    assert (result.run_id, result.events) == ("by-hand", len(random_tape(4, messages=400)))


def rewritten(folder: Path, lines: Sequence[bytes]) -> None:
    (folder / "journal.jsonl").write_bytes(b"".join(lines))


def test_every_kind_of_difference_is_found_and_said(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = dry_run(config, tmp_path / "run")
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)

    rewritten(folder, lines[:-1])
    missing = compared(folder, config)
    assert not missing.equal
    assert missing.first_difference.startswith(f"entry {len(lines)}: only replayed: ")

    rewritten(folder, [*lines, lines[-1]])
    extra = compared(folder, config)
    assert not extra.equal
    assert extra.first_difference.startswith(f"entry {len(lines) + 1}: only recorded: ")

    at = next(number for number, line in enumerate(lines) if b"OrderFilled" in line)
    fill = msgspec.json.decode(lines[at])
    fill["price"] += 1
    changed = msgspec.json.encode(fill) + b"\n"
    rewritten(folder, [*lines[:at], changed, *lines[at + 1 :]])
    other = compared(folder, config)
    assert not other.equal
    assert other.first_difference.startswith(f"entry {at + 1}: recorded OrderFilled(")

    rewritten(folder, lines)
    assert compared(folder, config).equal


def test_a_row_less_of_market_data_is_found(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = dry_run(config, tmp_path / "run")
    market = folder / "market.rows"
    market.write_bytes(market.read_bytes()[RECORD.itemsize * 300 :])
    assert not compared(folder, config).equal


def test_another_configuration_is_another_run(tmp_path: Path) -> None:
    folder = dry_run(config_in(tmp_path), tmp_path / "run")
    other = load_config([tmp_path / "config.yml"], ["strategy.size=0.02"], userdir=tmp_path)
    assert not compared(folder, other).equal


def test_a_run_that_never_ended_cannot_be_compared(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = dry_run(config, tmp_path / "run", ends=False)
    with pytest.raises(RunError, match="the run never ended"):
        compared(folder, config)


def test_a_backtest_holds_no_market_data_to_compare_with(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    folder = dry_run(config, tmp_path / "run", command="backtest")
    with pytest.raises(RunError, match="parity needs a run of 'mmkit trade'"):
        compared(folder, config)


SAMPLES = [2_000_000 + 300_000 * number for number in range(40)]


def with_samples(folder: Path) -> tuple[Path, Config]:
    """A run with measured latencies, and its configuration as its folder would keep it."""
    measured = folder / "measured.csv"
    measured.write_text("\n".join(["latency_ns", *map(str, SAMPLES)]))
    ways = f"{{entry: {{samples: {measured}, seed: 3}}, response: {{samples: {measured}}}}}"
    config = config_in(folder, CONFIG.replace("{entry: 4ms, response: 6ms}", ways))
    kept = yaml.safe_load(yaml.safe_dump(config.resolved))
    return dry_run(config, folder / "run"), load_resolved(kept, folder)


def test_a_run_with_measured_latencies_is_replayed_from_its_folder(tmp_path: Path) -> None:
    folder, kept = with_samples(tmp_path)
    result = compared(folder, kept)
    assert (result.equal, result.first_difference) == (True, "")
    assert result.fills > 10


def test_a_file_that_has_changed_since_the_run_is_named(tmp_path: Path) -> None:
    folder, kept = with_samples(tmp_path)
    measured = tmp_path / "measured.csv"
    old = measured.read_bytes()
    measured.write_bytes(old + b"\n5")
    with pytest.raises(
        RunError, match=r"measured\.csv: the file that by-hand was run with .*changed"
    ):
        compared(folder, kept)
    measured.unlink()
    with pytest.raises(DataError, match=r"measured\.csv: a CSV file .* cannot be read"):
        compared(folder, kept)
    measured.write_bytes(old)
    assert compared(folder, kept).equal
