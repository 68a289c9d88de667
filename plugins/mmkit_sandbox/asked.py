"""What a prompt asks, and what it says of the market: read from its words, as a language model would have to."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, get_args

import msgspec

from mmkit.advisors import Facts, Language
from mmkit.answers import ANSWERS, FeatureIdea, Question

_HANGUL = re.compile("[가-힣]")


def question_of(text: str, schema: dict[str, Any] | None) -> Question | None:
    """Return which question is asked, `None` if it is none of those that mmkit knows.

    A schema tells it by its properties. Without one it is the question all of whose answer's fields
    the text names; of several, the one with the most. So prompts may be reworded and replaced.

    Args:
        text: All messages.
        schema: The JSON schema asked for, `None` for none.
    """
    if schema is not None:
        there = set(_properties(schema)) - {"question"}
        matching = [one for one in _questions() if set(_fields(one)) == there]
        return matching[0] if matching else None
    words = set(re.findall(r"\w+", text))
    named = [one for one in _questions() if words.issuperset(_words(one))]
    return max(named, key=lambda one: len(_words(one)), default=None)


def wants_tag(schema: dict[str, Any] | None) -> bool:
    """Return whether the answer shall bear the name of the question, too."""
    return schema is not None and "question" in _properties(schema)


def language_of(text: str) -> Language:
    """Return the language that the words of the answer are wanted in."""
    return "ko" if _HANGUL.search(text) or "Korean" in text else "en"


def numbers_of(text: str) -> dict[str, float]:
    """Return what a prompt says of the market: numbers of `Facts` by name, as ``name: 1.5`` in JSON or prose.

    Where a name comes twice the first is taken: facts stand before words of others.
    """
    found: dict[str, float] = {}
    for name, number in _numbers().findall(text):
        found.setdefault(name, float(number))
    return found


@cache
def _numbers() -> re.Pattern[str]:
    names = [one.name for one in msgspec.structs.fields(Facts) if one.type is not str]
    return re.compile(
        rf"(?<!\w)({'|'.join(names)})(?!\w)['\"`*]*\s*[:=]\s*"
        r"(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?![\w.])"
    )


def _questions() -> tuple[Question, ...]:
    return get_args(Question)


@cache
def _fields(question: Question) -> tuple[str, ...]:
    return tuple(one.encode_name for one in msgspec.structs.fields(ANSWERS[question]))


@cache
def _words(question: Question) -> frozenset[str]:
    inner = (
        (one.encode_name for one in msgspec.structs.fields(FeatureIdea))
        if question == "features"
        else ()
    )
    return frozenset((*_fields(question), *inner))


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    # What msgspec.json.schema makes has the object below $defs, and refers to it.
    where = schema.get("$ref")
    if isinstance(where, str):
        schema = schema.get("$defs", {}).get(where.rpartition("/")[2], {})
    found = schema.get("properties", {})
    return found if isinstance(found, dict) else {}
