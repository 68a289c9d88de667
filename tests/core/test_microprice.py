from __future__ import annotations

import numpy as np
import pytest

from mmkit.cli import main
from mmkit.errors import DataError
from mmkit.microprice import fit_microprice
from mmkit.tape import LAST, GapReason, Kind, Row, Tape
from mmkit.testing import BTCUSDT, snapshot_rows


def market(up: list[float], persistence: float | None, messages: int, seed: int) -> Tape:
    """A book one tick wide whose imbalance says where mid goes.

    From bucket b, half the time only the quantities change, within the bucket; otherwise mid moves, up
    with chance ``up[b]``. The next bucket is any, or with two buckets that of the move's direction with
    chance `persistence`.
    """
    dice = np.random.default_rng(seed)
    rows: list[Row] = []
    bid, bucket, buckets = 600_000, 0, len(up)
    for step in range(messages):
        # The middle of the bucket, in one of two sizes, so that every message changes the top.
        of = 2 * buckets * (1 + step % 2)
        share = (2 * bucket + 1) * (1 + step % 2)
        at = step * 1_000_000
        rows += snapshot_rows([(bid, share)], [(bid + 1, of - share)], at, at)
        if dice.random() < 0.5:
            continue
        rises = bool(dice.random() < up[bucket])
        bid += 1 if rises else -1
        if persistence is None:
            bucket = int(dice.integers(buckets))
        else:
            bucket = int(rises == (dice.random() < persistence))
    return Tape.from_rows(BTCUSDT, rows)


def test_without_memory_the_adjustment_is_the_expected_next_move() -> None:
    found = fit_microprice(market([0.1, 0.4, 0.6, 0.9], None, 60_000, 1), buckets=4, spreads=1)
    # What follows a move is any bucket, so its expectation is nothing: 2 p - 1.
    assert found.adjustment[0] == pytest.approx([-0.8, -0.2, 0.2, 0.8], abs=0.03)
    assert found.moves == pytest.approx(30_000, rel=0.03)
    assert sum(found.observations[0]) == 59_999


def test_moves_that_lead_to_more_of_their_kind_are_summed_to_the_end() -> None:
    found = fit_microprice(market([0.2, 0.8], 0.9, 60_000, 2), buckets=2, spreads=1)
    # First move 0.6; each next one is (2 p - 1)(2 r - 1) = 0.48 of that before: 0.6 / 0.52.
    assert found.adjustment[0] == pytest.approx([-0.6 / 0.52, 0.6 / 0.52], rel=0.04)


def test_the_adjustment_of_a_mirrored_market_is_mirrored() -> None:
    found = fit_microprice(market([0.3, 0.3, 0.9], None, 5_000, 3), buckets=3, spreads=1)
    low, middle, high = found.adjustment[0]
    assert (low, middle) == (-high, 0)


def test_changes_across_a_gap_or_a_wide_book_are_no_moves() -> None:
    rows = list(market([0.2, 0.8], None, 2_000, 4).rows())
    alone = fit_microprice(Tape.from_rows(BTCUSDT, rows), buckets=2, spreads=1)
    end = rows[-1][0]
    gap: Row = (end + 1, end + 1, Kind.GAP | LAST, int(GapReason.SEQUENCE), 0)
    wide = snapshot_rows([(700_000, 1)], [(700_009, 1)], end + 2, end + 2)
    far = snapshot_rows([(700_000, 1)], [(700_001, 1)], end + 3, end + 3)
    for between in ([gap], wide):
        found = fit_microprice(
            Tape.from_rows(BTCUSDT, [*rows, *between, *far]), buckets=2, spreads=1
        )
        assert found == alone


@pytest.mark.parametrize(
    ("tape", "said"),
    [
        (
            Tape.from_rows(BTCUSDT, snapshot_rows([(9, 1)], [(10, 1)])),
            r"the best prices never change while the spread is at most 2 ticks",
        ),
        (
            Tape.from_rows(
                BTCUSDT,
                [r for n in range(9) for r in snapshot_rows([(9, 1 + n)], [(10, 1)], n, n)],
            ),
            r"mid never moves",
        ),
    ],
)
def test_too_little_is_refused_in_words(tape: Tape, said: str) -> None:
    with pytest.raises(DataError, match=said):
        fit_microprice(tape)


def test_the_commands_help_says_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--help"]) == 0
    out = capsys.readouterr().out
    assert "intensity" in out
    assert "microprice" in out
    assert main(["calibrate", "microprice", "--buckets", "1"]) == 2
    assert "1 is not in the range 2<=x<=100" in capsys.readouterr().err
