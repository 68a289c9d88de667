"""Where a market is recorded, and that nobody else does it at the same time."""

from __future__ import annotations

import datetime
import fcntl
import os
import re
from pathlib import Path

from mmkit.errors import RunError
from mmkit.instruments import Instrument
from mmkit.recording.append import explained

DAY_NS = 86_400 * 10**9
_RECORDED = "is being recorded by another process ({}) already; let it, end it, or record elsewhere with '--userdir'"


def day_of(ts_ns: int) -> str:
    """Return the UTC day of a time, such as ``2026-11-26``."""
    return datetime.datetime.fromtimestamp(ts_ns // 10**9, tz=datetime.UTC).date().isoformat()


def dataset_of(userdir: Path) -> Path:
    """Return the folder of the dataset of rows."""
    return userdir / "data" / "rows"


class Place:
    """The folders of one market.

    Attributes:
        folder: Raw messages and what is being written.
        raw: Files of raw messages.
        open: Rows that are not in a part yet.
        importing: What is being imported.
        dataset: The partitioned dataset of all markets.
        partition: That of this market in it; days are below.
    """

    def __init__(self, userdir: Path, instrument: Instrument) -> None:
        data = userdir / "data"
        names = [_safe(name) for name in (instrument.venue, instrument.market, instrument.native)]
        self.folder = data.joinpath(*names)
        self.raw, self.open = self.folder / "raw", self.folder / "open"
        self.importing = self.folder / "import"
        self.dataset = dataset_of(userdir)
        keys = ("venue", "market", "symbol")
        self.partition = self.dataset.joinpath(
            *(f"{key}={name}" for key, name in zip(keys, names, strict=True))
        )

    def part(self, first_ns: int) -> Path:
        """Return the part whose first row was received at `first_ns`."""
        return self.partition / f"day={day_of(first_ns)}" / f"part-{first_ns}.parquet"


class Lock:
    """Held while a market is recorded, or imported into; let go of by the system if its holder dies.

    Args:
        folder: The market's.
        name: Of the file.
        busy: What another holder is doing, and what to do about it; ``{}`` stands for its process.

    Raises:
        RunError: if another process holds it.
    """

    def __init__(self, folder: Path, name: str = "lock", busy: str = _RECORDED) -> None:
        path = folder / name
        with explained(path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(self._file, 32).decode("ascii", "replace") or "unknown"
                os.close(self._file)
                raise RunError(f"{folder}: {busy.format(holder)}") from None
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Let others in."""
        os.close(self._file)


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
