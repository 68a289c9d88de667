"""From a question to an answer: down the ladder of forms, again after trouble, once more if it cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec

from mmkit.advisors import Inquiry
from mmkit.answer_reading import UnreadableAnswer, plain, read_answer
from mmkit.answers import AdvisorCall, AnyAnswer
from mmkit.clock import Clock
from mmkit_holysheep.budget import Account, Refused, Reserve
from mmkit_holysheep.gateway import Form, Gateway
from mmkit_holysheep.prices import Prices
from mmkit_holysheep.prompt import MANNERS, Message
from mmkit_holysheep.purse import PurseError
from mmkit_holysheep.reply import Failure, Reply
from mmkit_holysheep.restraint import Breaker, Pace
from mmkit_holysheep.settings import HolysheepConfig
from mmkit_holysheep.shape import schema

LADDER: tuple[Form, ...] = ("json_schema", "json_object", "text")
"""How an answer is asked for, the surest first. Not every model takes every one, and HTTP 400 says which not."""

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 8.0
_REPAIR_EXCERPT = 2_000
# Around each message and each answer, in the format that models are trained on, and around a schema.
_OVERHEAD = 64


@dataclass
class Habits:
    """What was learned of one model.

    Attributes:
        rung: How far down the ladder its form is.
        limit: How it calls the limit on an answer's tokens.
        warm: Whether it takes a temperature.
        breaker: Whether it is left alone.
    """

    breaker: Breaker
    rung: int = 0
    limit: str = "max_tokens"
    warm: bool = True


@dataclass
class Consultation:
    """What has happened with one inquiry so far.

    Attributes:
        inquiry: The question.
        ends_at: When the loop's time is up, s.
        calls: Every request.
        sent: Every list of messages that was sent, once each.
        text: The last answer.
    """

    inquiry: Inquiry
    ends_at: float
    calls: list[AdvisorCall] = field(default_factory=list)
    sent: list[tuple[Message, ...]] = field(default_factory=list)
    text: str = ""


class Asking:
    """Asks one model after the other. It keeps what it learns of them as long as the run lasts."""

    def __init__(
        self,
        config: HolysheepConfig,
        gateway: Gateway,
        prices: Prices,
        account: Account,
        clock: Clock,
    ) -> None:
        self._config, self._gateway, self._prices = config, gateway, prices
        self._account, self._clock = account, clock
        self._pace = Pace(clock, config.rate_per_minute)
        self._habits: dict[str, Habits] = {}

    async def ask(
        self, consultation: Consultation, messages: tuple[Message, ...], models: Sequence[str]
    ) -> AnyAnswer | Failure:
        """Return the first answer of a model, or why none gave one."""
        told: Failure | None = None
        for model in models:
            before = len(consultation.calls)
            got = await self._ask_model(consultation, messages, model)
            if not isinstance(got, Failure):
                return got
            asked = len(consultation.calls) > before
            # That a later one was not asked at all explains less.
            if told is None or asked:
                told = got
            if not got.others:
                break
        assert told is not None  # there is at least one model
        return told

    async def _ask_model(
        self, consultation: Consultation, messages: tuple[Message, ...], model: str
    ) -> AnyAnswer | Failure:
        habits = self._of(model)
        if left := habits.breaker.left_s():
            return Failure("breaker", f"{model} is left alone for another {left:.0f} s")
        try:
            got = await self._until_answered(consultation, messages, model, habits)
        except asyncio.CancelledError:
            habits.breaker.failed()
            raise
        if isinstance(got, Failure):
            if got.name not in ("budget", "no_price", "rate_limit"):
                habits.breaker.failed()
            if got.retry_after_s:
                habits.breaker.hold(round(got.retry_after_s * 1e9))
        else:
            habits.breaker.succeeded()
        return got

    async def _until_answered(
        self,
        consultation: Consultation,
        messages: tuple[Message, ...],
        model: str,
        habits: Habits,
    ) -> AnyAnswer | Failure:
        tries, repair = 0, False
        # What was learned from a refusal is kept once a request has come through; else it was not the form.
        trial = Habits(habits.breaker, habits.rung, habits.limit, habits.warm)
        while True:
            reply = await self._request(consultation, messages, model, trial, repair=repair)
            failure = reply.failure
            if failure is None:
                habits.rung, habits.limit, habits.warm = trial.rung, trial.limit, trial.warm
                try:
                    return read_answer(consultation.inquiry.question, reply.text)
                except UnreadableAnswer as error:
                    last = consultation.calls[-1]
                    consultation.calls[-1] = msgspec.structs.replace(last, outcome="unreadable")
                    if repair:
                        return Failure("unreadable", f"{model}: {error}")
                    messages, repair = _again(messages, reply.text, str(error)), True
                continue
            if failure.form and _stepped(trial, failure):
                continue
            if not failure.again or tries >= self._config.retries:
                return _named(failure, model)
            wait = failure.retry_after_s
            if wait is None:
                # No jitter: there is one of us, not a crowd that must not come back all at once.
                wait = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2**tries)
            if wait >= consultation.ends_at - asyncio.get_running_loop().time():
                return _named(failure, model)
            tries += 1
            await asyncio.sleep(wait)

    async def _request(
        self,
        consultation: Consultation,
        messages: tuple[Message, ...],
        model: str,
        trial: Habits,
        *,
        repair: bool,
    ) -> Reply:
        """Make one request, and write it down whatever comes of it, be it that it is canceled."""
        question = consultation.inquiry.question
        manner, config = MANNERS[question], self._config
        form, most = LADDER[trial.rung], config.max_tokens or manner.max_tokens
        if not self._pace.take():
            words = f"{config.rate_per_minute} requests were made within a minute"
            return Reply(failure=Failure("rate_limit", words, others=False))
        try:
            reserve = await self._account.reserve(
                self._prices.of(model), _most_tokens(messages, question, form), most
            )
        except Refused as error:
            # One that costs less may be within it.
            return Reply(failure=Failure(error.name, error.words))
        if messages not in consultation.sent:
            consultation.sent.append(messages)
        parameters: dict[str, float] = {trial.limit: most}
        if trial.warm:
            warmth = config.temperature
            parameters["temperature"] = manner.temperature if warmth is None else warmth
        start = self._clock.now_ns()
        reply, outcome = Reply(), "timeout"  # unless it comes back
        try:
            reply = await self._gateway.chat(model, messages, question, form, **parameters)
            outcome = reply.failure.name if reply.failure is not None else "ok"
        finally:
            usage = reply.usage
            consultation.calls.append(
                AdvisorCall(
                    asked_model=model,
                    answered_model=reply.model,
                    form=form,
                    repair=repair,
                    outcome=outcome,
                    prompt_tokens=None if usage is None else usage.prompt,
                    cached_tokens=0 if usage is None else usage.cached,
                    completion_tokens=None if usage is None else usage.completion,
                    cost=self._prices.cost(model, usage),
                    took_ns=self._clock.now_ns() - start,
                )
            )
        if reply.text:
            consultation.text = reply.text
        return await self._settle(reserve, reply)

    async def _settle(self, reserve: Reserve, reply: Reply) -> Reply:
        unbilled = reply.failure is not None and reply.failure.unbilled
        try:
            await self._account.settle(reserve, reply.usage, unbilled=unbilled)
        except PurseError as error:
            # An answer that cannot be accounted for is not used: the next would not be asked either.
            return Reply(failure=Failure("budget", str(error), others=False))
        return reply

    def _of(self, model: str) -> Habits:
        if model not in self._habits:
            limits = self._config.breaker
            breaker = Breaker(self._clock, limits.failures, limits.pause)
            self._habits[model] = Habits(breaker)
        return self._habits[model]


def _stepped(trial: Habits, failure: Failure) -> bool:
    """Ask otherwise after a refusal; `False` if there is no other way left."""
    said = failure.about or failure.words
    # OpenAI's reasoning models take `max_completion_tokens` only, and no temperature but their own.
    if trial.limit == "max_tokens" and "max_completion_tokens" in failure.words:
        trial.limit = "max_completion_tokens"
    elif trial.warm and "temperature" in said:
        trial.warm = False
    elif trial.rung + 1 < len(LADDER):
        trial.rung += 1
    else:
        return False
    return True


def _named(failure: Failure, model: str) -> Failure:
    return replace(failure, words=f"{model}: {failure.words}")


def _again(messages: tuple[Message, ...], text: str, problem: str) -> tuple[Message, ...]:
    """Return the messages that ask for the same once more, in the right form."""
    words = (
        f"This cannot be read: {plain(problem, 300)}\nAnswer the question again with one json object of the form "
        "given at the beginning, and nothing else."
    )
    return (
        *messages,
        Message("assistant", plain(text, _REPAIR_EXCERPT)),
        Message("user", words),
    )


def _most_tokens(messages: tuple[Message, ...], question: str, form: Form) -> int:
    """Return how many tokens a prompt has at most: no token is shorter than a byte."""
    texts = [message.content for message in messages]
    if form == "json_schema":
        texts.append(str(schema(question)))
    return sum(len(text.encode()) + _OVERHEAD for text in texts)
