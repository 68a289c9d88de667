"""A run's folder: what it saw, what it decided, what came of it. Enough to replay it.

=============  =====================================================================================
file           content
=============  =====================================================================================
run.json       `RunRecord`: what was run, when it began, was stopped and ended
config.yml     the configuration with every default filled in and every secret masked
market.rows    the market data as it was received, `mmkit.tape.RECORD` after `RECORD` (dry runs); markets are
               numbered, 0 is the main one, the others follow as in ``run.json``
journal.jsonl  one command or event a line, in the order in which they happened; of a backtest those that move
               money, unless all were asked for
report.json    the results (`mmkit.report.Report`)
=============  =====================================================================================
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import msgspec

import mmkit
from mmkit.commands import AnyCommand
from mmkit.errors import RunError
from mmkit.events import MAIN, AnyEvent
from mmkit.instruments import Instrument
from mmkit.interfaces import RunInfo
from mmkit.recorder import Detail, Recorder
from mmkit.recording.append import FULL, append
from mmkit.tape import (
    FeedStats,
    Row,
    Tape,
    messages_from_records,
    records,
    tape_from_records,
)

_ENCODER = msgspec.json.Encoder()
_ENTRY: msgspec.json.Decoder[AnyCommand | AnyEvent] = msgspec.json.Decoder(AnyCommand | AnyEvent)


class RunRecord(msgspec.Struct, kw_only=True):
    """What was run. Times in ns since the epoch, by the run's clock.

    Attributes:
        info: Name, command, instrument, strategy.
        version: Of mmkit.
        start_ns: When it began; regular wakes count from here.
        stop_ns: When it was told to stop; `None` if it never was.
        end_ns: When it had ended; `None` if it did not get that far.
        pauses: When it was paused (`True`) and when that ended (`False`).
        watched: Whether the market watch's events were noted though the strategy did not hear them.
        files: What it depended on besides market data and configuration: SHA-256 by path.
    """

    info: RunInfo
    version: str = mmkit.__version__
    start_ns: int = 0
    stop_ns: int | None = None
    end_ns: int | None = None
    pauses: list[tuple[int, bool]] = msgspec.field(default_factory=list)
    watched: bool = False
    files: dict[str, str] = msgspec.field(default_factory=dict)


class Journal(Recorder):
    """Writes a run's folder while the run goes on.

    Lines are collected in memory and reach the file at every `flush`; the run loop flushes once a second
    and at the end.

    Args:
        folder: Exists and is empty.
        market: Whether market data will be noted.
        detail: Which commands and events will be.

    Raises:
        RunError: from every method, if the folder cannot be written; the run must stop then, and
            everything written so far is intact.
    """

    def __init__(self, folder: Path, *, market: bool = False, detail: Detail = Detail.ALL) -> None:
        self.folder = folder
        self.detail = detail
        self.broken = False
        """Whether writing has failed; what was noted since is lost, what was written before is not."""
        self._lines: list[bytes] = []
        self._rows: list[tuple[int, Row]] = []
        self._journal = self._open("journal.jsonl")
        self._market = self._open("market.rows") if market else None

    def note(self, entry: AnyCommand | AnyEvent) -> None:
        """Note one command or event."""
        self._lines.append(_ENCODER.encode(entry))
        if len(self._lines) >= 5_000:
            self.flush()

    def market(self, rows: Sequence[Row], number: int = 0) -> None:
        """Note market data as it was received, of the market of that number: 0 is the main one."""
        self._rows.extend((number, row) for row in rows)

    def flush(self) -> None:
        """Hand everything noted so far to the operating system."""
        with self._writing():
            if self._rows:
                assert self._market is not None  # noted only by a journal that was opened for it
                append(self._market, records(self._rows))
                self._rows.clear()
            if self._lines:
                append(self._journal, b"\n".join(self._lines) + b"\n")
                self._lines.clear()

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file of the folder; it appears there whole or not at all."""
        with self._writing():
            unfinished = self.folder / f"{name}.part"
            try:
                unfinished.write_bytes(content)
                unfinished.replace(self.folder / name)
            finally:
                unfinished.unlink(missing_ok=True)

    def write_record(self, record: RunRecord) -> None:
        """Write ``run.json``."""
        self.write("run.json", msgspec.json.format(_ENCODER.encode(record), indent=2) + b"\n")

    def begin_anew(self) -> None:
        """Forget every entry so far: the run starts over."""
        self._lines.clear()
        with self._writing():
            self._journal.seek(0)
            self._journal.truncate()

    def close(self) -> None:
        """Flush, and let go of the files."""
        try:
            if not self.broken:
                self.flush()
        finally:
            self._journal.close()
            if self._market:
                self._market.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with _explained(self.folder):
                yield
        except RunError:
            self.broken = True
            raise

    def _open(self, name: str) -> IO[bytes]:
        with self._writing():
            return (self.folder / name).open("wb", buffering=0)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn an `OSError` into words."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise RunError(
                f"{folder}: the disk is full ({error.strerror}); quotes were pulled and what was "
                "written before is intact. Free some space, or put 'results' on another disk"
            ) from error
        raise RunError(f"{folder}: cannot be written: {error.strerror or error}") from error


