"""What is sent to a model: constant words from a file, and data that can be told from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, get_args

import msgspec

from mmkit.advisors import Facts, Inquiry, Language
from mmkit.answer_reading import plain
from mmkit.answers import ANSWERS
from mmkit.errors import ConfigError, Mistake
from mmkit_holysheep.shape import shape

LONGEST_TEXT = 2_000
"""Characters of somebody else's words that are sent; the rest is left out."""
_LONGEST_HAPPENED = 500
_LONGEST_NAME = 60
_LONGEST_FILE = 20_000  # characters; the bundled ones have fewer than 1,500
_CUT = "---"

CONSTANT = ("shape",)
VARIABLE = ("facts", "happened", "text", "symbol", "venue")
_NEEDED = {"explain_anomaly": "happened", "news": "text"}
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Manner:
    """How a question is asked.

    Attributes:
        temperature: 0 is the model's likeliest words, which is not to say the same each time.
        max_tokens: Of the answer.
    """

    temperature: float
    max_tokens: int


MANNERS = {
    "market_structure": Manner(0.3, 500),
    "conditions": Manner(0.3, 500),
    "volatility": Manner(0.3, 300),
    "sentiment": Manner(0.3, 300),
    # Three lines are 150 tokens in English; in Korean, and with what is around them, twice as many.
    "explain_anomaly": Manner(0.3, 400),
    "news": Manner(0.3, 300),
    "signal5": Manner(0.3, 300),
    # Five features are 1,000 tokens, and there may be twelve.
    "features": Manner(0.2, 1500),
}


@dataclass(frozen=True)
class Message:
    """One message to a model."""

    role: str
    content: str


class PromptError(Exception):
    """A question that the prompt cannot ask."""


@dataclass(frozen=True)
class Prompt:
    """The words of one question in one language.

    Attributes:
        constant: What is sent first and is always the same, so that gateways can cache it.
        variable: What follows, with places for data.
    """

    constant: Template
    variable: Template

    def messages(self, inquiry: Inquiry) -> tuple[Message, ...]:
        """Return what is sent for a question.

        Raises:
            PromptError: if there is no text where one is asked about, or one that has no place.
        """
        places = set(self.variable.get_identifiers())
        for place, given in (("text", inquiry.text), ("happened", inquiry.facts.happened)):
            there = bool(plain(given))
            if place in places and not there and _NEEDED.get(inquiry.question) == place:
                raise PromptError(
                    f"{inquiry.question} is asked about '{place}', and it is empty; give one"
                )
            if place == "text" and there and place not in places:
                raise PromptError(
                    f"the prompt of {inquiry.question} has no $text, and there is one; ask news, or put $text into "
                    "the prompt"
                )
        facts = inquiry.facts
        data = {
            "facts": _facts(facts),
            "happened": quoted(facts.happened, _LONGEST_HAPPENED),
            "text": quoted(inquiry.text, LONGEST_TEXT),
            "symbol": quoted(facts.symbol, _LONGEST_NAME),
            "venue": quoted(facts.venue, _LONGEST_NAME),
        }
        return (
            Message("system", self.constant.substitute(shape=shape(inquiry.question))),
            Message("user", self.variable.substitute(data)),
        )


def quoted(text: str, longest: int) -> str:
    """Return words of others as one JSON string, plain and cut, that no mark of a prompt is in."""
    return _json(plain(text, longest))


def _facts(facts: Facts) -> str:
    fields: dict[str, Any] = msgspec.structs.asdict(facts)
    del fields["happened"]
    return _json({name: _told(value) for name, value in fields.items()})


def _told(value: Any) -> Any:
    match value:
        case str():
            return plain(value, _LONGEST_NAME)
        case float():
            # Eight digits tell a price; the rest of a float is tokens.
            return float(f"{value:.8g}")
        case tuple():
            return [_told(of) for of in value]
        case _:
            return value


def _json(value: Any) -> str:
    """As JSON in which ``<``, ``>`` and backticks are escaped: it cannot end the part that it stands in.

    NaN and infinities, which are no JSON, become null.
    """
    text = json.dumps(msgspec.json.decode(msgspec.json.encode(value)), ensure_ascii=False)
    for mark in "<>`":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


class Prompts:
    """The prompts of every question and language: the user's where there is one, else the bundled one."""

    def __init__(self, prompts: dict[tuple[str, str], Prompt]) -> None:
        self._prompts = prompts

    def of(self, question: str, language: str) -> Prompt:
        """Return the prompt of a question."""
        return self._prompts[language, question]


