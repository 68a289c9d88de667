"""Many messages that have piled up, taken in at once by compiled code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from mmkit.errors import MmkitError
from mmkit.tape import Row
from mmkit_binance.wire import BinanceWire

if TYPE_CHECKING:
    from mmkit.interfaces import FastReader, Messages

_log = logging.getLogger("mmkit.binance")

_MANY = 32
"""So many at once, and compiled code is worth loading; a market that is never so busy does without."""
_SOME = 4  # fewer are read one by one: a call into compiled code costs as much
_COLUMNS = ("ts_exchange", "kind", "price", "quantity")
_LONG = 8  # rows of a message, on average


class Taken(NamedTuple):
    """How many messages were taken in, the first ones, and their rows."""

    number: int
    rows: list[Row]


class Burst:
    """Takes messages in as `BinanceWire.message` does, with the same rows, up to what the book cannot be.

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

    def take(self, messages: Sequence[bytes], ts_local: int) -> Taken:
        """Take in the first of some messages, and as many more as belong together.

        Behind a message that puts the book in doubt (`BinanceWire.doubt`) it stops, and the rows of that one
        are not told. Whoever calls says that the book is lost, and calls again for the rest.

        Args:
            messages: At least one.
            ts_local: When all of them are taken in, ns.

        Raises:
            FeedError: as `BinanceWire.message`, for the first one.
        """
        if self._error is not None:
            raise self._error
        if len(messages) >= _MANY and self._reader is None and self._loading is None:
            self._loading = asyncio.ensure_future(asyncio.to_thread(load))
        if self._reader is None and self._loading is not None and self._loading.done():
            self._loading.result()
            self.use_compiled()
        rows: list[Row] = []
        number = 0
        try:
            for number in self._steps(messages, ts_local, rows):  # noqa: B007
                if self._wire.doubt:
                    break
        except MmkitError as error:
            if not number:
                raise
            self._error = error  # what came before it is told first
        return Taken(number, rows)

    def use_compiled(self) -> None:
        """Read with compiled code from now on, where that is possible."""
        self._reader = self._wire.fast_reader(doubting=True)
        if self._reader is not None:
            _log.info("compiled reader in use symbol=%s", self._wire.instrument.native)

    def _steps(self, messages: Sequence[bytes], ts_local: int, rows: list[Row]) -> Iterator[int]:
        """Add rows; yield how many messages are taken in whenever it is to be seen what came of them."""
        number = len(messages)
        block = None
        if self._reader is not None and number >= _SOME:
            block = _block(messages, ts_local)
        at = 0
        while at < number:
            if self._reader is not None and block is not None:
                try:
                    made = self._reader.read(block, at)
                except OverflowError:
                    pass  # a number beyond 64 bits, which the wire format refuses or can read
                else:
                    rows += _rows(made.columns, made.stop - at, ts_local)
                    if made.stop > at:
                        at = made.stop
                        yield at
                    if at == number:
                        break
            told = self._wire.message(messages[at], ts_local)
            if not self._wire.doubt:
                rows += told
            at += 1
            yield at


def _rows(columns: Mapping[str, Any], messages: int, ts_local: int) -> Iterator[Row]:
    """Return the rows of messages that were received at one time."""
    import numpy as np

    times, kinds, prices, quantities = (columns[name] for name in _COLUMNS)
    number = len(times)
    if number < _LONG * messages:
        told = times.tolist()
    else:
        # The rows of a message share its time, and its integer: making one for each takes half of all the work.
        firsts = np.flatnonzero(np.diff(times, prepend=-1))
        lengths = np.diff(firsts, append=number)
        told = chain.from_iterable(map(repeat, times[firsts].tolist(), lengths.tolist()))
    return zip(
        told,
        repeat(ts_local, number),
        kinds.tolist(),
        prices.tolist(),
        quantities.tolist(),
        strict=True,
    )


def _block(messages: Sequence[bytes], ts_local: int) -> Messages | None:
    """Return messages as the compiled reader wants them; `None` if it must not see them."""
    import numpy as np

    from mmkit.interfaces import Messages

    joined = b"\n".join(messages) + b"\n"
    number = len(messages)
    if not joined.isascii() or joined.count(b"\n") != number:
        return None
    begin = np.zeros(number, np.uint64)
    np.cumsum([len(raw) + 1 for raw in messages[:-1]], out=begin[1:], dtype=np.uint64)
    return Messages(np.frombuffer(joined, np.uint8), begin, np.full(number, ts_local, np.int64))


def load() -> None:
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
