"""What advice makes of the spread: within its bounds, never faster than its pace, and a function of advice and time."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmkit.answers import Anomaly, AnyAnswer, Conditions, Sentiment, Volatility
from mmkit_strategies.danger import Pause
from mmkit_strategies.spread_factor import FactorsConfig, SpreadFactor

SECOND = 1_000_000_000
BEGIN = 1_700_000_000 * SECOND


def volatility(level: Any, direction: Any) -> Volatility:
    return Volatility(level=level, direction=direction, confidence=0.5, reason="")


def conditions(spread: Any) -> Conditions:
    return Conditions(
        spread=spread, volatility="LOW", liquidity="BID", suggested_spread_bps=5, warnings=()
    )


def anomaly(danger: Any) -> Anomaly:
    return Anomaly(cause="", danger=danger, lines=("", "", ""))


ANSWERS = st.one_of(
    st.builds(
        volatility,
        st.sampled_from(("HIGH", "MEDIUM", "LOW")),
        st.sampled_from(("UP", "DOWN", "SIDEWAYS")),
    ),
    st.builds(conditions, st.sampled_from(("NARROW", "NORMAL", "WIDE"))),
    st.builds(anomaly, st.sampled_from(("HIGH", "MEDIUM", "LOW"))),
)


class Heard(NamedTuple):
    at: int
    name: str
    answer: AnyAnswer
    expires: int


@st.composite
def stories(draw: st.DrawFn) -> list[Heard]:
    """Advice of three advisors over some minutes, in order; also such that has expired as it comes."""
    at, story = BEGIN, []
    for _ in range(draw(st.integers(0, 8))):
        at += draw(st.integers(0, 120 * SECOND))
        lasts = draw(st.integers(-5 * SECOND, 180 * SECOND))
        name = draw(st.sampled_from(("vol", "conditions", "anomaly")))
        story.append(Heard(at, name, draw(ANSWERS), at + lasts))
    return story


CONFIGS = st.builds(
    FactorsConfig,
    min=st.floats(0.1, 1),
    max=st.floats(1, 5),
    per_minute=st.floats(0.01, 100),
)
TIMES = st.lists(st.integers(BEGIN, BEGIN + 1200 * SECOND), max_size=12).map(sorted)


def told(config: FactorsConfig, story: list[Heard], times: list[int]) -> list[float]:
    """Tell a story and look at these times in between, as a run would."""
    factor, seen, todo = SpreadFactor(config), [], list(story)
    for time in times:
        while todo and todo[0].at <= time:
            one = todo.pop(0)
            factor.hear(one.name, one.answer, one.at, one.expires)
        seen.append(factor.at(time))
    return seen


@given(config=CONFIGS, story=stories(), times=TIMES)
def test_the_factor_is_never_out_of_bounds_and_never_faster_than_its_pace(
    config: FactorsConfig, story: list[Heard], times: list[int]
) -> None:
    edges = [one.at for one in story] + [max(one.expires, BEGIN) for one in story]
    times = sorted(times + edges)
    seen = told(config, story, times)
    assert all(config.min <= one <= config.max for one in seen)
    for t0, f0, t1, f1 in zip(times, seen, times[1:], seen[1:], strict=False):
        assert abs(f1 - f0) <= config.per_minute * (t1 - t0) / (60 * SECOND) + 1e-9


@given(config=CONFIGS, story=stories(), times=TIMES, more=TIMES)
def test_looking_more_often_changes_nothing_to_the_last_digit(
    config: FactorsConfig, story: list[Heard], times: list[int], more: list[int]
) -> None:
    both = sorted({*times, *more})
    often = dict(zip(both, told(config, story, both), strict=True))
    assert told(config, story, times) == [often[time] for time in times]


@given(config=CONFIGS, story=stories())
def test_expired_advice_lets_it_go_back_to_one_at_the_same_pace(
    config: FactorsConfig, story: list[Heard]
) -> None:
    last = max([BEGIN, *(one.at for one in story), *(one.expires for one in story)])
    (there,) = told(config, story, [last])
    needs = math.ceil(abs(there - 1) / config.per_minute * 60 * SECOND)
    half, back = told(config, story, [last + needs // 2, last + needs + SECOND])
    assert back == 1
    assert abs(half - 1) == pytest.approx(abs(there - 1) / 2, abs=1e-6)


@given(story=stories(), seconds=st.integers(0, 900))
def test_the_factor_is_what_small_steps_come_to(story: list[Heard], seconds: int) -> None:
    # Everything on whole seconds, so that steps of a second hit every change exactly.
    story = [
        one._replace(at=one.at // SECOND * SECOND, expires=one.expires // SECOND * SECOND)
        for one in story
    ]
    factors = {"HIGH": 1.5, "MEDIUM": 1.0, "LOW": 0.7, "NARROW": 0.7, "NORMAL": 1.0, "WIDE": 1.3}
    factors |= {"UP": 1.1, "DOWN": 1.1, "SIDEWAYS": 0.9}
    value = 1.0
    for step in range(seconds):
        now, target = BEGIN + step * SECOND, 1.0
        for name in ("vol", "conditions", "anomaly"):
            heard = [one for one in story if one.name == name and one.at <= now]
            if not heard or heard[-1].expires <= now:
                continue
            match heard[-1].answer:
                case Volatility(level=level, direction=direction):
                    target *= factors[level] * factors[direction]
                case Conditions(spread=spread):
                    target *= factors[spread]
                case Anomaly(danger=danger):
                    target *= 1.5 if danger == "HIGH" else 1.0
        target = min(2.0, max(0.5, target))
        step_most = 0.5 / 60
        value += min(step_most, max(-step_most, target - value))
    (seen,) = told(FactorsConfig(), story, [BEGIN + seconds * SECOND])
    assert seen == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("answer", "factor"),
    [
        (volatility("HIGH", "UP"), 1.65),
        (volatility("HIGH", "SIDEWAYS"), 1.35),
        (volatility("MEDIUM", "DOWN"), 1.1),
        (volatility("LOW", "SIDEWAYS"), 0.63),
        (conditions("NARROW"), 0.7),
        (conditions("NORMAL"), 1.0),
        (conditions("WIDE"), 1.3),
        (anomaly("HIGH"), 1.5),
        (Sentiment(mood=90, summary=""), 1.0),
    ],
)
def test_the_factors_are_those_of_the_tutorials(answer: AnyAnswer, factor: float) -> None:
    assert FactorsConfig().of(answer) == pytest.approx(factor)
    made = SpreadFactor(FactorsConfig())
    made.hear("any", answer, BEGIN, BEGIN + 3600 * SECOND)
    assert made.at(BEGIN) == 1
    assert made.at(BEGIN + 30 * SECOND) == pytest.approx(min(max(factor, 0.75), 1.25))
    assert made.at(BEGIN + 600 * SECOND) == pytest.approx(factor)


@pytest.mark.parametrize(
    "bad",
    [
        {"min": 1.1},
        {"max": 0.9},
        {"min": 0},
        {"per_minute": 0},
        {"per_minute": float("inf")},
        {"volatility": {"high": -1}},
        {"volatility": {"highest": 2}},
        {"conditions": {"wide": float("nan")}},
    ],
)
def test_factors_that_make_no_sense_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FactorsConfig.model_validate(bad)


@given(
    alarms=st.lists(st.tuples(st.integers(0, 300), st.integers(-5, 60)), max_size=40),
    longest=st.integers(1, 60),
)
def test_pauses_are_short_and_never_more_than_half_of_the_time(
    alarms: list[tuple[int, int]], longest: int
) -> None:
    pause, off = Pause(longest * SECOND), []
    for second in range(500):
        for at, lasts in alarms:
            if at == second:
                pause.hear(at * SECOND, (at + lasts) * SECOND)
        off.append(pause.at(second * SECOND))
    for start in range(500 - 2 * longest):
        assert sum(off[start : start + 2 * longest]) <= longest
    # Nothing but danger begins one.
    assert not off[0] or any(at == 0 for at, _ in alarms)
    assert any(off) <= any(lasts > 0 for _, lasts in alarms)
