"""One backtest with and without a part of it: what the part is worth."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from mmkit.errors import UsageError
from mmkit.events import MAIN
from mmkit.recorder import Nothing
from mmkit.report import AdvisorFigures, Report, advisor_words, cost_words
from mmkit.run.advisors.recorded import advice_over
from mmkit.run.backtest import check_covered, report_of_backtest, run_info, run_once
from mmkit.run.replay import Tapes
from mmkit.run.session import AdviceFeed
from mmkit.run.signals.batch import signals_over

if TYPE_CHECKING:
    from mmkit.config import Config


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two runs, or their difference. Money is in the settlement currency.

    Attributes:
        orders: Orders sent; these and the following in the main market.
        fills: Times one of our orders was filled.
        volume: Quantity traded.
        position: At the end.
        fees: Paid; negative if rebates outweigh them.
        equity: Profit with the position valued at mid, fees taken off and funding added; of all markets if they
            settle in one currency.
        max_drawdown: Largest fall of equity from its peak.
    """

    orders: int
    fills: int
    volume: Decimal
    position: Decimal
    fees: Decimal
    equity: Decimal
    max_drawdown: Decimal


class Ablation(msgspec.Struct, frozen=True, kw_only=True):
    """A backtest with the recorded advice and without any.

    Attributes:
        currency: The settlement currency.
        of_all: Whether equity is that of several markets together; all else is of the main one.
        with_advice: The run that is told the advice.
        without: The run that is told none.
        difference: The first less the second.
        advisors: What became of each advisor in the first run, and what it cost, in USD.
    """

    currency: str
    of_all: bool
    with_advice: Side
    without: Side
    difference: Side
    advisors: dict[str, AdvisorFigures]


def ablate_advisors(
    config: Config, tapes: Tapes, progress: Callable[[int, int], None] | None = None
) -> Ablation:
    """Run the configuration with its recorded advice, and without any.

    Args:
        config: What to run.
        tapes: The market data.
        progress: Told how many runs have ended, and that there are two.

    Raises:
        UsageError: if no advisor names a recorded run.
        DataError: as `mmkit.run.backtest.backtest`.
    """
    if not any(one.section.journal for one in config.advisors):
        raise UsageError(
            "--ablate advisors: recorded advice was expected; the configuration names none; give --advice RUN, or "
            "'journal' under 'advisors'"
        )
    check_covered(config, tapes)
    # Once for both: two measurements of a model's latency would make a difference of their own.
    signals, advice = signals_over(config, tapes), advice_over(config, tapes)
    feeds: list[Callable[[], AdviceFeed | None]] = [advice, lambda: None]
    run = run_info(config, tapes)
    reports: list[Report] = []
    for feed in feeds:
        session, ran_on = run_once(
            config, tapes, Nothing(), None, "auto", signals=signals, advice=feed
        )
        reports.append(report_of_backtest(session, run, tapes, 0.0, ran_on))
        if progress is not None:
            progress(len(reports), len(feeds))
    given, none = (_side(report) for report in reports)
    names = Side.__struct_fields__
    return Ablation(
        currency=tapes[MAIN].instrument.settle,
        of_all=reports[0].equity_of_all is not None,
        with_advice=given,
        without=none,
        difference=Side(**{name: getattr(given, name) - getattr(none, name) for name in names}),
        advisors=reports[0].advisors,
    )


def _side(report: Report) -> Side:
    equity = report.equity if report.equity_of_all is None else report.equity_of_all
    same = {name: getattr(report, name) for name in Side.__struct_fields__ if name != "equity"}
    return Side(**same, equity=equity)


def ablation_text(found: Ablation) -> str:
    """Return the two runs side by side, for people."""
    money = f" ({found.currency})"
    named = {"fees": money, "equity": (" of all" if found.of_all else "") + money}
    lines: list[tuple[str, ...]] = [("", "with advice", "without", "difference")]
    for name in Side.__struct_fields__:
        values = [getattr(one, name) for one in (found.with_advice, found.without)]
        label = name.replace("_", " ") + named.get(name, money if name == "max_drawdown" else "")
        lines.append(
            (label, *(f"{one:,}" for one in values), f"{getattr(found.difference, name):+,}")
        )
    widths = [max(len(line[place]) for line in lines) for place in range(4)]
    rows = [
        f"{line[0]:<{widths[0]}}  " + "  ".join(f"{line[n]:>{widths[n]}}" for n in (1, 2, 3))
        for line in lines
    ]
    rows.append("")
    rows += [f"advisor {name}: {advisor_words(one)}" for name, one in found.advisors.items()]
    rows.append(
        f"The advice cost {cost_words(found.advisors.values())}; no figure above has that in it."
    )
    return "\n".join(rows)
