"""What a plugin hands over: the objects whose methods do the work of a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
)

import msgspec
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mmkit.accounts import AccountClient as AccountClient  # noqa: PLC0414 - handed on
from mmkit.accounts import AccountContext as AccountContext  # noqa: PLC0414 - handed on
from mmkit.advisors import Advisor as Advisor  # noqa: PLC0414 - handed on
from mmkit.advisors import AdvisorContext as AdvisorContext  # noqa: PLC0414 - handed on
from mmkit.advisors import Consulted as Consulted  # noqa: PLC0414 - handed on
from mmkit.advisors import Facts as Facts  # noqa: PLC0414 - handed on
from mmkit.advisors import Inquiry as Inquiry  # noqa: PLC0414 - handed on
from mmkit.clock import Clock
from mmkit.commands import Amends, AnyCommand, OrderType, SubmitOrder
from mmkit.errors import (
    OtherQuestion,
    StrategyError,
    UnknownAdvisor,
    UnknownMarket,
    UnknownSignal,
    UsageError,
)
from mmkit.events import Advice, AnyEvent, OrderEvent, Side, Signal, VenueEvent
from mmkit.fusion import Fused as Fused  # noqa: PLC0414 - handed on
from mmkit.fusion import FusionSettings
from mmkit.instruments import Instrument, InstrumentSpec
from mmkit.quality import SourceCheck, of_stats
from mmkit.settings import SimSettings
from mmkit.signal_models import ModelContext as ModelContext  # noqa: PLC0414 - handed on
from mmkit.signal_models import SignalModel as SignalModel  # noqa: PLC0414 - handed on
from mmkit.signal_models import SignalTrainer as SignalTrainer  # noqa: PLC0414 - handed on
from mmkit.signal_models import TrainingContext as TrainingContext  # noqa: PLC0414 - handed on
from mmkit.signal_models import TrainingSet as TrainingSet  # noqa: PLC0414 - handed on
from mmkit.signal_models import TrainingStep as TrainingStep  # noqa: PLC0414 - handed on
from mmkit.tape import NEVER, FeedStats, Row, Tape
from mmkit.units import Duration

if TYPE_CHECKING:
    from mmkit.book import Depth
    from mmkit.watch import Statistics

C = TypeVar("C", bound="PluginConfig")
P = TypeVar("P", covariant=True)


class PluginConfig(BaseModel):
    """What the user may write beside ``plugin:``. Frozen; a key it does not know is a mistake, and so is a
    number that is none (``.nan``) or infinite.

    Keys and passwords are `pydantic.SecretStr`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AccountConfig(PluginConfig):
    """What may be written beside ``plugin:`` of an account; a plugin's own model derives from it.

    `endpoint` has no default here, so that real money is never a matter of leaving something out.
    """

    endpoint: str = Field(description="Where the account is, such as live or sandbox.")
    key: SecretStr | None = Field(None, description="The API key, such as ${BINANCE_KEY}.")
    secret: SecretStr | None = Field(
        None, description="What signs requests, such as ${BINANCE_SECRET}."
    )
    leverage: int | None = Field(
        None,
        ge=1,
        description="Of contracts: set at the start; left as the account has it if left out.",
    )
    margin: Literal["cross", "isolated"] | None = Field(
        None, description="Of contracts: how a position's margin is kept; likewise."
    )


@dataclass(frozen=True)
class Provider(Generic[C, P]):
    """One thing a plugin offers.

    Attributes:
        name: How the YAML asks for it.
        config: What may be written beside ``plugin:``.
        build: Makes it, from its config and a context. Called only if it was chosen.
        summary: One line for ``mmkit plugins``.
        requires: Modules that must be importable, such as ``("ccxt",)``.
        install: What to install when one of them is missing, such as ``"mmkit[ccxt]"``.
    """

    name: str
    config: type[C]
    build: Callable[[C, Any], P]
    summary: str = ""
    requires: tuple[str, ...] = ()
    install: str = ""


# --- what a plugin is built with ------------------------------------------------------------------


class WireFormats(Protocol):
    """Finds the wire format of a venue among the loaded plugins."""

    def __call__(self, instrument: Instrument, streams: Sequence[str]) -> WireFormat:
        """Return a new decoder.

        Raises:
            PluginError: if no plugin offers one for ``instrument.venue``.
        """


