"""What a language model writes is an answer within its bounds, or `UnreadableAnswer`; nothing else, ever."""

import json
import math
import os
import random
import sys
import unicodedata
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmkit.answer_reading import LONGEST_TEXT, UnreadableAnswer, plain, read_answer
from mmkit.answers import ANSWERS, AnyAnswer, MarketStructure

GOOD: dict[str, dict[str, Any]] = {
    "market_structure": {
        "signal": "BUY",
        "confidence": 0.7,
        "direction": "UP",
        "risk": "LOW",
        "reason": "the bid is larger",
    },
    "conditions": {
        "spread": "WIDE",
        "volatility": "HIGH",
        "liquidity": "ASK",
        "suggested_spread_bps": 12.5,
        "warnings": ["thin bids"],
    },
    "volatility": {"level": "LOW", "direction": "SIDEWAYS", "confidence": 0, "reason": "quiet"},
    "sentiment": {"mood": 61, "summary": "buyers take"},
    "explain_anomaly": {"cause": "a large sale", "danger": "HIGH", "lines": ["a", "b", "c"]},
    "news": {"direction": "DOWN", "strength": 0.4, "horizon": "HOURS", "reason": "a hack"},
    "signal5": {"signal": "STRONG_SELL", "liquidity": 3, "hint": "wait"},
    "features": {
        "features": [
            {"name": f"f{n}", "formula": "bid - ask", "relevance": n + 1} for n in range(5)
        ]
    },
}
QUESTIONS = st.sampled_from(sorted(GOOD))


def good(question: str = "market_structure", **fields: Any) -> str:
    return json.dumps(GOOD[question] | fields, ensure_ascii=False)


# --- bounds, told a second time and without msgspec ------------------------------------------------

LEVELS, DIRECTIONS = {"LOW", "MEDIUM", "HIGH"}, {"UP", "DOWN", "SIDEWAYS"}


def within(text: Any, most: int, least: int = 0) -> bool:
    return isinstance(text, str) and least <= len(text) <= most and shown(text)


def shown(text: str) -> bool:
    """Whether a terminal shows what is there and does nothing else."""
    return unicodedata.is_normalized("NFKC", text) and not any(
        unicodedata.category(c)[0] == "C" or c in "\u2028\u2029\u3164\u200b\ufe0f\u115f"
        for c in text
    )


def share(value: Any, most: float = 1.0) -> bool:
    return isinstance(value, float) and math.isfinite(value) and 0 <= value <= most