def new_run_folder(userdir: Path, command: str, now_ns: int) -> Path:
    """Create and return ``userdir/results/20261121-101500-trade``, with a number added if it exists.

    Raises:
        RunError: if it cannot be created.
    """
    moment = datetime.datetime.fromtimestamp(now_ns / 1e9, tz=datetime.UTC)
    stem = f"{moment:%Y%m%d-%H%M%S}-{command}"
    results = userdir / "results"
    with _explained(results):
        results.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1_000):
            folder = results / (stem if number == 1 else f"{stem}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    raise RunError(f"{results}: a thousand runs began in the same second")


class RecordedRun:
    """A run folder, read back.

    Raises:
        RunError: if it is none, is of another version, or lacks a file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = self._decode("run.json", RunRecord)
        if self.record.version != mmkit.__version__:
            raise RunError(
                f"{folder}: recorded by mmkit {self.record.version}, this is {mmkit.__version__}; "
                "replay it with the version that recorded it"
            )

    @property
    def instrument(self) -> Instrument:
        """What was traded."""
        return self.record.info.instrument

    @property
    def instruments(self) -> dict[str, Instrument]:
        """What was traded, by market, the main one first."""
        return {MAIN: self.instrument, **self.record.info.others}

    def ended_ns(self) -> int:
        """Return when it had ended, ns since the epoch.

        Raises:
            RunError: if it did not get that far.
        """
        if self.record.end_ns is None:
            raise RunError(
                f"{self.folder}: the run never ended, so it is not known how far its journal goes; "
                "it was killed, or it is still going on"
            )
        return self.record.end_ns

    @property
    def simulated(self) -> bool:
        """Whether its fills were pretended; True of a run that never ended, which does not say."""
        return self.record.end_ns is None or self.config().get("mode") != "live"

    def tape(self, market: str = MAIN) -> Tape:
        """Return the market data of one market as it was received."""
        number = list(self.instruments).index(self._known(market))
        raw = self._read("market.rows")
        return tape_from_records(self.instruments[market], raw, FeedStats(), number)

    def messages(self) -> list[tuple[str, list[Row]]]:
        """Return the market data of all markets, message by message, as it was received."""
        names = list(self.instruments)
        raw = self._read("market.rows")
        messages = messages_from_records(raw)
        if stray := {number for number, _ in messages} - set(range(len(names))):
            raise RunError(
                f"{self.folder / 'market.rows'}: rows of market {min(stray)}, but run.json knows {len(names)} "
                "(0 the main one); the file was written by something else or is damaged"
            )
        return [(names[number], rows) for number, rows in messages]

    def entries_of(self, market: str) -> list[AnyCommand | AnyEvent]:
        """Return the commands and events of one market, in order."""
        self._known(market)
        return [entry for entry in self.entries() if entry.market == market]

    def entries(self) -> list[AnyCommand | AnyEvent]:
        """Return every command and event, in order."""
        entries = []
        for number, line in enumerate(self._read("journal.jsonl").splitlines(), 1):
            try:
                entries.append(_ENTRY.decode(line))
            except msgspec.MsgspecError as error:
                raise RunError(f"{self.folder / 'journal.jsonl'}:{number}: {error}") from error
        return entries

    def config(self) -> dict[str, Any]:
        """Return the resolved configuration, secrets masked."""
        import yaml

        loaded = yaml.safe_load(self._read("config.yml"))
        if not isinstance(loaded, dict):
            raise RunError(f"{self.folder / 'config.yml'}: a mapping was expected")
        return loaded

    def _known(self, market: str) -> str:
        if market not in self.instruments:
            raise RunError(
                f"{self.folder}: the run has no market {market!r}; it has {', '.join(self.instruments)}"
            )
        return market

    def _decode(self, name: str, kind: type[RunRecord]) -> RunRecord:
        try:
            return msgspec.json.decode(self._read(name), type=kind)
        except msgspec.MsgspecError as error:
            raise RunError(f"{self.folder / name}: {error}") from error

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise RunError(
                f"{self.folder}: no '{name}' in it ({error.strerror}); name a folder under "
                "'user_data/results' that 'mmkit trade' has written"
            ) from error
