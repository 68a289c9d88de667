"""``mmkit calibrate latency`` and ``queue``: what the simulated exchange should have been told, from a real run."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import click

from mmkit.cli_commands.options import (
    json_option,
    market_option,
    userdir_option,
    verbose_option,
)
from mmkit.events import MAIN

if TYPE_CHECKING:
    from mmkit.fit.collect import Seen
    from mmkit.fit.latency import Answers, LatencyFit, Measured
    from mmkit.fit.queue import QueueFit
    from mmkit.journal import RecordedRun
    from mmkit.tape import Tape

_run_argument = click.argument("run", type=click.Path(path_type=Path))


@click.command()
@_run_argument
@click.option(
    "--samples",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write every measurement to CSV files in this folder, for 'samples' and 'series'.",
)
@market_option
@userdir_option
@json_option
@verbose_option
def latency(run: Path, folder: Path | None, market: str, userdir: Path | None, json: bool) -> None:
    """Measure how long commands and reports of a run took.

    RUN is a folder that 'mmkit trade' has written, or 'last' for the newest one under the user's
    folder. Prints 'latency' for the section 'sim', ready to paste.
    """
    from mmkit.fit.latency import answers_of, fit_latency

    recorded = _opened(run, userdir, "'mmkit calibrate latency'")
    answers = answers_of(recorded.entries_of(market))
    found = fit_latency(answers)
    settings = _by_quantiles(found) if folder is None else _by_samples(folder)
    in_time = [] if folder is None else _write_files(folder, answers, recorded.tape(market))
    if json:
        import yaml

        plain = {way: yaml.safe_load(text) for way, text in settings.items()}
        _print_json(recorded, market, found, {"latency": plain})
        return
    lines = [*_latency_table(found, recorded, market), "", _under(market), "latency:"]
    for way, text in settings.items():
        # YAML folds at spaces: a path that was broken elsewhere would be another one.
        lines += wrap(
            f"{way}: {text}",
            100,
            initial_indent="  ",
            subsequent_indent="    ",
            break_on_hyphens=False,
            break_long_words=False,
        )
    click.echo("\n".join([*lines, *in_time]))


@click.command()
@_run_argument
@market_option
@userdir_option
@json_option
@verbose_option
def queue(run: Path, market: str, userdir: Path | None, json: bool) -> None:
    """Fit the queue model to the fills of a run.

    RUN is a folder that 'mmkit trade' has written, or 'last' for the newest one under the user's
    folder. Prints 'queue' for the section 'sim', ready to paste.
    """
    import msgspec

    from mmkit.fit.collect import collect
    from mmkit.fit.queue import fit_queue

    recorded = _opened(run, userdir, "'mmkit calibrate queue'")
    recorded.ended_ns()  # or it is not known what became of its last orders
    evidence, seen = collect(
        recorded.entries_of(market), recorded.tape(market), real=not recorded.simulated
    )
    found = fit_queue(evidence, seen)
    if json:
        _print_json(recorded, market, found, {"seen": msgspec.to_builtins(seen)})
        return
    click.echo(
        "\n".join([*_orders_seen(seen, found, recorded, market), "", *_models(found, market)])
    )


def _opened(run: Path, userdir: Path | None, purpose: str) -> RecordedRun:
    from mmkit.discovery import USERDIR
    from mmkit.run.parity import newest_run, open_recorded

    folder = newest_run(userdir or Path(USERDIR)) if str(run) == "last" else run
    return open_recorded(folder, purpose)


def _under(market: str) -> str:
    """Return the comment that says where in the configuration what follows it belongs."""
    return "# under sim:" if market == MAIN else f"# under markets.{market}.sim:"


def _named(recorded: RecordedRun, market: str) -> str:
    run_id = recorded.record.info.run_id
    return run_id if market == MAIN else f"{run_id}, market {market}"


def _print_json(
    recorded: RecordedRun, market: str, found: LatencyFit | QueueFit, besides: dict[str, Any]
) -> None:
    import msgspec

    head = {
        "run_id": recorded.record.info.run_id,
        "market": market,
        "simulated": recorded.simulated,
    }
    click.echo(msgspec.json.encode(head | msgspec.to_builtins(found) | besides))


# --- latency --------------------------------------------------------------------------------------


def _by_quantiles(found: LatencyFit) -> dict[str, str]:
    """Return the YAML of each way."""
    from mmkit.fit.latency import yaml_of

    return {"entry": yaml_of(found.entry.quantiles), "response": yaml_of(found.response.quantiles)}


def _by_samples(folder: Path) -> dict[str, str]:
    """Return the YAML of each way, which reads the files in `folder`."""
    return {way: f"{{samples: {_quoted(folder / f'{way}.csv')}}}" for way in ("entry", "response")}


def _quoted(path: Path) -> str:
    """Return a path as YAML reads it, whatever is in it."""
    from json import dumps

    return dumps(str(path), ensure_ascii=False)


def _write_files(folder: Path, answers: Answers, tape: Tape) -> list[str]:
    """Write the measurements; return how to replay them in time."""
    from mmkit.fit.latency import series_of, widest_gap
    from mmkit.sim.latency_files import write_samples, write_series

    lines = [
        "",
        "# or, for a backtest of the time of the run, as it was moment by moment:",
        "# latency:",
    ]
    for way, measured in (("entry", answers.entry), ("response", answers.response)):
        series, path = series_of(measured), folder / f"{way}_series.csv"
        write_samples(folder / f"{way}.csv", [ns for _, ns in measured])
        write_series(path, series)
        ends = (tape.start_ns, tape.end_ns) if len(tape) else (series[0][0], series[-1][0])
        # Whole seconds are easier to read than what they are rounded up from.
        gap_s = -(-widest_gap(series, *ends) // 1_000_000_000)
        lines.append(f"#   {way}: {{series: {_quoted(path)}, max_gap: {gap_s}s}}")
    return lines


def _latency_table(found: LatencyFit, recorded: RecordedRun, market: str) -> list[str]:
    """Return what was measured, and what it rests on."""
    from mmkit.fit.latency import mean_drawn

    names = ("least", "median", "mean", "P95", "P99", "largest")
    lines = [
        f"{_named(recorded, market)}: {found.entry.count:,} commands were answered, {found.unanswered:,} were "
        f"not; {found.response.count:,} reports about orders; times in ms",
        "",
        f"{'':10} {'count':>8}" + "".join(f" {name:>10}" for name in names),
        _row("entry", found.entry),
        _row("response", found.response),
        _row("round trip", found.round_trip),
        "",
        "Of all that will be sent, the share that takes no longer than one of these is known to within "
        f"{found.entry.within:.1%} (entry) and {found.response.within:.1%} (response), with 95% confidence.",
    ]
    for name, way in (("entry", found.entry), ("response", found.response)):
        if way.honest:
            rest = "mean and P99 of what is drawn from them are right to 1%"
        else:
            mean = mean_drawn(way.quantiles) / 1e6
            rest = (
                f"drawn from them the mean would be {mean:,.3f} ms, as the few longest count for more than they are; "
                "--samples keeps every value"
            )
        lines.append(f"{name}: {len(way.quantiles):,} quantiles; {rest}")
    lines.append(
        "The two clocks are taken to agree. If the venue's is ahead of ours by d, true entries are shorter by d and "
        f"responses longer; that no latency is below zero says {-found.response.least / 1e6:,.3f} ms <= d <= "
        f"{found.entry.least / 1e6:,.3f} ms, no more. Round trips are by our clock alone."
    )
    if found.waited:
        lines.append(
            f"{found.waited:,} commands were answered at the very time of one sent before: if they waited for it, a "
            "simulated line, on which nothing overtakes, makes them wait again."
        )
    if recorded.simulated:
        lines.append(
            "The run was simulated: entry is what its sim.latency was, and says nothing about a venue. No report came "
            "before the data that decided it (fill_reports: after_data), so response is longer than it was."
        )
    return lines


def _row(name: str, way: Measured) -> str:
    figures = (way.least, way.median, way.mean, way.p95, way.p99, way.largest)
    return f"{name:10} {way.count:>8,}" + "".join(f" {ns / 1e6:>10,.3f}" for ns in figures)


# --- queue ----------------------------------------------------------------------------------------


def _orders_seen(seen: Seen, found: QueueFit, recorded: RecordedRun, market: str) -> list[str]:
    """Return which orders there were, and what the fit rests on."""
    lines = [
        f"{_named(recorded, market)}: {seen.rested:,} orders rested, {seen.followed:,} could be followed, "
        f"{seen.filled:,} of these were filled by a trade at their price"
    ]
    lines += [f"  left out: {count:,} {reason}" for reason, count in seen.left_out.items()]
    lines += [
        f"  tell nothing by their end: {count:,} {reason}" for reason, count in seen.silent.items()
    ]
    if seen.contradicting:
        lines.append(
            f"  {seen.contradicting:,} contradict every model: more had traded than was ever ahead of them and they "
            "were not filled, or less and they were; that is the clocks, or hidden orders, or missing data"
        )
    lines.append(
        f"{found.orders:,} tell models apart, {found.filled:,} of them by being filled; the fit rests on these alone"
    )
    if found.filled in (0, found.orders):
        lines.append(
            "All of them speak for one side: the best fit is one end of what is possible, not the middle"
        )
    if recorded.simulated:
        lines.append(
            "The run was simulated: this gives back the sim.queue that it ran with, and says nothing about a venue"
        )
    return lines


_PLAIN = "misses no more of the orders left out than the best exponent does, and has nothing to be fitted"
_WHY = {
    "power": "power: no other model clearly misses less of the orders that were left out of its fit",
    "calibrated": "calibrated: clearly misses less than the others of the orders that were left out of its fit",
    "log": f"log: {_PLAIN}",
    "risk_averse": f"risk_averse: {_PLAIN}",
}


def _models(found: QueueFit, market: str) -> list[str]:
    """Return how models did, the fit, and the YAML."""
    from mmkit.fit.queue import EXPONENTS

    lines = [
        "Loss: how far the front was from what happened, in shares of the total on arrival, on average.",
        f"{'':18} {'loss':>8} {'left out':>9} {'filled, was not':>16} {'not filled, was':>16}",
    ]
    for each in found.tried:
        left_out = "" if each.left_out_loss is None else f"{each.left_out_loss:.3%}"
        lines.append(
            f"{each.name:18} {each.loss:>8.3%} {left_out:>9} {each.filled:>16,} {each.unfilled:>16,}"
        )
    low, high = found.exponent_low, found.exponent_high
    alike = f"; from {low:.4g} to {high:.4g} all are as good" if high > low else ""
    lines += ["", f"exponent {found.exponent:.4g} +- {found.exponent_error:.2g}{alike}"]
    least, largest = EXPONENTS
    if low <= least or high >= largest:
        lines.append(
            f"  an end of what was tried, {least:g} to {largest:g}: the run bounds it from one side only"
        )
    if found.behind:
        knots = zip(found.behind, found.behind_error, strict=True)
        lines.append("behind   " + ", ".join(f"{knot:.3f} +- {error:.2g}" for knot, error in knots))
    lines += ["", _WHY[found.queue["model"]], "", _under(market)]
    return [*lines, f"queue: {_queue_yaml(found.queue)}"]


def _queue_yaml(queue: dict[str, Any]) -> str:
    """Return the settings as YAML, to the digits that can be known."""
    parts = [f"model: {queue['model']}"]
    if "exponent" in queue:
        parts.append(f"exponent: {queue['exponent']:.4g}")
    if "behind" in queue:
        parts.append(f"behind: [{', '.join(f'{knot:.3g}' for knot in queue['behind'])}]")
    return f"{{{', '.join(parts)}}}"