@dataclass(frozen=True)
class SourceContext:
    """What a data source is built with.

    Attributes:
        spec: What the user wrote under ``instrument:``.
        clock: The run's clock.
        userdir: The user's folder, usually ``user_data``.
        wire_formats: Finds a venue's wire format.
        endpoints: Addresses that running services offer, by service: ``{"sandbox": "http://127.0.0.1:8787"}``.
    """

    spec: InstrumentSpec
    clock: Clock
    userdir: Path
    wire_formats: WireFormats
    endpoints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceContext:
    """What a service is built with.

    Attributes:
        spec: What the user wrote under ``instrument:``.
        clock: The run's clock.
        userdir: The user's folder, usually ``user_data``.
        markets: What is traded in the other markets of the run, by name.
    """

    spec: InstrumentSpec
    clock: Clock
    userdir: Path
    markets: Mapping[str, InstrumentSpec] = field(default_factory=dict)


V = TypeVar("V")


class ByMarket(dict[str, V]):
    """What there is of each market beside the main one, by its name under ``markets``."""

    def __missing__(self, name: str) -> V:
        raise UnknownMarket(name, tuple(self))


@dataclass(frozen=True)
class Context:
    """What a strategy, a risk check or an execution venue is built with.

    Attributes:
        instrument: What is traded, with its grid.
        sim: How a simulated exchange behaves; a real venue has no use for it.
        markets: What is traded in the other markets of the run, by name; told to strategies. A name that is not
            there raises `mmkit.errors.UnknownMarket`.
        signals: Names of the signals of the run; told to strategies.
        advisors: Names of the advisors of the run, each with the question it is asked; told to strategies.
        fusion: How signal and advice become one; `None` if the run does not say. Told to strategies.
    """

    instrument: Instrument
    sim: SimSettings = SimSettings()
    markets: Mapping[str, Instrument] = field(default_factory=ByMarket)
    signals: tuple[str, ...] = ()
    advisors: Mapping[str, str] = field(default_factory=dict)
    fusion: FusionSettings | None = None

    def check_signal(self, name: str) -> None:
        """Refuse a signal that the run does not have.

        Raises:
            UnknownSignal: says which there are.
        """
        if name not in self.signals:
            raise UnknownSignal(name, self.signals)

    def check_advisor(self, name: str, question: str = "") -> None:
        """Refuse an advisor that the run does not have, or that is not asked `question`, if that is given.

        Raises:
            UnknownAdvisor: says which there are.
            OtherQuestion: says what it is asked.
        """
        if name not in self.advisors:
            raise UnknownAdvisor(name, tuple(self.advisors))
        if question and self.advisors[name] != question:
            raise OtherQuestion(name, question, self.advisors[name])


# --- market data ----------------------------------------------------------------------------------


class MessageInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a raw message says about itself, read without taking it in.

    Attributes:
        symbol: The venue's own name of the instrument; empty if the message does not say.
        stream: In the venue's words, such as ``depth``; ``snapshot`` for a requested one.
        ts_exchange: The time its rows would have, ns since the epoch; `None` if it carries none.
        ids: The first and the last of the venue's own numbers that it accounts for, by which a message that
            was recorded twice is known: a trade's id; of an update of the book, those after the update
            before it up to its own; the time of a mark price. Consecutive ones cost nothing; holes are
            remembered, so a stream that has them all the time has `None`.
        prices: The decimals in it that are prices; empty unless asked for.
        quantities: The decimals in it that are quantities; empty unless asked for.
        off_book: Of a print that did not meet the book, why, in the venue's words, such as ``INSURANCE_FUND``.
    """

    symbol: str
    stream: str
    ts_exchange: int | None = None
    ids: tuple[int, int] | None = None
    prices: tuple[str, ...] = ()
    quantities: tuple[str, ...] = ()
    off_book: str = ""


class Messages(NamedTuple):
    """Recorded messages, many at once, in the order in which they were received.

    Attributes:
        data: Where they lie, dtype uint8. Each ends with a newline and holds no other.
        begin: The place of each in `data`, dtype uint64. One that begins with its newline is not there
            to be read: it is for `WireFormat`.
        ts_local: When each was received, dtype int64, as `WireFormat.message` would be told it.
    """

    data: npt.NDArray[np.uint8]
    begin: npt.NDArray[np.uint64]
    ts_local: npt.NDArray[np.int64]


class FastRead(NamedTuple):
    """What a `FastReader` made of some messages. The arrays are its own, and hold until the next call.

    Attributes:
        stop: The first message it did not read.
        columns: The rows of those that it read, as in `mmkit.tape.Tape`.
        chosen: For each message read, whether it is about the chosen instrument.
        stream: Its stream, by its place in `FastReader.streams`; 0 for any that is not among them.
        ts_exchange: As in `MessageInfo`; 0 for none.
        first_id: The first of its `MessageInfo.ids`.
        last_id: The last of them; below `first_id` if there are none, and for a stream that was not asked
            for.
    """

    stop: int
    columns: dict[str, npt.NDArray[Any]]
    chosen: npt.NDArray[np.bool_]
    stream: npt.NDArray[np.integer[Any]]
    ts_exchange: npt.NDArray[np.int64]
    first_id: npt.NDArray[np.int64]
    last_id: npt.NDArray[np.int64]


class FastReader(ABC):
    """Reads recorded messages many at a time, with and for one `WireFormat`: they share all state.

    It reads what is ordinary and leaves the rest, one message at a time, to `WireFormat.message`, which says
    what is right: both give the same rows, stats and errors, so a reader never guesses. `OverflowError` from
    either says that a number does not fit 64 bits: all is then read again, one message at a time.
    """

    streams: tuple[str, ...]
    """The streams it tells apart, in the venue's words; the first is empty and stands for all others."""

    @property
    @abstractmethod
    def local_times(self) -> bool:
        """Whether so far a row may have taken ``ts_local`` for its ``ts_exchange``, read fast or not.

        If it has, a clock offset that becomes known later cannot simply be added.
        """

    @abstractmethod
    def read(self, messages: Messages, first: int) -> FastRead:
        """Take in messages from number `first` on, up to the first that is not surely ordinary.

        That one is given to the wire format, then reading goes on behind it. Whatever closes or opens a
        gap in the book is not ordinary.
        """


class WireFormat(ABC):
    """Turns one venue's raw messages about one instrument into rows. No I/O, no clock.

    Keeps the state of the synchronisation between updates and snapshot. Built by a provider with
    `WireFormatContext`.
    """

    stats: FeedStats
    """What has been found so far."""

    @abstractmethod
    def message(self, raw: bytes | str, ts_local: int) -> list[Row]:
        """Take in one message of the venue's stream; return the rows it makes.

        Rows of updates that wait for a snapshot come out once it has arrived. The list is empty for
        messages of other instruments, control messages and messages that change nothing.

        Raises:
            FeedError: if the message is not of this venue's format; it says what was found.
        """

    @abstractmethod
    def snapshot(self, raw: bytes | str, ts_local: int) -> list[Row]:
        """Take in the venue's answer to a request for a snapshot of the book.

        Raises:
            FeedError: if it is no snapshot.
        """

    @abstractmethod
    def lost(self, reason: int, ts_local: int) -> list[Row]:
        """Say that messages may have been missed (`mmkit.tape.GapReason`); synchronisation starts anew."""

    @property
    @abstractmethod
    def wants_snapshot(self) -> bool:
        """Whether a snapshot must be requested before the book can be known."""

    def describe(self, raw: bytes | str, numbers: bool = False) -> MessageInfo | None:
        """Return what a message of any instrument is about; changes nothing.

        A reader of recorded data asks it first: for the recorder's clock offset, the symbols and
        streams that are there and, with `numbers`, the grid. `None` for what is no market data; a
        format that always returns `None` cannot be read from a capture.

        Raises:
            FeedError: if the message is not of this venue's format.
        """
        return None

    def fast_reader(self) -> FastReader | None:
        """Return a reader of many messages at a time; `None` if there is none, and `message` is quick enough.

        Called on a new wire format, before any message, by a reader of long recordings.
        """
        return None


@dataclass(frozen=True)
class WireFormatContext:
    """What a wire format is built with.

    Attributes:
        instrument: What the rows are about; messages of others are ignored.
        streams: Which streams become rows, in the venue's words, such as ``("depth", "trade")``.
    """

    instrument: Instrument
    streams: tuple[str, ...]


