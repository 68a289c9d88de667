"""One backtest under several models of fills: how far to believe it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from mmkit.errors import StrategyError
from mmkit.events import MAIN
from mmkit.recorder import Nothing
from mmkit.run.advisors.recorded import advice_over
from mmkit.run.assembly import assemble
from mmkit.run.backtest import (
    check_covered,
    instruments_of,
    report_of_backtest,
    run_info,
    span_of,
)
from mmkit.run.many import Failed, run_many
from mmkit.run.replay import Tapes
from mmkit.run.session import Session
from mmkit.run.signals.batch import signals_over
from mmkit.settings import QueueSettings, SimSettings, bracket, times

if TYPE_CHECKING:
    from mmkit.config import Config

_FACTORS = (0.5, 2.0)
"""Of the latency."""
_EXPONENTS = (1.0, 2.0, 3.0)
"""Of the queue model `power`: from what most backtests assume to what is rather cautious."""

Vary = Callable[[SimSettings], SimSettings]
Group = Literal["fills", "latency", "exponent"]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a bracket. Money is in the settlement currency.

    Attributes:
        group: What is varied: the fill model, the latency, or the exponent of the queue model `power`.
        name: How, in words.
        orders: Orders sent.
        fills: Times one of our orders was filled; these and the following in the main market.
        volume: Quantity traded.
        position: At the end.
        fees: Paid; negative if rebates outweigh them.
        equity: Profit with the position valued at mid, fees taken off and funding added; of all markets if they
            settle in one currency.
        max_drawdown: Largest fall of equity from its peak.
    """

    group: Group
    name: str
    orders: int
    fills: int
    volume: Decimal
    position: Decimal
    fees: Decimal
    equity: Decimal
    max_drawdown: Decimal


class Bracket(msgspec.Struct, frozen=True, kw_only=True):
    """What a backtest comes to under every model of fills.

    Attributes:
        currency: The settlement currency.
        variants: The runs, the fill models first: optimistic, as configured, pessimistic.
        sign_depends: Whether the three fill models differ in the sign of the profit; nothing at all is a sign of its
            own.
        sign_sensitive: Whether any of all the variants says otherwise than the configured run.
        of_all: Whether equity is that of several markets together; all else is of the main one.
        unseen: Names of the other markets, if they settle in another currency and so are in no figure.
    """

    currency: str
    variants: list[Variant]
    sign_depends: bool
    sign_sensitive: bool
    of_all: bool = False
    unseen: list[str] = []


def run_bracket(
    config: Config, tapes: Tapes, progress: Callable[[int, int], None] | None = None
) -> Bracket:
    """Run the configuration and its variations, the same in every market, on all processors.

    Args:
        config: What to run.
        tapes: The market data.
        progress: Told how many runs have ended, and how many there are.

    Raises:
        StrategyError: if the strategy fails under one of them.
    """
    check_covered(config, tapes)
    signals, advice = signals_over(config, tapes), advice_over(config, tapes)
    planned = _variations(config.sim)

    def prepare(vary: Vary) -> Callable[[], Session]:
        others = {name: replace(one, sim=vary(one.sim)) for name, one in config.others.items()}
        varied = replace(config, sim=vary(config.sim), others=others)
        start_ns = span_of(tapes)[0]
        return lambda: assemble(
            varied,
            instruments_of(tapes),
            Nothing(),
            start_ns,
            signals=signals(),
            advice=advice(),
        )

    variants: dict[int, Variant] = {}
    of_all = False
    for done in run_many(tapes, [prepare(vary) for _, _, vary in planned]):
        group, name, _ = planned[done.number]
        if isinstance(done, Failed):
            raise StrategyError(f"in the run '{name}' of the bracket: {done.error}") from done.error
        run = run_info(config, tapes)
        report = report_of_backtest(done.session, run, tapes, done.wall_s, done.ran_on)
        of_all = report.equity_of_all is not None
        variants[done.number] = Variant(
            group=group,
            name=name,
            orders=report.orders,
            fills=report.fills,
            volume=report.volume,
            position=report.position,
            fees=report.fees,
            equity=report.equity if report.equity_of_all is None else report.equity_of_all,
            max_drawdown=report.max_drawdown,
        )
        if progress is not None:
            progress(len(variants), len(planned))
    ordered = [variants[number] for number in range(len(planned))]
    models = [variant for variant in ordered if variant.group == "fills"]
    return Bracket(
        currency=tapes[MAIN].instrument.settle,
        variants=ordered,
        sign_depends=_signs_differ(models),
        sign_sensitive=_signs_differ(ordered),
        of_all=of_all,
        unseen=[] if of_all else list(config.others),
    )


