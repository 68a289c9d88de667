"""Language models that are asked while market data comes in: when, and what becomes of it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, TypeVar

import msgspec

from mmkit.advisors import AdvisorContext, Consulted, Inquiry
from mmkit.answers import ANSWERS, AdvisorCall, AnyAnswer
from mmkit.clock import Clock
from mmkit.discovery import reason_of
from mmkit.engine import Engine
from mmkit.events import Advice, AnyEvent, LargeTrade, PriceAnomaly
from mmkit.instruments import Instrument
from mmkit.report import AdvisorFigures
from mmkit.run.advisors.asking import Asking, end_all
from mmkit.run.advisors.facts import RECORD_NS, Memory
from mmkit.run.advisors.tally import Tally
from mmkit.run.session import AdviceFeed
from mmkit.tape import NEVER, Row
from mmkit.watch.told import figures

if TYPE_CHECKING:
    from mmkit.config import ChosenAdvisor, Config

_log = logging.getLogger("mmkit.advisors")

_T = TypeVar("_T")

_ALERTS: dict[type, str] = {PriceAnomaly: "anomaly", LargeTrade: "large_trade"}
"""What `on` calls them."""
_MOST_TEXT, _MOST_REFUSED = 4_000, 300
_NO_ADVICE = Consulted(answer=None, refused="", prompt_sha256="", text="", calls=())


class _Asked:
    """One advisor: when it is due, and whether it is at a question."""

    def __init__(self, chosen: ChosenAdvisor, asking: Asking, start_ns: int) -> None:
        section = chosen.section
        self.name, self.section, self.asking = chosen.name, section, asking
        self.expires_ns = section.expires or 0
        self.next_ns = start_ns + section.every if section.every else NEVER
        """When it is due by the clock."""
        self.due_ns = NEVER
        """When it was due by what has happened; `NEVER` for nothing."""
        self.happened = ""
        self.busy = False
        self.failed = self.late = False
        self._messages = 0

    def on_message(self, ts_local: int) -> None:
        """Count a message."""
        self._messages += 1
        if self.section.messages is not None and self._messages % self.section.messages == 0:
            self.due_ns = min(self.due_ns, ts_local)

    def on_alert(self, what: str, ts_local: int, words: str) -> None:
        """Take in an alert of the market watch."""
        if what in self.section.on:
            self.due_ns, self.happened = min(self.due_ns, ts_local), words

    def due(self) -> int:
        """Return when it is to be asked."""
        return min(self.next_ns, self.due_ns)

    def taken(self, now_ns: int) -> str:
        """Take what is due by now away; return what has happened. What is due at one instant is one question."""
        if self.next_ns <= now_ns and self.section.every:
            self.next_ns += self.section.every
        if self.due_ns <= now_ns:
            self.due_ns = NEVER
        happened, self.happened = self.happened, ""
        return happened


class LiveAdvice(AdviceFeed):
    """Asks the advisors when they are due, each one question at a time, and tells what came of it.

    An advisor is in a thread of its own; what it says is known when it has said it, by the run's clock, and told
    from then on. A replay finds it in the journal.

    Args:
        advisors: Who asks, and when.
        instrument: What is traded.
        clock: The run's.
        start_ns: When it begins.
        context: Builds the advisors.

    Raises:
        PluginError: if an advisor cannot be built.
    """

    def __init__(
        self,
        advisors: Sequence[ChosenAdvisor],
        instrument: Instrument,
        clock: Clock,
        start_ns: int,
        context: AdvisorContext,
    ) -> None:
        self._instrument, self._clock = instrument, clock
        self._memory = Memory(instrument)
        self._record_ns = start_ns + RECORD_NS
        self._ready: deque[Advice] = deque()
        self._stopped = self._closed = False
        self.engine: Engine | None = None
        """Of the market that is asked about; nothing is asked before it is there."""
        self.ready: Callable[[], None] = lambda: None
        """Called when advice has come in between, so that it is to be told soon."""
        built = [one.advisor.build(context) for one in advisors]
        self._asked = {
            one.name: _Asked(one, Asking(advisor, one.name), start_ns)
            for one, advisor in zip(advisors, built, strict=True)
        }
        self._counting = [one for one in self._asked.values() if one.section.messages is not None]
        self._due_ns = NEVER
        """When something is to be asked or remembered: looked up with every message, so it is kept."""
        self._mind_due()
        self._tally = Tally({one.name: figures_of(one) for one in advisors})

    # --- the feed ---------------------------------------------------------------------------------

    @property
    def figures(self) -> dict[str, AdvisorFigures]:
        """What the report says of each advisor."""
        return self._tally.figures

    @property
    def last(self) -> Mapping[str, Advice]:
        """The last of each advisor that has an answer."""
        return self._tally.last

    def on_message(self, message: Sequence[Row]) -> None:
        """Take in one message of the main market, but for the changes of levels that it begins with."""
        self._memory.on_message(message)
        for one in self._counting:
            one.on_message(message[-1][1])
            self._due_ns = min(self._due_ns, one.due_ns)

    def on_notice(self, notice: AnyEvent) -> None:
        """Take in an alert of the market watch; other notices say nothing here."""
        if isinstance(notice, PriceAnomaly | LargeTrade):
            words = f"{type(notice).__name__} {figures(notice, self._instrument)}"
            for one in self._asked.values():
                one.on_alert(_ALERTS[type(notice)], notice.ts_local, words)
            self._mind_due()

    def _mind_due(self) -> None:
        self._due_ns = min(self._record_ns, *(one.due() for one in self._asked.values()))

    def next_ns(self) -> int:
        """Return when something is to be asked, remembered or told."""
        told = self._ready[0].ts_local if self._ready else NEVER
        return told if self._stopped or told < self._due_ns else self._due_ns

    def take(self, now_ns: int) -> list[Advice]:
        """Ask what is due, and return the advice that is known by now."""
        if not self._stopped and self.engine is not None:
            while self._record_ns <= now_ns:
                self._memory.record(self.engine.book)
                self._record_ns += RECORD_NS
            for one in self._asked.values():
                if one.due() <= now_ns:
                    self._ask(one, self.engine, now_ns)
            self._mind_due()
        told: list[Advice] = []
        while self._ready and self._ready[0].ts_local <= now_ns:
            advice = self._ready.popleft()
            self._tally.count(advice)
            told.append(advice)
        return told

    def stop(self) -> None:
        """Ask nothing more."""
        self._stopped = True

    # --- questions --------------------------------------------------------------------------------

    def _ask(self, one: _Asked, engine: Engine, now_ns: int) -> None:
        happened = one.taken(now_ns)
        asked_ns = max(self._clock.now_ns(), now_ns)
        facts = None if one.busy else self._memory.facts(engine.book, asked_ns, happened)
        if facts is None:
            self._tally[one.name].passed_over += 1
            return
        one.busy = True
        inquiry = Inquiry(question=one.section.question, facts=facts, language=one.section.language)
        one.asking.ask(inquiry, lambda future: self._answered(one, asked_ns, future))

    def _answered(self, one: _Asked, asked_ns: int, future: Future[Consulted]) -> None:
        if self._closed:
            return
        one.busy = False
        try:
            said = self._checked(one, future.result())
        except (Exception, CancelledError) as error:  # noqa: BLE001 - a plugin's; the quotes go on without
            said = self._failure(one, reason_of(error))
        # Not before it was asked, even by a clock that stands still.
        known = max(self._clock.now_ns(), asked_ns)
        if said.answer is not None and known - asked_ns >= one.expires_ns:
            why = f"late: known {(known - asked_ns) / 1e9:.1f} s after it was asked, when it has expired"
            if not one.late:
                _log.warning(
                    "advisor=%s is %s; the run goes on without it, and these are counted; make 'expires' longer, "
                    "or ask a quicker model",
                    one.name,
                    why,
                )
            one.late = True
            said = msgspec.structs.replace(said, answer=None, refused=why)
        self._ready.append(
            Advice(
                ts_exchange=asked_ns,
                ts_local=known,
                name=one.name,
                question=one.section.question,
                answer=said.answer,
                refused=said.refused,
                expires_ns=asked_ns + one.expires_ns,
                prompt_sha256=said.prompt_sha256,
                text=said.text,
                calls=said.calls,
            )
        )
        self.ready()

    def _checked(self, one: _Asked, said: Consulted) -> Consulted:
        """Return what an advisor says as the journal will have it: of the types it should be, and within bounds."""
        if not isinstance(said, Consulted):
            return self._failure(one, f"a Consulted was expected; found {type(said).__name__}")
        try:
            calls = _read_again(said.calls, tuple[AdvisorCall, ...])
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            return self._failure(one, f"calls that a journal can hold were expected: {error}")
        try:
            plain = msgspec.structs.replace(
                said, text=said.text[:_MOST_TEXT], refused=said.refused[:_MOST_REFUSED], calls=calls
            )
            plain = _read_again(plain, Consulted)
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            failed = self._failure(one, f"an answer within its bounds was expected: {error}")
            return msgspec.structs.replace(failed, calls=calls)
        answer: AnyAnswer | None = plain.answer
        if answer is None:
            return plain if plain.refused else msgspec.structs.replace(plain, refused="unexplained")
        if not isinstance(answer, ANSWERS[one.section.question]):
            failed = self._failure(
                one,
                f"an answer to {one.section.question} was expected; found {type(answer).__name__}",
            )
            return msgspec.structs.replace(failed, calls=calls, text=plain.text)
        return msgspec.structs.replace(plain, refused="")

    def _failure(self, one: _Asked, why: str) -> Consulted:
        """Return that there is no advice because the advisor is at fault; the first time it is named in the log."""
        if not one.failed:
            self._tally[one.name].failure = why
            _log.warning(
                "advisor=%s failed: %s; the run goes on without its advice, and failures are counted",
                one.name,
                why,
            )
        one.failed = True
        return msgspec.structs.replace(_NO_ADVICE, refused=f"failed: {why}"[:_MOST_REFUSED])

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Cancel what is under way and count it, and let go of the advisors; what has not been told never is."""
        if self._closed:
            return
        self._stopped = self._closed = True
        for one in self._asked.values():
            self._tally[one.name].under_way += one.busy
        for advice in self._ready:
            self._tally[advice.name].under_way += 1
        self._ready.clear()
        ended = end_all([one.asking for one in self._asked.values()])
        for one, in_time in zip(self._asked.values(), ended, strict=True):
            if not in_time:
                _log.warning("advisor=%s does not end, and is left to itself", one.name)


