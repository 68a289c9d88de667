"""The report on a signal model, for people."""

from __future__ import annotations

from mmkit.learning import CLASSES, Interval
from mmkit.run.verdict import HorizonReport, SignalReport
from mmkit.units import format_duration, format_time


def verdict_text(report: SignalReport) -> str:
    """Return the report for people: a table of the horizons, then each by itself."""
    rows = [
        ("model", f"{report.plugin} on {report.instrument}"),
        (
            "shown",
            f"{len(report.features)} features, a window of {report.window:,}, sampled by {report.sampling}",
        ),
        ("samples", _samples(report)),
        (
            "a taker pays",
            f"{report.fee * 1e4:g} bps each way, {format_duration(report.latency_ns)} after the sample",
        ),
    ]
    lines = [f"{name:<14}{value}" for name, value in rows]
    if report.horizons:
        lines += ["", *_table(report.horizons)]
    for one in report.horizons:
        use = f"signals: [{{plugin: {report.plugin}, model: {one.model}}}]"
        lines += ["", *_horizon(one), f"  to use it in a run  {use}"]
    lines += ["", *(f"warning: {words}" for words in report.warnings)] if report.warnings else []
    if report.stopped:
        lines += ["", "stopped before its time: the best so far was kept, and no more was trained"]
    return "\n".join(lines)


def _samples(report: SignalReport) -> str:
    left_out = report.looked - report.samples
    if not left_out:
        return f"{report.samples:,}, every feature known in all"
    most = sorted(report.unknown.items(), key=lambda one: -one[1])[:3]
    words = ", ".join(f"{name} in {count:,}" for name, count in most)
    more = f" and {len(report.unknown) - 3} more" if len(report.unknown) > 3 else ""
    return (
        f"{report.samples:,} of {report.looked:,}; {left_out:,} left out, not known: {words}{more}"
    )


def _table(horizons: list[HorizonReport]) -> list[str]:
    head = ("horizon", "macro-F1", "accuracy", "plain rule", "commonest", "chance")
    lines = [
        f"{head[0]:>8}"
        + "".join(f"{word:>24}" for word in head[1:4])
        + f"{head[4]:>11}{head[5]:>8}"
    ]
    for one in horizons:
        found = one.evaluation
        lines.append(
            f"{one.horizon:>8}"
            + "".join(
                f"{_short(figure):>24}"
                for figure in (found.macro_f1, found.accuracy, found.rule_macro_f1)
            )
            + f"{found.majority.macro_f1:>11.3f}{found.chance:>8.3f}"
        )
    lines.append(
        f"{'':>8}  with {horizons[0].evaluation.macro_f1.level:.0%} intervals, by block bootstrap"
    )
    return lines


def _horizon(one: HorizonReport) -> list[str]:
    found, span = one.evaluation, one.tested
    folds = f", {len(one.folds)} fold{'' if len(one.folds) == 1 else 's'}" if one.folds else ""
    lines = [
        f"horizon {one.horizon}: {span.samples:,} samples from {format_time(span.start_ns)} to "
        f"{format_time(span.end_ns)}{folds}; blocks of {found.block:,}",
        f"  {found.against_rule.sentence}",
        f"  {found.against_majority.sentence}",
        "",
        f"  {'called':>12}" + "".join(f"{name:>9}" for name in CLASSES) + "   precision  recall",
    ]
    for number, name in enumerate(CLASSES):
        scores = found.scores
        lines.append(
            f"  {'was ' + name:>12}"
            + "".join(f"{count:>9,}" for count in scores.confusion[number])
            + f"{scores.precision[number]:>12.3f}{scores.recall[number]:>8.3f}"
        )
    if found.calibration is not None:
        bins = ", ".join(
            f"{each.said:.2f}: {each.happened:.2f} of {each.samples:,}"
            for each in found.calibration.called
        )
        lines += [
            "",
            f"  calibration: off by {found.calibration.ece:.3f} on average; said and came true: {bins}",
        ]
    lines += [
        "",
        f"  taking its calls: {one.taker.sentence}",
        f"  taking the plain rule's: {one.rule_taker.sentence}",
        f"  model in {one.model}",
    ]
    return lines


def _short(figure: Interval) -> str:
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
