"""Survey and tape from one reading, many messages at a time.

The same as `survey` and `build` one after the other, which are the reference: same rows, stats and notes.
What a survey decides is at first supposed, from how each file begins; if it turns out otherwise the files
are read again. Where anything is out of order nothing is returned, and the reference says what it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmkit.errors import CaptureError, MmkitError
from mmkit.instruments import Instrument
from mmkit.interfaces import FastRead, FastReader, Messages, WireFormat
from mmkit.tape.columns import Columns
from mmkit_capture.blocks import OPENING, Block, LeftToReferenceError, blocks, merged
from mmkit_capture.build import Built, Source, Taker, note_moved
from mmkit_capture.choice import BY_DEFAULT, chosen_streams, clock_offsets, groups, refuse_bookless
from mmkit_capture.files import CaptureFile
from mmkit_capture.repeats import Run, refuse_repeats
from mmkit_capture.survey import FileSurvey, inform

_log = logging.getLogger("mmkit.capture")

_TRIES, _SHARE = 64, 4
"""After so many messages of a block that were left to the wire format, if they are more than one in so many,
it gets the others, too: asking the reader costs as much as a message."""
_OTHERS = "other symbols"
"""Stands for whatever is not the chosen symbol."""
_LONG_S = 3.0
"""Loading compiled code takes half a second; so long, and it was compiled."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Wanted:
    """What a tape is to be made of.

    Attributes:
        instrument: What it is about.
        wire_format: Makes a new one for some streams.
        streams: As configured; `None` for what is there.
        clock_offset: As configured: ``auto``, or ns.
        path: Where it will be kept.
    """

    instrument: Instrument
    wire_format: Callable[[tuple[str, ...]], WireFormat]
    streams: tuple[str, ...] | None
    clock_offset: str | int
    path: Path


def read_fast(files: Sequence[CaptureFile], wanted: Wanted) -> Generator[None, None, Built | None]:
    """Return what the tape is made of; `None` to have the reference do it.

    Raises:
        OSError: if the disk does not take it.
    """
    try:
        return (yield from _read(files, wanted))
    except (LeftToReferenceError, MmkitError, OverflowError) as error:
        _log.debug("left to the reference reason=%r", error.__cause__ or error)
        return None


def _read(files: Sequence[CaptureFile], wanted: Wanted) -> Generator[None, None, Built | None]:
    begun = time.perf_counter()
    wire = wanted.wire_format(())
    reader = wire.fast_reader()
    if reader is None:
        return None
    opening = _Reading(files, wanted, wire, reader)
    for index, file in enumerate(files):
        yield
        opening.look(file, index)
    if (taken := time.perf_counter() - begun) > _LONG_S:
        _log.info("fast reader compiled; it is kept for the next time seconds=%.1f", taken)
    surveys = sorted(opening.surveys, key=lambda found: found.first_local)
    files = [found.file for found in surveys]
    begins = [found.first_local for found in surveys]
    market = wanted.instrument.market
    try:
        streams = chosen_streams(surveys, wanted.streams, market)
    except CaptureError:
        streams = ()  # its book begins later
    offsets = None
    if isinstance(wanted.clock_offset, int):
        offsets = [wanted.clock_offset] * len(files)
    for _ in range(2):  # the second time knows what the first supposed
        wire = wanted.wire_format(streams)
        reader = wire.fast_reader()
        assert reader is not None  # there was one before
        reading = _Reading(files, wanted, wire, reader)
        with ExitStack() as unless_done:
            unless_done.callback(reading.close)
            yield from reading.read(begins, offsets)
            reading.refuse_strangers()
            right = chosen_streams(reading.surveys, wanted.streams, market)
            refuse_bookless(reading.surveys, right)
            found = clock_offsets(reading.surveys, right, wanted.clock_offset)
            late = offsets is None and any(found)
            if right == streams and not (late and reader.local_times):
                refuse_repeats([(each.file.path, each.spans) for each in reading.surveys], right)
                sources = [Source(*each) for each in zip(reading.surveys, found, strict=True)]
                built = reading.built(sources, late)
                unless_done.pop_all()
                return built
        streams, offsets = right, found
    raise LeftToReferenceError  # the files change while they are read


