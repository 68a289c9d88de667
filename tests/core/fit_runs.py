"""Runs with known parameters, written as 'mmkit trade' writes them, and markets whose queues tell something."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml
from core_rows import BTCUSDT

from mmkit.config import Config, load_config
from mmkit.events import MAIN
from mmkit.interfaces import RunInfo
from mmkit.journal import Journal, RecordedRun, RunRecord
from mmkit.run.assembly import assemble
from mmkit.settings import FillReports
from mmkit.tape import LAST, SELL, Kind, Row, Tape
from mmkit.testing import snapshot_rows

S, MS = 10**9, 10**6
START = 1_700_000_000 * S
JOIN_BEST = {"every": "50ms", "on": ["fill"], "size": "0.005", "max_position": "1"}


def queueing_market(seed: int, messages: int = 6_000) -> Tape:
    """Return a market whose touch stays for a while, with people who come, cancel and trade there.

    About a hundred lots wait at each touch; the next levels are always there.
    """
    dice = random.Random(seed)
    ts, middle = START, 600_000
    rows: list[Row] = []
    totals: dict[int, int] = {}

    def tell(*changes: tuple[int, int, int]) -> None:
        # Received late, but in order: 2 ms after it happened.
        told = [(ts, ts + 2 * MS, *change) for change in changes]
        last = told[-1]
        rows.extend([*told[:-1], (*last[:2], last[2] | LAST, *last[3:])])

    def anew() -> None:
        totals.update({0: dice.randrange(60, 140), int(SELL): dice.randrange(60, 140)})
        bids = [(middle - 1, totals[0]), (middle - 2, 500), (middle - 3, 500)]
        asks = [(middle, totals[SELL]), (middle + 1, 500), (middle + 2, 500)]
        rows.extend(snapshot_rows(bids, asks, ts, ts + 2 * MS))

    anew()
    for _ in range(messages):
        ts += dice.randrange(1, 20 * MS)
        side = dice.choice((0, int(SELL)))
        price, total = (middle if side else middle - 1), totals[side]
        what = dice.random()
        if dice.random() < 0.004:
            middle += dice.choice((-1, 1))
            anew()
        elif what < 0.25:
            quantity = min(dice.randrange(1, 16), total - 1)
            if quantity:
                totals[side] -= quantity
                tell((Kind.TRADE | (SELL - side), price, quantity))
                tell((Kind.LEVEL | side, price, totals[side]))
        else:
            towards = dice.randrange(1, 25) * (1 if total < 20 or what > 0.65 else -1)
            totals[side] = min(max(total + towards, 1), 160)
            tell((Kind.LEVEL | side, price, totals[side]))
    return Tape.from_rows(BTCUSDT, rows)


def config_of(
    folder: Path, sim: dict[str, Any], join_best: dict[str, Any] = JOIN_BEST, **changes: Any
) -> Config:
    """Return the configuration of a run of `join_best`, on BTCUSDT unless changed."""
    sections = {
        "instrument": {
            "venue": "binance",
            "market": "usdm",
            "symbol": "BTC/USDT:USDT",
            "tick": "0.1",
            "lot": "0.001",
        },
        "data": {"plugin": "capture", "paths": ["nothing.gz"]},
        "strategy": {"plugin": "join_best", **join_best},
        "sim": sim,
        **changes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(sections))
    return load_config([path], userdir=folder)


def write_dry_run(config: Config, tape: Tape, folder: Path, *, ends: bool = True) -> RecordedRun:
    """Run as 'mmkit trade' does, and return what its folder holds."""
    folder.mkdir(parents=True)
    journal = Journal(folder, market=True)
    run = RunInfo(
        run_id="by-hand",
        command="trade",
        folder=str(folder),
        instrument=tape.instrument,
        strategy=config.strategy.name,
    )
    record = RunRecord(info=run, start_ns=tape.start_ns - 1)
    instruments = {MAIN: tape.instrument}
    session = assemble(config, instruments, journal, record.start_ns, FillReports.AFTER_DATA)
    message: list[Row] = []
    for row in tape.rows():
        message.append(row)
        if row[2] & LAST:
            journal.market(message)
            session.receive(message)
            message = []
    stop_ns = tape.end_ns + S
    session.advance(stop_ns)
    session.stop(stop_ns)
    session.advance(stop_ns + 5 * S)
    if ends:
        record.stop_ns, record.end_ns = stop_ns, stop_ns + 5 * S
        journal.write("config.yml", yaml.safe_dump(config.resolved).encode())
    journal.write_record(record)
    journal.close()
    return RecordedRun(folder)
