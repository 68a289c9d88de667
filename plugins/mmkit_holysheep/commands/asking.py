"""Asks advisors by hand: listens to the market or looks into recorded data, then asks all at once."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec import convert, structs

from mmkit.advisors import Advisor, AdvisorContext, Consulted, Inquiry, Language
from mmkit.answers import Question
from mmkit.clock import Clock, SystemClock
from mmkit.config import Config
from mmkit.config.chosen import Chosen
from mmkit.errors import UsageError
from mmkit.run.assembly import services
from mmkit.run.watch import is_recorded
from mmkit.units import parse_duration
from mmkit_holysheep.advisor import HolysheepAdvisor
from mmkit_holysheep.commands.listening import live_facts, recorded_facts
from mmkit_holysheep.settings import SANDBOX, HolysheepConfig
from mmkit_holysheep.told import Heard, told_of


@dataclass(frozen=True)
class Wanted:
    """What is to be asked.

    Attributes:
        question: Which.
        language: Of the words in the answer.
        text: Words of others that are asked about.
        happened: The event that is asked about.
        listen_ns: How long to listen to a live market.
        at_ns: The moment in recorded data, ns since the epoch; `None` for its end.
    """

    question: Question
    language: Language
    text: str
    happened: str
    listen_ns: int
    at_ns: int | None

    @classmethod
    def of(
        cls,
        question: str,
        language: str,
        *,
        text: str = "",
        happened: str = "",
        listen: str = "5s",
        at: str | None = None,
    ) -> Wanted:
        """Return what the command line says.

        Raises:
            UsageError: if a time is none, or the question lacks what it is about.
        """
        if question == "news" and not text.strip():
            raise UsageError('news is asked about words; give them with --text "..."')
        if question == "explain_anomaly" and not happened.strip():
            raise UsageError(
                'explain_anomaly is asked about an event; say which with --happened, such as --happened "a trade of '
                '12 BTC, 2.9 deviations above the others"'
            )
        try:
            listen_ns = parse_duration(listen)
        except ValueError as error:
            raise UsageError(f"--listen: {error}") from error
        return cls(
            convert(question, Question),
            convert(language, Language),
            text,
            happened,
            listen_ns,
            None if at is None else _time_ns(at),
        )


def _time_ns(text: str) -> int:
    """Return a time as ISO 8601 has it in ns since the epoch; without an offset it is UTC.

    Raises:
        UsageError: if it is none.
    """
    try:
        when = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--at: a time such as 2024-08-08T23:59:30Z was expected; found '{text}'"
        ) from error
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.UTC)
    since = when - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return since // datetime.timedelta(microseconds=1) * 1000


def heard_by(
    config: Config, chosen: Chosen, wanted: Wanted, *, models: Sequence[str] = ()
) -> Heard:
    """Ask an advisor, or each of several models of it at once, and return what came of it.

    Raises:
        MmkitError: if the market cannot be looked at, or the advisor not be made; a gateway that fails is no error.
    """
    return asyncio.run(_heard_by(config, chosen, wanted, models))


async def _heard_by(config: Config, chosen: Chosen, wanted: Wanted, models: Sequence[str]) -> Heard:
    clock = SystemClock()
    recorded = is_recorded(config)
    if wanted.at_ns is not None and not recorded:
        raise UsageError(
            "--at: recorded data was expected, as a live market is asked about as it is now; leave it out, or choose "
            "recorded data, such as 'data: {plugin: capture, paths: [day.gz]}'"
        )
    async with endpoints_of(config, clock, [chosen], market=not recorded) as endpoints:
        # Before the market is listened to: what is missing is told at once.
        advisor: Advisor = chosen.build(
            AdvisorContext(config.spec, clock, config.userdir, endpoints)
        )
        try:
            if recorded:
                facts = recorded_facts(config, wanted.at_ns)
            else:
                facts = await live_facts(config, clock, endpoints, wanted.listen_ns)
            inquiry = Inquiry(
                question=wanted.question,
                facts=structs.replace(facts, happened=wanted.happened),
                language=wanted.language,
                text=wanted.text,
            )
            free = isinstance(advisor, HolysheepAdvisor) and advisor.reach.free
            asked: list[str | None] = [*models] or [None]
            said = await asyncio.gather(*(_ask(advisor, model, inquiry) for model in asked))
        finally:
            await advisor.close()
    return Heard(
        question=wanted.question,
        facts=inquiry.facts,
        about=wanted.text,
        told=tuple(
            told_of(model or chosen.name, one, free=free)
            for model, one in zip(asked, said, strict=True)
        ),
    )


async def _ask(advisor: Advisor, model: str | None, inquiry: Inquiry) -> Consulted:
    """Ask one model of an advisor of ours, or an advisor as it is configured."""
    if model is None:
        return await advisor.ask(inquiry)
    assert isinstance(advisor, HolysheepAdvisor)  # no other takes models from the command line
    return await advisor.ask_models([model], inquiry)


def advisor_of(
    config: Config, chosen: Chosen, clock: Clock, endpoints: Mapping[str, str]
) -> HolysheepAdvisor:
    """Return an advisor of this plugin.

    Raises:
        ConfigError: if it has no key, or there is no sandbox where it looks for one.
    """
    context = AdvisorContext(config.spec, clock, config.userdir, endpoints)
    built = chosen.build(context)
    assert isinstance(built, HolysheepAdvisor)
    return built


@contextlib.asynccontextmanager
async def endpoints_of(
    config: Config, clock: Clock, chosen: Sequence[Chosen], *, market: bool = False
) -> AsyncIterator[Mapping[str, str]]:
    """Start the configured services if an advisor or the market needs them, and give their addresses.

    Args:
        config: Names them.
        clock: Theirs.
        chosen: The advisors.
        market: Whether live market data is needed.
    """
    settings = [one.config for one in chosen]
    ours = [one for one in settings if isinstance(one, HolysheepConfig)]
    if market or len(ours) < len(settings) or any(one.base_url == SANDBOX for one in ours):
        async with services(config, clock) as endpoints:
            yield endpoints
    else:
        yield {}