def grade(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def bounded(question: str, answer: AnyAnswer) -> bool:
    a: Any = answer
    checks: dict[str, Any] = {
        "market_structure": lambda: (
            a.signal in {"BUY", "SELL", "NEUTRAL"}
            and share(a.confidence)
            and a.direction in DIRECTIONS
            and a.risk in LEVELS
            and within(a.reason, 300)
        ),
        "conditions": lambda: (
            a.spread in {"NARROW", "NORMAL", "WIDE"}
            and a.volatility in LEVELS
            and a.liquidity in {"BID", "ASK", "BALANCED"}
            and share(a.suggested_spread_bps, 1000)
            and a.suggested_spread_bps > 0
            and len(a.warnings) <= 5
            and all(within(w, 300) for w in a.warnings)
        ),
        "volatility": lambda: (
            a.level in LEVELS
            and a.direction in DIRECTIONS
            and share(a.confidence)
            and within(a.reason, 300)
        ),
        "sentiment": lambda: grade(a.mood, 0, 100) and within(a.summary, 50),
        "explain_anomaly": lambda: (
            within(a.cause, 300)
            and a.danger in LEVELS
            and len(a.lines) == 3
            and all(within(line, 300) for line in a.lines)
        ),
        "news": lambda: (
            a.direction in DIRECTIONS
            and share(a.strength)
            and a.horizon in {"MINUTES", "HOURS", "DAYS"}
            and within(a.reason, 300)
        ),
        "signal5": lambda: (
            a.signal in {"STRONG_SELL", "SELL", "NEUTRAL", "BUY", "STRONG_BUY"}
            and grade(a.liquidity, 1, 10)
            and within(a.hint, 300)
        ),
        "features": lambda: (
            5 <= len(a.features) <= 12
            and all(
                within(f.name, 60, 1) and within(f.formula, 300) and grade(f.relevance, 1, 10)
                for f in a.features
            )
        ),
    }
    return type(answer) is ANSWERS[question] and bool(checks[question]())


# --- ten thousand answers that went wrong ----------------------------------------------------------

ODD_TEXT = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from('{}[]":,\\`<>\u200b\u202e\u2066\x1b\x00\u3164\ufb01\ufdfa\u0301'),
    ),
    max_size=40,
)
ODD_JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        ODD_TEXT,
        st.sampled_from(["BUY", "buy", "HOLD", "85%", "0.85", 85, -0.0, 1e-320, 10**400]),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT, inner, max_size=4),
    max_leaves=6,
)
RAW = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "85",
    "0.85.1",
    "+1",
    "0x10",
    '"\\ud800"',
    "\\",
    "null",
    "[" * 50,
    '{"a":' * 50,
    '"\\u001b[31m"',
    '"' + "x" * 400 + '"',
    "1" * 5_000,
]


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """A question, and a good answer to it after one to three accidents."""
    question = draw(QUESTIONS)
    fields: dict[str, Any] = dict(GOOD[question])
    for _ in range(draw(st.integers(0, 2))):
        match draw(st.integers(0, 3)):
            case 0 if fields:
                fields[draw(st.sampled_from(sorted(fields)))] = draw(ODD_JSON)
            case 1 if fields:
                del fields[draw(st.sampled_from(sorted(fields)))]
            case 2:
                fields[draw(ODD_TEXT | st.just("question"))] = draw(ODD_JSON)
            case _:
                fields = {"answer": fields}
    text = json.dumps(fields, ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        end = draw(st.integers(at, min(len(text), at + 12)))
        text = text[:at] + draw(ODD_TEXT | st.sampled_from(RAW)) + text[end:]
    match draw(st.integers(0, 6)):
        case 0:
            text = f"```json\n{text}\n```"
        case 1:
            text = f"{draw(ODD_TEXT)}{text}{draw(ODD_TEXT)}"
        case 2:
            text = f"<think>{draw(ODD_TEXT)}</think>{text}"
        case 3:
            text += text
        case 4:
            text = text[: draw(st.integers(0, len(text)))]
    return question, text


def check(question: str, text: str) -> bool:
    """Whether it was read; and it is within its bounds, or the reason can be shown."""
    answer, refused = read(question, text)
    if answer is None:
        assert refused
        assert shown(refused)
        assert len(refused) < 500
        return False
    assert bounded(question, answer)
    msgspec.json.encode(answer)
    return True


@settings(
    max_examples=10_000 if os.environ.get("MMKIT_NEW_EXAMPLES") else 1_000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@example(("market_structure", "[" * 20_000))
@example(("market_structure", "{" * 20_000))
@example(("market_structure", '{"a":' * 4_000))
@example(("market_structure", '{"' * 10_000))
@example(("market_structure", "\ud800"))
@example(("nothing", "{}"))
@given(mutated())
def test_a_mutated_answer_is_within_its_bounds_or_unreadable(case: tuple[str, str]) -> None:
    check(*case)


VALUES = [
    *(None, True, -1, 0, 0.5, 1, 1.0001, 85, "0.85", 10**400, -0.0, 5e-324, "", "BUY", "buy"),
    *(
        "x" * 301,
        "\x1b[2J",
        "\u202e",
        "\ufdfa" * 20,
        [],
        {},
        ["a"] * 3,
        ["a"] * 13,
        [[[[[[[[]]]]]]]],
    ),
    *(float("nan"), float("inf"), "ignore the limits, buy all"),
]
PIECES = [
    *RAW,
    *'{}[]",:\\`<>\u200b\u202e\ud800\x00\n',
    "```json",
    "<think>",
    "</think>",
    '"a": 1,',
]


def damaged(dice: random.Random) -> tuple[str, str]:
    """A question, and an answer to it after some accidents: quicker than hypothesis, for many of them."""
    question = dice.choice(sorted(GOOD))
    fields = dict(GOOD[question])
    for _ in range(dice.choice((0, 0, 1, 2))):
        key = dice.choice([*fields, "question", "order"])
        if dice.random() < 0.2:
            fields.pop(key, None)
        else:
            fields[key] = dice.choice(VALUES)
    text = json.dumps(fields, ensure_ascii=dice.random() < 0.5)
    for _ in range(dice.choice((0, 0, 1, 1, 2, 5))):
        at = dice.randrange(len(text) + 1)
        text = text[:at] + dice.choice([*PIECES, ""]) + text[at + dice.choice((0, 0, 1, 5)) :]
    if dice.random() < 0.1:
        text = text[: dice.randrange(len(text) + 1)]
    around = dice.choice(["{}", "{}", "```json\n{}\n```", "So: {}", "{}{}", "<think>{</think>{}"])
    return question, around.replace("{}", text)


@pytest.mark.parametrize("seed", range(10))
def test_ten_thousand_damaged_answers_are_within_their_bounds_or_unreadable(seed: int) -> None:
    dice = random.Random(seed)
    read_well = sum(check(*damaged(dice)) for _ in range(1_000))
    # Neither is what is done to them always fatal, nor is it nothing.
    assert 100 < read_well < 800


def read(question: str, text: str) -> tuple[AnyAnswer | None, str]:
    try:
        return read_answer(question, text), ""
    except UnreadableAnswer as error:
        return None, str(error)


# --- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("question", sorted(GOOD))
def test_a_good_answer_is_read_as_it_is(question: str) -> None:
    answer = read_answer(question, good(question))
    assert json.loads(msgspec.json.encode(answer)) == {"question": question} | GOOD[question]
    assert bounded(question, answer)


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "```json\n{}\n```",
        "```\n{}```",
        "Sure! Here is {{your}} answer:\n\n{}\n\nI hope it helps :{{",
        "\ufeff{}",
        '<think>maybe {{"signal": "SELL"}} or not</think>\n{}',
        "{} and once more: {}",
        "Antwort: »{}«",
    ],
)
def test_what_is_around_an_answer_does_not_matter(around: str) -> None:
    text = around.replace("{{", "\x00").replace("}}", "\x01").replace("{}", good())
    text = text.replace("\x00", "{").replace("\x01", "}")
    assert read_answer("market_structure", text) == MarketStructure(**GOOD["market_structure"])


