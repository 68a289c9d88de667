"""Backtests from a notebook: results as pandas frames, many parameter sets over one tape.

::

    import mmkit

    run = mmkit.backtest("config.yml", {"strategy.half_spread": "8bps"})
    run.fills()

    tried = mmkit.sweep("config.yml", {"strategy.half_spread": ["4bps", "8bps"], "strategy.skew": ["0bps", "1bps"]})
    tried.frame()
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from mmkit.config import Draft, draft_config, draft_plain
from mmkit.errors import ConfigError, MmkitError, StrategyError, UsageError
from mmkit.events import MAIN
from mmkit.interfaces import Provider, Strategy
from mmkit.recorder import Nothing
from mmkit.report import Report, report_text
from mmkit.run import backtest as runs
from mmkit.run.advisors.recorded import advice_over
from mmkit.run.assembly import assemble
from mmkit.run.replay import Tapes
from mmkit.run.session import AdviceFeed, Session, SignalFeed
from mmkit.run.signals.batch import signals_over
from mmkit.run.trail import Trail
from mmkit.units import parse_duration

if TYPE_CHECKING:
    import pandas as pd

    from mmkit.config import Config

_log = logging.getLogger("mmkit.sweep")

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

    # Every index is named `time`, of dtype datetime64[ns, UTC]; prices, quantities and money are float64 in units of
    # currency, as what is plotted and averaged need not be exact.

    def fills(self, market: str = MAIN) -> pd.DataFrame:
        """Return every fill, a row each; the index ``time`` is when we learned of it, UTC.

        Columns: ``time_exchange`` (UTC), ``order_id`` (int64), the categories ``side`` (buy, sell) and ``liquidity``
        (maker, taker), and float64: ``price``, ``quantity``, ``remaining`` of the order, ``fee`` (negative is a
        rebate), ``position`` after it.

        Raises:
            UsageError: if there is no such market.
        """
        return self.trail.fills(self._known(market))

    def orders(self, market: str = MAIN) -> pd.DataFrame:
        """Return every order with what became of it, a row each; the index ``time`` is when it was sent, UTC.

        Columns: ``order_id`` (int64), the categories ``side`` (buy, sell) and ``time_in_force`` (post_only, ioc; a
        market order's is market), ``price``, ``quantity`` and ``filled`` (float64), the category ``status`` (open, filled,
        canceled, rejected), and ``accepted`` and ``ended`` (UTC; NaT if never): when we learned of it.

        Raises:
            UsageError: if there is no such market.
        """
        return self.trail.orders(self._known(market))

    def funding(self, market: str = MAIN) -> pd.DataFrame:
        """Return every payment of funding, a row each; the index ``time`` is when we learned of it, UTC.

        Columns: ``time_exchange`` (UTC), and float64: ``position`` then, ``amount`` (positive was received).

        Raises:
            UsageError: if there is no such market.
        """
        return self.trail.funding(self._known(market))

    def equity(self, every: str = "1s", market: str = MAIN) -> pd.DataFrame:
        """Return position, money and equity over time, by what we had learned; the index ``time`` is regular, UTC.

        Columns, float64: ``mid``, ``position``, ``cash`` (what fills have paid in), ``fees``, ``funding``, ``equity``
        (cash, position at mid, less fees, with funding). While the book is unknown or a side of it is empty, ``mid`` is
        NaN, and ``equity`` if there is a position. The last row is the end of the run.

        Args:
            every: Between two rows, such as ``1s`` or ``1h``.
            market: Which.

        Raises:
            UsageError: if there is no such market, or `every` is no time above 0.
        """
        try:
            every_ns = parse_duration(every)
        except ValueError as error:
            raise UsageError(f"'every': {error}") from None
        if every_ns <= 0:
            raise UsageError(f"'every': a time above 0, such as 1s, was expected; found '{every}'")
        return self.trail.equity(self.tapes[self._known(market)], every_ns, market)

    def _known(self, market: str) -> str:
        if market not in self.tapes:
            raise UsageError(
                f"'market': one of {', '.join(self.tapes)} was expected; found '{market}'"
            )
        return market

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
    """Run a strategy over recorded market data.

    Leaves nothing on disk, but what the data source keeps so as to be quicker the next time.

    Args:
        config: What to run.
        changes: Values that differ.
        strategy: A class of your own, in place of ``strategy.plugin``.
        tapes: The market data, if it has been loaded already (`load_tapes`).
        engine: ``compiled`` or ``reference``, which give the same results; ``auto`` chooses.

    Raises:
        MmkitError: whatever is wrong, in words.
    """
    if engine not in get_args(runs.EngineChoice):
        choices = ", ".join(get_args(runs.EngineChoice))
        raise UsageError(f"'engine': one of {choices} was expected; found {engine!r}")
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
class Failed:
    """One parameter set that could not be run to its end, and why."""

    changes: Mapping[str, Any]
    error: MmkitError


@dataclass(frozen=True)
class Sweep:
    """Many parameter sets over the same market data.

    Attributes:
        tried: What has been run, in the order in which it was asked for.
        asked: How many sets there were.
        interrupted: Whether it was broken off, so that some are missing.
        failed: The sets whose strategy failed, in that order, too.
    """

    tried: list[Tried] = field(repr=False)
    asked: int
    interrupted: bool
    failed: list[Failed] = field(default_factory=list, repr=False)

    def __str__(self) -> str:
        broken_off = "interrupted: " if self.interrupted else ""
        lines = [f"{broken_off}{len(self.tried)} of {self.asked} sets have been run"]
        lines += [f"failed: {_words(one.changes)}: {one.error}" for one in self.failed]
        return "\n".join(lines)

    def frame(self) -> pd.DataFrame:
        """Return a row for each set that has been run, in the order of `tried`.

        Columns: its parameters, as given; then of its report, float64: ``equity``, ``realized_pnl``,
        ``unrealized_pnl``, ``fees``, ``funding``, ``max_drawdown``, ``position``, ``volume``, ``turnover``; int64:
        ``orders``, ``cancels``, ``rejected``, ``fills``, ``maker_fills``, ``taker_fills``; ``halted`` (why; empty if not)
        and ``engine``. All are of the main market; of several ``equity_of_all`` (float64) adds up what they share.
        """
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

    Every set is checked before the first run. Ctrl-C ends it: what had been finished by then is returned, and how much
    that is, logged. A strategy that fails with one set does not end the others (`Sweep.failed`).

    Args:
        config: What to run.
        sets: Values to be tried by path, every combination of them; or a list of changes.
        strategy: A class of your own, in place of ``strategy.plugin``.
        tapes: The market data, if it has been loaded already (`load_tapes`).
        workers: Runs at a time; as many as there are processors unless given.
        progress: Told how many runs have ended, and how many there are.

    Raises:
        StrategyError: if the strategy fails with every set.
        MmkitError: whatever is wrong, in words, and with which set; before the first run if it can be seen by then.
    """
    from mmkit.run import many

    if workers is not None and workers < 1:
        raise UsageError(f"'workers': at least 1 was expected; found {workers}")
    draft, provider = _draft(config), _provider(strategy)
    changes = _changes(sets)
    configs = []
    for number, values in enumerate(changes):
        with _naming(number, changes):
            configs.append(draft.config(values, provider))
    if any(_data(each) != _data(configs[0]) for each in configs):
        raise UsageError(
            "the sets change 'data', 'instrument' or 'markets'; a sweep reads its market data once, so call "
            "it for each"
        )
    tapes = tapes if tapes is not None else runs.load_tapes(configs[0])
    for each in configs:
        runs.check_covered(each, tapes)
    start_ns, instruments = runs.span_of(tapes)[0], runs.instruments_of(tapes)

    # Most sets differ in other things, and each model is asked once.
    computed: dict[str, Callable[[], SignalFeed | None]] = {}
    read: dict[str, Callable[[], AdviceFeed | None]] = {}

    def prepare(each: Config) -> Callable[[], Session]:
        asked = repr(each.resolved["signals"])
        if asked not in computed:
            computed[asked] = signals_over(each, tapes)
        signals = computed[asked]
        recorded = repr(each.resolved["advisors"])
        if recorded not in read:
            read[recorded] = advice_over(each, tapes)
        advice = read[recorded]
        return lambda: assemble(
            each, instruments, Nothing(), start_ns, signals=signals(), advice=advice()
        )

    prepared = [prepare(each) for each in configs]
    for number, build in enumerate(prepared):
        # Only with the instrument can it be seen whether a size is on its grid.
        with _naming(number, changes):
            build()
    ended: dict[int, Report] = {}
    failed: dict[int, MmkitError] = {}
    interrupted = False
    try:
        for done in many.run_many(tapes, prepared, workers):
            if isinstance(done, many.Failed):
                failed[done.number] = done.error
                _log.warning("failed: %s: %s", _words(changes[done.number]), done.error)
            else:
                run = runs.run_info(configs[done.number], tapes)
                ended[done.number] = runs.report_of_backtest(
                    done.session, run, tapes, done.wall_s, done.ran_on
                )
            if progress is not None:
                progress(len(ended) + len(failed), len(configs))
    except KeyboardInterrupt:
        interrupted = True
        _log.warning("interrupted: %d of %d sets have been run", len(ended), len(configs))
    if len(failed) == len(configs):
        first = failed[0]
        raise StrategyError(
            f"the strategy failed with every one of the {len(configs)} sets; {_words(changes[0])}: {first}"
        ) from first
    tried = [Tried(changes[number], ended[number]) for number in sorted(ended)]
    left_out = [Failed(changes[number], failed[number]) for number in sorted(failed)]
    return Sweep(tried, len(configs), interrupted, left_out)


