"""Reading what a language model has written: an answer within its bounds, or why there is none.

What it has written is data from outside. It is read as it is or not at all: nothing is rounded, completed, guessed
or taken from a text that contradicts itself.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import msgspec

from mmkit.answers import ANSWERS, AnyAnswer
from mmkit.errors import DataError

LONGEST_TEXT = 20_000
"""Characters. The longest answer that can be within bounds, twelve features, has fewer than 6,000."""
DEEPEST = 6
"""Objects and lists in each other; the deepest answer has three."""
_MOST_OBJECTS = 16
_EXCERPT = 60

# Invisible, yet no letter of Unicode's categories Cc, Cf, Co, Cs, Cn says so: fillers of Hangul, Khmer vowels that
# show nothing, selectors of Mongolian and other variants, the empty Braille cell.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_SPACES = re.compile(r"\s+")
# A letter may carry a few marks; a pile of them covers the lines above and below.
_MOST_MARKS = 4

_THOUGHT = re.compile(r"\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_THINKING = re.compile(r"\s*<think(?:ing)?>")
_BEGINS_LIKE_JSON = re.compile(r'\{\s*(?:"|\})')


class UnreadableAnswer(DataError):  # noqa: N818 - what it is, in plain words
    """What a language model has written is no answer to its question."""


def plain(text: str, longest: int | None = None) -> str:
    """Return words of others such that what is seen is what is there, on one line.

    They are NFKC-normalised, so that letters that look alike become alike where Unicode says so; what controls a
    terminal, changes the direction of writing or is not seen at all is removed; any white space is one space.

    Args:
        text: Not to be trusted.
        longest: Characters after which the rest is left out, shown by ``...``.
    """
    if longest is not None:
        # Normalising takes time with the length, and what is removed is seldom most of it.
        text = text[: 8 * longest]
    spaced = _SPACES.sub(" ", text)
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFKC", spaced):
        category = unicodedata.category(character)
        if category[0] == "C" or category in ("Zl", "Zp"):
            continue
        marks = marks + 1 if category[0] == "M" else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    seen = _SPACES.sub(" ", _UNSEEN.sub("", "".join(kept))).strip()
    # Without what was between them two letters may become one.
    seen = unicodedata.normalize("NFKC", seen)
    if longest is not None and len(seen) > longest:
        # Three dots: the one character for them is no NFKC.
        seen = (seen[: max(0, longest - 3)] + "...")[:longest]
    return seen


def read_answer(question: str, text: str) -> AnyAnswer:
    """Return the answer that a model's text contains, its words made `plain`.

    There may be a code fence, a thought in ``<think>`` and chatter around the one JSON object.

    Args:
        question: One of `mmkit.answers.ANSWERS`.
        text: As the model wrote it.

    Raises:
        UnreadableAnswer: if it is too long or too deep, holds no object or several that differ, or one with a key
            that is unknown, missing or there twice, or with a value out of its bounds. It is the only exception, for
            whatever text.
    """
    kind = ANSWERS.get(question)
    if kind is None:
        raise UnreadableAnswer(
            f"a question was expected, one of {', '.join(ANSWERS)}; found {plain(question, _EXCERPT)!r}"
        )
    if len(text) > LONGEST_TEXT:
        raise UnreadableAnswer(
            f"at most {LONGEST_TEXT} characters were expected; found {len(text)}"
        )
    told = text.removeprefix("\ufeff")
    while thought := _THOUGHT.match(told):
        told = told[thought.end() :]
    if _THINKING.match(told):
        raise UnreadableAnswer("an answer was expected; found a thought that does not end")
    objects = _objects(told)
    if not objects:
        raise UnreadableAnswer(
            f"a JSON object was expected; found {plain(told, _EXCERPT)!r}"
            if told.strip()
            else "a JSON object was expected; found nothing"
        )
    answers: list[AnyAnswer] = []
    problem: UnreadableAnswer | None = None
    for found in objects:
        try:
            answer = _answer(found, kind)
        except UnreadableAnswer as error:
            problem = error
        else:
            if answer not in answers:
                answers.append(answer)
    if len(answers) > 1:
        raise UnreadableAnswer("one answer was expected; found several that contradict each other")
    if not answers:
        assert problem is not None  # there was an object
        raise problem
    return answers[0]


def _objects(text: str) -> list[str]:
    """Return what is between an opening brace and the one that closes it, outermost only."""
    objects: list[str] = []
    at = text.find("{")
    tried = 0
    while at >= 0:
        tried += 1
        if tried > _MOST_OBJECTS:
            raise UnreadableAnswer(
                f"one JSON object was expected; found more than {_MOST_OBJECTS} opening braces"
            )
        end = _end(text, at)
        if end is not None:
            objects.append(text[at:end])
            at = text.find("{", end)
        elif _BEGINS_LIKE_JSON.match(text, at):
            # What is inside of it is a part of something that is not whole.
            raise UnreadableAnswer("a whole JSON object was expected; found one that does not end")
        else:
            at = text.find("{", at + 1)
    return objects


def _end(text: str, start: int) -> int | None:
    """Return where the object that begins at `start` has ended; `None` if it does not end."""
    depth, quoted, escaped = 0, False, False
    for at in range(start, len(text)):
        character = text[at]
        if quoted:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                quoted = False
        elif character == '"':
            quoted = True
        elif character in "{[":
            depth += 1
            if depth > DEEPEST:
                raise UnreadableAnswer(
                    f"objects and lists at most {DEEPEST} deep were expected; found deeper ones"
                )
        elif character in "}]":
            depth -= 1
            if depth == 0:
                return at + 1
    return None


def _answer(text: str, kind: type[AnyAnswer]) -> AnyAnswer:
    try:
        answer = msgspec.json.decode(text, type=kind)
        # msgspec takes the last of two values of one key, and says nothing.
        json.loads(text, object_pairs_hook=_once)
        words = _plain_words(msgspec.to_builtins(answer))
        return msgspec.convert(words, type=kind)
    except msgspec.MsgspecError as error:
        raise UnreadableAnswer(
            f"an answer to {kind.__struct_config__.tag} was expected; found otherwise: "
            f"{plain(str(error), 200)}"
        ) from None
    except (ValueError, RecursionError) as error:
        # A surrogate without its other half, which is no text; and what `json` may say that msgspec does not.
        raise UnreadableAnswer(
            f"JSON was expected; found otherwise: {plain(str(error), 200)}"
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    taken: dict[str, Any] = {}
    for key, value in pairs:
        if key in taken:
            raise UnreadableAnswer(f"each key once was expected; found {plain(key, 30)!r} twice")
        taken[key] = value
    return taken


def _plain_words(value: Any) -> Any:
    match value:
        case str():
            return plain(value)
        case dict():
            return {key: _plain_words(of) for key, of in value.items()}
        case list() | tuple():
            return [_plain_words(of) for of in value]
        case _:
            return value
