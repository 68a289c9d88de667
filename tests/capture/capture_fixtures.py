"""Sources over capture files, real and written by a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import mmkit_binance
import mmkit_capture
from mmkit.clock import SimClock
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.interfaces import DataSource, SourceContext, WireFormat, WireFormatContext
from mmkit.tape import Tape

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


class Recording(NamedTuple):
    """One symbol of one real recording, and what independent counting found in it.

    Attributes:
        tickers: bookTickers whose update id is that of an update of the book, from the snapshot on.
    """

    venue: str
    market: str
    symbol: str
    tick: str
    lot: str
    paths: tuple[str, ...]
    tickers: int

    def __str__(self) -> str:
        return f"{self.paths[-1].partition('/')[0]}-{self.market}-{self.symbol.replace('/', '')}"


def _short(name: str) -> tuple[str, ...]:
    return (f"binance_30s/{name}.http.0.0.xz", f"binance_30s/{name}.ws.1.0.xz")


def _pair(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{folder}/{name}" for name in names)


_BTC = ("binance", "usdm", "BTC/USDT:USDT", "0.1", "0.001")
_US, _SPOT, _USDM = _short("BINANCE_US"), _short("BINANCE"), _short("BINANCE_FUTURES")
RECORDINGS = (
    Recording(*_BTC, _pair("binance_usdm", "btcusdt_20240808.gz"), 629),
    Recording(*_BTC, _pair("binance_usdm", "btcusdt_20240718.gz", "btcusdt_20240719.gz"), 625),
    Recording(
        *_BTC, _pair("binance_usdm", "btcusdt_20230404.dat.gz", "btcusdt_20230405.dat.gz"), 1565
    ),
    Recording(
        "binance",
        "spot",
        "BTC/USDT",
        "0.01",
        "0.00001",
        _pair("binance_spot", "btcusdt_20240808.gz", "btcusdt_20240809.gz"),
        1072,
    ),
    Recording(
        "binance",
        "spot",
        "NEXO/USDT",
        "0.001",
        "0.01",
        _pair("binance_spot_nexousdt", "nexousdt_20240723.dat.gz", "nexousdt_20240724.dat.gz"),
        12_198,
    ),
    Recording("binance", "spot", "NKN/USDT", "0.00001", "0.1", _SPOT, 19),
    Recording("binance", "spot", "BLZ/ETH", "0.00000001", "1", _SPOT, 1),
    Recording("binance", "spot", "LRC/BTC", "0.00000001", "1", _SPOT, 6),
    Recording("binance", "spot", "RUNE/EUR", "0.001", "0.1", _SPOT, 0),
    Recording("binance", "usdm", "SUSHI/USDT:USDT", "0.001", "1", _USDM, 12),
    Recording("binance", "usdm", "AKRO/USDT:USDT", "0.00001", "1", _USDM, 7),
    Recording("binance", "usdm", "KEEP/USDT:USDT", "0.0001", "1", _USDM, 13),
    Recording("binance", "usdm", "CTK/USDT:USDT", "0.00001", "1", _USDM, 18),
    Recording("binanceus", "spot", "COMP/USDT", "0.01", "0.00001", _US, 21),
    Recording("binanceus", "spot", "OMG/BUSD", "0.0001", "0.01", _US, 19),
    Recording("binanceus", "spot", "CRV/USDT", "0.001", "0.1", _US, 5),
    Recording("binanceus", "spot", "ZRX/USDT", "0.0001", "0.01", _US, 12),
)


def wire_formats(instrument: Instrument, streams: Sequence[str]) -> WireFormat:
    """Find the wire format as the plugin loader would."""
    providers = {found.name: found for found in mmkit_binance.register_wire_formats()}
    found = providers[instrument.venue]
    return found.build(found.config(), WireFormatContext(instrument, tuple(streams)))


def source(
    paths: Sequence[str | Path] | str | Path,
    userdir: Path,
    *,
    venue: str = "binance",
    market: str = "spot",
    symbol: str = "BTC/USDT",
    tick: str | None = "0.1",
    lot: str | None = "0.001",
    **config: Any,
) -> DataSource:
    (provider,) = mmkit_capture.register_data_sources()
    spec = InstrumentSpec(
        venue=venue,
        market=market,
        symbol=symbol,
        tick=Decimal(tick) if tick else None,
        lot=Decimal(lot) if lot else None,
    )
    if isinstance(paths, str | Path):
        paths = [paths]
    settings = provider.config(paths=[str(path) for path in paths], **config)
    context = SourceContext(spec=spec, clock=SimClock(), userdir=userdir, wire_formats=wire_formats)
    return provider.build(settings, context)


def tape(paths: Sequence[str | Path] | str | Path, userdir: Path, **options: Any) -> Tape:
    return asyncio.run(source(paths, userdir, **options).tape())


def recorded(recording: Recording, userdir: Path, **options: Any) -> Tape:
    return tape(
        [DATA / path for path in recording.paths],
        userdir,
        venue=recording.venue,
        market=recording.market,
        symbol=recording.symbol,
        tick=recording.tick,
        lot=recording.lot,
        **options,
    )


# --- a small capture ----------------------------------------------------------------------------

SECOND = 1_700_000_000
"""Local time of the first line, s; the venue's clock reads the same 20 ms before."""


def line(number: int, message: dict[str, Any], unit: str = "ns") -> str:
    """Return a line received `number` tenths of a second after the first."""
    ns = SECOND * 10**9 + number * 10**8
    stamps = {
        "ns": f"{ns}",
        "us": f"{ns // 10**3}",
        "ms": f"{ns // 10**6}",
        "s": f"{ns // 10**9}.{ns % 10**9:09d}:",
    }
    return f"{stamps[unit]} {json.dumps(message)}\n"


def venue_ms(number: int) -> int:
    return SECOND * 1000 + number * 100 - 20


def snapshot_message(last: int = 10) -> dict[str, Any]:
    return {
        "lastUpdateId": last,
        "bids": [["99.9", "2.000"], ["99.8", "1.000"]],
        "asks": [["100.1", "3.000"]],
    }


def diff_message(number: int, last: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    data = {
        "e": "depthUpdate",
        "E": venue_ms(number),
        "s": symbol,
        "U": last,
        "u": last,
        "b": [["99.9", f"{last}.000"]],
        "a": [],
    }
    return {"stream": f"{symbol.lower()}@depth@100ms", "data": data}


def trade_message(number: int, kind: str = "trade") -> dict[str, Any]:
    data = {
        "e": kind,
        "E": venue_ms(number),
        "T": venue_ms(number),
        "s": "BTCUSDT",
        "p": "100.1",
        "q": "0.500",
        "m": False,
    }
    return {"stream": f"btcusdt@{kind}", "data": data}


def small(unit: str = "ns", updates: int = 5) -> list[str]:
    """Return a capture: a snapshot, updates, and a trade at the end."""
    lines = [line(0, snapshot_message(), unit)]
    lines += [
        line(number, diff_message(number, 10 + number), unit) for number in range(1, updates + 1)
    ]
    return [*lines, line(updates + 1, trade_message(updates + 1), unit)]


def write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(lines))
    return path
