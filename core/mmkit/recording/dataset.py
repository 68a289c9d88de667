"""The dataset of rows: which markets are in it, and which parts a market has.

::

    <root>/venue=binance/market=usdm/symbol=BTCUSDT/day=2026-11-26/part-<ns>.parquet

``<ns>`` is the local time of a part's first row. Parts of one market never overlap.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import msgspec

from mmkit.errors import DataError
from mmkit.instruments import InstrumentSpec
from mmkit.recording.parts import Part, described
from mmkit.recording.place import DAY_NS, day_of
from mmkit.units import format_time

STAGED = "parts"
"""Of a market's import folder: parts that are written, and not in the dataset yet."""
_PENDING = "commit.json"


class Pending(msgspec.Struct, frozen=True):
    """What an import has still to move; with it in place the import has happened.

    Attributes:
        come: Paths below the partition, by the names of files in `STAGED`.
        go: Paths below the partition.
    """

    come: dict[str, str]
    go: list[str]


class Listed(NamedTuple):
    """A part, by its name: the local time of its first row, ns, and where it is."""

    first_ns: int
    path: Path

    def described(self) -> Part:
        """Return what it says of itself.

        Raises:
            DataError: if it is none, or its name is another's.
        """
        part = described(self.path)
        if part.first_ns != self.first_ns:
            raise DataError(
                f"{self.path}: rows from {self.first_ns} on were expected, by its name; found {part.first_ns}; "
                "give it back the name that it was written with"
            )
        return part


def importing(partition: Path) -> Path:
    """Return where imports into a partition of the dataset are prepared."""
    names = [
        folder.name.partition("=")[2] for folder in reversed([partition, *partition.parents[:2]])
    ]
    return partition.parents[3].joinpath(*names, "import")


def pending_file(folder: Path) -> Path:
    """Return where `Pending` lies, in a market's import folder."""
    return folder / _PENDING


def pending(folder: Path) -> Pending | None:
    """Return what an import has still to move; `None` if there is none.

    Raises:
        DataError: if it cannot be read.
    """
    path = pending_file(folder)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pending)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise DataError(
            f"{path}: what an import has to move yet was expected; it cannot be read: {error}"
        ) from error


def partitions(root: Path) -> list[Path]:
    """Return the folder of each market of a dataset."""
    return sorted(path for path in root.glob("venue=*/market=*/symbol=*") if path.is_dir())


def listed(partition: Path) -> list[Listed]:
    """Return the parts of a market in order of time, without opening them.

    An import that is being moved into place is there as a whole.

    Raises:
        DataError: if there is a file that is no part.
    """
    folder = importing(partition)
    while True:
        before, found = pending(folder), _names(partition)
        # What was moved while the names were read would be seen half.
        if pending(folder) == before and (before is not None or _names(partition) == found):
            break
    if before is not None:
        found -= set(before.go)
    paths = {partition / name for name in found}
    if before is not None:
        for staged, name in before.come.items():
            waits = folder / STAGED / staged
            paths.discard(partition / name)
            paths.add(waits if waits.exists() else partition / name)
    return sorted(Listed(_first_ns(path), path) for path in paths)


def partition_of(root: Path, spec: InstrumentSpec) -> Path | None:
    """Return the folder of a market; `None` if it is not in the dataset.

    Raises:
        DataError: if a part that has to be looked at cannot be read.
    """
    for path in root.glob(f"venue={spec.venue}/market={spec.market}/symbol=*"):
        parts = listed(path)
        if parts and parts[0].described().instrument.symbol == spec.symbol:
            return path
    return None


def market_of(root: Path, spec: InstrumentSpec) -> Path:
    """Return the folder of a market.

    Raises:
        DataError: if it is not in the dataset; it says what is.
    """
    found = partition_of(root, spec)
    if found is not None:
        return found
    name = f"{spec.symbol} at {spec.venue} ({spec.market})"
    there = {}
    for path in partitions(root):
        if parts := listed(path):
            one = parts[0].described().instrument
            there[f"{one.symbol} at {one.venue} ({one.market})"] = one
    if not there:
        raise DataError(
            f"{root}: a dataset of rows was expected, with {name}; found no rows there; 'mmkit record' and "
            "'mmkit data import' write them"
        )
    if name in there:
        return market_of(root, spec)  # the first part of it has just been written
    near = get_close_matches(name, there, 1)
    hint = f"did you mean {near[0]}?" if near else "record or import it, or change 'instrument'"
    raise DataError(
        f"{root}: rows of {name} were expected; found those of {', '.join(there)}; {hint}"
    )


def is_seam(before: Part, after: Part) -> bool:
    """Whether something may be missing between two parts that follow each other.

    Parts of one import are numbered. A recorder says itself where it ended; only whole days, which somebody has
    taken away, show between its parts.
    """
    if before.instrument != after.instrument:
        return True
    one, other = before.origin, after.origin
    if one is None and other is None:
        return after.first_ns // DAY_NS - before.last_ns // DAY_NS > 1
    return one is None or other is None or (one.id, one.number + 1) != (other.id, other.number)


def days_between(before: Part, after: Part) -> list[str]:
    """Return the whole days between two parts."""
    first, last = before.last_ns // DAY_NS + 1, after.first_ns // DAY_NS
    return [day_of(day * DAY_NS) for day in range(first, last)]


def days_in_words(days: Iterable[str]) -> str:
    """Return days, in order, as spans: ``2026-11-24 to 2026-11-26, 2026-11-28``."""
    spans: list[list[datetime.date]] = []
    for day in map(datetime.date.fromisoformat, days):
        if spans and (day - spans[-1][-1]).days == 1:
            spans[-1][1:] = [day]
        else:
            spans.append([day])
    return ", ".join(" to ".join(day.isoformat() for day in span) for span in spans)


def span_in_words(first_ns: int, last_ns: int) -> str:
    """Return a span of time."""
    return f"{format_time(first_ns)} to {format_time(last_ns)}"


def _names(partition: Path) -> set[str]:
    # `is_file` would cost a look at each.
    return {f"{path.parent.name}/{path.name}" for path in partition.glob("day=*/*.parquet")}


def _first_ns(path: Path) -> int:
    try:
        return int(path.stem.removeprefix("part-"))
    except ValueError:
        raise DataError(
            f"{path}: a part of the dataset, part-<ns>.parquet, was expected; move the file elsewhere"
        ) from None