def _variations(sim: SimSettings) -> list[tuple[Group, str, Vary]]:
    """Return every variation of the main market's simulation, to be made in all markets."""
    queue = sim.queue
    configured = f"power, exponent {queue.exponent:g}" if queue.model == "power" else queue.model
    planned: list[tuple[Group, str, Vary]] = [
        ("fills", "optimistic", lambda sim: bracket(sim).optimistic),
        ("fills", configured, lambda sim: sim),
        ("fills", "pessimistic", lambda sim: bracket(sim).pessimistic),
    ]
    planned += [("latency", f"latency x {factor:g}", _times(factor)) for factor in _FACTORS]
    planned += [
        ("exponent", f"power, exponent {exponent:g}", _power(exponent))
        for exponent in _EXPONENTS
        # As configured, it has its row already.
        if (queue.model, queue.exponent) != ("power", exponent)
    ]
    return planned


def _times(factor: float) -> Vary:
    return lambda sim: sim.model_copy(update={"latency": times(sim.latency, factor)})


def _power(exponent: float) -> Vary:
    queue = QueueSettings(model="power", exponent=exponent)
    return lambda sim: sim.model_copy(update={"queue": queue})


def _sign(variant: Variant) -> int:
    return (variant.equity > 0) - (variant.equity < 0)


def _signs_differ(variants: Sequence[Variant]) -> bool:
    return len({_sign(variant) for variant in variants}) > 1


def bracket_text(found: Bracket) -> str:
    """Return the bracket as a table for people, and what it says in words."""
    heads = ("", "orders", "fills", "volume", "position", "fees", "equity", "max drawdown")
    lines = [
        (
            variant.name,
            f"{variant.orders:,}",
            f"{variant.fills:,}",
            f"{variant.volume:,f}",
            f"{variant.position:,f}",
            *(_money(money) for money in (variant.fees, variant.equity, variant.max_drawdown)),
        )
        for variant in found.variants
    ]
    widths = [max(len(row[n]) for row in (heads, *lines)) for n in range(len(heads))]

    def shown(row: Sequence[str]) -> str:
        first, *rest = row
        cells = [f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True)]
        return "  ".join([f"{first:<{widths[0]}}", *cells]).rstrip()

    out = [shown(heads)]
    groups = [variant.group for variant in found.variants]
    for n, line in enumerate(lines):
        if n and groups[n] != groups[n - 1]:
            out.append("")
        out.append(shown(line))
    if found.of_all:
        out += ["", "Equity is of all markets together, the other figures of the main one."]
    if found.unseen:
        out += ["", f"Figures of the main market alone; left out: {', '.join(found.unseen)}."]
    return "\n".join([*out, "", _words(found)])


def _words(found: Bracket) -> str:
    models = [variant for variant in found.variants if variant.group == "fills"]
    low = min(variant.equity for variant in models)
    high = max(variant.equity for variant in models)
    span = f"between {_money(low)} and {_money(high)} {found.currency}"
    if found.sign_depends:
        return (
            f"The sign of the profit depends on the fill model: {span}. This backtest measures the model, "
            "not the strategy."
        )
    words = f"All three fill models agree on the sign of the profit: {span}"
    if found.sign_sensitive:
        others = [
            variant.name
            for variant in found.variants
            if variant.group != "fills" and _sign(variant) != _sign(models[1])
        ]
        return f"{words}; but it turns with {', '.join(others)}."
    return f"{words}, whatever the latency and the exponent above."


def _money(amount: Decimal) -> str:
    return f"{amount:,.4f}".rstrip("0").rstrip(".")
