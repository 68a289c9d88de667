"""Many messages that have piled up, taken in at once by compiled code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmkit.errors import MmkitError
from mmkit.tape import Row
from mmkit_binance.wire import BinanceWire

if TYPE_CHECKING:
    from mmkit.interfaces import FastReader

_log = logging.getLogger("mmkit.binance")

_MANY = 32
"""So many at once, and compiled code is worth loading; a market that is never so busy does without."""
_SOME = 4  # fewer are read one by one: a call into compiled code costs as much
_COLUMNS = ("ts_exchange", "ts_local", "kind", "price", "quantity")


class Burst:
    """Takes messages in as `BinanceWire.message` does, with the same rows.

    The compiled reader is loaded in a thread when it is first worth it: half a second, and some seven the
    first time on a machine.

    Args:
        wire: Takes the messages in.
    """

    def __init__(self, wire: BinanceWire) -> None:
        self._wire = wire
        self._reader: FastReader | None = None
        self._loading: asyncio.Future[None] | None = None
        self._error: MmkitError | None = None

    def take(self, messages: Sequence[bytes], ts_local: int) -> list[Row]:
        """Return the rows of messages that are taken in at one time.

        Raises:
            FeedError: as `BinanceWire.message`; if other messages came before it, at the next call.
        """
        if self._error is not None:
            raise self._error
        if len(messages) == 1:
            return self._wire.message(messages[0], ts_local)
        if len(messages) >= _MANY and self._reader is None and self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        if self._reader is None and self._loading is not None and self._loading.done():
            self._loading.result()
            self.use_compiled()
        rows: list[Row] = []
        try:
            if self._reader is None or len(messages) < _SOME:
                for raw in messages:
                    rows += self._wire.message(raw, ts_local)
            else:
                self._read(self._reader, messages, ts_local, rows)
        except MmkitError as error:
            if not rows:
                raise
            self._error = error  # what came before it is told first
        return rows

    def use_compiled(self) -> None:
        """Read with compiled code from now on, where that is possible."""
        self._reader = self._wire.fast_reader()
        if self._reader is not None:
            _log.info("compiled reader in use symbol=%s", self._wire.instrument.native)

    def _read(
        self, reader: FastReader, messages: Sequence[bytes], ts_local: int, rows: list[Row]
    ) -> None:
        import numpy as np

        from mmkit.interfaces import Messages

        joined = b"\n".join(messages) + b"\n"
        number = len(messages)
        if not joined.isascii() or joined.count(b"\n") != number:
            for raw in messages:
                rows += self._wire.message(raw, ts_local)
            return
        begin = np.zeros(number, np.uint64)
        np.cumsum([len(raw) + 1 for raw in messages[:-1]], out=begin[1:], dtype=np.uint64)
        block = Messages(
            np.frombuffer(joined, np.uint8), begin, np.full(number, ts_local, np.int64)
        )
        at = 0
        while at < number:
            try:
                made = reader.read(block, at)
            except OverflowError:
                rows += self._wire.message(messages[at], ts_local)
                at += 1
                continue
            columns = made.columns
            rows += zip(*(columns[name].tolist() for name in _COLUMNS), strict=True)
            at = made.stop
            if at < number:
                rows += self._wire.message(messages[at], ts_local)
                at += 1


def _load() -> None:
    """Load the compiled reader, or compile it, by reading one message of an instrument of its own."""
    from decimal import Decimal

    import numpy as np

    from mmkit.instruments import ContractKind, Instrument
    from mmkit.interfaces import Messages, WireFormatContext
    from mmkit_binance.wire import BinanceConfig

    instrument = Instrument(
        venue="binance",
        market="spot",
        symbol="A/B",
        native="AB",
        base="A",
        quote="B",
        kind=ContractKind.SPOT,
        tick=Decimal(1),
        lot=Decimal(1),
    )
    wire = BinanceWire(
        BinanceConfig(), WireFormatContext(instrument=instrument, streams=("depth",))
    )
    reader = wire.fast_reader()
    if reader is not None:
        data = np.frombuffer(b"{}\n", np.uint8)
        reader.read(Messages(data, np.zeros(1, np.uint64), np.zeros(1, np.int64)), 0)
