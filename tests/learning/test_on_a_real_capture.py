"""A day of a quiet market, the plain rule trained on its first part and judged on its last six hours."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from mmkit.book import Book
from mmkit.clock import SimClock
from mmkit.interfaces import InstrumentSpec, SourceContext
from mmkit.learning import (
    BlockBootstrap,
    ImbalanceRule,
    LabelRule,
    Samples,
    check_classes,
    evaluate,
    majority,
    span_of,
    split_at,
    take,
    update_times,
)
from mmkit.plugins import Plugins
from mmkit.tape import KIND, LAST, Kind, Tape
from mmkit_capture.source import CaptureConfig, CaptureSource

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "binance_spot_nexousdt"
SIX_HOURS = 6 * 3_600 * 10**9
VALID = 0.15  # of what is before the test


class Day(NamedTuple):
    samples: Samples
    bid: npt.NDArray[np.float64]
    ask: npt.NDArray[np.float64]


def the_tape() -> Tape:
    with TemporaryDirectory() as userdir:
        context = SourceContext(
            spec=InstrumentSpec(
                venue="binance",
                market="spot",
                symbol="NEXO/USDT",
                tick=Decimal("0.001"),
                lot=Decimal("0.01"),
            ),
            clock=SimClock(),
            userdir=Path(userdir),
            wire_formats=Plugins.load(None).wire_formats,
        )
        paths = tuple(str(path) for path in sorted(DATA.glob("*.dat.gz")))
        config = CaptureConfig(paths=paths)
        return asyncio.run(CaptureSource(config, context).tape())


@cache
def the_day() -> Day:
    """One sample per update of the book, from the ladder itself."""
    tape = the_tape()
    at = update_times(tape)
    tops = np.full((len(at), 4), np.nan)
    book = Book()
    due = dict(zip(at.tolist(), range(len(at)), strict=True))
    in_book = (Kind.LEVEL, Kind.SNAPSHOT, Kind.GAP)
    for one in tape.rows():
        kind = one[2]
        if kind & KIND in in_book or kind & LAST:
            book.apply(one)
        if not kind & LAST or one[1] not in due:
            continue
        row = due[one[1]]
        bid, ask = book.bids.best, book.asks.best
        if book.known and bid is not None and ask is not None and bid < ask:
            tops[row] = bid, ask, book.bids.levels[bid], book.asks.levels[ask]
    bid, ask, bid_size, ask_size = tops.T
    imbalance = (bid_size - ask_size) / (bid_size + ask_size)
    samples = Samples.of(
        at,
        np.column_stack((imbalance, bid, ask)),
        ("imbalance", "bid", "ask"),
        (bid + ask) / 2,
        span_of(tape, at),
    ).known()
    return Day(samples, samples.values[:, 1], samples.values[:, 2])


@pytest.mark.parametrize("horizon", [10, 20, 50, 100])
def test_the_plain_rule_on_six_hours_that_nothing_was_tuned_on(horizon: int) -> None:
    day = the_day()
    samples = day.samples
    assert (np.diff(samples.span) == 0).all()
    assert 60_000 < len(samples) < 70_000
    test_from = int(np.searchsorted(samples.ts, samples.ts[-1] - SIX_HOURS))
    rule = LabelRule(horizon=horizon, quantile=1 / 3)
    split = split_at(samples.ts, rule, int(test_from * (1 - VALID)), test_from)
    moves = rule.moves(samples)
    labels = rule.fit(moves[: split.train.stop]).labels(moves)
    train = labels[: split.train.stop]
    check_classes(train, "training")
    plain = ImbalanceRule.fit(samples.values[: split.train.stop, 0], train)
    known = np.flatnonzero(labels >= 0)
    known = known[known >= test_from]
    # A label reaches the end of the data but for the last horizon.
    assert len(known) == len(samples) - test_from - horizon
    called = plain.predict(samples.values[known, 0])
    judged = evaluate(
        labels[known],
        called,
        rule=called,
        majority=majority(train),
        horizon=str(horizon),
        overlap=horizon,
        resamples=1_000,
    )
    # The rule knows something, at every horizon, and is no better than itself.
    assert judged.macro_f1.low > judged.chance
    assert judged.against_majority.better
    assert not judged.against_rule.better
    assert judged.against_rule.sentence.startswith("no better than the plain rule")
    taken = take(
        samples.ts[known],
        samples.span[known],
        day.bid[known],
        day.ask[known],
        called,
        fee=0.001,
        bootstrap=BlockBootstrap(length=judged.block, resamples=1_000),
    )
    # A tick is 8 bps and a fee 10: whatever the F1, taking loses.
    assert taken.total.high < 0
