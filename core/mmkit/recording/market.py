"""One market while it is recorded: its raw messages, its rows, and what is to be told of it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from mmkit.errors import RunError
from mmkit.instruments import Instrument
from mmkit.recording.marks import gap_line, head_line, message_line
from mmkit.recording.place import Lock, Place
from mmkit.recording.raw import RawLog
from mmkit.recording.rows import RowLog, gap_row
from mmkit.tape import KIND, GapReason, Kind, Row

_log = logging.getLogger("mmkit.record")

_WORDS = {
    GapReason.CONNECTION: "the connection was lost",
    GapReason.SILENCE: "nothing arrived for longer than the watchdog allows",
    GapReason.CHECK: "the book could not be right",
}


class Recording:
    """Writes what a live source hands over.

    Args:
        userdir: The user's folder.
        instrument: What is recorded.
        raw: Whether the source hands over raw messages.

    Attributes:
        place: Where it is written.
        has_raw: Whether raw messages are.
        messages: Messages so far.
        rows: Rows so far.
        gaps: Gaps so far, but for the first row of a stream.
        lag_ns: Of the last message, ``ts_local - ts_exchange``.
        worst_lag_ns: The largest since `forget_worst`.

    Raises:
        DataError: if what an earlier session left is damaged.
        RunError: if another process records here, or the disk does not take it.
    """

    def __init__(self, userdir: Path, instrument: Instrument, *, raw: bool) -> None:
        self.instrument = instrument
        self.place = Place(userdir, instrument)
        self.has_raw = raw
        self._lock = Lock(self.place.folder)
        self._begun = False
        self._paused = False
        self._turned = False
        self._newest = 0  # largest ts_exchange
        self.messages = self.rows = self.gaps = 0
        self.lag_ns = self.worst_lag_ns = 0
        try:
            self.raw = RawLog(self.place.raw)
            self._log = RowLog(self.place, instrument)
        except BaseException:
            self._lock.release()
            raise

    @property
    def last_ns(self) -> int:
        """When an earlier session recorded last, ns; 0 if there was none."""
        return self.raw.found.last_ns if self.raw.found is not None else 0

    @property
    def parts(self) -> tuple[int, int]:
        """How many parts of rows have been written, and their bytes."""
        return self._log.parts, self._log.stored

    def begin(self, now_ns: int) -> None:
        """Mend what an earlier session left, and say that one begins.

        Raises:
            RunError: if that one recorded later than now.
        """
        found, gap, mark = self.raw.found, None, b""
        if found is not None:
            if found.last_ns >= now_ns:
                raise RunError(
                    f"{self.place.raw}: was recorded until {(found.last_ns - now_ns) / 1e9:.1f} s from "
                    "now by this machine's clock, which has gone back; set it right, or move the folder "
                    "away"
                )
            if not found.ended:
                words = "recording was cut off here, by a crash or a full disk"
                # Nothing is known from its last message on, not only from now on.
                mark = gap_line(found.last_ns + 1, GapReason.RECORDER, words)
                gap = gap_row(found.last_ns, found.last_ns + 1)
                _log.warning(
                    "resumed after a crash symbol=%s missing_s=%.1f cut_bytes=%d",
                    self.instrument.symbol,
                    (now_ns - found.last_ns) / 1e9,
                    found.cut,
                )
        # In this order: if it is cut off in between, all of it is done again, to the same effect.
        self._log.recover(gap)
        if found is not None and mark:
            self.raw.add(mark, found.last_ns + 1)
        if self.has_raw:
            self.raw.add(head_line(now_ns, "start", self.instrument), now_ns)
        self.raw.flush()
        self._begun = True

    def message(self, raw: bytes, ts_local: int, url: str = "") -> None:
        """Take one raw message (`mmkit.interfaces.RawTap`)."""
        self.messages += 1
        if self.raw.turns(ts_local):
            self._turned = True
            self.raw.add(head_line(ts_local, "day", self.instrument), ts_local)
        self.raw.add(message_line(raw, ts_local, url), ts_local)

    def take(self, rows: Sequence[Row]) -> None:
        """Take the rows that a source has made."""
        if not rows:
            return
        self._log.add(rows)
        self.rows += len(rows)
        if not self.has_raw:
            self.messages += 1
        for row in rows:
            if row[2] & KIND == Kind.GAP and row[3] != GapReason.START:
                self.gaps += 1
                reason = GapReason(row[3])
                # A missing update shows in the messages themselves.
                if reason in _WORDS and self.has_raw:
                    self.raw.add(gap_line(row[1], reason, _WORDS[reason]), row[1])
        ts_exchange, ts_local = rows[-1][:2]
        self._newest = max(self._newest, ts_exchange)
        self.lag_ns = ts_local - ts_exchange
        self.worst_lag_ns = max(self.worst_lag_ns, self.lag_ns)

    def forget_worst(self) -> int:
        """Return `worst_lag_ns` and let it begin anew."""
        worst, self.worst_lag_ns = self.worst_lag_ns, 0
        return worst

    def turned(self) -> bool:
        """Return whether a new file has begun since this was last asked."""
        turned, self._turned = self._turned, False
        return turned

    def flush(self) -> None:
        """Hand everything taken so far to the system, the raw messages first: rows are made of them."""
        self.raw.flush()
        self._log.flush()

    def pause(self, now_ns: int, why: str) -> None:
        """Write down that nothing is known from here on and why, until `resume`."""
        if not self._begun or self._paused:
            return
        self._paused = True
        self.gaps += 1
        self._end(now_ns, why)
        self._log.turn()

    def resume(self, now_ns: int) -> None:
        """Write down that it goes on after a `pause`."""
        if self._paused and self.has_raw:
            self.raw.add(head_line(now_ns, "start", self.instrument), now_ns)
        self._paused = False

    def stop(self, now_ns: int, why: str) -> None:
        """Write down that recording ends here and why, and make a part of the last rows."""
        if not self._begun:
            return
        if not self._paused:
            self._end(now_ns, f"recording stopped: {why}")
        self._log.finish()

    def _end(self, now_ns: int, words: str) -> None:
        if self.has_raw:
            self.raw.add(gap_line(now_ns, GapReason.RECORDER, words), now_ns)
        if self.rows:
            self._log.add([gap_row(self._newest, now_ns)])
        self.flush()

    def close(self) -> None:
        """Let go of files and folder."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._lock.release)
            stack.callback(self._log.close)
            stack.callback(self.raw.close)