Receive: TypeAlias = Callable[[list[Row]], None]
"""Takes rows of one message or of several, as `DataSource.stream` yields them; raises nothing."""


class RawTap(Protocol):
    """Takes the messages of a live source as they were received, before anything is made of them."""

    def __call__(self, raw: bytes, ts_local: int, url: str = "") -> None:
        """Take one message.

        Args:
            raw: As it was received.
            ts_local: The run's clock, as its rows will have it.
            url: Of a REST answer, the request; empty for a streamed message.
        """


class DataSource(ABC):
    """Where market data of one instrument comes from: live (`stream`), recorded (`tape`), or both."""

    stats: FeedStats
    """What has been found so far."""

    @abstractmethod
    async def instrument(self) -> Instrument:
        """Return the instrument with its grid, asking the venue if need be. Called before the others.

        Raises:
            VenueError: if the venue cannot be asked.
            ConfigError: if neither data nor venue can tell tick or lot.
        """

    def stream(self) -> AsyncIterator[list[Row]]:
        """Yield rows as they arrive, for ever; reconnects by itself.

        ``ts_local`` is read from the context's clock when the message is received, and nothing is
        awaited between that and the yield, so that rows reach the engine in order of time. A loss is
        a GAP row, told at once.

        Raises:
            FeedError: if there is no hope of data without the user doing something.
        """
        raise UsageError(
            "the configured data source holds recorded data: 'mmkit backtest' reads it; "
            "'mmkit trade' needs a live one, such as 'data: {plugin: binance}'"
        )

    async def tape(self) -> Tape:
        """Return everything there is.

        Raises:
            DataError: if the recorded data cannot be used.
        """
        raise UsageError(
            "the configured data source is live: 'mmkit trade' listens to it; 'mmkit backtest' needs "
            "recorded data, such as 'data: {plugin: capture, paths: [day.gz]}'"
        )

    def files(self) -> list[Path]:
        """Return the files it reads, for ``mmkit data list``; none for a live source.

        Raises:
            DataError: if a pattern matches none.
        """
        return []

    async def check(self) -> SourceCheck:
        """Return what there is, with what is wrong with it; ``mmkit data check`` calls it in place of `tape`.

        It looks on where `tape` would refuse, and knows places where a tape knows only times. By default what
        `stats` counted; what any tape tells (`mmkit.quality.tape`) is looked at besides.

        Raises:
            DataError: if there is nothing to be looked at.
        """
        tape = await self.tape()
        return SourceCheck(tape, of_stats(tape.stats))

    def tap(self, tap: RawTap) -> bool:
        """Hand to `tap` every message that rows are made of, in that order; return whether there are any.

        Called once, before `stream`. What is told twice, such as by two connections that overlap, is
        handed over once: the messages given to the venue's wire format again make the same rows.
        """
        return False

    def deliver(self, receive: Receive) -> None:
        """Hand rows to `receive` as soon as they are there, rather than yield them.

        Called once, before `stream`, which is iterated over all the same: it yields what is not handed over, and raises what
        there is to raise. What is handed over and what is yielded are in order, and each is told once.
        """

    def ask_snapshot(self) -> None:
        """Request a snapshot of the book for the tap, although the book is known.

        A recording asks where a new file begins, so that the file can be read by itself.
        """

    async def close(self) -> None:
        """Let go of connections and files."""


# --- strategies -----------------------------------------------------------------------------------

Level = tuple[int, int]
"""``(price, quantity)`` in ticks and lots."""


