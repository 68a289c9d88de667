"""``mmkit train``: a signal model from recorded market data, and what it is worth."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmkit.cli_commands.options import (
    file_options,
    json_option,
    load_without_strategy,
    verbose_option,
)

if TYPE_CHECKING:
    from mmkit.run.train import Told


@click.command()
@file_options
@click.option("--resume", is_flag=True, help="Go on from the checkpoints of a stopped training.")
@json_option
@verbose_option
def train(
    config: tuple[Path, ...],
    overrides: tuple[str, ...],
    userdir: Path | None,
    resume: bool,
    json: bool,
) -> None:
    """Train a signal model on recorded market data, and say what it is worth.

    What it is shown, when, what it shall say and how it learns that is in the sections 'features', 'sampling',
    'labels' and 'training'; docs/signals.md explains them. The model, its card and report.json are written to
    'training.out'. Ctrl-C keeps the best so far and ends with status 130; a second one ends at once.
    """
    from mmkit.report import value_json
    from mmkit.run.train import train as run
    from mmkit.run.verdict_text import verdict_text

    loaded = load_without_strategy(config, overrides, userdir=userdir)
    with _interrupted() as stop, _bar(shown=sys.stderr.isatty() and not json) as told:
        report = run(loaded, resume=resume, progress=told, stop=stop)
    click.echo(value_json(report) if json else verdict_text(report))
    if report.stopped:
        raise SystemExit(130)


@contextlib.contextmanager
def _interrupted() -> Iterator[Callable[[], bool]]:
    """Give what says whether Ctrl-C was pressed; the second one acts as ever."""
    asked = False

    def handle(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _bar(*, shown: bool) -> Iterator[Callable[[Told], None] | None]:
    """Show a bar on standard error, with loss and F1, until the block ends."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TextColumn(
            "loss {task.fields[loss]:.4f}  F1 {task.fields[f1]:.4f}, best {task.fields[best]:.4f}"
        ),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar, _log_above():
        tasks: dict[tuple[str, int], Any] = {}

        def told(one: Told) -> None:
            key, step = (one.horizon, one.fold), one.step
            figures: dict[str, Any] = {"loss": step.loss, "f1": step.f1, "best": step.best_f1}
            if key not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                words = f"horizon {one.horizon}, fold {one.fold} of {one.folds}"
                tasks[key] = bar.add_task(words, total=step.total, **figures)
            bar.update(tasks[key], completed=step.done, **figures)

        yield told


@contextlib.contextmanager
def _log_above() -> Iterator[None]:
    """Write the log to what standard error is now, which shows it above the bar and not into it."""
    handlers = [
        one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)
    ]
    before = [one.setStream(sys.stderr) for one in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
