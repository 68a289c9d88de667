"""Raw capture files as a data source."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BeforeValidator, Field

from mmkit.errors import CaptureError, ConfigError, Mistake
from mmkit.instruments import Instrument, common_step
from mmkit.interfaces import DataSource, PluginConfig, SourceContext
from mmkit.quality import Notebook, SourceCheck
from mmkit.tape import FeedStats, Tape, kept
from mmkit.tape.columns import Columns
from mmkit.tape.paths import listed
from mmkit.units import Duration
from mmkit_capture import dumped
from mmkit_capture.build import VERSION, Built, Source, build
from mmkit_capture.choice import chosen_streams, clock_offsets, names, refuse_bookless
from mmkit_capture.files import CaptureFile, is_packed
from mmkit_capture.native import native_of
from mmkit_capture.repeats import refuse_repeats
from mmkit_capture.survey import FileSurvey, Numbers, survey

_log = logging.getLogger("mmkit.capture")
T = TypeVar("T")

WORTH_IT = 8_000_000
"""Bytes of text from which on the fast reader is worth being loaded: that takes 0.6 s, numba with it, in which
the other one reads so much."""
_PACKED = 8
"""Packed messages unpack to some eight times their size."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One name, or a list of them."""


class CaptureConfig(PluginConfig):
    """What may be written beside ``plugin: capture``."""

    paths: Names = Field(
        min_length=1,
        description="Raw capture files, plain, gz, xz or zst, or dumps of data.binance.vision; relative to the "
        "working folder; * and ~ work.",
    )
    streams: Names | None = Field(
        None,
        description="Which streams become rows; by default the book, the trades and, but for spot, the "
        "mark prices that are there.",
    )
    clock_offset: Literal["auto"] | Duration = Field(
        "auto",
        description="What is added to the recorder's clock; auto: what it takes for no message to "
        "arrive before it was sent.",
    )