class Quotes:
    """What a strategy wants to have on the book; the quoter sees to it.

    ``Quotes(bid=(price, quantity), ask=None)`` for one level a side, ``Quotes(bids=[...], asks=[...])``
    for any number. What is not wanted is canceled.

    With ``reduce_only=True`` they can only bring the position down: bids a short one, asks a long one. Contracts only.
    """

    __slots__ = ("asks", "bids", "reduce_only")

    def __init__(
        self,
        bid: Level | None = None,
        ask: Level | None = None,
        *,
        bids: Iterable[Level] = (),
        asks: Iterable[Level] = (),
        reduce_only: bool = False,
    ) -> None:
        self.reduce_only = reduce_only
        self.bids: tuple[Level, ...] = (bid,) if bid else ()
        self.asks: tuple[Level, ...] = (ask,) if ask else ()
        if bids or asks:
            self.bids += tuple(bids)
            self.asks += tuple(asks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quotes) and (self.bids, self.asks, self.reduce_only) == (
            other.bids,
            other.asks,
            other.reduce_only,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        also = ", reduce_only=True" if self.reduce_only else ""
        return f"Quotes(bids={self.bids}, asks={self.asks}{also})"


NO_QUOTES = Quotes()
"""Nothing on the book."""


class Target(msgspec.Struct, frozen=True):
    """A position to be reached by taking: at the best price there is, by an IOC order, or at any, by a market order.

    Attributes:
        position: In lots; negative is short.
        order_type: `MARKET` to take whatever prices it needs. Risk checks judge it by the last price that it would
            reach in the book if it were twice as large; while the book does not hold that much, it is not sent.
        reduce_only: Go no further than to nothing, and never away from it; the venue sees to it as well. Contracts only.
    """

    position: int
    order_type: OrderType = OrderType.LIMIT
    reduce_only: bool = False


Wanted: TypeAlias = Quotes | Target | Mapping[str, Quotes | Target]
"""What a strategy wants: in the main market, or in several by name (`mmkit.events.MAIN` and those under ``markets``); in a
market that is not named, nothing."""


class WorkingOrder(Protocol):
    """One of our orders, as a strategy sees it. Prices in ticks, quantities in lots."""

    @property
    def order_id(self) -> int:
        """Ours."""

    @property
    def side(self) -> Side:
        """Buy or sell."""

    @property
    def price(self) -> int:
        """In ticks."""

    @property
    def quantity(self) -> int:
        """As submitted, in lots."""

    @property
    def remaining(self) -> int:
        """Not yet filled, in lots."""


class Signals(dict[str, Signal]):
    """The signals that hold now, by name."""

    def __missing__(self, name: str) -> Signal:
        there = f"there is {', '.join(self)}" if self else "there is none"
        raise StrategyError(
            f"a signal '{name}' that holds now was expected; {there}; one is late, expires, and is not known at first, "
            "so ask with view.signals.get, which returns None then"
        )


class AdviceByName(dict[str, Advice]):
    """The advice that holds now, by the advisor's name; each has an answer."""

    def __missing__(self, name: str) -> Advice:
        there = f"there is {', '.join(self)}" if self else "there is none"
        raise StrategyError(
            f"an advice '{name}' that holds now was expected; {there}; one is late, expires, and may never come, "
            "so ask with view.advice.get, which returns None then"
        )


class MarketView(Protocol):
    """What a strategy may look at while it decides. Read-only; valid during the call."""

    @property
    def now(self) -> int:
        """The time of the run, ns since the epoch."""

    @property
    def instrument(self) -> Instrument:
        """Converts ticks and lots to decimals and back."""

    @property
    def book(self) -> Depth:
        """The best levels of the book, `Strategy.depth` a side: ``book.bids[0]`` is ``(ticks, lots)``.

        Raises:
            StrategyError: if the strategy declares no depth.
        """

    @property
    def best_bid(self) -> int | None:
        """In ticks, or `None` if there is no bid."""

    @property
    def best_ask(self) -> int | None:
        """In ticks, or `None` if there is no ask."""

    @property
    def position(self) -> int:
        """In lots; negative is short. Counts the fills that have been reported."""

    @property
    def orders(self) -> Sequence[WorkingOrder]:
        """Our orders that may still trade, in order of submission."""

    @property
    def markets(self) -> Mapping[str, MarketView]:
        """The other markets of the run, by their names under ``markets``.

        Raises:
            UnknownMarket: for a name that is not there.
        """

    @property
    def equity(self) -> Decimal:
        """Profit since the start at mid, fees taken off and funding added, in the settlement currency."""

    @property
    def funds(self) -> Mapping[str, Decimal]:
        """What the account can spend now, by asset: as the venue told at the start, and as trades have changed it since.

        Of a contract the settlement currency is what there is as margin. Empty in a simulation, which has no account.
        """

    @property
    def signals(self) -> Mapping[str, Signal]:
        """The signals that are known and have not expired, by name; of the main market alone.

        Raises:
            StrategyError: for a name of which there is none now; ``get`` returns `None`.
        """

    @property
    def advice(self) -> Mapping[str, Advice]:
        """What language models have answered and what has not expired, by the advisor's name; of the main market alone.

        Raises:
            StrategyError: for a name of which there is none now; ``get`` returns `None`.
        """

    @property
    def fused(self) -> Fused:
        """What the section ``fusion`` makes of signal and advice now.

        Raises:
            StrategyError: if the run has no such section.
        """

    @property
    def watch(self) -> Statistics:
        """The market watch's statistics of the trades received so far, as the section ``watch`` asks for them.

        Raises:
            StrategyError: if the strategy does not declare `Strategy.watches`.
        """


class Wake(msgspec.Struct, frozen=True, kw_only=True):
    """When a strategy wants to be asked.

    Attributes:
        every: At this interval from the start of the run, in ns; `None` for not at all.
        on_best: When the best bid or ask has another price.
        on_trade: On every message that holds a trade.
        on_fill: On every answer about one of our orders: accepted, filled, canceled, rejected.
        on_watch: On every event of the market watch, as if the strategy declared `Strategy.watches`.
        on_signal: On every signal, and when one expires.
        on_advice: On every advice that has an answer, and when one expires.
    """

    every: int | None = None
    on_best: bool = False
    on_trade: bool = False
    on_fill: bool = False
    on_watch: bool = False
    on_signal: bool = False
    on_advice: bool = False


class StrategyConfig(PluginConfig):
    """The keys every strategy has."""

    every: Duration | None = Field(None, description="Ask the strategy at this interval.", gt=0)
    on: tuple[Literal["best", "trade", "fill", "watch", "signal", "advice"], ...] = Field(
        (),
        description="Ask the strategy besides on a change of the best prices, on trades, on own fills, on "
        "events of the market watch, on signals, on advice.",
    )
    compiled: bool = Field(
        True,
        description="Use the strategy's compiled decision in backtests, if it has one.",
    )


class Strategy(ABC):
    """Decides what to have in the market. One instance per run."""

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    """What may be written under ``strategy:``."""

    depth: int = 0
    """How many levels a side of the book `quote` looks at (``view.book``); 0 for the best prices alone,
    which a backtest has without following the rest."""

    watches: bool = False
    """Whether `quote` looks at ``view.watch``, and `on_event` hears the events of the market watch. Such a strategy's
    backtests run on the reference engine."""

    decision: ClassVar[str] = ""
    """The same decision as `quote`, compiled (`mmkit.decision`), as ``module:name``; empty for none."""

    decision_signal: str = ""
    """The signal that the compiled `decision` looks at, by its name; empty for none."""

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    @property
    def wake(self) -> Wake:
        """When to be asked; from ``every`` and ``on`` unless overridden. 100 ms if neither is given."""
        config: StrategyConfig = self.config
        every = config.every
        if every is None and not config.on:
            every = 100_000_000
        return Wake(
            every=every,
            on_best="best" in config.on,
            on_trade="trade" in config.on,
            on_fill="fill" in config.on,
            on_watch="watch" in config.on,
            on_signal="signal" in config.on,
            on_advice="advice" in config.on,
        )

    @abstractmethod
    def quote(self, view: MarketView) -> Wanted:
        """Return what to have in the market now.

        Called on the engine's thread, only while the book of every market is known. An exception stops the
        run and pulls every quote.
        """

    def parameters(self) -> Sequence[float]:
        """Return the numbers that the compiled `decision` needs."""
        return ()

    def on_event(self, event: AnyEvent) -> None:
        """Take notice of what happened to an order, the account or the feed, of signals and of advice, as it becomes known.

        Advice (`mmkit.events.Advice`) is told here whether there is an answer or not.

        With `watches` also of what the market watch has to say (`mmkit.events.WatchEvent`), once the message that
        holds the trade is taken in and before `quote` is asked about it.
        """


# --- where orders go ------------------------------------------------------------------------------


class ExecutionVenue(ABC):
    """Where orders go. One instance per run.

    A simulated venue is driven: it is handed the market data and says when it has something to tell.
    A real one reports through `take` whenever its connection has delivered something.
    """

    simulated: ClassVar[bool] = False
    """Whether no order ever leaves this machine. Backtests and dry runs accept no other."""

    def open(self, now_ns: int) -> None:
        """Begin a run at `now_ns`."""

    amends: Amends = Amends.NOTHING
    """What it can change of an order that is on the book."""

    @abstractmethod
    def send(self, command: AnyCommand) -> None:
        """Hand over a command; returns at once. What came of it arrives as events."""

    def market(self, rows: Sequence[Row], now_ns: int) -> None:
        """Take in market data; a real venue has its own and ignores it."""

    def next_ns(self) -> int:
        """Return when `take` will next have something by itself; `NEVER` if that is not known."""
        return NEVER

    @abstractmethod
    def take(self, now_ns: int) -> Sequence[VenueEvent]:
        """Return the events that have reached us by `now_ns`, in order; each is returned once."""

    async def close(self) -> None:
        """Let go of connections."""


# --- risk -----------------------------------------------------------------------------------------


class RiskView(Protocol):
    """What a risk check may look at. Prices in ticks, quantities in lots, money in settlement currency."""

    @property
    def now(self) -> int:
        """The time of the run, ns since the epoch."""

    @property
    def instrument(self) -> Instrument:
        """What is traded."""

    @property
    def best_bid(self) -> int | None:
        """In ticks, or `None`."""

    @property
    def best_ask(self) -> int | None:
        """In ticks, or `None`."""

    @property
    def position(self) -> int:
        """In lots."""

    @property
    def held(self) -> Decimal:
        """What `position` is in base currency or contracts, less fees in base currency that are no whole lot yet."""

    @property
    def exposure(self) -> tuple[int, int]:
        """Lots that open buys, and open sells, may still add, commands under way included."""

    @property
    def equity(self) -> Decimal:
        """Profit since the start at mid, fees taken off and funding added."""

    @property
    def peak_equity(self) -> Decimal:
        """The highest `equity` so far; never below 0."""

    @property
    def last_data_ns(self) -> int:
        """When market data last arrived, by the run's clock."""

    @property
    def working(self) -> Sequence[WorkingOrder]:
        """Our orders that may still trade, in order of submission; those of unknown fate are among them."""

    @property
    def cash(self) -> Decimal:
        """Received for sales less paid for purchases since the start, fees taken off and funding added."""

    @property
    def funds(self) -> Mapping[str, Decimal]:
        """What the account could spend at the start, by asset, as the venue told; empty in a simulation."""


class RiskCheck(ABC):
    """Forbids. A check never changes an order and never makes one."""

    def veto(self, order: SubmitOrder, view: RiskView) -> str | None:
        """Return why this order must not be sent, or `None` if it may."""
        return None

    def sent(self, order: SubmitOrder, view: RiskView) -> None:
        """Take notice that no check has refused this order, and it is sent."""

    def heard(self, event: OrderEvent, view: RiskView) -> str | None:
        """Take notice of what became of an order; return why the run must stop for good, or `None`."""
        return None

    def pull(self, view: RiskView) -> str | None:
        """Return why nothing may be on the book now, or `None`. Asked whenever time has moved."""
        return None

    def halt(self, view: RiskView) -> str | None:
        """Return why the run must stop for good, or `None`. Asked whenever money has moved."""
        return None

    def next_ns(self, view: RiskView) -> int:
        """Return when `pull` may change its mind by time alone; `NEVER` if it will not.

        Of a time up to that at which was decided last nothing comes: `pull` has been asked since.
        """
        return NEVER


# --- services, runs -------------------------------------------------------------------------------


class Service(ABC):
    """Something that runs beside a run: a local exchange, a dashboard."""

    @abstractmethod
    async def start(self) -> str:
        """Start; return the address it can be reached at, or an empty string.

        Raises:
            VenueError: if it cannot, such as a port in use; it says what to do.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Stop; return when everything it started has ended."""


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as plugins are told of it.

    Attributes:
        run_id: Name of the run folder, such as ``20261121-101500-trade``.
        command: ``trade``, ``backtest`` or ``parity``.
        folder: The run folder.
        instrument: What is traded.
        strategy: Name of the strategy.
        others: What is traded in the other markets, by name.
    """

    run_id: str
    command: str
    folder: str
    instrument: Instrument
    strategy: str
    others: dict[str, Instrument] = msgspec.field(default_factory=dict)
