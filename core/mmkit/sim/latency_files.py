"""Measured latencies in CSV files; what is wrong with one is refused with its line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from mmkit.errors import ConfigError, DataError, Mistake
from mmkit.settings import LatencySettings, RecordedLatency, SampledLatency
from mmkit.units import format_duration, format_time

_LARGEST = 2**63 - 1


def read_samples(path: Path) -> list[int]:
    """Return the column ``latency_ns`` of a file, ns; `path` is relative to the working folder.

    Raises:
        DataError: if the file is no such table; it says which line.
    """
    return [value for _, (value,) in _table(path, ("latency_ns",))]


def read_series(setting: RecordedLatency) -> tuple[list[int], list[int]]:
    """Return the columns ``ts_ns`` and ``latency_ns`` of a file, ns.

    Raises:
        DataError: if the file is no such table, time does not increase, or nothing was measured for
            longer than `max_gap`; it says which lines.
    """
    path, longest = setting.series, setting.max_gap
    table = _table(path, ("ts_ns", "latency_ns"))
    for (earlier, (before, _)), (line, (after, _)) in pairwise(table):
        if after <= before:
            raise DataError(
                f"{path}:{line}: ts_ns: a time after {before}, that of line {earlier}, was expected; "
                f"found {after}; sort the lines by time and keep one for each"
            )
        if after - before > longest:
            raise DataError(
                f"{path}:{line}: a measurement at least every {format_duration(longest)} was expected "
                f"(max_gap); found none for {_seconds(after - before)} between line {earlier} and line "
                f"{line}; measure without holes, or raise max_gap"
            )
    return [time for _, (time, _) in table], [value for _, (_, value) in table]


def write_samples(path: Path, values: Iterable[int]) -> None:
    """Write a file that `read_samples` reads; values in ns.

    Raises:
        DataError: if there is a file already, or it cannot be written.
    """
    _write(path, ("latency_ns",), ((value,) for value in values))


def write_series(path: Path, series: Iterable[tuple[int, int]]) -> None:
    """Write a file that `read_series` reads, of pairs of a time and a latency, ns.

    Raises:
        DataError: if there is a file already, or it cannot be written.
    """
    _write(path, ("ts_ns", "latency_ns"), series)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[int]]) -> None:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    place = path.expanduser()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError as error:
        raise DataError(
            f"{path}: there is a file already, and a run may depend on it; name another folder"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


def _table(path: Path, columns: Sequence[str]) -> list[tuple[int, list[int]]]:
    """Return the number of each line and the integers on it."""
    header, lines = ",".join(columns), _lines(path)
    if not lines or [name.strip() for name in lines[0].split(",")] != list(columns):
        found = f"'{lines[0][:80]}'" if lines else "nothing"
        raise DataError(
            f"{path}:1: the header '{header}' was expected; found {found}; "
            "write it as the first line, with the values below it"
        )
    table = []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split(",")
        if len(cells) != len(columns) and line.strip():
            raise DataError(
                f"{path}:{number}: {len(columns)} values were expected, as in the header '{header}'; "
                f"found {len(cells)}; mend the line"
            )
        cells += [""] * (len(columns) - len(cells))
        where = f"{path}:{number}"
        values = [
            _whole(cell, f"{where}: {name}") for cell, name in zip(cells, columns, strict=True)
        ]
        table.append((number, values))
    if len(table) < 2:
        raise DataError(
            f"{path}: at least 2 lines of values were expected; found {len(table)}; "
            "for a single latency write a duration, such as 10ms"
        )
    return table


def _whole(cell: str, where: str) -> int:
    text = cell.strip()
    if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= _LARGEST:
        return int(text)
    found = f"'{text[:80]}'" if text else "nothing"
    raise DataError(
        f"{where}: whole nanoseconds, 0 or more, were expected; found {found}; "
        "mend the line or leave it out"
    )


def _lines(path: Path) -> list[str]:
    text = _bytes(path)
    try:
        lines = text.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: UTF-8 text was expected; found bytes that are none"
        ) from error
    return lines if lines[-1] else lines[:-1]


def _bytes(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: a CSV file of latencies was expected (sim.latency); it cannot be read: "
            f"{error.strerror or error}; the path is relative to the folder mmkit is started in"
        ) from error


# --- what a run depends on ------------------------------------------------------------------------


def digests(settings: LatencySettings) -> dict[str, str]:
    """Return the SHA-256 of each file that the latencies are read from, by its path.

    Raises:
        DataError: if one cannot be read.
    """
    found = {}
    for setting in (settings.entry, settings.response):
        if isinstance(setting, SampledLatency):
            found[str(setting.samples)] = digest_of(setting.samples)
        elif isinstance(setting, RecordedLatency):
            found[str(setting.series)] = digest_of(setting.series)
    return found


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        DataError: if it cannot be read.
    """
    return hashlib.sha256(_bytes(path)).hexdigest()


def check_covers(settings: LatencySettings, start_ns: int, end_ns: int, section: str = "") -> None:
    """Refuse recorded latencies that do not cover the data from `start_ns` to `end_ns`.

    Args:
        settings: May hold some.
        start_ns: ns since the epoch.
        end_ns: ns since the epoch.
        section: What stands before ``sim`` in the configuration.

    Raises:
        DataError: if one does not, or its file cannot be used.
    """
    for way, setting, first, last in _recorded(settings):
        if first - setting.max_gap > start_ns or last + setting.max_gap < end_ns:
            raise DataError(
                f"{setting.series}: {section}sim.latency.{way} was recorded from {format_time(first)} to "
                f"{format_time(last)}; the data, from {format_time(start_ns)} to {format_time(end_ns)}, was expected to "
                f"lie within it, or beyond its ends by {format_duration(setting.max_gap)} at most (max_gap); "
                "record the latency along with the data, or write quantiles or samples"
            )


def refuse_recorded(settings: LatencySettings, now_ns: int, section: str = "") -> None:
    """Refuse recorded latencies for a run that begins now and goes on.

    Args:
        settings: May hold some.
        now_ns: ns since the epoch.
        section: What stands before ``sim`` in the configuration.

    Raises:
        ConfigError: if there is one.
        DataError: if its file cannot be used.
    """
    for way, setting, first, last in _recorded(settings):
        found = (
            f"'{setting.series}' was recorded from {format_time(first)} to {format_time(last)}; a dry run is now, "
            f"{format_time(now_ns)}, and later"
        )
        hint = "write a duration, quantiles or samples; a series is for a backtest of its time"
        raise ConfigError([Mistake("", f"{section}sim.latency.{way}", found, hint)])


def _recorded(settings: LatencySettings) -> list[tuple[str, RecordedLatency, int, int]]:
    found = []
    for way, setting in (("entry", settings.entry), ("response", settings.response)):
        if isinstance(setting, RecordedLatency):
            times, _ = read_series(setting)
            found.append((way, setting, times[0], times[-1]))
    return found


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:,.9g} s"
