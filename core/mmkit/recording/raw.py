"""Raw messages on disk: a file of zstd frames a day, to which whole frames are added and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

from mmkit.errors import DataError
from mmkit.recording.append import append, explained
from mmkit.recording.frames import DAMAGED, Frames, frame
from mmkit.recording.marks import MARK, gap_of, time_of
from mmkit.recording.place import DAY_NS, day_of
from mmkit.tape import GapReason

_MOST = 4 << 20  # bytes that wait for the next flush


class Found(NamedTuple):
    """What an earlier session left.

    Attributes:
        last_ns: Local time of its last line.
        ended: Whether that says that the recorder stopped.
        cut: Bytes of an unfinished frame that were cut off.
    """

    last_ns: int
    ended: bool
    cut: int


class RawLog:
    """Adds lines to the files of a folder, a file for each UTC day.

    Lines wait in memory until `flush`, which makes one frame of them and hands it to the system.

    Args:
        folder: Made if it is not there.

    Attributes:
        found: What was there before; `None` if nothing was.
        size: Bytes of lines so far.
        stored: Bytes of frames so far.

    Raises:
        DataError: if what is there is damaged; it is left as it is.
        RunError: from every method, if the disk does not take it. What was written before is intact.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[bytes] = []
        self._waiting = 0
        self._file: IO[bytes] | None = None
        self._day_end = 0
        self.size = self.stored = 0
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self.found = self._resume()

    def turns(self, ts_local: int) -> bool:
        """Whether a line of that time would begin a new file."""
        return ts_local >= self._day_end

    def add(self, line: bytes, ts_local: int) -> None:
        """Add one line that ends with a newline; its time is not before that of the line before."""
        if ts_local >= self._day_end:
            self._turn(ts_local)
        self._lines.append(line)
        self._waiting += len(line)
        if self._waiting >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Hand everything added so far to the system."""
        if not self._lines:
            return
        assert self._file is not None  # opened for the first line
        content = b"".join(self._lines)
        packed = frame(content)
        with explained(self._folder):
            append(self._file, packed)
        self.size += len(content)
        self.stored += len(packed)
        self._lines.clear()
        self._waiting = 0

    def close(self) -> None:
        """Let go of the file; what was not flushed is lost."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _turn(self, ts_local: int) -> None:
        self.flush()
        self.close()
        self._day_end = (ts_local // DAY_NS + 1) * DAY_NS
        path = self._folder / f"{day_of(ts_local)}.zst"
        with explained(path):
            self._file = path.open("ab", buffering=0)

    def _resume(self) -> Found | None:
        """Cut off an unfinished frame of the newest file that has a whole one; say what its last line is."""
        cut = 0
        for path in sorted(self._folder.glob("*.zst"), reverse=True):
            with path.open("r+b") as file:
                frames, last = Frames(file), b""
                try:
                    for last in frames:  # noqa: B007 - the last is what is wanted
                        pass
                except EOFError:
                    pass  # not one whole frame
                except DAMAGED as error:
                    raise DataError(
                        f"{path}: whole zstd frames were expected; found damage after byte "
                        f"{frames.end} ({error}); nothing was changed. Move the file away to begin a "
                        "new one"
                    ) from error
                size = file.seek(0, 2)
                if size - frames.end > 2 * _MOST:
                    raise DataError(
                        f"{path}: zstd frames of a second each were expected; found one that is not "
                        f"whole after byte {frames.end}, of {size - frames.end} bytes; no recorder wrote "
                        "it, so nothing was changed. Move the file away to begin a new one"
                    )
                if frames.end < size:
                    file.truncate(frames.end)
                    cut += size - frames.end
            if frames.end:
                return _found(path, last, cut)
        return None


def _found(path: Path, content: bytes, cut: int) -> Found:
    line = content.rstrip(b"\n").rpartition(b"\n")[2]
    try:
        last_ns = time_of(line)
        gap = gap_of(line) if line.startswith(MARK) else None
    except ValueError:
        raise DataError(
            f"{path}: the lines of a recorder were expected; found {line[:80]!r} at the end; move the "
            "file away to begin a new one"
        ) from None
    return Found(last_ns, gap is not None and gap[1] is GapReason.RECORDER, cut)