@contextlib.contextmanager
def _naming(number: int, sets: Sequence[Changes]) -> Iterator[None]:
    """Say with which set it is that something is wrong."""
    which = f"set {number + 1} of {len(sets)}"
    try:
        yield
    except ConfigError as error:
        raise ConfigError(
            [
                replace(one, where=which) if one.where in ("", "changes") else one
                for one in error.mistakes
            ]
        ) from error
    except MmkitError as error:
        raise type(error)(f"{which}: {error}") from error


def _words(changes: Changes) -> str:
    return ", ".join(f"{path}={value}" for path, value in changes.items()) or "no changes"


def _data(config: Config) -> list[Any]:
    return [(one.spec, one.data) for one in config.markets.values()]


def _changes(sets: Mapping[str, Iterable[Any]] | Iterable[Changes]) -> list[Changes]:
    """Return the sets one by one.

    Raises:
        UsageError: if they are none, or something else.
    """
    found: list[Changes]
    if isinstance(sets, Mapping):
        for path, values in sets.items():
            if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
                raise UsageError(
                    f"'{path}': a list of values to be tried was expected; found {values!r}"
                )
        found = [
            dict(zip(sets, values, strict=True)) for values in itertools.product(*sets.values())
        ]
    else:
        found = []
        for number, each in enumerate(sets, 1):
            if not isinstance(each, Mapping):
                raise UsageError(
                    f"set {number}: values by path, such as {{'strategy.skew': '1bps'}}, were expected; "
                    f"found {each!r}"
                )
            found.append(dict(each))
    if not found:
        raise UsageError("no parameter set was given, so there is nothing to be tried")
    return found


def _draft(config: ConfigLike) -> Draft:
    if isinstance(config, Mapping):
        return draft_plain(config)
    paths = [config] if isinstance(config, str | Path) else config
    if not isinstance(paths, Sequence) or not all(isinstance(one, str | Path) for one in paths):
        raise UsageError(
            f"the configuration: a path, several, or plain data was expected; found {config!r}"
        )
    return draft_config([Path(path) for path in paths])


def _provider(strategy: type[Strategy] | None) -> Provider[Any, Strategy] | None:
    if strategy is None:
        return None
    if not isinstance(strategy, type):
        raise UsageError(
            f"'strategy': a class was expected; found {strategy!r}, an instance: give its class, and its "
            "settings in 'changes'"
        )
    return Provider(strategy.__name__, strategy.Config, strategy)