class CaptureSource(DataSource):
    """Market data from raw capture files: one message a line, as it was received."""

    def __init__(self, config: CaptureConfig, context: SourceContext) -> None:
        self._config, self._context = config, context
        self.stats = FeedStats()

    async def instrument(self) -> Instrument:
        """Return the instrument; a capture tells neither tick nor lot, so the user must.

        Raises:
            ConfigError: if ``tick`` or ``lot`` is missing; it proposes what fits the capture.
            CaptureError: if the files cannot be read, or the symbol is not in them.
        """
        spec = self._context.spec
        if spec.tick is None or spec.lot is None:
            raise ConfigError([await self._propose_grid()])
        return spec.on_grid(spec.tick, spec.lot, native_of(spec))

    async def tape(self) -> Tape:
        """Return the whole capture; built once, then kept beside the first file.

        Raises:
            ConfigError: as `instrument`.
            CaptureError: if a file cannot be read, or the book is never known.
            OffGrid: if a price or quantity does not fit the grid.
        """
        instrument, paths = await self.instrument(), self._paths()
        config = self._config.model_dump(mode="json", include={"streams", "clock_offset"})
        meaning = [VERSION, instrument, config, [path.name for path in paths]]
        dumps = None
        if dumped.all_dumps(paths):
            dumps = dumped.chosen(instrument, paths, self._config.streams)
            meaning = ["dumps", dumped.VERSION, *meaning[1:]]
        place = kept.place(
            paths[0],
            kept.digest_of_files(paths),
            kept.digest(msgspec.json.encode(meaning)),
            self._context.userdir,
        )
        tape = kept.load(place)
        if tape is None:
            tape = await self._build_and_keep(instrument, paths, place, dumps)
        self.stats = tape.stats
        return tape

    async def _build_and_keep(
        self,
        instrument: Instrument,
        paths: Sequence[Path],
        place: Path,
        dumps: dumped.ByKind | None,
    ) -> Tape:
        begun = time.perf_counter()
        with kept.building(place):
            if dumps is not None:
                tape = await dumped.build(instrument, dumps, self._config.clock_offset, place)
            else:
                tape = await self._build_of_captures(instrument, paths, place)
        _log.info(
            "tape built rows=%d seconds=%.1f path=%s", len(tape), time.perf_counter() - begun, place
        )
        return tape

    async def _build_of_captures(
        self, instrument: Instrument, paths: Sequence[Path], place: Path
    ) -> Tape:
        built = await self._build(instrument, paths, place)
        with closing(built.columns) as columns:
            self._finish(built, instrument, paths)
            return kept.made(columns, built.stats, place)

    async def _build(self, instrument: Instrument, paths: Sequence[Path], place: Path) -> Built:
        if sum(map(_text_size, paths)) >= WORTH_IT:
            # numba is loaded here, and not before there is work for it.
            from mmkit_capture.fast import Wanted, read_fast

            wanted = Wanted(
                instrument,
                lambda streams: self._context.wire_formats(instrument, streams),
                self._config.streams,
                self._config.clock_offset,
                place,
            )
            built = await _run(read_fast([CaptureFile(path) for path in paths], wanted))
            if built is not None:
                return built
        return await self._build_by_message(instrument, paths, place)

    def _finish(self, built: Built, instrument: Instrument, paths: Sequence[Path]) -> None:
        """Refuse what has no book; add to the notes what only the whole tells."""
        stats, surveys = built.stats, [source.survey for source in built.sources]
        streams = chosen_streams(surveys, self._config.streams, instrument.market)
        if "depth" in streams and not stats.snapshots:
            raise CaptureError(
                f"{names(paths)}: no snapshot of the book fits its updates ({stats.stale_snapshots} "
                "found, all older than the first update kept), so the book is never known; the "
                "recorder must request one after the stream has begun"
            )
        _note_offsets(stats, built.sources)
        if skipped := sum(found.file.skipped for found in surveys):
            stats.notes.append(f"{skipped} lines carry no message and were skipped")
        stats.notes += [
            f"{found.file.path}: {found.file.unfinished} bytes of a last zstd frame that is not whole were "
            "left out: it is being recorded, or its recorder was killed"
            for found in surveys
            if found.file.unfinished
        ]

    async def _build_by_message(
        self, instrument: Instrument, paths: Sequence[Path], place: Path
    ) -> Built:
        """Read the files line by line, twice: the reference."""
        surveys = await self._survey(instrument, paths)
        config = self._config
        streams = chosen_streams(surveys, config.streams, instrument.market)
        refuse_bookless(surveys, streams)
        refuse_repeats([(found.file.path, found.spans) for found in surveys], streams)
        offsets = clock_offsets(surveys, streams, config.clock_offset)
        sources = [Source(found, offset) for found, offset in zip(surveys, offsets, strict=True)]
        wire = self._context.wire_formats(instrument, streams)
        return await _run(build(instrument, sources, wire, Columns(instrument, place)))

    async def _survey(
        self, instrument: Instrument, paths: Sequence[Path], numbers: Numbers | None = None
    ) -> list[FileSurvey]:
        """Read every file once; return them in order of their first local time."""
        wire = self._context.wire_formats(instrument, self._config.streams or ())
        native = instrument.native
        surveys = [await _run(survey(CaptureFile(path), wire, native, numbers)) for path in paths]
        return self._told_apart(surveys, native, paths)

    def _told_apart(
        self, surveys: Sequence[FileSurvey], native: str, paths: Sequence[Path]
    ) -> list[FileSurvey]:
        """Return the surveys in order of their first local time.

        Raises:
            CaptureError: if the symbol is not in them, or a snapshot might be another's.
        """
        symbols: Counter[str] = sum((found.symbols for found in surveys), Counter())
        if symbols and native not in symbols:
            there = ", ".join(sorted(symbols)[:20])
            raise CaptureError(
                f"{names(paths)}: messages of '{native}' were expected; found those of {there}; "
                "change 'instrument.symbol' or 'data.paths'"
            )
        if not symbols:
            raise CaptureError(
                f"{names(paths)}: messages of '{native}' were expected; found no market data that "
                f"'{self._context.spec.venue}' sends; is 'instrument.venue' right?"
            )
        for found in surveys:
            if found.nameless and len(found.books) > 1:
                raise CaptureError(
                    f"{found.file.path}:{found.nameless}: a snapshot that says whose it is was "
                    f"expected, as the file holds the books of {', '.join(sorted(found.books))}; "
                    "found one without an address; record one symbol a file"
                )
        return sorted(surveys, key=lambda found: found.first_local)

    def files(self) -> list[Path]:
        """Return the capture files.

        Raises:
            CaptureError: if a pattern matches none, or one is not there.
        """
        return self._paths()

    async def check(self) -> SourceCheck:
        """Read everything, line by line, and say what is wrong with it and where.

        Tick and lot are taken from the data if they are not configured.

        Raises:
            CaptureError: if a file is not there or holds nothing that can be read, or the symbol or the
                book is not in them.
        """
        from mmkit_capture.check import Surveyor, check, supposed_grid

        spec, notes, paths = self._context.spec, Notebook(), self._paths()
        stand_in = spec.on_grid(Decimal(1), Decimal(1), native_of(spec))
        native, config = stand_in.native, self._config
        wire = self._context.wire_formats(stand_in, config.streams or ())
        surveyor = Surveyor(wire, native, notes)
        numbers = Numbers() if spec.tick is None or spec.lot is None else None
        found = [await _run(surveyor.survey(CaptureFile(path), numbers)) for path in paths]
        surveys = self._told_apart(found, native, paths)
        tick, lot = spec.tick, spec.lot
        if numbers is not None:
            tick = tick or supposed_grid(common_step(numbers.prices), "price", native)
            lot = lot or supposed_grid(common_step(numbers.quantities), "quantity", native)
            notes.add("grid_taken", names(paths), f'tick: "{tick:f}", lot: "{lot:f}"')
        assert tick is not None
        assert lot is not None
        instrument = spec.on_grid(tick, lot, native_of(spec))
        streams = chosen_streams(surveys, config.streams, spec.market)
        wire = self._context.wire_formats(instrument, streams)
        offset = config.clock_offset
        checked = await _run(check(surveys, surveyor, instrument, wire, streams, offset, notes))
        self.stats = wire.stats
        return checked

    async def _propose_grid(self) -> Mistake:
        spec, numbers = self._context.spec, Numbers()
        # Only to ask what messages are about; no row is made on this grid.
        stand_in = spec.on_grid(Decimal(1), Decimal(1), native_of(spec))
        paths = self._paths()
        if dumped.all_dumps(paths):
            return dumped.proposal(spec, stand_in, paths)
        await self._survey(stand_in, paths, numbers)
        return spec.missing_grid("a capture", numbers.prices, numbers.quantities)

    def _paths(self) -> list[Path]:
        # A checksum lies beside the dump that it is of, and * finds both.
        found = [path for path in listed(self._config.paths) if path.suffix != ".CHECKSUM"]
        for path in found:
            if not path.is_file():
                # Says which of the many ways of not being a file it is.
                next(CaptureFile(path).lines(), None)
        return found


def _note_offsets(stats: FeedStats, sources: Sequence[Source]) -> None:
    for source in sources:
        if source.offset:
            stats.notes.append(
                f"{source.survey.file.path.name}: {source.offset} ns were added to the recorder's "
                "clock, which was behind the venue's by at least that"
            )


def _text_size(path: Path) -> int:
    """Return about how many bytes a file unpacks to."""
    with path.open("rb") as file:
        packed = is_packed(file.read(8))
    return path.stat().st_size * (_PACKED if packed else 1)


async def _run(steps: Generator[None, None, T]) -> T:
    """Do the work, giving way now and then so that Ctrl-C is heard."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        await asyncio.sleep(0)
