"""What a question took is the sum of its requests, and what is unknown is told as unknown."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from mmkit.advisors import Consulted
from mmkit.answers import ANSWERS, AdvisorCall, Conditions, FeatureIdea, FeatureIdeas
from mmkit_holysheep.told import answer_rows, brief, told_of, told_text

COUNT = st.none() | st.integers(0, 10**6)
CALLS = st.lists(
    st.builds(
        AdvisorCall,
        asked_model=st.just("asked"),
        answered_model=st.sampled_from(("", "answered")),
        form=st.just("text"),
        repair=st.booleans(),
        outcome=st.just("ok"),
        prompt_tokens=COUNT,
        cached_tokens=st.just(0),
        completion_tokens=COUNT,
        cost=st.none() | st.decimals(0, 1, places=9),
        took_ns=st.integers(0, 10**10),
    ),
    max_size=4,
)


@given(calls=CALLS)
def test_totals_are_sums_and_one_unknown_makes_the_sum_unknown(calls: list[AdvisorCall]) -> None:
    said = Consulted(answer=None, refused="no", prompt_sha256="", text="", calls=tuple(calls))
    told = told_of("who", said)
    known = [one for one in calls if None not in (one.prompt_tokens, one.completion_tokens)]
    if len(known) == len(calls):
        assert told.prompt_tokens == sum(one.prompt_tokens or 0 for one in calls)
        assert told.completion_tokens == sum(one.completion_tokens or 0 for one in calls)
    else:
        assert told.prompt_tokens is told.completion_tokens is None
        assert "unknown" in told_text(told)
    costs = [one.cost for one in calls]
    if None in costs:
        assert told.cost is None
        assert "unknown" in told_text(told)
    else:
        assert told.cost == sum((Decimal(one or 0) for one in costs), Decimal(0))
    assert told.requests == len(calls)
    if calls:
        assert told.model == (calls[-1].answered_model or "asked")


def test_every_part_of_an_answer_is_shown() -> None:
    answer = Conditions(
        spread="WIDE",
        volatility="HIGH",
        liquidity="BID",
        suggested_spread_bps=12.5,
        warnings=("one", "two"),
    )
    assert answer_rows(answer) == [
        ("spread", "WIDE"),
        ("volatility", "HIGH"),
        ("liquidity", "BID"),
        ("suggested spread bps", "12.5"),
        ("warnings", "one"),
        ("", "two"),
    ]
    ideas = FeatureIdeas(
        features=tuple(FeatureIdea(name=f"f{n}", formula=f"x{n}", relevance=n) for n in range(1, 6))
    )
    assert answer_rows(ideas)[0] == ("f1 (1)", "x1")
    said = Consulted(answer=ideas, refused="", prompt_sha256="", text="", calls=())
    assert brief(told_of("who", said)) == "f1, f2, f3, f4, f5"


def test_no_question_is_left_out() -> None:
    from mmkit_holysheep.commands.options import QUESTIONS

    assert tuple(ANSWERS) == QUESTIONS
