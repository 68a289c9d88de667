"""A recorded dry run, replayed as a backtest and compared, entry by entry."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mmkit.commands import AnyCommand, SubmitOrder
from mmkit.errors import RunError
from mmkit.events import Advice, AnyEvent, OrderFilled, Signal
from mmkit.journal import RecordedRun, RunRecord
from mmkit.recorder import Recorder
from mmkit.run.advisors.known import KnownAdvice
from mmkit.run.assembly import assemble
from mmkit.run.replay import replay_received
from mmkit.run.signals.known import Known
from mmkit.settings import FillReports
from mmkit.sim.latency_files import digest_of
from mmkit.tape import NEVER

if TYPE_CHECKING:
    from mmkit.config import Config


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing a run with its replay found.

    Attributes:
        run_id: The recorded run.
        equal: Whether every command and event is the same, in the same order, to the last bit.
        entries: Commands and events recorded.
        replayed: Commands and events of the replay.
        events: Rows of market data replayed.
        orders: Orders sent in the recorded run.
        fills: Fills in the recorded run.
        position: At the end of the replay.
        equity: At the end of the replay.
        first_difference: The first pair that differs, in words; empty if none does.
        wall_s: How long the replay took, seconds.
    """

    run_id: str
    equal: bool
    entries: int
    replayed: int
    events: int
    orders: int
    fills: int
    position: Decimal
    equity: Decimal
    first_difference: str
    wall_s: float


class _Entries(Recorder):
    def __init__(self) -> None:
        self.entries: list[AnyCommand | AnyEvent] = []

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        self.entries.append(entry)


def parity(recorded: RecordedRun, config: Config) -> Parity:
    """Replay `recorded` with `config`, its own, and compare.

    Raises:
        RunError: if the run did not get far enough to be replayed, or a file that it depended on has changed.
    """
    if config.mode == "live":
        raise RunError(
            f"{recorded.folder}: a dry run was expected; this one traded at a venue, whose answers no replay can give"
        )
    record = recorded.record
    end_ns = recorded.ended_ns()
    _check_files(record)
    messages, entries = recorded.messages(), recorded.entries()
    replayed = _Entries()
    session = assemble(
        config,
        recorded.instruments,
        replayed,
        record.start_ns,
        FillReports.AFTER_DATA,
        watched=record.watched,
        # What models and advisors said is taken from the journal, as market data is: they took the time they took.
        signals=Known(one for one in entries if isinstance(one, Signal)),
        advice=KnownAdvice(one for one in entries if isinstance(one, Advice)),
    )
    began = time.perf_counter()
    stop_ns = NEVER if record.stop_ns is None else record.stop_ns
    replay_received(session, messages, stop_ns=stop_ns, end_ns=end_ns, pauses=record.pauses)
    engine = session.engine
    return Parity(
        run_id=record.info.run_id,
        equal=entries == replayed.entries,
        entries=len(entries),
        replayed=len(replayed.entries),
        events=sum(len(rows) for _, rows in messages),
        orders=sum(isinstance(entry, SubmitOrder) for entry in entries),
        fills=sum(isinstance(entry, OrderFilled) for entry in entries),
        position=engine.instrument.quantity(engine.position),
        equity=engine.equity,
        first_difference=_first_difference(entries, replayed.entries),
        wall_s=round(time.perf_counter() - began, 3),
    )


def _check_files(record: RunRecord) -> None:
    for path, digest in record.files.items():
        if digest_of(Path(path)) != digest:
            raise RunError(
                f"{path}: the file that {record.info.run_id} was run with was expected (SHA-256 {digest}); "
                "it has changed since; put the old one back"
            )


def _first_difference(
    recorded: list[AnyCommand | AnyEvent], replayed: list[AnyCommand | AnyEvent]
) -> str:
    for number, (left, right) in enumerate(zip(recorded, replayed, strict=False), 1):
        if left != right:
            return f"entry {number}: recorded {left!r}, replayed {right!r}"
    if len(recorded) == len(replayed):
        return ""
    longer, where = (
        (recorded, "recorded") if len(recorded) > len(replayed) else (replayed, "replayed")
    )
    at = min(len(recorded), len(replayed))
    return f"entry {at + 1}: only {where}: {longer[at]!r}"


def open_recorded(folder: Path, purpose: str = "parity") -> RecordedRun:
    """Return the recorded run in `folder`, refusing those that hold no market data.

    Args:
        folder: Of the run.
        purpose: What needs it, to say so.

    Raises:
        RunError: if it is no run of ``mmkit trade``.
    """
    recorded = RecordedRun(folder)
    if recorded.record.info.command != "trade":
        raise RunError(
            f"{folder}: recorded by 'mmkit {recorded.record.info.command}'; {purpose} needs a run of 'mmkit trade'"
        )
    return recorded


def newest_run(userdir: Path) -> Path:
    """Return the folder of the newest run of ``mmkit trade`` under ``userdir/results``.

    Raises:
        RunError: if there is none.
    """
    folders = sorted(
        (userdir / "results").glob("*-trade*"), key=lambda folder: folder.stat().st_mtime
    )
    if not folders:
        raise RunError(f"{userdir / 'results'}: no run of 'mmkit trade' in it")
    return folders[-1]
