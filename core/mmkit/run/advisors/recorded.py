"""The advice of recorded runs, told again in a backtest when it really came."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace as changed

from mmkit.errors import DataError, UsageError
from mmkit.events import MAIN, Advice
from mmkit.instruments import Instrument
from mmkit.journal import RecordedRun
from mmkit.run.advisors.known import KnownAdvice
from mmkit.run.advisors.live import figures_of
from mmkit.run.replay import Tapes
from mmkit.run.session import AdviceFeed
from mmkit.units import format_time

if TYPE_CHECKING:
    from mmkit.config import ChosenAdvisor, Config
    from mmkit.report import AdvisorFigures

_log = logging.getLogger("mmkit.advisors")

NONE = "no advice: a backtest asks no language model; name a recorded run with 'journal' beside the plugin, or with --advice"


def with_advice_of(config: Config, folder: Path) -> Config:
    """Return the configuration with the advice of every advisor from one recorded run.

    Raises:
        UsageError: if it has no advisors.
    """
    if not config.advisors:
        raise UsageError(
            f"--advice {folder}: a configuration with 'advisors' was expected; found none in it; add those of the run, "
            "or leave --advice out"
        )
    advisors = tuple(
        replace(one, section=one.section.model_copy(update={"journal": str(folder)}))
        for one in config.advisors
    )
    shown = [{**one, "journal": str(folder)} for one in config.resolved["advisors"]]
    return replace(config, advisors=advisors, resolved={**config.resolved, "advisors": shown})


def advice_over(config: Config, tapes: Tapes) -> Callable[[], AdviceFeed | None]:
    """Return what gives each run over the tapes its advice, read once.

    Raises:
        RunError: if a journal cannot be read.
        DataError: if it has no such advisor, or is about another market or another time.
    """
    if not config.advisors:
        return lambda: None
    figures: dict[str, AdvisorFigures] = {}
    by_folder: dict[str, list[ChosenAdvisor]] = {}
    for one in config.advisors:
        folder = one.section.journal
        if folder is None:
            _log.warning("advisor=%s: %s", one.name, NONE)
        else:
            by_folder.setdefault(folder, []).append(one)
        source = NONE if folder is None else f"as it came in {Path(folder).name}"
        figures[one.name] = changed(figures_of(one), source=source)
    each = [_advice_in(Path(folder), chosen, tapes) for folder, chosen in by_folder.items()]
    told = list(merge(*each, key=lambda advice: advice.ts_local))
    return lambda: KnownAdvice(told, figures)


def _advice_in(folder: Path, chosen: Sequence[ChosenAdvisor], tapes: Tapes) -> list[Advice]:
    """Return the advice of some of a run's advisors, in the order of its journal."""
    recorded = RecordedRun(folder)
    _check_market(folder, recorded.instrument, tapes[MAIN].instrument)
    there = _asked_in(recorded)
    for one in chosen:
        if one.name not in there:
            found = ", ".join(there) or "none"
            raise DataError(
                f"{folder}: a run with an advisor named '{one.name}' was expected; it has {found}; call it the same with "
                "'as', or name another run"
            )
        if there[one.name] != one.section.question:
            raise DataError(
                f"{folder}: advice to {one.section.question} was expected of '{one.name}'; it was asked "
                f"{there[one.name]}; say 'question: {there[one.name]}', or name another run"
            )
    names = {one.name for one in chosen}
    advice = [
        entry for entry in recorded.entries() if isinstance(entry, Advice) and entry.name in names
    ]
    _check_time(folder, advice, tapes)
    return advice


def _asked_in(recorded: RecordedRun) -> dict[str, str]:
    """Return the advisors of a recorded run: what each was asked, by its name."""
    sections: Any = recorded.config().get("advisors")
    listed: Iterable[Any] = sections if isinstance(sections, list) else ()
    return {
        str(one["as"]): str(one.get("question"))
        for one in listed
        if isinstance(one, Mapping) and "as" in one
    }


def _check_market(folder: Path, recorded: Instrument, wanted: Instrument) -> None:
    def words(one: Instrument) -> str:
        return f"{one.symbol} ({one.venue} {one.market})"

    if words(recorded) != words(wanted):
        raise DataError(
            f"{folder}: advice about {words(wanted)} was expected; it is about {words(recorded)}; name a run in the same "
            "market"
        )


def _check_time(folder: Path, advice: Sequence[Advice], tapes: Tapes) -> None:
    """Refuse advice of which none came while the data goes on: the run would have none, and say nothing of it."""
    start_ns = min(tape.start_ns for tape in tapes.values())
    end_ns = max(tape.end_ns for tape in tapes.values())
    if advice and not any(start_ns <= one.ts_local <= end_ns for one in advice):
        raise DataError(
            f"{folder}: advice of the time of the data, {format_time(start_ns)} to {format_time(end_ns)}, was expected; it "
            f"came from {format_time(advice[0].ts_local)} to {format_time(advice[-1].ts_local)}; run on the data of that "
            f"run, with data: {{plugin: rows, paths: [{folder}]}}, or name another one"
        )
