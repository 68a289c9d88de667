"""Small models, really trained and saved, and runs that are told what they say."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mmkit.clock import SimClock
from mmkit.config import Config, load_config
from mmkit.events import MAIN, AnyEvent, Signal
from mmkit.features import Features
from mmkit.instruments import Instrument
from mmkit.interfaces import SignalTrainer, TrainingContext, TrainingSet
from mmkit.learning import grid_times, update_times
from mmkit.learning.windows import windows
from mmkit.recorder import Recorder
from mmkit.run.assembly import assemble
from mmkit.run.replay import received, replay_received
from mmkit.run.session import SignalFeed
from mmkit.settings import FillReports
from mmkit.tape import Tape
from mmkit.testing import BTCUSDT, random_tape
from mmkit_lightgbm.trainer import LightgbmTrainer, LightgbmTraining
from mmkit_signals.trainer import ImbalanceTrainer, ImbalanceTraining

MS = 1_000_000
FEATURES: list[Any] = [
    "spread",
    "imbalance",
    {"name": "imbalance", "levels": 3},
    {"name": "return", "window": "300ms"},
]

BARE: list[Any] = ["spread", "imbalance"]
"""Known at once after a gap."""


def trained(
    plugin: str, sampling: int | str, window: int, folder: Path, tape: Tape | None = None
) -> Path:
    """Train a model on a market and return its folder."""
    tape = tape or random_tape(99, 1_500)
    specs = BARE if plugin == "imbalance" else FEATURES
    features = Features(specs, tape.instrument)
    at = (
        update_times(tape)
        if isinstance(sampling, str)
        else grid_times(int(tape.ts_local[0]), int(tape.ts_local[-1]), sampling)
    )
    values = features.compute(tape, at)
    mid = Features(["mid"], tape.instrument).compute(tape, at)[:, 0]
    shown, moves = windows(values, window)[:-1], np.diff(mid)[window - 1 :]
    good = ~np.isnan(shown).any(axis=(1, 2)) & ~np.isnan(moves)
    data = TrainingSet(
        np.ascontiguousarray(shown[good]), (1 + np.sign(moves[good])).astype(np.int8)
    )
    context = TrainingContext(features.names, window)
    trainer: SignalTrainer
    if plugin == "imbalance":
        trainer = ImbalanceTrainer(ImbalanceTraining(), context)
    else:
        settings = LightgbmTraining(rounds=12, patience=12, lags="all", min_data_in_leaf=5)
        trainer = LightgbmTrainer(settings, context)
    trainer.fit(data, data, seed=1, progress=lambda step: None, stop=lambda: False)
    trainer.save(folder, {"features": specs, "sampling": sampling})
    return folder


@functools.cache
def model(plugin: str = "lightgbm", sampling: int | str = 100 * MS, window: int = 3) -> Path:
    """A model for the random market, trained once."""
    return trained(plugin, sampling, window, Path(tempfile.mkdtemp()) / plugin)


def config_of(
    userdir: Path,
    signals: Sequence[dict[str, Any]],
    strategy: dict[str, Any] | None = None,
    instrument: Instrument = BTCUSDT,
    **sections: Any,
) -> Config:
    """A configuration of a run in that instrument."""
    strategy = strategy or {
        "plugin": "skewed",
        "every": "70ms",
        "on": ["best", "signal"],
        "half_spread": "1ticks",
        "size": "0.01",
        "max_position": "0.05",
    }
    plain = {
        "instrument": {
            "venue": instrument.venue,
            "market": instrument.market,
            "symbol": instrument.symbol,
            "tick": str(instrument.tick),
            "lot": str(instrument.lot),
        },
        "data": {"plugin": "capture", "paths": ["none.gz"]},
        "strategy": strategy,
        "signals": list(signals),
        **sections,
    }
    path = userdir / "config.yml"
    path.write_text(yaml.safe_dump(plain))
    return load_config([path], userdir=userdir)


def signal(folder: Path | None = None, plugin: str = "lightgbm", **keys: Any) -> dict[str, Any]:
    return {"plugin": plugin, "model": str(folder or model(plugin)), "latency": "2ms", **keys}


class Entries(Recorder):
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def note(self, entry: Any) -> None:
        self.entries.append(entry)


def told(entries: Sequence[AnyEvent]) -> list[Signal]:
    return [entry for entry in entries if isinstance(entry, Signal)]


def one_at_a_time(config: Config, tape: Tape, feed: SignalFeed) -> tuple[list[Any], SignalFeed]:
    """Run as a dry run does, with a clock that shows what the market data shows."""
    entries = Entries()
    session = assemble(
        config,
        {MAIN: tape.instrument},
        entries,
        tape.start_ns,
        FillReports.AFTER_DATA,
        signals=feed,
    )

    replay_received(session, received({MAIN: tape}), end_ns=int(tape.ts_local[-1]) + 1)
    return entries.entries, feed


def still() -> SimClock:
    """A clock that stands still: a model takes no time, and is known with its sample."""
    return SimClock()