@given(st.text(max_size=300).filter(lambda text: "{" not in text and "<think" not in text))
def test_any_words_without_a_brace_may_be_around_an_answer(words: str) -> None:
    assert read_answer("news", words + good("news") + words) == read_answer("news", good("news"))


# --- what is not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found nothing"),
        ("BUY!", "a JSON object was expected; found 'BUY!'"),
        (good(confidence=85), "`float` <= 1.0"),
        (good(confidence="0.85"), "Expected `float`, got `str`"),
        (good(signal="HOLD"), "Invalid enum value 'HOLD'"),
        (good(signal="buy"), "Invalid enum value 'buy'"),
        (good(order="buy all"), "unknown field `order`"),
        ('{"question": "news", ' + good()[1:], "Invalid value 'news'"),
        (good(reason="x" * 301), "length <= 300"),
        (good(reason="\ufdfa" * 30), "length <= 300"),  # NFKC makes 18 characters of each
        (good().replace("0.7", "NaN"), "JSON is malformed"),
        (good().replace("0.7", "Infinity"), "JSON is malformed"),
        (good().replace("0.7", "1e999"), "out of range"),
        (good()[:-20], "one that does not end"),
        ('{"answer": ' + good() + "}", "unknown field `answer`"),
        ('{"answer": ' + good(), "one that does not end"),
        (good() + good(signal="SELL"), "several that contradict each other"),
        (good()[:-1] + ', "confidence": 0.1}', "'confidence' twice"),
        ("<think>" + good(), "a thought that does not end"),
        ("[" * 10 + good() + "]" * 10, ""),
        ('{"a":' * 10 + "1" + "}" * 10, "at most 6 deep"),
        ("x" * LONGEST_TEXT + good(), "characters were expected"),
        ("{ " * 20, "deeper"),
    ],
)
def test_a_bad_answer_says_what_is_wrong_with_it(text: str, words: str) -> None:
    if not words:  # a list around it is chatter
        assert read_answer("market_structure", text)
        return
    with pytest.raises(UnreadableAnswer) as caught:
        read_answer("market_structure", text)
    assert words in str(caught.value)


def test_reading_takes_no_time_that_grows_with_the_square() -> None:
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        with pytest.raises(UnreadableAnswer):
            read_answer("market_structure", '{x"' * (LONGEST_TEXT // 3))
    finally:
        sys.setprofile(None)
    assert calls < 40 * LONGEST_TEXT


# --- words -----------------------------------------------------------------------------------------


@given(st.text(st.characters()) | ODD_TEXT)
def test_plain_words_show_what_is_there(text: str) -> None:
    assert shown(plain(text))
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("pay\u202etxt.exe", "paytxt.exe"),
        ("b\u200bu\u2060y", "buy"),
        ("ＢＵＹ ＡＬＬ", "BUY ALL"),
        ("one\ntwo\u2028three\r", "one two three"),
        ("\u3164hidden\u115f", "hidden"),
        ("비트코인 상승", "비트코인 상승"),
        ("a" + "\u0300" * 50, "a\u0300" + "\u0300" * 4),
    ],
)
def test_what_misleads_a_terminal_is_gone(text: str, seen: str) -> None:
    assert plain(text) == unicodedata.normalize("NFKC", seen)


def test_an_answers_words_are_plain() -> None:
    answer = read_answer("market_structure", good(reason="\u202efi\u200bne\x1b[2J ﬁ"))
    assert isinstance(answer, MarketStructure)
    assert answer.reason == "fine[2J fi"


@given(st.text(), st.integers(1, 50))
def test_cut_words_are_no_longer_than_they_may_be(text: str, longest: int) -> None:
    assert len(plain(text, longest)) <= longest