def _read_again(value: object, kind: type[_T]) -> _T:
    """Return what a journal would give back.

    Raises:
        MsgspecError: if it is not of its type, or out of bounds; a number that is none is no number in JSON.
    """
    return msgspec.json.decode(msgspec.json.encode(value), type=kind)


def figures_of(chosen: ChosenAdvisor) -> AdvisorFigures:
    """Return what the report says of an advisor, before anything has happened."""
    return AdvisorFigures(
        plugin=chosen.advisor.name,
        question=chosen.section.question,
        expires_ns=chosen.section.expires or 0,
    )


def hears_alerts(config: Config) -> bool:
    """Return whether an advisor is to be asked on what the market watch tells."""
    return any(one.section.on for one in config.advisors)


def live_advice(
    config: Config,
    instrument: Instrument,
    clock: Clock,
    start_ns: int,
    endpoints: Mapping[str, str],
) -> LiveAdvice | None:
    """Return what asks the configured advisors; `None` if there are none.

    Raises:
        MmkitError: if one cannot be built.
    """
    if not config.advisors:
        return None
    context = AdvisorContext(
        spec=config.spec, clock=clock, userdir=config.userdir, endpoints=endpoints
    )
    return LiveAdvice(config.advisors, instrument, clock, start_ns, context)
