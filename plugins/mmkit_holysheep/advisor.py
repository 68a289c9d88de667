"""The advisor: every question comes back as a `Consulted`, within its time."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import logging
from collections.abc import Sequence
from difflib import get_close_matches

import msgspec

from mmkit.advisors import Advisor, AdvisorContext, Consulted, Inquiry
from mmkit.answers import AnyAnswer
from mmkit.errors import ConfigError, Mistake
from mmkit_holysheep.asking import Asking, Consultation
from mmkit_holysheep.budget import Account
from mmkit_holysheep.gateway import Gateway
from mmkit_holysheep.prices import Prices, load_prices
from mmkit_holysheep.prompt import Message, PromptError, load_prompts
from mmkit_holysheep.purse import Purse, Spent
from mmkit_holysheep.reply import Failure
from mmkit_holysheep.settings import HolysheepConfig, Reach, reach

_log = logging.getLogger("mmkit.holysheep")

LONGEST_KEPT = 4_000
"""Characters of an answer that are kept, as `Consulted.text` says."""


class HolysheepAdvisor(Advisor):
    """Language models behind one gateway.

    Raises:
        ConfigError: from the constructor, if key, address, prompts or prices cannot be used.
        PurseError: from the constructor, if what was spent today cannot be read.
    """

    def __init__(self, config: HolysheepConfig, context: AdvisorContext) -> None:
        self._config, self._clock = config, context.clock
        self.reach: Reach = reach(config, context.endpoints)
        self.prices: Prices = load_prices(config.prices)
        self._prompts = load_prompts(
            config.prompts or context.userdir / "prompts", named=config.prompts is not None
        )
        _refuse_unpriced(config, self.prices, free=self.reach.free)
        self._account = Account(
            config.budget,
            Purse(context.userdir, self.reach.name),
            context.clock,
            free=self.reach.free,
        )
        self._gateway = Gateway(self.reach, config.timeout / 1e9)
        self._asking = Asking(config, self._gateway, self.prices, self._account, context.clock)
        self._busy: set[str] = set()
        self._warn_of_ended_models()

    @property
    def spent(self) -> Spent:
        """What this advisor has spent or set aside since the run began."""
        return self._account.run

    async def ask(self, inquiry: Inquiry) -> Consulted:
        """Ask the models of the configuration, one after the other until one answers."""
        return await self.ask_models(self._config.model, inquiry)

    async def ask_models(self, models: Sequence[str], inquiry: Inquiry) -> Consulted:
        """Ask these models, one after the other until one answers.

        A question that is being asked already is not asked a second time meanwhile.

        Args:
            models: One at least.
            inquiry: The question.
        """
        question = inquiry.question
        key = f"{question} of {', '.join(models)}"
        if key in self._busy:
            return _refused(Failure("busy", f"{question} is being asked already"))
        try:
            messages = self._prompts.of(question, inquiry.language).messages(inquiry)
        except PromptError as error:
            return _refused(Failure("prompt", str(error)))
        seconds = self._config.deadline / 1e9
        consultation = Consultation(inquiry, asyncio.get_running_loop().time() + seconds)
        self._busy.add(key)
        try:
            async with asyncio.timeout_at(consultation.ends_at):
                got = await self._asking.ask(consultation, messages, models)
        except TimeoutError:
            got = Failure("timeout", f"{seconds:g} s have passed")
        finally:
            self._busy.discard(key)
        return self._consulted(consultation, got)

    async def models(self) -> tuple[str, ...] | Failure:
        """Return the names of the models that the gateway lists, sorted, or why it does not."""
        return await self._gateway.models()

    async def close(self) -> None:
        """Close connections."""
        await self._gateway.close()

    def _consulted(self, consultation: Consultation, got: AnyAnswer | Failure) -> Consulted:
        failed = isinstance(got, Failure)
        # A surrogate without its other half cannot be written down.
        text = consultation.text[:LONGEST_KEPT].encode("utf-8", "replace").decode()
        return Consulted(
            answer=None if isinstance(got, Failure) else got,
            refused=self.reach.masked(str(got)) if failed else "",
            prompt_sha256=prompt_sha256(consultation.sent),
            text=self.reach.masked(text),
            calls=tuple(consultation.calls),
        )

    def _warn_of_ended_models(self) -> None:
        now_s = self._clock.now_ns() // 10**9
        today = datetime.datetime.fromtimestamp(now_s, tz=datetime.UTC).date()
        for model in self._config.model:
            if ended := self.prices.ended(model, today):
                _log.warning(
                    "model=%s its vendor has ended it on %s; it may not answer, or another may in its place",
                    model,
                    ended,
                )


def prompt_sha256(sent: Sequence[Sequence[Message]]) -> str:
    """Return the SHA-256 of all messages that were sent, as JSON lists of role and content; empty for none."""
    if not sent:
        return ""
    digest = hashlib.sha256()
    for messages in sent:
        digest.update(msgspec.json.encode([(of.role, of.content) for of in messages]))
    return digest.hexdigest()


def _refused(failure: Failure) -> Consulted:
    return Consulted(answer=None, refused=str(failure), prompt_sha256="", text="", calls=())


def _refuse_unpriced(config: HolysheepConfig, prices: Prices, *, free: bool) -> None:
    if free or not config.budget.in_usd or config.budget.unpriced == "allow":
        return
    known = [name for name, _ in prices]
    mistakes = []
    for model in config.model:
        if prices.of(model) is not None:
            continue
        near = get_close_matches(model, known, 1)
        hint = f"did you mean '{near[0]}'? Else " if near else ""
        mistakes.append(
            Mistake(
                "",
                "advisors.holysheep.model",
                f"a model with a price was expected, as there is a limit in USD; found {model!r}",
                f"{hint}add it to a file that 'prices' names, or write 'budget: {{unpriced: allow}}'",
            )
        )
    if mistakes:
        raise ConfigError(mistakes)
