"""Backtests from a notebook: results as pandas frames, many parameter sets over one tape.

::

    import mmkit

    run = mmkit.backtest("config.yml", {"strategy.half_spread": "8bps"})
    run.fills()

    tried = mmkit.sweep("config.yml", {"strategy.half_spread": ["4bps", "8bps"], "strategy.skew": ["0bps", "1bps"]})
    tried.frame()
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mmkit.config import Draft, draft_config, draft_plain
from mmkit.errors import UsageError
from mmkit.events import MAIN
from mmkit.interfaces import Provider, Strategy
from mmkit.recorder import Nothing
from mmkit.report import Report, report_text
from mmkit.run import backtest as runs
from mmkit.run.assembly import assemble
from mmkit.run.replay import Tapes
from mmkit.run.session import Session
from mmkit.run.trail import Trail
from mmkit.units import parse_duration

if TYPE_CHECKING:
    import pandas as pd

    from mmkit.config import Config

ConfigLike: TypeAlias = str | Path | Sequence[str | Path] | Mapping[str, Any]
"""One or more YAML files, later ones on top, or what one would hold as plain data."""
Changes: TypeAlias = Mapping[str, Any]
"""Plain values by path, such as ``{"strategy.half_spread": "8bps"}``."""


@dataclass(frozen=True)
class Backtest:
    """One backtest and what came of it.

    Attributes:
        report: The results.
        tapes: The market data, by market.
        config: What was run.
        trail: What happened.
    """

    report: Report
    tapes: Tapes = field(repr=False)
    config: Config = field(repr=False)
    trail: Trail = field(repr=False)

    def fills(self, market: str = MAIN) -> pd.DataFrame:
        """Return every fill; the index is when we learned of it."""
        return self.trail.fills(market)

    def orders(self, market: str = MAIN) -> pd.DataFrame:
        """Return every order, with what became of it; the index is when it was sent."""
        return self.trail.orders(market)

    def funding(self, market: str = MAIN) -> pd.DataFrame:
        """Return every payment of funding; positive was received."""
        return self.trail.funding(market)

    def equity(self, every: str = "1s", market: str = MAIN) -> pd.DataFrame:
        """Return position, money and equity over time, by what we had learned; floats, in units of currency.

        Args:
            every: Between two rows, such as ``1s`` or ``1h``.
            market: Which.
        """
        return self.trail.equity(self.tapes[market], parse_duration(every), market)

    def __str__(self) -> str:
        return report_text(self.report)


def load_tapes(config: ConfigLike, changes: Changes | None = None) -> Tapes:
    """Return the recorded market data that a configuration names, by market, for `backtest` and `sweep`.

    Raises:
        MmkitError: if it cannot be read.
    """
    return runs.load_tapes(_draft(config).config(changes))


def backtest(
    config: ConfigLike,
    changes: Changes | None = None,
    *,
    strategy: type[Strategy] | None = None,
    tapes: Tapes | None = None,
    engine: runs.EngineChoice = "auto",
) -> Backtest:
    """Run a strategy over recorded market data; leaves nothing on disk.

    Args:
        config: What to run.
        changes: Values that differ.
        strategy: A class of your own, in place of ``strategy.plugin``.
        tapes: The market data, if it has been loaded already (`load_tapes`).
        engine: ``compiled`` or ``reference``, which give the same results; ``auto`` chooses.

    Raises:
        MmkitError: whatever is wrong, in words.
    """
    found = _draft(config).config(changes, _provider(strategy))
    tapes = tapes if tapes is not None else runs.load_tapes(found)
    runs.check_covered(found, tapes)
    trail = Trail(runs.instruments_of(tapes))
    report = runs.run_backtest(found, tapes, trail, runs.run_info(found, tapes), engine=engine)[1]
    return Backtest(report, tapes, found, trail)


@dataclass(frozen=True)
class Tried:
    """One parameter set and what came of it."""

    changes: Mapping[str, Any]
    report: Report


@dataclass(frozen=True)
class Sweep:
    """Many parameter sets over the same market data.

    Attributes:
        tried: What has been run, in the order in which it was asked for.
        asked: How many sets there were.
        interrupted: Whether it was broken off, so that some are missing.
    """

    tried: list[Tried] = field(repr=False)
    asked: int
    interrupted: bool

    def frame(self) -> pd.DataFrame:
        """Return a row for each set: its parameters, then the figures of its report (of the main market, but for
        ``equity_of_all``)."""
        import pandas as pd

        return pd.DataFrame([{**one.changes, **_figures(one.report)} for one in self.tried])


_FIGURES = ("equity", "realized_pnl", "unrealized_pnl", "fees", "funding", "max_drawdown")
_COUNTS = ("orders", "cancels", "rejected", "fills", "maker_fills", "taker_fills")


def _figures(report: Report) -> dict[str, Any]:
    values: dict[str, Any] = {name: float(getattr(report, name)) for name in _FIGURES}
    values |= {name: float(getattr(report, name)) for name in ("position", "volume", "turnover")}
    values |= {name: getattr(report, name) for name in _COUNTS}
    if report.equity_of_all is not None:
        values["equity_of_all"] = float(report.equity_of_all)
    return {**values, "halted": report.halted, "engine": report.engine}


def sweep(
    config: ConfigLike,
    sets: Mapping[str, Iterable[Any]] | Iterable[Changes],
    *,
    strategy: type[Strategy] | None = None,
    tapes: Tapes | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Run every parameter set over the same market data, which is read once; runs go on at the same time.

    Ctrl-C ends it; what had been finished by then is returned.

    Args:
        config: What to run.
        sets: Values to be tried by path, every combination of them; or a list of changes.
        strategy: A class of your own, in place of ``strategy.plugin``.
        tapes: The market data, if it has been loaded already (`load_tapes`).
        workers: Runs at a time; as many as there are processors unless given.
        progress: Told how many runs have ended, and how many there are.

    Raises:
        MmkitError: whatever is wrong, in words; before the first run if it can be seen by then.
    """
    from mmkit.run.many import run_many

    draft, provider = _draft(config), _provider(strategy)
    changes = _changes(sets)
    configs = [draft.config(each, provider) for each in changes]
    if any(_data(each) != _data(configs[0]) for each in configs):
        raise UsageError(
            "the sets change 'data', 'instrument' or 'markets'; a sweep reads its market data once, so call "
            "it for each"
        )
    tapes = tapes if tapes is not None else runs.load_tapes(configs[0])
    for each in configs:
        runs.check_covered(each, tapes)
    start_ns, instruments = runs.span_of(tapes)[0], runs.instruments_of(tapes)

    def prepare(each: Config) -> Callable[[], Session]:
        return lambda: assemble(each, instruments, Nothing(), start_ns)

    ended: dict[int, Report] = {}
    interrupted = False
    try:
        for done in run_many(tapes, [prepare(each) for each in configs], workers):
            run = runs.run_info(configs[done.number], tapes)
            ended[done.number] = runs.report_of_backtest(
                done.session, run, tapes, done.wall_s, done.ran_on
            )
            if progress is not None:
                progress(len(ended), len(configs))
    except KeyboardInterrupt:
        interrupted = True
    tried = [Tried(changes[number], ended[number]) for number in sorted(ended)]
    return Sweep(tried, len(configs), interrupted)


def _data(config: Config) -> list[Any]:
    return [(one.spec, one.data) for one in config.markets.values()]


def _changes(sets: Mapping[str, Iterable[Any]] | Iterable[Changes]) -> list[Changes]:
    if isinstance(sets, Mapping):
        if strange := [path for path, values in sets.items() if isinstance(values, str)]:
            raise UsageError(
                f"'{strange[0]}': a list of values to be tried was expected; found text"
            )
        return [
            dict(zip(sets, values, strict=True)) for values in itertools.product(*sets.values())
        ]
    return [dict(each) for each in sets]


def _draft(config: ConfigLike) -> Draft:
    if isinstance(config, Mapping):
        return draft_plain(config)
    paths = [config] if isinstance(config, str | Path) else config
    return draft_config([Path(path) for path in paths])


def _provider(strategy: type[Strategy] | None) -> Provider[Any, Strategy] | None:
    if strategy is None:
        return None
    return Provider(strategy.__name__, strategy.Config, strategy)