class _Reading:
    """One reading of all files: a survey of each, and the rows.

    Args:
        files: In order of their first local time.
        wanted: What for.
        wire: New.
        reader: Its fast reader.
    """

    def __init__(
        self, files: Sequence[CaptureFile], wanted: Wanted, wire: WireFormat, reader: FastReader
    ) -> None:
        self.surveys = [FileSurvey(file) for file in files]
        self._native = wanted.instrument.native
        self._wire, self._reader = wire, reader
        self._describer = wanted.wire_format(wanted.streams or ())
        self._taker = Taker(wanted.instrument, wire)
        self._columns = Columns(wanted.instrument, wanted.path)
        # Of the others nothing but their number matters.
        self._telling = frozenset(wanted.streams or BY_DEFAULT)
        self._starts: dict[int, int] = {}  # how many rows there were when a file began

    def look(self, file: CaptureFile, index: int) -> None:
        """Read how a file begins."""
        begin = blocks(file, index, OPENING)
        first = next((block for block in begin if len(block)), None)
        begin.close()
        if first is None:
            raise LeftToReferenceError
        self._take(first, first.ts_local)

    def read(
        self, begins: Sequence[int], offsets: Sequence[int] | None
    ) -> Generator[None, None, None]:
        """Read everything, adding to local times what is known already."""
        last = 0
        for block in merged([found.file for found in self.surveys], begins):
            yield
            times = block.ts_local
            if offsets is not None:
                times = times + np.array(offsets)[block.file]
                times = np.maximum.accumulate(np.maximum(times, last))
                last = int(times[-1])
            self._take(block, times)

    def refuse_strangers(self) -> None:
        """Leave it to the reference to say which other symbols there are."""
        ours = any(found.symbols[self._native] for found in self.surveys)
        if not ours or any(found.nameless and len(found.books) > 1 for found in self.surveys):
            raise LeftToReferenceError

    def close(self) -> None:
        """Leave no rows behind on the disk."""
        self._columns.close()

    def built(self, sources: Sequence[Source], late: bool) -> Built:
        """Return it all; offsets that were not known while reading are `late`, and added now."""
        stats = self._wire.stats
        self._taker.end()
        starts = [self._starts[index] for index in range(len(sources))] + [len(self._columns)]
        ends = _ends_before(sources)
        moved = []
        for index, (source, end) in enumerate(zip(sources, ends, strict=True)):
            if late:
                self._columns.delay(starts[index], starts[index + 1], source.offset, end)
            if (amount := end - source.survey.first_local - source.offset) > 0:
                moved.append((source, amount))
        note_moved(stats, moved)
        stats.clock_offset_ns = [source.offset for source in sources]
        return Built(self._columns, stats, sources)

    def _take(self, block: Block, times: Ints) -> None:
        for index in block.files:
            self._starts.setdefault(index, len(self._columns))
        messages = Messages(block.data, block.begin, times)
        at = left = 0
        while at < len(block):
            if left <= _TRIES or left * _SHARE < at:
                found = self._reader.read(messages, at)
                if found.stop > at:
                    self._columns.add_columns(found.columns)
                    self._describe(block.part(slice(at, found.stop)), found)
                at = found.stop
            if at < len(block):
                survey, line = self.surveys[block.file[at]], block.line(at)
                survey.take(line, inform(survey.file, line, self._describer), self._native)
                self._columns.add(self._taker.take(survey.file.path, line, int(times[at])))
                at += 1
                left += 1

    def _describe(self, block: Block, found: FastRead) -> None:
        """Add what the reader says of the messages to the surveys."""
        names = self._reader.streams
        for index in block.files:
            part, chosen, stream = block, found.chosen, found.stream
            told = (found.ts_exchange, found.first_id, found.last_id)
            if len(block.files) > 1:
                here = np.flatnonzero(block.file == index)
                if not here.size:
                    continue
                part, chosen, stream = block.part(here), chosen[here], stream[here]
                told = (told[0][here], told[1][here], told[2][here])
            survey = self.surveys[index]
            if not survey.lines:
                survey.first_local = int(part.ts_local[0])
            survey.lines += len(part)
            survey.last_local = int(part.ts_local[-1])
            there = np.bincount(stream, minlength=len(names)).tolist()
            ours = there
            if not chosen.all():
                ours = np.bincount(stream[chosen], minlength=len(names)).tolist()
            survey.symbols[self._native] += sum(ours)
            for number, name in enumerate(names):
                if name.startswith("depth"):
                    survey.books.update([self._native] * (ours[number] > 0))
                    survey.books.update([_OTHERS] * (there[number] > ours[number]))
                if not name or not ours[number]:
                    continue
                survey.streams[name] += ours[number]
                if name in self._telling:
                    mine = np.flatnonzero(chosen & (stream == number))
                    _describe_stream(
                        survey,
                        name,
                        part.ts_local[mine],
                        part.number[mine],
                        *(column[mine] for column in told),
                    )


def _describe_stream(
    survey: FileSurvey,
    name: str,
    ts_local: Ints,
    number: Ints,
    ts_exchange: Ints,
    first: Ints,
    last: Ints,
) -> None:
    """Add messages of the chosen symbol and one stream to a survey."""
    if (timed := ts_exchange > 0).any():
        survey.near(name, int((ts_local - ts_exchange)[timed].min()))
    span = survey.span(name, int(ts_local[0]), int(ts_local[-1]))
    there = last >= first
    if not there.all():
        span.numbered = False
        number, ts_exchange, first, last = (
            column[there] for column in (number, ts_exchange, first, last)
        )
        if not first.size:
            return
    holes = np.flatnonzero(first[1:] != last[:-1] + 1) + 1
    begins = [0, *holes.tolist()]
    for begin, end in zip(begins, [*begins[1:], len(first)], strict=True):
        run = Run(
            int(first[begin]),
            int(last[end - 1]),
            int(ts_exchange[begin]),
            int(ts_exchange[end - 1]),
        )
        span.add(run, int(number[begin]))


def _ends_before(sources: Sequence[Source]) -> list[int]:
    """Return for each file when the files ahead of it have ended, those of its own clock apart."""
    by_survey = {id(source.survey): source for source in sources}
    ends, end = [], 0
    for group in groups([source.survey for source in sources]):
        ends += [end] * len(group)
        end = max(end, *(found.last_local + by_survey[id(found)].offset for found in group))
    return ends
