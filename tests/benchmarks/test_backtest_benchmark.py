"""The benchmark's own parts; the measurements themselves need the peers (docs/benchmarks.md)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from benchmarks.backtest import __main__ as command
from benchmarks.backtest.feed import kept_tape, load_feed
from benchmarks.backtest.mm_strategy import mid_quoter
from benchmarks.backtest.outcome import Outcome

from mmkit.interfaces import Quotes
from mmkit.tape import LAST, SELL, Kind, Tape
from mmkit.testing import market_view

EVENT = np.dtype(
    [("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8")]
)
EXCHANGE, LOCAL, BUY, SOLD, DEPTH, TRADE, SNAPSHOT = 1 << 31, 1 << 30, 1 << 29, 1 << 28, 1, 2, 4


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    both = EXCHANGE | LOCAL
    events = np.array(
        [
            (both | BUY | DEPTH, 110, 120, 59_999.9, 0.007),
            (EXCHANGE | SOLD | TRADE, 105, 130, 59_999.9, 0.001),  # only the exchange's half
            (LOCAL | SOLD | TRADE, 105, 130, 59_999.9, 0.001),
        ],
        dtype=EVENT,
    )
    book = np.array(
        [
            (both | BUY | SNAPSHOT, 1, 1, 59_999.9, 1.0),
            (both | SOLD | SNAPSHOT, 1, 1, 60_000.0, 2.0),
        ],
        dtype=EVENT,
    )
    np.save(tmp_path / "feed.npy", events)
    np.savez(tmp_path / "snap.npz", data=book)
    return tmp_path / "feed.npy", tmp_path / "snap.npz"


def test_a_feed_is_a_snapshot_and_the_rows_that_are_seen_locally(files: tuple[Path, Path]) -> None:
    tape = load_feed(*files)
    assert list(tape.rows()) == [
        (105, 105, Kind.SNAPSHOT, 0, 0),
        (105, 105, Kind.LEVEL, 599_999, 1_000),
        (105, 105, Kind.LEVEL | SELL | LAST, 600_000, 2_000),
        (110, 120, Kind.LEVEL | LAST, 599_999, 7),
        (105, 130, Kind.TRADE | SELL | LAST, 599_999, 1),
    ]


def test_a_kept_tape_that_cannot_be_read_is_built_anew(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    kept = kept_tape(*files, tmp_path)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    assert kept_tape(*files, tmp_path) == kept
    assert kept.read_bytes() == whole
    assert len(Tape.load(kept)) == 5


def test_the_quoter_counts_its_position_in_floats_as_the_oracle_does() -> None:
    quoter = mid_quoter()
    for position in range(0, 101, 10):
        wanted = quoter.quote(market_view(position=position))
    # Ten times 0.01 is 0.0999...: below the limit of 0.1, so it still bids.
    assert wanted == Quotes(bid=(599_985, 10), ask=(600_001, 10))


def test_outcomes_are_the_same_up_to_the_rounding_of_floats() -> None:
    ours = Outcome(5, 4, Decimal("0.010"), Decimal("-1.5"), Decimal("0.25"), Decimal("-1.75"))
    assert ours.same_as({"fills": 4, "position": 0.01, "fees": 0.2500000001})
    assert not ours.same_as({"fills": 4, "position": 0.01, "fees": 0.2501})
    assert Outcome.of(ours.figures()) == ours


def test_what_cannot_be_measured_is_null_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_DIR", str(tmp_path))
    monkeypatch.setitem(command.MEASUREMENTS, "convert", (_missing, "3", "10"))
    command.main(["--only", "convert"])
    *table, last = capsys.readouterr().out.splitlines()
    assert last == '{"convert": null}'
    assert "not measured: there is no such thing" in table[-1]


def _missing(bench: command.Bench) -> command.Finding:
    raise command.NotYetError("there is no such thing")