def load_prompts(own: Path, *, named: bool = False) -> Prompts:
    """Return all prompts.

    Args:
        own: The user's folder, with ``<lang>/<question>.txt``; what is not there is bundled.
        named: Whether the user has named it, so that it has to be there.

    Raises:
        ConfigError: with everything that is wrong with the user's files.
    """
    mistakes: list[Mistake] = []
    if named and not own.is_dir():
        mistakes.append(
            Mistake(
                str(own),
                "advisors.holysheep.prompts",
                "a folder with prompts was expected; found none",
                "make it, or leave 'prompts' out",
            )
        )
    bundled = resources.files("mmkit_holysheep").joinpath("prompts")
    prompts: dict[tuple[str, str], Prompt] = {}
    for language in LANGUAGES:
        mine = _mine(own / language, mistakes)
        for question in ANSWERS:
            path = mine.get(question)
            if path is None:
                text = bundled.joinpath(language, f"{question}.txt").read_text("utf-8")
                prompts[language, question] = parse_prompt(text, "bundled", question)
                continue
            try:
                prompts[language, question] = parse_prompt(_text(path), str(path), question)
            except ConfigError as error:
                mistakes.extend(error.mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return Prompts(prompts)


def _mine(folder: Path, mistakes: list[Mistake]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    mine: dict[str, Path] = {}
    for path in sorted(folder.glob("*.txt")):
        if path.stem in ANSWERS:
            mine[path.stem] = path
            continue
        near = get_close_matches(path.stem, ANSWERS, 1)
        hint = f"did you mean '{near[0]}.txt'?" if near else f"known are: {', '.join(ANSWERS)}"
        mistakes.append(
            Mistake(
                str(path), "", f"the name of a question was expected; found '{path.stem}'", hint
            )
        )
    return mine


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(str(path), f"a UTF-8 text file was expected; found: {error}", "") from error
    if len(text) > _LONGEST_FILE:
        raise _wrong(
            str(path),
            f"at most {_LONGEST_FILE} characters were expected; found {len(text)}",
            "every one of them is paid for at every question; shorten it",
        )
    return text


def parse_prompt(text: str, where: str, question: str) -> Prompt:
    """Return the prompt that a file holds: constant words, a line ``---``, and words with places for data.

    Args:
        text: Of the file. ``$shape`` stands for the form of the answer, above the line; ``$facts``, ``$happened``,
            ``$text``, ``$symbol``, ``$venue`` for data, below it; ``$$`` for a dollar.
        where: The file, for messages.
        question: What it asks.

    Raises:
        ConfigError: if it has no such line, an unknown place or a known one in the wrong part, or lacks what is needed.
    """
    lines = text.splitlines()
    cuts = [number for number, line in enumerate(lines) if line.strip() == _CUT]
    if len(cuts) != 1:
        raise _wrong(
            where,
            f"one line '{_CUT}' between constant words and data was expected; found {len(cuts)}",
            "see docs/gateway.md",
        )
    mistakes: list[Mistake] = []
    for number, line in enumerate(lines):
        known, others = (CONSTANT, VARIABLE) if number < cuts[0] else (VARIABLE, CONSTANT)
        mistakes.extend(
            Mistake(f"{where}:{number + 1}", "", message, hint)
            for message, hint in _misplaced(line, known, others)
        )
    constant, variable = "\n".join(lines[: cuts[0]]), "\n".join(lines[cuts[0] + 1 :])
    if "json" not in constant.lower() + variable.lower():
        mistakes.append(
            Mistake(where, "", "the word 'json' was expected; found none", "gateways ask for it")
        )
    needed = _NEEDED.get(question, "facts")
    if f"${needed}" not in variable and f"${{{needed}}}" not in variable:
        mistakes.append(
            Mistake(
                where,
                "",
                f"${needed} was expected below the line '{_CUT}'; found none",
                f"it is what {question} is asked about",
            )
        )
    if mistakes:
        raise ConfigError(mistakes)
    return Prompt(Template(constant.strip()), Template(variable.strip()))


def _misplaced(line: str, known: tuple[str, ...], others: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return what is wrong with the places of one line, and what to do."""
    found: list[tuple[str, str]] = []
    for match in Template.pattern.finditer(line):
        name = match["named"] or match["braced"]
        if match["invalid"] is not None:
            found.append(("a name was expected after '$'; found none", "write $$ for a dollar"))
        elif name in others:
            side = "above" if name in CONSTANT else "below"
            found.append((f"${name} was expected {side} the line '{_CUT}'", "move it"))
        elif name is not None and name not in known:
            near = get_close_matches(name, known, 1)
            places = ", ".join(f"${other}" for other in known)
            found.append(
                (
                    f"a known place was expected, one of {places}; found '${name}'",
                    f"did you mean '${near[0]}'?" if near else "write $$ for a dollar",
                )
            )
    return found


def _wrong(where: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Mistake(where, "", message, hint)])
