"""Tardis's data as a data source: of files, or of a tardis-machine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BeforeValidator, Field

from mmkit.errors import CaptureError, ConfigError, Mistake
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource, PluginConfig, SourceContext
from mmkit.tape import FeedStats, Tape, kept
from mmkit.tape.columns import Columns
from mmkit.tape.paths import listed
from mmkit.units import Duration
from mmkit_tardis.datasets import DATASETS, As, Dataset
from mmkit_tardis.files import TardisFile
from mmkit_tardis.merging import Chain, merged, note_skipped
from mmkit_tardis.names import EXCHANGES, exchange_of, hint, symbol_of
from mmkit_tardis.rows import BookRows, beginning, rows_of

_log = logging.getLogger("mmkit.tardis")

VERSION = 1
"""Raised whenever the same files would give other rows."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One name, or a list of them."""


class TardisConfig(PluginConfig):
    """What may be written beside ``plugin: tardis``."""

    paths: Names | None = Field(
        None,
        min_length=1,
        description="CSV datasets, gz or plain; relative to the working folder; * and ~ work.",
    )
    types: Names | None = Field(
        None,
        description="Which data types become rows; by default all that the files hold.",
    )
    exchange: str | None = Field(
        None, description="Tardis's id of the exchange; by default the instrument's."
    )
    symbol: str | None = Field(
        None, description="Tardis's name of the instrument; by default as Binance builds them."
    )
    clock_offset: Literal["auto"] | Duration = Field(
        "auto",
        description="What is added to the recorder's clock; auto: what it takes for no message to "
        "arrive before it was sent.",
    )


class TardisSource(DataSource):
    """Market data from Tardis's files."""

    def __init__(self, config: TardisConfig, context: SourceContext) -> None:
        self._config, self._context = config, context
        spec = context.spec
        self._exchange = config.exchange or exchange_of(spec) or ""
        self._symbol = config.symbol or symbol_of(spec)
        self.stats = FeedStats()
        if mistakes := list(self._mistakes()):
            raise ConfigError(mistakes)

    def _mistakes(self) -> Iterator[Mistake]:
        spec = self._context.spec
        if not self._exchange:
            yield Mistake(
                "",
                "data.exchange",
                f"Tardis's id of '{spec.venue}' {spec.market} is not known here",
                f"set it; {hint(spec.venue, EXCHANGES)}",
            )
        elif self._exchange not in EXCHANGES:
            yield Mistake(
                "",
                "data.exchange",
                f"one of Tardis's exchange ids was expected; found '{self._exchange}'",
                hint(self._exchange, EXCHANGES),
            )
        for name in self._config.types or ():
            if name not in DATASETS:
                yield Mistake(
                    "",
                    "data.types",
                    f"a data type of Tardis's that becomes rows was expected; found '{name}'",
                    hint(name, DATASETS),
                )
        if self._config.paths is None:
            yield Mistake("", "data.paths", "missing", "name the CSV datasets of the instrument")

    async def instrument(self) -> Instrument:
        """Return the instrument; datasets tell neither tick nor lot, so the user must.

        Raises:
            ConfigError: if ``tick`` or ``lot`` is missing; it proposes what fits the files.
            CaptureError: if the files cannot be read.
        """
        spec = self._context.spec
        if spec.tick is None or spec.lot is None:
            found: dict[As, set[str]] = {"price": set(), "quantity": set()}
            for file in self._files(listed(self._config.paths or ())):
                file.decimals(found)
            raise ConfigError(
                [spec.missing_grid("a Tardis dataset", found["price"], found["quantity"])]
            )
        return spec.on_grid(spec.tick, spec.lot, self._symbol)

    async def tape(self) -> Tape:
        """Return what all files hold, by local_timestamp; built once, then kept beside the first file.

        Raises:
            ConfigError: as `instrument`.
            CaptureError: if a file cannot be read, or is not what is expected.
            OffGrid: if a price or amount does not fit the grid.
        """
        instrument, paths = await self.instrument(), listed(self._config.paths or ())
        files = self._files(paths)
        config = self._config.model_dump(mode="json", exclude={"paths"})
        meaning = [VERSION, instrument, config, [path.name for path in paths]]
        place = kept.place(
            paths[0],
            kept.digest_of_files(paths),
            kept.digest(msgspec.json.encode(meaning)),
            self._context.userdir,
        )
        tape = kept.load(place)
        if tape is None:
            tape = await self._build(instrument, files, place)
        self.stats = tape.stats
        return tape

    def _files(self, paths: Sequence[Path]) -> list[TardisFile]:
        """Return the files whose data type was asked for, and those without data."""
        files = [TardisFile(path, self._exchange, self._symbol) for path in paths]
        wanted = self._config.types
        if wanted is None:
            return files
        there = {file.dataset.name for file in files if file.dataset is not None}
        if missing := [name for name in wanted if there and name not in there]:
            raise CaptureError(
                f"{_names(paths)}: {', '.join(missing)} was expected, as 'data.types' says; found only "
                f"{', '.join(sorted(there))}"
            )
        return [file for file in files if file.dataset is None or file.dataset.name in wanted]

    async def _build(
        self, instrument: Instrument, files: Sequence[TardisFile], place: Path
    ) -> Tape:
        begun = time.perf_counter()
        stats = FeedStats()
        chains = _chains(files, stats)
        try:
            with closing(Columns(instrument, place)) as columns:
                for rows in merged(chain.columns(instrument) for chain in chains):
                    if not len(columns):
                        columns.add_columns(beginning(rows))
                    columns.add_columns(rows)
                    await asyncio.sleep(0)  # so that Ctrl-C is heard
                if not len(columns):
                    raise _no_rows(files, chains)
                self._offset(chains, columns, stats)
                _note(files, chains, stats)
                tape = columns.tape(stats)
                if not columns.on_disk:
                    kept.keep(tape, place)
        except OSError as error:
            raise CaptureError(
                f"{place}: a tape too long to be kept in memory cannot be written: {error.strerror}; "
                "make room there, or give 'data.paths' fewer files"
            ) from error
        _log.info(
            "tape built rows=%d seconds=%.1f path=%s", len(tape), time.perf_counter() - begun, place
        )
        return tape

    def _offset(self, chains: Sequence[Chain], columns: Columns, stats: FeedStats) -> None:
        configured = self._config.clock_offset
        if isinstance(configured, int):
            offset = configured
        else:
            nearest = min((c.nearest for c in chains if c.nearest is not None), default=0)
            # A clock that is ahead cannot be told from latency.
            offset = max(0, -nearest)
        stats.clock_offset_ns = [offset]
        if offset:
            columns.delay(0, len(columns), offset, 0)
            stats.notes.append(f"{offset} ns were added to the clock of Tardis's recorder")


