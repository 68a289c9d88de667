"""Rows as a data source: of the dataset, or of one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, create_model, model_validator

from mmkit.errors import DataError, UsageError
from mmkit.formats import SUFFIXES, load
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource, PluginConfig, SourceContext
from mmkit.journal import RecordedRun
from mmkit.recording.dataset import listed, market_of
from mmkit.recording.place import dataset_of
from mmkit.recording.reading import read
from mmkit.tape import NEVER, FeedStats, Tape
from mmkit_rows.times import Time, ns_of


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _Config(PluginConfig):
    path: str | None = Field(
        None,
        description="Folder of the dataset, which holds venue=...; by default data/rows of the user's folder.",
    )
    paths: Annotated[tuple[str, ...], BeforeValidator(_listed)] | None = Field(
        None,
        min_length=1,
        max_length=1,
        description="In place of the dataset one file: a .tape, .parquet or .csv of 'mmkit data convert', or "
        "hftbacktest's .npz; or the folder of a run of 'mmkit trade'.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        start, end = (getattr(self, name) for name in ("from", "to"))
        if self.paths is not None and (self.path or start or end):
            raise ValueError(
                "either 'paths', of one file, or 'path', 'from' and 'to', of a dataset, was expected"
            )
        if start and end and ns_of(start) >= ns_of(end):
            raise ValueError(
                f"'to' after 'from' was expected; found {start} to {end}; 'to' is not included"
            )
        return self


_SPAN: dict[str, Any] = {
    "from": (
        Time | None,
        Field(None, description="Rows received from this day or time on, UTC."),
    ),
    "to": (
        Time | None,
        Field(None, description="Rows received before this day or time, UTC."),
    ),
}
# In a class no field can be called "from".
RowsConfig = create_model(
    "RowsConfig",
    __base__=_Config,
    __doc__="""What may be written beside ``plugin: rows``.""",
    **_SPAN,
)


class RowsSource(DataSource):
    """Market data that was recorded or imported as rows."""

    def __init__(self, config: PluginConfig, context: SourceContext) -> None:
        assert isinstance(config, _Config)
        self._config, self._context = config, context
        self.stats = FeedStats()
        self._tape: Tape | None = None

    async def instrument(self) -> Instrument:
        """Return the instrument, which the rows know.

        Raises:
            DataError: as `tape`.
        """
        return self._read().instrument

    async def tape(self) -> Tape:
        """Return the rows that were asked for.

        Raises:
            DataError: if there are none, they cannot be read, or are of another instrument or grid than was written.
            UsageError: if the file's name says no format, or its instrument needs tick and lot.
        """
        tape = self._read()
        self.stats = tape.stats
        return tape

    def files(self) -> list[Path]:
        """Return the file, or the parts of the market in the dataset.

        Raises:
            DataError: if the market is not there.
        """
        if self._config.paths is not None:
            return [self._file / "market.rows" if self._file.is_dir() else self._file]
        return [one.path for one in listed(market_of(self._root, self._context.spec))]

    @property
    def _file(self) -> Path:
        assert self._config.paths is not None
        return Path(self._config.paths[0]).expanduser()

    @property
    def _root(self) -> Path:
        if self._config.path is not None:
            return Path(self._config.path).expanduser()
        return dataset_of(self._context.userdir)

    def _read(self) -> Tape:
        if self._tape is None:
            self._tape = self._of_dataset() if self._config.paths is None else self._of_file()
        return self._tape

    def _of_dataset(self) -> Tape:
        partition = market_of(self._root, self._context.spec)
        start, end = (getattr(self._config, name) for name in ("from", "to"))
        room = self._context.userdir / "data" / "tapes" / f"rows.{os.getpid()}.tape"
        tape = read(partition, room, ns_of(start) if start else 0, ns_of(end) if end else NEVER)
        return self._agreed(tape, partition)

    def _of_file(self) -> Tape:
        path, spec = self._file, self._context.spec
        if path.is_dir():
            return self._of_run(path)
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"data.paths: a file that ends in one of {', '.join(SUFFIXES)} was expected; found '{path}'; raw "
                "captures are read by 'data: {plugin: capture}', CSV datasets of Tardis by 'plugin: tardis'; the folder of a "
                "run of 'mmkit trade' is read, too"
            )
        if path.suffix.lower() != ".npz":
            return self._agreed(load(path), path)
        if spec.tick is None or spec.lot is None:
            raise DataError(
                f"{path}: hftbacktest's events do not say what they are about; write tick and lot under 'instrument'"
            )
        return load(path, spec.on_grid(spec.tick, spec.lot))

    def _of_run(self, folder: Path) -> Tape:
        """Return what a recorded run received in the market that is asked for; in a run in several there may be one of that
        instrument only.
        """
        recorded, spec = RecordedRun(folder), self._context.spec
        for market, instrument in recorded.instruments.items():
            if not spec.refused(instrument):
                return recorded.tape(market)
        return self._agreed(recorded.tape(), folder)

    def _agreed(self, tape: Tape, path: Path) -> Tape:
        if words := self._context.spec.refused(tape.instrument):
            raise DataError(
                f"{path}: {words}; correct 'instrument', where tick and lot may be left out: the rows know them"
            )
        return tape
