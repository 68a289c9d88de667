"""Tardis's data as a data source: of files, or of a tardis-machine."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from pydantic import BeforeValidator, Field, SecretStr

from mmkit.errors import CaptureError, ConfigError, FeedError, Mistake, OffGrid, UsageError
from mmkit.instruments import Instrument
from mmkit.interfaces import DataSource, PluginConfig, SourceContext
from mmkit.tape import FeedStats, Row, Tape, kept
from mmkit.tape.columns import Columns
from mmkit.tape.paths import listed
from mmkit.units import Duration
from mmkit_tardis.datasets import DATASETS, As
from mmkit_tardis.files import TardisFile
from mmkit_tardis.live import Stream
from mmkit_tardis.machine import Machine, type_mistakes, url_mistakes
from mmkit_tardis.names import EXCHANGES, exchange_of, hint, symbol_of
from mmkit_tardis.normalized import Normalized
from mmkit_tardis.raw import Ask, nearest, replayed
from mmkit_tardis.recorded import build, names

_log = logging.getLogger("mmkit.tardis")

VERSION = 1
"""Raised whenever the same data would give other rows."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _text(value: Any) -> Any:
    # YAML reads 2024-03-01 as a date.
    return value.isoformat() if hasattr(value, "isoformat") else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One name, or a list of them."""
Time = Annotated[str, BeforeValidator(_text)]
"""A day, or a time of it, in UTC: ``2024-03-01`` or ``2024-03-01T10:30``."""


class TardisConfig(PluginConfig):
    """What may be written beside ``plugin: tardis``."""

    paths: Names | None = Field(
        None,
        min_length=1,
        description="CSV datasets, gz or plain; relative to the working folder; * and ~ work.",
    )
    types: Names | None = Field(
        None,
        description="Which data types become rows; by default all that the files hold; of a tardis-machine "
        "the book, trades and, but for spot, derivative_ticker.",
    )
    exchange: str | None = Field(
        None, description="Tardis's id of the exchange; by default the instrument's."
    )
    symbol: str | None = Field(
        None, description="Tardis's name of the instrument; by default as Binance builds them."
    )
    url: str | None = Field(
        None, description="A tardis-machine, such as http://127.0.0.1:8000, in place of paths."
    )
    ws_url: str | None = Field(
        None, description="Its WebSocket, if it is not one port further than url."
    )
    raw: bool = Field(
        False,
        description="Replay the exchange's own messages through tardis-dev, in place of paths and url.",
    )
    channels: Names | None = Field(
        None,
        min_length=1,
        description="Of a raw replay, in the exchange's words; by default depth, trade and, but for spot, "
        "markPrice.",
    )
    api_key: SecretStr = Field(
        SecretStr(""),
        description="Of a raw replay: Tardis's key, as ${TARDIS_API_KEY}; the first day of each month needs none.",
    )
    endpoint: str = Field(
        "https://api.tardis.dev/v1", description="Of a raw replay: whom it is asked of."
    )
    start: Time | None = Field(
        None,
        description="What a backtest replays, raw or of a tardis-machine: from this time on, UTC.",
    )
    end: Time | None = Field(None, description="Up to this time, UTC; not included.")
    silence: Duration = Field(
        30_000_000_000,
        gt=0,
        description="Connect anew when nothing has arrived for so long; longer for a quiet market.",
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
        config = self._config
        ways = [config.paths is not None, config.url is not None, config.raw]
        if sum(ways) != 1:
            yield Mistake(
                "",
                "data",
                "either 'paths', of CSV datasets, or 'url', of a tardis-machine, or 'raw: true' was expected; found "
                + ("several" if any(ways) else "none"),
            )
        elif config.raw:
            yield from url_mistakes("data.endpoint", config.endpoint, ("https", "http"))
            yield from self._time_mistakes()
        elif config.url is None:
            for name in config.types or ():
                if name not in DATASETS:
                    yield Mistake(
                        "",
                        "data.types",
                        f"a data type of Tardis's that becomes rows was expected; found '{name}'",
                        hint(name, DATASETS),
                    )
        else:
            yield from url_mistakes("data.url", config.url, ("http", "https"))
            if config.ws_url is not None:
                yield from url_mistakes("data.ws_url", config.ws_url, ("ws", "wss"))
            yield from type_mistakes(self._types)
            yield from self._time_mistakes()

    def _time_mistakes(self) -> Iterator[Mistake]:
        times = []
        for name, text in (("start", self._config.start), ("end", self._config.end)):
            try:
                time = datetime.fromisoformat(text) if text is not None else None
            except ValueError:
                words = (
                    f"a time such as 2024-03-01 or 2024-03-01T10:30 was expected; found '{text}'"
                )
                yield Mistake("", f"data.{name}", words)
                continue
            if time is not None:
                times.append(time if time.tzinfo else time.replace(tzinfo=UTC))
        if len(times) == 2 and times[0] >= times[1]:
            found = f"{self._config.start} to {self._config.end}"
            yield Mistake("", "data.end", f"a time after data.start was expected; found {found}")

    @property
    def _types(self) -> tuple[str, ...]:
        """What a tardis-machine is asked for."""
        by_default: tuple[str, ...] = ("book_change", "trade")
        if self._context.spec.market != "spot":
            by_default = (*by_default, "derivative_ticker")
        return self._config.types or by_default

    def _machine(self) -> Machine:
        config = self._config
        return Machine(
            config.url or "", config.ws_url or "", self._exchange, self._symbol, self._types
        )

    async def instrument(self) -> Instrument:
        """Return the instrument; datasets tell neither tick nor lot, so the user must.

        Raises:
            ConfigError: if ``tick`` or ``lot`` is missing; it proposes what fits the files.
            CaptureError: if the files cannot be read.
        """
        spec = self._context.spec
        if spec.tick is None or spec.lot is None:
            if self._config.paths is None:
                words = "Tardis's messages tell neither tick nor lot"
                raise ConfigError(
                    [Mistake("", "instrument", words, "add tick and lot under instrument")]
                )
            found: dict[As, set[str]] = {"price": set(), "quantity": set()}
            for file in self._files(listed(self._config.paths or ())):
                file.decimals(found)
            raise ConfigError(
                [spec.missing_grid("a Tardis dataset", found["price"], found["quantity"])]
            )
        return spec.on_grid(spec.tick, spec.lot, self._symbol)

    async def tape(self) -> Tape:
        """Return what all files hold, or what a tardis-machine replays, as it was received; built once, then kept.

        Raises:
            ConfigError: as `instrument`, or if it was not said what is to be replayed.
            CaptureError: if a file cannot be read, or is not what is expected.
            FeedError: if a tardis-machine cannot be reached, or sends what cannot be read.
            OffGrid: if a price or amount does not fit the grid.
        """
        instrument = await self.instrument()
        config = self._config
        if config.paths is None:
            tape = await self._replayed(instrument)
        else:
            paths = listed(config.paths or ())
            files = self._files(paths)
            settings = config.model_dump(mode="json", include={"types", "clock_offset"})
            meaning = [VERSION, instrument, self._exchange, settings, [path.name for path in paths]]
            place = kept.place(
                paths[0],
                kept.digest_of_files(paths),
                kept.digest(msgspec.json.encode(meaning)),
                self._context.userdir,
            )
            tape = kept.load(place) or await build(instrument, files, config.clock_offset, place)
        self.stats = tape.stats
        return tape

    async def _replayed(self, instrument: Instrument) -> Tape:
        start, end = self._config.start, self._config.end
        if start is None or end is None:
            words = "what a backtest replays was expected: 'data.start' and 'data.end'; found "
            words += "neither" if start is end else "one of them"
            hint = "such as start: 2024-03-01, end: 2024-03-02"
            raise ConfigError([Mistake("", "data", words, hint)])
        folder = self._context.userdir / "data" / "tapes"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"tardis-{self._exchange}-{self._symbol}-{start}".replace(":", "-")
        types = ("raw", *self._channels) if self._config.raw else self._types
        configured = self._config.clock_offset
        meaning = kept.digest(msgspec.json.encode([VERSION, instrument, configured]))
        asked = kept.digest(msgspec.json.encode([self._exchange, types, start, end]))
        place = kept.place(folder / name, asked, meaning, self._context.userdir)
        if (tape := kept.load(place)) is not None:
            return tape
        begun = time.perf_counter()
        with closing(Columns(instrument, place)) as columns:
            if self._config.raw:
                stats, nearest = await self._replay_raw(instrument, (start, end), columns)
            else:
                stats, nearest = await self._replay(instrument, (start, end), columns)
            # A clock that is ahead cannot be told from latency.
            offset = configured if isinstance(configured, int) else max(0, -nearest)
            stats.clock_offset_ns = [offset]
            columns.delay(0, len(columns), offset, 0)
            tape = kept.made(columns, stats, place)
        _log.info(
            "tape built rows=%d seconds=%.1f path=%s", len(tape), time.perf_counter() - begun, place
        )
        return tape

    async def _replay(
        self, instrument: Instrument, span: tuple[str, str], columns: Columns
    ) -> tuple[FeedStats, int]:
        """Take in what a tardis-machine replays; return what was found, and the smallest ``local - exchange``."""
        machine, nearest, last, lines = self._machine(), 0, 0, 0
        messages = Normalized(instrument, self._exchange, machine.types)
        async with aclosing(machine.replay(*span)) as replay:
            async for line in replay:
                lines += 1
                try:
                    rows = _in_order(messages.message(line), last)
                except (FeedError, OffGrid) as error:
                    raise type(error)(
                        f"{machine.url}: line {lines} of the replay: {error}"
                    ) from error
                if rows:
                    last = rows[0][1]
                    nearest = min(nearest, *(row[1] - row[0] for row in rows))
                    columns.add(rows)
        if not len(columns):
            raise FeedError(
                f"{machine.url}: messages of {machine.exchange} {machine.symbol} were expected; found none from "
                f"{span[0]} to {span[1]} among {lines} lines; is 'data.symbol' what Tardis calls it?"
            )
        if messages.skipped:
            messages.stats.notes.append(
                f"{messages.skipped} changes of the book while it was unknown were skipped"
            )
        return messages.stats, nearest

    @property
    def _channels(self) -> tuple[str, ...]:
        """What a raw replay is of."""
        marks = ("markPrice",) if self._context.spec.market != "spot" else ()
        return self._config.channels or ("depth", "trade", *marks)

    async def _replay_raw(
        self, instrument: Instrument, span: tuple[str, str], columns: Columns
    ) -> tuple[FeedStats, int]:
        """Take in a raw replay; return what was found, and the smallest ``local - exchange``."""
        wire, smallest = self._context.wire_formats(instrument, self._channels), 0
        ask = Ask(
            self._exchange,
            self._symbol.lower(),
            self._channels,
            *span,
            self._config.endpoint.rstrip("/"),
            self._config.api_key.get_secret_value(),
            self._context.userdir / "data" / "tardis",
        )
        async with aclosing(replayed(ask, wire)) as replay:
            async for rows in replay:
                smallest = min(smallest, nearest(rows))
                columns.add(rows)
        if not wire.stats.snapshots:
            raise FeedError(
                f"{ask.endpoint}: a snapshot of the book of {ask.exchange} {self._symbol} was expected; found none from "
                f"{span[0]} to {span[1]} among {wire.stats.messages} messages; Tardis has one at 00:00 UTC and after "
                "every reconnect: begin there"
            )
        return wire.stats, smallest

    async def stream(self) -> AsyncIterator[list[Row]]:
        """Yield what a tardis-machine streams, for ever; reconnects by itself.

        The times of the exchange are as Tardis tells them, but none is later than the receipt.

        Raises:
            FeedError: if it cannot be reached at first, or sends what cannot be read.
            OffGrid: if a price or amount does not fit the grid.
            UsageError: if files are configured.
        """
        if self._config.url is None:
            raise UsageError(
                "'data.paths' and 'data.raw' are recorded data: 'mmkit backtest' reads it; 'mmkit trade' needs a live "
                "source, such as 'data: {plugin: tardis, url: http://127.0.0.1:8000}'"
            )
        instrument, machine = await self.instrument(), self._machine()
        messages = Normalized(instrument, self._exchange, machine.types)
        self.stats = messages.stats
        stream = Stream(machine, messages, self._config.silence)
        async for rows in stream.rows(self._context.clock.now_ns):
            yield rows

    def _files(self, paths: Sequence[Path]) -> list[TardisFile]:
        """Return the files whose data type was asked for, and those without data."""
        files = [TardisFile(path, self._exchange, self._symbol) for path in paths]
        wanted = self._config.types
        if wanted is None:
            return files
        there = {file.dataset.name for file in files if file.dataset is not None}
        if missing := [name for name in wanted if there and name not in there]:
            raise CaptureError(
                f"{names(paths)}: {', '.join(missing)} was expected, as 'data.types' says; found only "
                f"{', '.join(sorted(there))}"
            )
        return [file for file in files if file.dataset is None or file.dataset.name in wanted]


def _in_order(rows: list[Row], last: int) -> list[Row]:
    """Return rows that were received after `last`, ns.

    Raises:
        FeedError: if they were not.
    """
    if rows and rows[0][1] < last:
        raise FeedError(f"localTimestamp goes back by {last - rows[0][1]} ns")
    return rows