def _chains(files: Sequence[TardisFile], stats: FeedStats) -> list[Chain]:
    """Return the files by what they hold; of one instant, what comes first is first.

    Raises:
        CaptureError: if two data types tell of the same.
    """
    by_type: dict[str, list[TardisFile]] = {}
    by_what: dict[str, Dataset] = {}
    for file in files:
        if (dataset := file.dataset) is None:
            continue
        other = by_what.setdefault(dataset.what, dataset)
        if other is not dataset:
            raise CaptureError(
                f"{file.path}: one data type that tells of the {dataset.what} was expected; found {other.name} "
                f"and {dataset.name}; choose with 'data.types', such as 'types: [{other.name}, trades]'"
            )
        by_type.setdefault(dataset.name, []).append(file)
    datasets = sorted(by_what.values(), key=lambda dataset: dataset.rank)
    no_book = "book" not in by_what
    return [Chain(by_type[each.name], rows_of(each, stats, is_book=no_book)) for each in datasets]


def _note(files: Sequence[TardisFile], chains: Sequence[Chain], stats: FeedStats) -> None:
    """Add to the notes what only the whole tells."""
    for chain in chains:
        if isinstance(chain.rows, BookRows):
            note_skipped(stats, chain.rows.skipped)
    for file in files:
        if file.dataset is None:
            stats.notes.append(f"{file.path.name}: is empty: there was no data that day")
    if not stats.snapshots:
        stats.notes.append("the book is never known: the files hold neither a book nor best prices")


def _no_rows(files: Sequence[TardisFile], chains: Sequence[Chain]) -> CaptureError:
    paths = _names([file.path for file in files])
    skipped = sum(chain.rows.skipped for chain in chains if isinstance(chain.rows, BookRows))
    if skipped:
        return CaptureError(
            f"{paths}: a snapshot of the book was expected; found none in {skipped} lines: a day's file begins "
            "with one; was it cut at the front?"
        )
    return CaptureError(
        f"{paths}: lines were expected; found none, which is how Tardis says that there is no data of that day"
    )


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
