"""What came of a question, told to people and to programs."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from mmkit.advisors import Consulted, Facts
from mmkit.answers import AnyAnswer, FeatureIdeas
from mmkit_holysheep.monthly import table


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one question to one advisor or model.

    Attributes:
        asked: Whom.
        answer: `None` if there is none.
        refused: Why there is none.
        model: Which says that it answered, or was asked last; empty if none was.
        requests: How many were made.
        prompt_tokens: Of all requests; `None` if the gateway did not count one.
        completion_tokens: Likewise.
        cost: USD of all requests, exact; `None` if that of one is unknown.
        free: Whether the gateway costs nothing.
        took_s: From the first request to the last answer, waits between them not counted.
        prompt_sha256: Of what was sent.
        text: The last answer as it came.
    """

    asked: str
    answer: AnyAnswer | None
    refused: str
    model: str
    requests: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: Decimal | None
    free: bool
    took_s: float
    prompt_sha256: str
    text: str


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A question and what came of it.

    Attributes:
        question: Which.
        facts: What the models were told of the market.
        about: The text of others that was asked about.
        told: By each advisor or model, in the order asked.
    """

    question: str
    facts: Facts
    about: str
    told: tuple[Told, ...]


def told_of(asked: str, consulted: Consulted, *, free: bool = False) -> Told:
    """Return what came of a question."""
    calls = consulted.calls
    counted = all(
        one.prompt_tokens is not None and one.completion_tokens is not None for one in calls
    )
    costs = [one.cost for one in calls if one.cost is not None]
    return Told(
        asked=asked,
        answer=consulted.answer,
        refused=consulted.refused,
        model=(calls[-1].answered_model or calls[-1].asked_model) if calls else "",
        requests=len(calls),
        prompt_tokens=sum(one.prompt_tokens or 0 for one in calls) if counted else None,
        completion_tokens=sum(one.completion_tokens or 0 for one in calls) if counted else None,
        cost=sum(costs, Decimal(0)) if len(costs) == len(calls) else None,
        free=free,
        took_s=sum(one.took_ns for one in calls) / 1e9,
        prompt_sha256=consulted.prompt_sha256,
        text=consulted.text,
    )


def facts_line(facts: Facts) -> str:
    """Return in one line what was told of the market."""
    return (
        f"{facts.symbol} at {facts.venue}, {facts.time}: mid {facts.mid:,.10g}, spread {facts.spread_bps:.3g} bps, "
        f"imbalance {facts.imbalance:+.2f}, volatility {facts.volatility_bps:.3g} bps, {facts.trades:,} trades in "
        f"{facts.records:,} s"
    )


def told_text(one: Told) -> str:
    """Return what came of a question, for people."""
    rows = answer_rows(one.answer) if one.answer is not None else [("no answer", one.refused)]
    if one.requests:
        again = f", {one.requests} requests" if one.requests > 1 else ""
        rows += [
            ("", ""),
            ("model", one.model),
            ("tokens", tokens_words(one)),
            ("cost", cost_words(one)),
            ("time", f"{one.took_s:.2f} s{again}"),
        ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def answer_rows(answer: AnyAnswer) -> list[tuple[str, str]]:
    """Return what an answer says, part by part."""
    rows: list[tuple[str, str]] = []
    for name in answer.__struct_fields__:
        value = getattr(answer, name)
        label = name.replace("_", " ")
        if isinstance(answer, FeatureIdeas):
            rows += [(f"{one.name} ({one.relevance})", one.formula) for one in answer.features]
        elif isinstance(value, tuple):
            rows += [(label if not n else "", str(one)) for n, one in enumerate(value)]
        else:
            rows.append((label, f"{value:g}" if isinstance(value, float) else str(value)))
    return rows


def tokens_words(one: Told) -> str:
    """Return how many tokens it took."""
    if one.prompt_tokens is None or one.completion_tokens is None:
        return "unknown"
    return f"{one.prompt_tokens:,} + {one.completion_tokens:,}"


def cost_words(one: Told) -> str:
    """Return what it cost."""
    if one.cost is None:
        return "nothing" if one.free else "unknown"
    return f"{one.cost:f} USD"


def compared_text(heard: Heard) -> str:
    """Return the answers of several models side by side."""
    rows = [["model", "time", "tokens", "cost", "answer"]]
    rows += [
        [
            one.asked,
            f"{one.took_s:.2f} s",
            tokens_words(one),
            cost_words(one),
            brief(one),
        ]
        for one in heard.told
    ]
    # The answers are as long as they are.
    lines = table([row[:-1] for row in rows])
    return "\n".join(
        f"{line:<{max(map(len, lines))}}  {row[-1]}" for line, row in zip(lines, rows, strict=True)
    )


def brief(one: Told) -> str:
    """Return what one model says in one line."""
    if one.answer is None:
        return f"none: {one.refused}"
    if isinstance(one.answer, FeatureIdeas):
        return ", ".join(idea.name for idea in one.answer.features)
    said: Sequence[str] = [
        value if not name else f"{name} {value}"
        for name, value in answer_rows(one.answer)
        if name not in ("reason", "cause", "hint", "summary") and value
    ]
    return ", ".join(said)
