"""Capture files read many lines at a time, and several files as if they were one."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mmkit.errors import CaptureError
from mmkit.tape import NEVER
from mmkit_capture.files import UNREADABLE, CaptureFile, Line
from mmkit_capture.stamps import UNSURE, stamps

BLOCK = 1 << 20
"""Bytes unpacked at a time: some thousand lines, and few enough to stay in the processor's cache."""
OPENING = 1 << 18
"""Bytes looked at to see what a file holds."""
_AHEAD = 8
"""Blocks that may be waiting: the two threads then seldom wait for each other."""
_LONGEST = 1 << 26
"""Bytes of a line. Beyond them it is no message, and better read line by line."""


class LeftToReferenceError(Exception):
    """Something is unusual: reading the files line by line tells what it is."""


@dataclass(frozen=True)
class Block:
    """Lines that carry a message, in the order in which they were received.

    Attributes:
        data: Where they lie.
        begin: The place of each message; for one of `lines` that of its newline.
        end: The place of its newline.
        ts_local: By the recorder's clock, ns.
        number: Of the line in its file, from 1.
        file: Which file it is in.
        files: All that it may be.
        lines: Those that were read one by one, by file and number: with an address, or beyond ASCII.
    """

    data: npt.NDArray[np.uint8]
    begin: npt.NDArray[np.uint64]
    end: npt.NDArray[np.int64]
    ts_local: npt.NDArray[np.int64]
    number: npt.NDArray[np.int64]
    file: npt.NDArray[np.int64]
    files: tuple[int, ...]
    lines: dict[tuple[int, int], Line]

    def __len__(self) -> int:
        return len(self.begin)

    def line(self, at: int) -> Line:
        """Return one line as `CaptureFile.lines` does."""
        number = int(self.number[at])
        found = self.lines.get((int(self.file[at]), number))
        if found is not None:
            return found
        body = self.data[int(self.begin[at]) : int(self.end[at])].tobytes().strip()
        return Line(number, int(self.ts_local[at]), "", body)

    def part(self, keep: slice | npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Block:
        """Return some of the lines."""
        return replace(
            self,
            begin=self.begin[keep],
            end=self.end[keep],
            ts_local=self.ts_local[keep],
            number=self.number[keep],
            file=self.file[keep],
        )


def blocks(file: CaptureFile, index: int, size: int) -> Generator[Block, None, None]:
    """Yield a file's lines, block by block; counts the lines that carry no message.

    Raises:
        LeftToReferenceError: if the file or a line cannot be read, or local time goes back.
    """
    file.skipped = 0
    lines, last, rest = 0, 0, b""
    try:
        for chunk in file.chunks(size):
            rest += chunk
            if len(rest) > _LONGEST:
                raise LeftToReferenceError
            cut = rest.rfind(b"\n") + 1
            if cut:
                block, count = _block(file, index, rest, cut, lines)
                lines, rest = lines + count, rest[cut:]
                last = _checked(block, last)
                yield block
        if rest:
            block, _ = _block(file, index, rest + b"\n", len(rest) + 1, lines)
            _checked(block, last)
            yield block
    except (CaptureError, OverflowError, *UNREADABLE) as error:
        raise LeftToReferenceError from error


def _block(file: CaptureFile, index: int, raw: bytes, cut: int, before: int) -> tuple[Block, int]:
    """Return the lines in the first `cut` bytes that carry a message, and how many lines there are."""
    data = np.frombuffer(raw, np.uint8, cut)
    end = np.flatnonzero(data == ord("\n"))
    begin, ts_local = np.empty(len(end), np.uint64), np.empty(len(end), np.int64)
    stamps(data, end, begin, ts_local)
    if not raw.isascii():
        beyond = np.unique(np.searchsorted(end, np.flatnonzero(data >= 128)))
        begin[beyond], ts_local[beyond] = end[beyond], UNSURE
    number = np.arange(before + 1, before + 1 + len(end))
    block = Block(data, begin, end, ts_local, number, np.full(len(end), index), (index,), {})
    unsure = np.flatnonzero(ts_local == UNSURE).tolist()
    for at in unsure:
        start = int(end[at - 1]) + 1 if at else 0
        line = file.parse(int(number[at]), raw[start : int(end[at])])
        if line is None:
            file.skipped += 1
        else:
            ts_local[at] = line.ts_local
            block.lines[index, line.number] = line
    if len(block.lines) < len(unsure):
        block = block.part(ts_local != UNSURE)
    return block, len(end)


def _checked(block: Block, last: int) -> int:
    """Return the newest local time."""
    times = block.ts_local
    if not len(times):
        return last
    if times[0] < last or (times[1:] < times[:-1]).any():
        raise LeftToReferenceError
    return int(times[-1])


def ahead(blocks: Generator[Block, None, None]) -> Generator[Block, None, None]:
    """Yield the blocks, the next ones being made in a thread meanwhile: unpacking needs no Python."""
    thread = ThreadPoolExecutor(1)
    try:
        coming = deque(thread.submit(next, blocks, None) for _ in range(_AHEAD))
        while (block := coming.popleft().result()) is not None:
            coming.append(thread.submit(next, blocks, None))
            yield block
    finally:
        thread.shutdown(cancel_futures=True)
        blocks.close()


# --- several files --------------------------------------------------------------------------------


class _Reading:
    """A file that is being read.

    Attributes:
        ready: Lines that are not out yet.
        ended: Whether there are no more to come.
    """

    def __init__(self, file: CaptureFile, index: int) -> None:
        self._coming = ahead(blocks(file, index, BLOCK))
        self.ready: Block | None = None
        self.ended = False
        self.fill()

    def fill(self) -> None:
        """Add the next lines to those that are ready."""
        more = next((block for block in self._coming if len(block)), None)
        if more is None:
            self.ended = True
        else:
            self.ready = more if self.ready is None else _joined([self.ready, more])

    def until(self, horizon: int) -> Block | None:
        """Take the lines that were received before `horizon`."""
        ready = self.ready
        assert ready is not None  # one that has none is filled, or let go
        count = int(np.searchsorted(ready.ts_local, horizon))
        if not count:
            return None
        self.ready = ready.part(slice(count, None)) if count < len(ready) else None
        if self.ready is None and not self.ended:
            self.fill()
        return ready.part(slice(count))

    def close(self) -> None:
        """Read no further."""
        self._coming.close()

    @property
    def horizon(self) -> int:
        """Lines before this local time are all ready."""
        return NEVER if self.ended or self.ready is None else int(self.ready.ts_local[-1])


def merged(files: Sequence[CaptureFile], begins: Sequence[int]) -> Generator[Block, None, None]:
    """Yield the lines of all files by the recorder's clock; at one instant, in the order of the files.

    Args:
        files: In order of their first local time.
        begins: Those times. A file is opened when its time has come.

    Raises:
        LeftToReferenceError: as `blocks`.
    """
    waiting = deque(range(len(files)))
    reading: dict[int, _Reading] = {}
    try:
        while waiting or reading:
            next_begin = begins[waiting[0]] if waiting else NEVER
            if len(reading) == 1:
                [alone] = reading.values()
                block = alone.ready
                if block is not None and block.ts_local[-1] < next_begin:
                    # Nothing of another file lies before its last line.
                    alone.ready = None
                    alone.fill()
                    yield block
                    reading = _unfinished(reading)
                    continue
            horizon = min((found.horizon for found in reading.values()), default=NEVER)
            horizon = min(horizon, next_begin)
            if parts := [part for found in reading.values() if (part := found.until(horizon))]:
                block = _joined(parts)
                yield block.part(np.argsort(block.ts_local, kind="stable"))
            elif waiting and next_begin == horizon:
                index = waiting.popleft()
                reading[index] = _Reading(files[index], index)
            else:
                for found in reading.values():
                    if found.horizon == horizon:
                        found.fill()
            reading = _unfinished(reading)
    finally:
        for found in reading.values():
            found.close()


def _unfinished(reading: dict[int, _Reading]) -> dict[int, _Reading]:
    return {index: found for index, found in reading.items() if found.ready is not None}


def _joined(parts: Sequence[Block]) -> Block:
    """Return the lines of all parts, one part after the other."""
    if len(parts) == 1:
        return parts[0]
    texts, places, length = [], [], 0
    lines: dict[tuple[int, int], Line] = {}
    for part in parts:
        start, stop = int(part.begin[0]), int(part.end[-1]) + 1
        texts.append(part.data[start:stop])
        places.append(length - start)
        length += stop - start
        lines |= part.lines
    return Block(
        data=np.concatenate(texts),
        begin=np.concatenate([_moved(p.begin, by) for p, by in zip(parts, places, strict=True)]),
        end=np.concatenate([p.end + by for p, by in zip(parts, places, strict=True)]),
        ts_local=np.concatenate([part.ts_local for part in parts]),
        number=np.concatenate([part.number for part in parts]),
        file=np.concatenate([part.file for part in parts]),
        files=tuple(sorted({file for part in parts for file in part.files})),
        lines=lines,
    )


def _moved(places: npt.NDArray[np.uint64], by: int) -> npt.NDArray[np.uint64]:
    return (places.astype(np.int64) + by).astype(np.uint64)
